/*
 * Runs chaos cases against real servers: docs/testing.md. Each is a Criterion test in a process of
 * its own, which ends what it started however it ends.
 *
 *   chaos [--size ci|soak] [--seed N] [--jobs N] [--faults N] [--seconds N] [--keep 1] [CASE ...]
 *   chaos --list
 *
 * Needs SANDPIPER_TEST_SERVERS, the file that tests/support/servers wrote. Exits with 0 when all
 * cases passed, 1 when one failed, 2 for a wrong argument.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "tests/chaos/cases.h"
#include "tests/support.h"

/* What crosses to the processes of the cases, as text in the environment. */
#define CHAOS_SIZE "CHAOS_SIZE"
#define CHAOS_SEED "CHAOS_SEED"
#define CHAOS_REPORT "CHAOS_REPORT"
#define CHAOS_KEEP "CHAOS_KEEP"

static size_t chosen[64], n_chosen;

static const struct {
    const char *option, *variable, *help;
} options[] = {
    {"--size", CHAOS_SIZE, "ci (default) or soak: the column of the table of cases"},
    {"--seed", CHAOS_SEED, "of all that is random; printed with each case"},
    {"--jobs", "CHAOS_JOBS", "in place of the table's number"},
    {"--faults", "CHAOS_FAULTS", "in place of the table's number"},
    {"--seconds", "CHAOS_SECONDS", "in place of the table's number"},
    {"--keep", CHAOS_KEEP, "1: the ledger and the logs of a case that has passed, too"},
};

/* 0: not given. */
static int64_t number_of(const char *variable)
{
    int64_t number = 0;
    const char *text = getenv(variable);
    return text && sp_parse_i64(text, 1, INT64_MAX, &number) ? number : 0;
}

static int64_t or_else(int64_t number, int64_t other)
{
    return number ? number : other;
}

static struct chaos_size size_of(const struct chaos_case *row)
{
    const char *name = getenv(CHAOS_SIZE);
    const struct chaos_size *size = name && strcmp(name, "soak") == 0 ? &row->soak : &row->ci;
    return (struct chaos_size){
        .jobs = or_else(number_of("CHAOS_JOBS"), size->jobs),
        .faults = or_else(number_of("CHAOS_FAULTS"), size->faults),
        .seconds = or_else(number_of("CHAOS_SECONDS"), size->seconds),
    };
}

ParameterizedTestParameters(chaos, one_case)
{
    return cr_make_param_array(size_t, chosen, n_chosen);
}

ParameterizedTest(size_t *i, chaos, one_case)
{
    const struct chaos_case *row = &chaos_cases[*i];
    const struct chaos_order order = {
        .size = size_of(row),
        .seed = (uint64_t)number_of(CHAOS_SEED),
        .report = getenv(CHAOS_REPORT),
        .keep = number_of(CHAOS_KEEP) != 0,
    };
    bool passed = chaos_run(row, &order);
    cr_assert(passed, "%s", row->name);
}

static bool choose(const char *name)
{
    for (size_t i = 0; i < chaos_n_cases; i++) {
        if (strcmp(chaos_cases[i].name, name) == 0 && n_chosen < SP_COUNT(chosen)) {
            chosen[n_chosen++] = i;
            return true;
        }
    }
    return false;
}

static bool is_value(const char *variable, const char *value)
{
    int64_t number = 0;
    if (strcmp(variable, CHAOS_SIZE) == 0)
        return strcmp(value, "ci") == 0 || strcmp(value, "soak") == 0;
    return sp_parse_i64(value, 1, INT64_MAX, &number);
}

static bool take_option(const char *name, const char *value)
{
    for (size_t i = 0; i < SP_COUNT(options); i++) {
        if (strcmp(options[i].option, name) == 0) {
            return value && is_value(options[i].variable, value) &&
                   setenv(options[i].variable, value, 1) == 0;
        }
    }
    return false;
}

static int list(void)
{
    for (size_t i = 0; i < chaos_n_cases; i++)
        printf("%-16s %s\n", chaos_cases[i].name, chaos_cases[i].what);
    return EXIT_SUCCESS;
}

static int usage(const char *what)
{
    fprintf(stderr,
            "chaos: %s: no case, option or value\nusage: chaos [OPTION VALUE ...] [CASE ...] | "
            "--list\n",
            what);
    for (size_t i = 0; i < SP_COUNT(options); i++)
        fprintf(stderr, "  %-10s %s\n", options[i].option, options[i].help);
    return 2;
}

static int run(void)
{
    char report[] = "/tmp/sandpiper-chaos-report-XXXXXX", seed[24];
    close(mkstemp(report));
    snprintf(seed, sizeof seed, "%lld", (long long)(sp_wall_ms() % 1000000 + 1));
    setenv(CHAOS_SEED, seed, 0);
    setenv(CHAOS_REPORT, report, 1);
    struct criterion_test_set *tests = criterion_initialize();
    criterion_options.jobs = 1;
    bool ran = criterion_run_all_tests(tests) != 0;
    criterion_finalize(tests);
    bool passed = chaos_report_sum(report, n_chosen);
    unlink(report);
    return ran && passed ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--list") == 0)
            return list();
        if (strncmp(argv[i], "--", 2) == 0) {
            if (!take_option(argv[i], argv[i + 1]))
                return usage(argv[i]);
            i++;
        } else if (!choose(argv[i])) {
            return usage(argv[i]);
        }
    }
    for (size_t i = 0; n_chosen == 0 && i < chaos_n_cases; i++)
        chosen[i] = i;
    n_chosen = n_chosen ? n_chosen : chaos_n_cases;
    return run();
}
