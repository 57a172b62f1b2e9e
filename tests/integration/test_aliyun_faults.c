/*
 * What AgentRun and the way to it may do wrong while a program is to run: answers that are lost,
 * cut, late or never come, sandboxes that are gone, programs that take too long, and sandboxes that
 * cannot be deleted (reference aliyun-agentrun 7, 8.2; CONTRACT.md 3.4, 3.5).
 */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/support.h"
#include "tests/support/aliyun_stage.h"
#include "tests/support/until.h"

static struct aliyun_stage s;

static void start(void)
{
    aliyun_stage_start(&s, NULL, "");
}

static void stop(void)
{
    aliyun_stage_stop(&s);
}

TestSuite(aliyun_faults, .init = start, .fini = stop);

static const struct sp_provider_job one = {.code = "def main():\n    return 1", .quiet = true};
static const struct sp_provider_job sleeper = {
    .code = "import time\nprint('begun', flush=True)\ntime.sleep(60)", .timeout_ms = 3000};

static void expect_one(const char *what)
{
    cr_expect(eq(int, aliyun_stage_run(&s, &one), SP_OK), "%s: %s", what, s.err.msg);
    cr_expect(s.result.result_present, "%s: %s", what, sp_provider_job_err(&s.result));
}

/* Tells the server of faults, each with its `on`. */
static void set_faults(const char *faults)
{
    char command[1024];

    snprintf(command, sizeof command, "{\"forget\":true,\"faults\":[%s]}", faults);
    aliyun_stage_do(&s, command);
}

/* ---- what passes by itself ---- */

static const struct {
    const char *faults, *operation;
    int calls; /* of the operation */
} passing[] = {
    {"{\"on\":\"GetTemplate\",\"error\":{\"status\":503,\"code\":\"ServiceUnavailable\","
     "\"shape\":\"gateway\"}}",
     "GetTemplate", 2},
    {"{\"on\":\"create\",\"error\":{\"status\":429,\"shape\":\"empty\"},"
     "\"headers\":{\"Retry-After\":\"1\"}}",
     "create", 2},
    {"{\"on\":\"create\",\"error\":{\"status\":400,\"code\":\"Throttling.Api\"}}", "create", 2},
    {"{\"on\":\"create\",\"times\":2,\"error\":{\"status\":502,\"shape\":\"html\"}}", "create", 3},
    {"{\"on\":\"create\",\"cut\":\"unanswered\"}", "create", 2},
    {"{\"on\":\"create\",\"cut\":\"unanswered\",\"work\":true}", "create", 2},
    {"{\"on\":\"create\",\"cut\":\"midway\"}", "create", 2},
    {"{\"on\":\"health\",\"error\":{\"status\":502,\"shape\":\"html\"}}", "health", 2},
    {"{\"on\":\"health\",\"error\":{\"status\":404,\"message\":\"sandbox not found\","
     "\"shape\":\"text\"}}",
     "health", 2},
    {"{\"on\":\"health\",\"patch\":{\"status\":\"starting\"}}", "health", 2},
    {"{\"on\":\"contexts.create\",\"error\":{\"status\":503,\"shape\":\"html\"}}",
     "contexts.create", 2},
    {"{\"on\":\"contexts.create\",\"cut\":\"unanswered\",\"work\":true}", "contexts.create", 2},
    {"{\"on\":\"filesystem.list\",\"error\":{\"status\":502,\"shape\":\"html\"}}",
     "filesystem.list", 2},
    {"{\"on\":\"delete\",\"error\":{\"status\":502,\"shape\":\"html\"}}", "delete", 2},
    {"{\"on\":\"delete\",\"cut\":\"unanswered\"}", "delete", 2},
    {"{\"on\":\"delete\",\"cut\":\"unanswered\",\"work\":true}", "delete", 2},
};

#define TEMPLATE "{\"template\":{\"templateName\":\"ragflow-python-default\",\"status\":\"READY\"}}"

Test(aliyun_faults, what_passes_by_itself_is_asked_for_again)
{
    for (size_t i = 0; i < SP_COUNT(passing); i++) {
        const char *faults = passing[i].faults;
        aliyun_stage_open(&s, ""); /* the template is asked for again */
        aliyun_stage_do(&s, TEMPLATE);
        set_faults(faults);

        expect_one(faults);

        cr_expect(eq(int, aliyun_stage_calls(&s, passing[i].operation), passing[i].calls), "%s",
                  faults);
        cr_expect(eq(int, aliyun_stage_count(&s, "executions"), 1), "%s", faults);
        cr_expect(zero(int, aliyun_stage_alive(&s)), "%s", faults);
        cr_expect(zero(int, test_leases_count(&s.leases)), "%s", faults);
    }
}

