#include "tests/chaos/chaos_report.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

static const enum checker_number always_shown[] = {CHECKER_JOBS, CHECKER_LOST, CHECKER_RERUN,
                                                   CHECKER_DOUBLED, CHECKER_REORDERED};

static bool is_too_much(const struct checker_numbers *numbers, enum checker_number n, int64_t most)
{
    if (most == CHAOS_ANY || (most == 0 && !checker_is_fault(n)))
        return false;
    if (most == CHAOS_CUT)
        most = numbers->of[CHECKER_CUT];
    if (most == CHAOS_IN_HAND)
        most = numbers->of[CHECKER_IN_HAND];
    return numbers->of[n] > most;
}

void chaos_report_judge(struct chaos_outcome *outcome, const int64_t most[CHECKER_COUNT])
{
    outcome->passed = true;
    for (size_t i = 0; i < CHECKER_COUNT; i++) {
        outcome->too_many[i] = is_too_much(&outcome->numbers, (enum checker_number)i, most[i]);
        outcome->passed &= !outcome->too_many[i];
    }
}

static bool is_shown(const struct chaos_outcome *outcome, enum checker_number n)
{
    for (size_t i = 0; i < SP_COUNT(always_shown); i++) {
        if (always_shown[i] == n)
            return true;
    }
    return outcome->numbers.of[n] != 0;
}

char *chaos_report_line(const struct chaos_outcome *outcome)
{
    sp_auto(sp_buf_clear) struct sp_buf line = SP_BUF_INIT(4096);
    enum sp_code rc = sp_buf_addf(&line, "%s: %s, seed %llu, %lld s:", outcome->name,
                                  outcome->passed ? "passed" : "FAILED",
                                  (unsigned long long)outcome->seed, (long long)outcome->seconds);
    for (size_t i = 0; !rc && i < CHECKER_COUNT; i++) {
        enum checker_number n = (enum checker_number)i;
        if (is_shown(outcome, n)) {
            rc = sp_buf_addf(&line, " %s=%lld%s", checker_name(n),
                             (long long)outcome->numbers.of[n], outcome->too_many[n] ? "(!)" : "");
        }
    }
    return rc ? NULL : sp_buf_take(&line, NULL);
}

void chaos_report_add(const char *path, const struct chaos_outcome *outcome)
{
    sp_auto(sp_free_str) char *line = chaos_report_line(outcome);
    FILE *file = fopen(path, "ae");
    printf("%s\n", line ? line : "no memory for the report");
    fflush(stdout);
    if (!file || fwrite(outcome, sizeof *outcome, 1, file) != 1)
        perror(path);
    if (file)
        fclose(file);
}

bool chaos_report_sum(const char *path, size_t n)
{
    struct chaos_outcome sum = {.name = "all cases", .passed = true}, one;
    size_t there = 0, passed = 0;
    FILE *file = fopen(path, "re");
    while (file && fread(&one, sizeof one, 1, file) == 1) {
        there++;
        passed += one.passed;
        sum.seed = one.seed;
        sum.seconds += one.seconds;
        for (size_t i = 0; i < CHECKER_COUNT; i++) {
            sum.too_many[i] |= one.too_many[i];
            if (checker_is_fault((enum checker_number)i) || i == CHECKER_JOBS)
                sum.numbers.of[i] += one.numbers.of[i];
        }
    }
    if (file)
        fclose(file);
    sum.passed = passed == n;
    sp_auto(sp_free_str) char *line = chaos_report_line(&sum);
    printf("%s\n%zu of %zu cases passed%s\n", line ? line : "", passed, n,
           there < n ? "; one that is missing was stopped by an assertion" : "");
    return sum.passed;
}
