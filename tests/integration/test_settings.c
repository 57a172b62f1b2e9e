/* Settings through Redis while a worker runs: none, bad ones, hot reload under load (DESIGN.md 3).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "tests/support.h"
#include "tests/support/stage.h"

#define LIMIT_MS 120000
#define JOBS_MS 900000
#define JOBS 2000
#define CHANGES 20
#define INVALID_CHANGE 9 /* of the twenty */

static struct sp_stage *s;

static void open_stage(void)
{
    s = sp_stage_new(4);
}

static void close_stage(void)
{
    sp_stage_free(s);
}

TestSuite(settings, .init = open_stage, .fini = close_stage);

Test(settings, without_any_a_job_is_answered_sb001_and_the_worker_is_not_ready)
{
    char *body = NULL;
    int w = sp_stage_worker(s, NULL);
    sp_stage_submit(s, "none", "python", "print(1)", "");

    struct sp_stage_answer *a = sp_stage_reply(s, "none", LIMIT_MS);

    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "error.code"), "SB001"));
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), "error"));
    cr_expect(sp_stage_answer_is(a, "error.retryable", "true"));
    cr_expect(sp_stage_answer_is(a, "provider", "null"));
    cr_expect(sp_stage_answer_is(a, "settings_version", "null"));
    cr_expect(eq(int, sp_stage_http(s, w, "/readyz", &body), 503), "%s", body);
    free(body);
}

Test(settings, invalid_ones_are_answered_sb002_with_the_reason)
{
    sp_stage_settings(s, "local", "{\"isolation\":\"none\",\"timeout\":99999}");
    sp_stage_worker(s, NULL);
    sp_stage_submit(s, "bad", "python", "print(1)", "");

    struct sp_stage_answer *a = sp_stage_reply(s, "bad", LIMIT_MS);

    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "error.code"), "SB002"));
    cr_expect(strstr(sp_stage_answer_text(a, "error.message"), "timeout") != NULL, "%s", a->value);
}

Test(settings, local_without_the_opt_in_does_not_open)
{
    sp_stage_settings(s, "local", "{}");
    sp_stage_worker(s, NULL);
    sp_stage_submit(s, "refusal", "python", "print(1)", "");

    struct sp_stage_answer *a = sp_stage_reply(s, "refusal", LIMIT_MS);

    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "error.code"), "SB002"));
    cr_expect(strstr(sp_stage_answer_text(a, "error.message"), "isolation") != NULL, "%s",
              a->value);
}

/* The last jobs' are closed a moment after their replies. */
static bool has_closed_the_rest(void *before)
{
    return sp_stage_metric(s, 0, "process_open_fds") <= *(const double *)before + 4;
}

static int64_t change(int n)
{
    return sp_stage_local(s, n == INVALID_CHANGE ? "\"timeout\":0"
                             : n % 2             ? "\"environment\":{\"COLOUR\":\"red\"}"
                                                 : "\"environment\":{\"COLOUR\":\"blue\"}");
}

static void submit_some(int from, int to)
{
    char id[16];
    for (int i = from; i < to; i++) {
        snprintf(id, sizeof(id), "h%d", i);
        sp_stage_submit(s, id, "python", "import os\nprint(os.environ['COLOUR'])", "");
    }
    sp_stage_flush(s);
}

/* Even versions ran in blue, odd ones in red: version 1 is the change number 0. */
static void check_reply(struct sp_stage_answer *a, int64_t invalid_version, int *seen_versions)
{
    int64_t version = json_integer_value(sp_stage_answer_get(a, "settings_version"));
    cr_assert(eq(str, (char *)sp_stage_answer_text(a, "status"), "ok"), "%s", a->value);
    cr_assert(version >= 1 && version <= CHANGES + 1 && version != invalid_version, "%s", a->value);
    const char *colour = (version - 1) % 2 ? "red\n" : "blue\n";
    cr_assert(eq(str, (char *)sp_stage_answer_text(a, "stdout"), (char *)colour), "version %d",
              (int)version);
    seen_versions[version]++;
}

Test(settings, hot_reload_under_load_fails_no_job)
{
    int64_t invalid_version = 0;
    change(0);
    int w = sp_stage_worker(s, NULL);
    submit_some(0, 100);
    sp_stage_reply(s, "h99", LIMIT_MS);
    double fds = sp_stage_metric(s, w, "process_open_fds");
    long kb = sp_stage_memory_kb(s, w, "VmRSS");

    for (int n = 1; n <= CHANGES; n++) {
        submit_some(100 + (n - 1) * (JOBS - 100) / CHANGES, 100 + n * (JOBS - 100) / CHANGES);
        int64_t version = change(n);
        if (n == INVALID_CHANGE) {
            invalid_version = version;
            sp_stage_until_metric(s, w, "sandpiper_settings_failures_total", 1, LIMIT_MS);
        } else {
            sp_stage_until_metric(s, w, "sandpiper_settings_version", (double)version, LIMIT_MS);
        }
    }
    cr_assert(sp_stage_wait(s, JOBS, JOBS_MS), "%zu of %d replies", s->n_answers, JOBS);

    int seen[CHANGES + 2] = {0};
    for (int i = 0; i < JOBS; i++) {
        char id[16];
        snprintf(id, sizeof(id), "h%d", i);
        check_reply(sp_stage_reply(s, id, 1000), invalid_version, seen);
    }
    sp_stage_wait(s, JOBS + 1, 500);
    cr_expect(eq(sz, s->n_answers, (size_t)JOBS), "no reply is doubled");
    cr_expect(seen[CHANGES + 1] > 0, "jobs ran under the last version");
    sp_stage_until(has_closed_the_rest, &fds, LIMIT_MS, "about as many descriptors as before");
    cr_expect(sp_stage_memory_kb(s, w, "VmRSS") < kb + 4096, "%ld kB, %ld before",
              sp_stage_memory_kb(s, w, "VmRSS"), kb);
}