Test(aliyun_faults, retry_after_is_respected)
{
    set_faults("{\"on\":\"create\",\"error\":{\"status\":429,\"shape\":\"empty\"},"
               "\"headers\":{\"Retry-After\":\"2\"}}");

    expect_one("throttled");

    cr_expect(lt(i64, 1999, s.took_ms));
}

Test(aliyun_faults, a_wait_that_is_longer_than_the_setup_is_not_begun)
{
    struct sp_provider_job job = one;
    job.setup_ms = 20000;
    set_faults("{\"on\":\"create\",\"error\":{\"status\":429,\"shape\":\"empty\"},"
               "\"headers\":{\"Retry-After\":\"60\"}}");

    cr_expect(eq(int, aliyun_stage_run(&s, &job), SP_E_BUSY), "%s", s.err.msg);

    cr_expect(lt(i64, s.took_ms, 15000));
}

/* ---- an execution is asked for once ---- */

static const struct {
    const char *fault;
    enum sp_code rc;
    enum sp_started started;
    int executions;
} failing[] = {
    {"\"error\":{\"status\":429,\"shape\":\"empty\"}", SP_E_BUSY, SP_STARTED_NO, 0},
    {"\"error\":{\"status\":400,\"code\":\"INVALID_REQUEST\"}", SP_E_INVALID, SP_STARTED_NO, 0},
    {"\"error\":{\"status\":403,\"code\":\"ERR_FORBIDDEN\"}", SP_E_DENIED, SP_STARTED_NO, 0},
    {"\"error\":{\"status\":404,\"code\":\"NOT_FOUND\",\"shape\":\"nested\"}", SP_E_INVALID,
     SP_STARTED_NO, 0},
    {"\"die\":true", SP_E_INVALID, SP_STARTED_NO, 0},
    {"\"error\":{\"status\":500,\"code\":\"ERR_INTERNAL_SERVER_ERROR\"},\"work\":true",
     SP_E_INVALID, SP_STARTED_MAYBE, 1},
    {"\"error\":{\"status\":502,\"shape\":\"html\"},\"work\":true", SP_E_UNAVAILABLE,
     SP_STARTED_MAYBE, 1},
    {"\"error\":{\"status\":503,\"shape\":\"html\"}", SP_E_UNAVAILABLE, SP_STARTED_MAYBE, 0},
    {"\"cut\":\"unanswered\",\"work\":true", SP_E_UNAVAILABLE, SP_STARTED_MAYBE, 1},
    {"\"cut\":\"midway\"", SP_E_UNAVAILABLE, SP_STARTED_MAYBE, 1},
    {"\"answer\":{\"body\":\"<html></html>\",\"type\":\"text/html\"},\"work\":true", SP_E_INVALID,
     SP_STARTED_MAYBE, 1},
    {"\"answer\":{\"body\":\"{\\\"contextId\\\":\\\"c\\\"}\"},\"work\":true", SP_E_INVALID,
     SP_STARTED_MAYBE, 1},
};

Test(aliyun_faults, a_failure_never_runs_a_program_twice)
{
    for (size_t i = 0; i < SP_COUNT(failing); i++) {
        char faults[256];
        const char *fault = failing[i].fault;
        snprintf(faults, sizeof faults, "{\"on\":\"execute\",%s}", fault);
        set_faults(faults);

        enum sp_code rc = aliyun_stage_run(&s, &one);

        cr_expect(eq(int, rc, failing[i].rc), "%s: %s", fault, s.err.msg);
        cr_expect(eq(int, (int)s.result.started, (int)failing[i].started), "%s", fault);
        cr_expect(eq(int, aliyun_stage_calls(&s, "execute"), 1), "%s", fault);
        cr_expect(eq(int, aliyun_stage_count(&s, "executions"), failing[i].executions), "%s",
                  fault);
        cr_expect(zero(int, aliyun_stage_alive(&s)), "%s", fault);
    }
}

/* The answer is a failure in shape, but the program did run. */
Test(aliyun_faults, a_code_of_failure_with_a_good_status_is_a_failure)
{
    set_faults("{\"on\":\"execute\",\"patch\":{\"code\":\"ERR_INTERNAL_SERVER_ERROR\"}}");

    cr_expect(aliyun_stage_run(&s, &one) != SP_OK);

    cr_expect(eq(int, aliyun_stage_count(&s, "executions"), 1));
    cr_expect(s.result.started != SP_STARTED_NO, "it may have run: %s", s.err.msg);
}

Test(aliyun_faults, artifacts_that_cannot_be_fetched_are_named)
{
    const struct sp_provider_job job = {.code = "open('artifacts/a.csv', 'w').write('1')\n"
                                                "open('artifacts/b.csv', 'w').write('2')"};
    set_faults(
        "{\"on\":\"filesystem.download\",\"error\":{\"status\":404,\"code\":\"NOT_FOUND\"}}");

    cr_assert(eq(int, aliyun_stage_run(&s, &job), SP_OK), "%s", s.err.msg);
    cr_expect(eq(sz, s.result.n_artifacts, 1));
    cr_assert(eq(sz, s.result.n_refused, 1));
    cr_expect(eq(str, s.result.refused[0].name, (char *)"a.csv"));
    cr_expect(zero(int, s.result.exit_code));

    set_faults("{\"on\":\"filesystem.list\",\"error\":{\"status\":500,\"code\":\"ERR\"}}");
    cr_assert(eq(int, aliyun_stage_run(&s, &job), SP_OK), "%s", s.err.msg);
    cr_expect(zero(sz, s.result.n_artifacts));
    cr_assert(eq(sz, s.result.n_refused, 1));
    cr_expect(strstr(s.result.refused[0].reason, "HTTP 500") != NULL);
}

/* ---- time ---- */

/* A shape that is not known: all that are thought of. output: it comes with the answer. */
static const struct {
    const char *way;
    bool output;
} timeouts[] = {{"error", true}, {"item", true}, {"end", true},
                {"408", false},  {"504", false}, {"400", false}};

Test(aliyun_faults, a_program_that_takes_too_long_is_a_timeout_in_every_shape)
{
    for (size_t i = 0; i < SP_COUNT(timeouts); i++) {
        char command[64];
        const char *way = timeouts[i].way;
        snprintf(command, sizeof command, "{\"ways\":{\"timeout\":\"%s\"}}", way);
        aliyun_stage_do(&s, command);

        enum sp_code rc = aliyun_stage_run(&s, &sleeper);

        cr_expect(eq(int, rc, SP_OK), "%s: %s", way, s.err.msg);
        cr_expect(eq(int, (int)s.result.outcome, SP_OUTCOME_TIMEOUT), "%s", way);
        cr_expect(eq(int, s.result.exit_code, -1), "%s", way);
        cr_expect(eq(str, (char *)sp_provider_job_out(&s.result),
                     (char *)(timeouts[i].output ? "begun\n" : "")),
                  "%s", way);
        cr_expect(s.took_ms >= 3000 && s.took_ms < 13000, "%s: %lld ms", way, (long long)s.took_ms);
    }
}

/* Our limit is the program's and 10 s. */
Test(aliyun_faults, a_service_that_does_not_answer_is_left_after_our_own_limit)
{
    aliyun_stage_do(&s, "{\"ways\":{\"timeout\":\"never\"}}");

    enum sp_code rc = aliyun_stage_run(&s, &sleeper);

    cr_expect(eq(int, rc, SP_OK), "%s", s.err.msg);
    cr_expect(eq(int, (int)s.result.outcome, SP_OUTCOME_TIMEOUT));
    cr_expect(s.took_ms >= 12900 && s.took_ms < 40000, "%lld ms", (long long)s.took_ms);
    cr_expect(zero(int, aliyun_stage_alive(&s)));
}

/* The service counts whole seconds only. The kernel's start takes long on a busy machine, so it is
 * there before. */
Test(aliyun_faults, part_of_a_second_is_measured_by_ourselves)
{
    const struct sp_provider_job job = {.code = "import time\nprint('late')\ntime.sleep(0.25)",
                                        .timeout_ms = 200};

    cr_assert(eq(int, aliyun_stage_create(&s, &one), SP_OK), "%s", s.err.msg);
    cr_assert(eq(int, aliyun_stage_execute(&s, &one), SP_OK), "%s", s.err.msg);
    cr_assert(eq(int, aliyun_stage_execute(&s, &job), SP_OK), "%s", s.err.msg);

    cr_expect(eq(int, (int)s.result.outcome, SP_OUTCOME_TIMEOUT));
    cr_expect(eq(int, s.result.exit_code, -1));
    cr_expect(eq(str, (char *)sp_provider_job_out(&s.result), (char *)"late\n"));
}

Test(aliyun_faults, the_requests_deadline_ends_the_run)
{
    struct sp_provider_job job = sleeper;
    job.timeout_ms = 20000;
    job.deadline = sp_deadline_in(8000);

    cr_expect(eq(int, aliyun_stage_run(&s, &job), SP_OK), "%s", s.err.msg);

    cr_expect(eq(int, (int)s.result.outcome, SP_OUTCOME_TIMEOUT));
    cr_expect(s.took_ms >= 7990 && s.took_ms < 19000, "%lld ms", (long long)s.took_ms);
    cr_expect(zero(int, aliyun_stage_alive(&s)));
}

Test(aliyun_faults, a_creation_that_is_not_answered_takes_no_longer_than_the_setup)
{
    static const char *const faults[] = {
        "{\"on\":\"create\",\"stall\":\"unanswered\"}",
        "{\"on\":\"create\",\"stall\":\"unanswered\",\"work\":true}",
        "{\"on\":\"create\",\"stall\":\"midway\"}",
    };
    struct sp_provider_job job = one;
    job.setup_ms = 5000;

    for (size_t i = 0; i < SP_COUNT(faults); i++) {
        set_faults(faults[i]);

        cr_expect(eq(int, aliyun_stage_run(&s, &job), SP_E_TIMEOUT), "%s: %s", faults[i],
                  s.err.msg);

        cr_expect(s.took_ms >= 4990 && s.took_ms < 25000, "%s: %lld ms", faults[i],
                  (long long)s.took_ms);
        cr_expect(zero(int, aliyun_stage_alive(&s)), "%s", faults[i]);
    }
    aliyun_stage_sweep(&s);
}

static void *cancel_the_execution(void *fd)
{
    int64_t end = sp_deadline_in(60000);

    while (aliyun_stage_count(&s, "executions") == 0 && sp_deadline_left(end) > 0)
        poll(NULL, 0, 5);
    eventfd_write(*(int *)fd, 1);
    return NULL;
}

Test(aliyun_faults, a_cancelled_run_returns_at_once_and_ends_its_sandbox)
{
    pthread_t thread;
    int fd = eventfd(0, EFD_CLOEXEC);
    struct sp_provider_job job = sleeper;
    job.timeout_ms = 20000;
    job.cancel_fd = fd;
    cr_assert(pthread_create(&thread, NULL, cancel_the_execution, &fd) == 0);

    enum sp_code rc = aliyun_stage_run(&s, &job);

    pthread_join(thread, NULL);
    cr_expect(eq(int, rc, SP_OK), "%s", s.err.msg);
    cr_expect(eq(int, (int)s.result.outcome, SP_OUTCOME_CANCELLED));
    cr_expect(lt(i64, s.took_ms, 19000)); /* its own time would be 20 s */
    cr_expect(zero(int, aliyun_stage_alive(&s)));
    close(fd);
}

Test(aliyun_faults, a_cancelled_creation_leaves_nothing_behind)
{
    int fd = eventfd(1, EFD_CLOEXEC);
    struct sp_provider_job job = one;
    job.cancel_fd = fd;
    aliyun_stage_do(&s, "{\"ways\":{\"starting\":60}}");

    cr_expect(eq(int, aliyun_stage_run(&s, &job), SP_E_CANCELLED), "%s", s.err.msg);

    cr_expect(lt(i64, s.took_ms, 25000));
    cr_expect(zero(int, aliyun_stage_alive(&s)));
    close(fd);
}

/* ---- check ---- */

static const struct {
    const char *fault;
    enum sp_code rc;
} checks[] = {
    {"\"error\":{\"status\":403,\"code\":\"Forbidden.RAM\",\"shape\":\"gateway\"}", SP_E_DENIED},
    {"\"error\":{\"status\":503,\"shape\":\"html\"}", SP_E_UNAVAILABLE},
    {"\"error\":{\"status\":500,\"shape\":\"empty\"}", SP_E_UNAVAILABLE},
    {"\"error\":{\"status\":429,\"shape\":\"empty\"}", SP_E_BUSY},
    {"\"cut\":\"unanswered\"", SP_E_UNAVAILABLE},
};

Test(aliyun_faults, check_tells_what_may_pass_from_what_will_not)
{
    for (size_t i = 0; i < SP_COUNT(checks); i++) {
        char faults[256];
        snprintf(faults, sizeof faults, "{\"on\":\"ListTemplates\",\"times\":0,%s}",
                 checks[i].fault);
        set_faults(faults);

        cr_expect(eq(int, aliyun_stage_check(&s), checks[i].rc), "%s: %s", faults, s.err.msg);
    }
}

/* ---- sandboxes that cannot be deleted ---- */

#define NEVER_DELETED "{\"on\":\"delete\",\"times\":0,\"error\":{\"status\":500,\"code\":\"ERR\"}}"

Test(aliyun_faults, a_sandbox_that_could_not_be_deleted_is_swept)
{
    set_faults(NEVER_DELETED);
    expect_one("it runs all the same");
    cr_expect(eq(int, aliyun_stage_alive(&s), 1));
    cr_expect(eq(int, test_leases_count(&s.leases), 1));
    set_faults("");

    sp_provider_sweep(s.provider);

    cr_expect(zero(int, aliyun_stage_alive(&s)));
    cr_expect(zero(int, test_leases_count(&s.leases)));
}

Test(aliyun_faults, what_a_dead_worker_left_is_swept_when_its_lease_has_run_out)
{
    cr_assert(eq(int, aliyun_stage_create(&s, &one), SP_OK), "%s", s.err.msg);
    sp_provider_sweep(s.provider);
    cr_expect(eq(int, aliyun_stage_alive(&s), 1), "its lease is in force");

    aliyun_stage_sweep(&s);

    cr_expect(zero(int, aliyun_stage_alive(&s)));
    cr_expect(zero(int, test_leases_count(&s.leases)));
}

Test(aliyun_faults, a_creation_whose_answer_was_lost_is_swept_as_well)
{
    struct sp_provider_job job = one;
    job.setup_ms = 5000;
    set_faults("{\"on\":\"create\",\"stall\":\"unanswered\",\"work\":true}," NEVER_DELETED);
    cr_expect(eq(int, aliyun_stage_run(&s, &job), SP_E_TIMEOUT), "%s", s.err.msg);
    cr_expect(SP_UNTIL(60000, aliyun_stage_alive(&s) == 1));
    set_faults("");

    aliyun_stage_sweep(&s);

    cr_expect(zero(int, aliyun_stage_alive(&s)));
}

/* The service was slower than the deletion. */
Test(aliyun_faults, a_creation_that_comes_behind_its_deletion_is_swept)
{
    struct sp_provider_job job = one;
    job.setup_ms = 4000;
    set_faults("{\"on\":\"create\",\"delay\":8}");
    cr_expect(eq(int, aliyun_stage_run(&s, &job), SP_E_TIMEOUT), "%s", s.err.msg);
    cr_expect(SP_UNTIL(60000, aliyun_stage_alive(&s) == 1));

    aliyun_stage_sweep(&s);

    cr_expect(zero(int, aliyun_stage_alive(&s)));
}

Test(aliyun_faults, a_sweep_goes_on_after_one_that_cannot_be_deleted)
{
    set_faults(NEVER_DELETED);
    expect_one("first");
    expect_one("second");
    set_faults("{\"on\":\"delete\",\"times\":2,\"error\":{\"status\":500,\"code\":\"ERR\"}}");

    aliyun_stage_sweep(&s);
    cr_expect(eq(int, aliyun_stage_alive(&s), 1));
    cr_expect(eq(int, test_leases_count(&s.leases), 1));
    sp_provider_sweep(s.provider);
    cr_expect(eq(int, aliyun_stage_alive(&s), 1), "it is not tried again at once");
    aliyun_stage_sweep(&s);

    cr_expect(zero(int, aliyun_stage_alive(&s)));
}

Test(aliyun_faults, leases_that_are_away_do_not_stop_a_run)
{
    s.leases.away = true;

    expect_one("without leases");
    sp_provider_sweep(s.provider);

    s.leases.away = false;
}
