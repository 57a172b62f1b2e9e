/*
 * self_managed and a peer that fails, lies or is slow: what is repeated, what is not, and what it
 * is called (reference ragflow 4.1 to 4.7; CONTRACT.md 3.1, 3.5). The manager counts what it ran,
 * so that each test shows that nothing ran twice.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/support.h"
#include "tests/support/managed.h"
#include "tests/support/port.h"

#define QUICK "\"max_retries\":1"

static struct sp_managed m;

static void prepare(void)
{
    m.limits = sp_usual_limits;
}

static void stop(void)
{
    sp_managed_stop(&m);
}

TestSuite(self_managed_failures, .init = prepare, .fini = stop);

/* What is repeated: only that of which surely nothing ran */

static const struct {
    const char *fault;
} passing[] = {
    {"{\"status\":503,\"times\":2,\"body\":\"<html>busy</html>\",\"type\":\"text/html\"}"},
    {"{\"status\":429,\"times\":2}"},
    {"{\"times\":2,\"result\":{\"exit_code\":-429,\"detail\":\"Too many requests\"}}"},
    {"{\"times\":2,\"result\":{\"exit_code\":-10,\"detail\":\"no_available_container\"}}"},
};

SP_TABLE_TEST(self_managed_failures, what_did_not_run_is_sent_again, passing, row)
{
    char command[256];
    sp_managed_start(&m, NULL, "");
    snprintf(command, sizeof command, "{\"faults\":[%s]}", row->fault);
    sp_managed_tell(&m, command);

    sp_managed_expect_one(&m);

    cr_expect(eq(int, sp_managed_asked(&m), 3));
    cr_expect(eq(int, sp_managed_executed(&m), 1));
}

Test(self_managed_failures, a_peer_that_says_when_to_come_again_is_obeyed)
{
    sp_managed_start(&m, NULL, "");
    sp_managed_tell(&m, "{\"faults\":[{\"status\":429,\"headers\":{\"Retry-After\":\"1\"}}]}");
    int64_t begun = sp_mono_ms();

    sp_managed_expect_one(&m);

    cr_expect(sp_mono_ms() - begun >= 1000);
    cr_expect(eq(int, sp_managed_asked(&m), 2));
}

/* times 0: for ever. asked: requests that one dispatch sends, with max_retries 1. */
static const struct {
    const char *fault, *says;
    enum sp_code rc;
    enum sp_started started;
    int asked, executions;
} failing[] = {
    {"{\"status\":503,\"times\":0}", "HTTP 503", SP_E_UNAVAILABLE, SP_STARTED_NO, 2, 0},
    {"{\"status\":429,\"times\":0}", "HTTP 429", SP_E_BUSY, SP_STARTED_NO, 2, 0},
    {"{\"times\":0,\"result\":{\"exit_code\":-429}}", "-429", SP_E_BUSY, SP_STARTED_NO, 2, 0},
    {"{\"times\":0,\"result\":{\"exit_code\":-10,\"detail\":\"no_available_container\"}}", "-10",
     SP_E_UNAVAILABLE, SP_STARTED_NO, 2, 0},
    {"{\"status\":401,\"body\":\"{}\"}", "HTTP 401", SP_E_DENIED, SP_STARTED_NO, 1, 0},
    {"{\"status\":422,\"body\":\"{}\"}", "HTTP 422", SP_E_INVALID, SP_STARTED_NO, 1, 0},
    {"{\"status\":404}", "HTTP 404", SP_E_INVALID, SP_STARTED_NO, 1, 0},
    {"{\"status\":307,\"headers\":{\"Location\":\"/healthz\"}}", "HTTP 307", SP_E_INVALID,
     SP_STARTED_NO, 1, 0},
    {"{\"status\":500,\"body\":\"Internal Server Error\"}", "HTTP 500", SP_E_INVALID,
     SP_STARTED_MAYBE, 1, 0},
    {"{\"status\":502,\"body\":\"<html></html>\",\"run\":true}", "HTTP 502", SP_E_UNAVAILABLE,
     SP_STARTED_MAYBE, 1, 1},
    {"{\"result\":{\"exit_code\":-3,\"detail\":\"internal_error\"},\"run\":true}", "-3",
     SP_E_INVALID, SP_STARTED_MAYBE, 1, 1},
    {"{\"result\":{\"exit_code\":-999,\"detail\":\"unhandled_exception\"}}", "-999", SP_E_INVALID,
     SP_STARTED_MAYBE, 1, 0},
    {"{\"close\":\"unanswered\",\"run\":true}", "127.0.0.1", SP_E_UNAVAILABLE, SP_STARTED_MAYBE, 1,
     1},
    {"{\"close\":\"midway\",\"run\":true}", "127.0.0.1", SP_E_UNAVAILABLE, SP_STARTED_MAYBE, 1, 1},
    {"{\"body\":\"<html>hello</html>\"}", "executor manager", SP_E_INVALID, SP_STARTED_MAYBE, 1, 0},
    {"{\"body\":\"{\\\"status\\\":\\\"ok\\\"}\"}", "executor manager", SP_E_INVALID,
     SP_STARTED_MAYBE, 1, 0},
    {"{\"body\":\"[]\"}", "executor manager", SP_E_INVALID, SP_STARTED_MAYBE, 1, 0},
};

/* The second run is on a connection that was used before, which libcurl by itself would use again
 * when it breaks. */
Test(self_managed_failures, a_failure_is_told_for_what_it_is_and_never_runs_a_program_twice)
{
    char command[256];
    sp_managed_start(&m, NULL, QUICK);

    for (size_t i = 0; i < SP_COUNT(failing); i++) {
        const char *fault = failing[i].fault;
        sp_managed_tell(&m, "{\"faults\":[]}");
        sp_managed_expect_one(&m);
        snprintf(command, sizeof command, "{\"forget\":true,\"faults\":[%s]}", fault);
        sp_managed_tell(&m, command);

        enum sp_code rc = sp_managed_run_one(&m);

        cr_expect(eq(int, rc, failing[i].rc), "%s: %s", fault, m.err.msg);
        cr_expect(eq(int, m.result.started, failing[i].started), "%s", fault);
        cr_expect(strstr(m.err.msg, failing[i].says) != NULL, "%s: %s", fault, m.err.msg);
        cr_expect(eq(int, sp_managed_asked(&m), failing[i].asked), "%s", fault);
        cr_expect(eq(int, sp_managed_executed(&m), failing[i].executions), "%s", fault);
    }
}

Test(self_managed_failures, a_refused_connection_is_a_peer_that_is_away)
{
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d", sp_free_port());
    sp_managed_open(&m, url, QUICK);

    cr_expect(eq(int, sp_managed_run_one(&m), SP_E_UNAVAILABLE), "%s", m.err.msg);
    cr_expect(eq(int, m.result.started, SP_STARTED_NO));
    cr_expect(strstr(m.err.msg, url + 7) != NULL, "%s", m.err.msg);
    cr_expect(eq(int, sp_managed_check(&m), SP_E_UNAVAILABLE), "%s", m.err.msg);
}

/* The manager comes back on its port before the retries are used up. */
Test(self_managed_failures, a_manager_that_restarts_is_found_again)
{
    sp_managed_start(&m, NULL, "");
    sp_managed_expect_one(&m);
    sp_manager_stop(&m.manager);
    cr_expect(eq(int, sp_managed_run_one(&m), SP_E_UNAVAILABLE), "%s", m.err.msg);
    sp_manager_start(&m.manager, NULL);

    sp_managed_expect_one(&m);

    cr_expect(eq(int, sp_managed_executed(&m), 1));
}

/* Time */

Test(self_managed_failures, a_program_that_took_longer_than_it_might_is_a_timeout_with_its_output)
{
    sp_managed_start(&m, NULL, "");

    enum sp_code rc = sp_managed_run(
        &m, &(struct sp_provider_job){.code = "import time\nprint('late')\ntime.sleep(0.6)",
                                      .timeout_ms = 300});

    cr_expect(eq(int, rc, SP_OK), "%s", m.err.msg);
    cr_expect(eq(int, m.result.outcome, SP_OUTCOME_TIMEOUT));
    cr_expect(eq(int, m.result.exit_code, -1));
    cr_expect(eq(str, m.result.out.text, (char *)"late\n"));
}

/* What a run's call may take: setup, the program, and 5 s. */
Test(self_managed_failures, a_peer_that_does_not_answer_is_left_after_our_own_limit)
{
    sp_managed_start(&m, NULL, "");
    sp_managed_tell(&m, "{\"faults\":[{\"delay\":30}]}");
    int64_t begun = sp_mono_ms();

    enum sp_code rc = sp_managed_run(
        &m, &(struct sp_provider_job){.code = "print(1)", .timeout_ms = 500, .setup_ms = 500});

    int64_t took = sp_mono_ms() - begun;
    bool timed_out = rc == SP_E_TIMEOUT || (!rc && m.result.outcome == SP_OUTCOME_TIMEOUT);
    cr_expect(timed_out, "%d: %s", rc, m.err.msg);
    cr_expect(eq(int, m.result.started, SP_STARTED_MAYBE));
    cr_expect(took >= 5900 && took < 25000, "%lld ms", (long long)took);
    cr_expect(eq(int, sp_managed_asked(&m), 1));
}

Test(self_managed_failures, the_requests_deadline_ends_the_call)
{
    sp_managed_start(&m, NULL, "");
    sp_managed_tell(&m, "{\"faults\":[{\"delay\":30}]}");
    int64_t begun = sp_mono_ms();

    enum sp_code rc = sp_managed_run(
        &m, &(struct sp_provider_job){.code = "print(1)", .deadline = sp_deadline_in(700)});

    int64_t took = sp_mono_ms() - begun;
    cr_expect(rc == SP_E_TIMEOUT || (!rc && m.result.outcome == SP_OUTCOME_TIMEOUT), "%s",
              m.err.msg);
    cr_expect(took >= 690 && took < 25000, "%lld ms", (long long)took);
}

static void *cancel_once_received(void *fd)
{
    int64_t end = sp_deadline_in(60000);

    while (sp_managed_asked(&m) == 0 && sp_deadline_left(end) > 0)
        ;
    eventfd_write(*(int *)fd, 1);
    return NULL;
}

Test(self_managed_failures, a_cancelled_run_returns_at_once)
{
    pthread_t thread;
    int fd = eventfd(0, EFD_CLOEXEC);
    sp_managed_start(&m, NULL, "");
    sp_managed_tell(&m, "{\"faults\":[{\"delay\":30}]}");
    cr_assert(pthread_create(&thread, NULL, cancel_once_received, &fd) == 0);
    int64_t begun = sp_mono_ms();

    enum sp_code rc =
        sp_managed_run(&m, &(struct sp_provider_job){.code = "print(1)", .cancel_fd = fd});

    cr_expect(rc == SP_E_CANCELLED || (!rc && m.result.outcome == SP_OUTCOME_CANCELLED), "%s",
              m.err.msg);
    cr_expect(sp_mono_ms() - begun < 25000);
    pthread_join(thread, NULL);
    close(fd);
}

Test(self_managed_failures, a_cancelled_run_does_not_wait_for_its_retry)
{
    int fd = eventfd(1, EFD_CLOEXEC);
    sp_managed_start(&m, NULL, "");
    sp_managed_tell(
        &m, "{\"faults\":[{\"times\":0,\"status\":429,\"headers\":{\"Retry-After\":\"20\"}}]}");
    int64_t begun = sp_mono_ms();

    enum sp_code rc =
        sp_managed_run(&m, &(struct sp_provider_job){.code = "print(1)", .cancel_fd = fd});

    cr_expect(eq(int, rc, SP_E_CANCELLED), "%s", m.err.msg);
    cr_expect(sp_mono_ms() - begun < 15000);
    close(fd);
}

enum { WAITING = 5 };

static void *run_two_seconds(void *rc)
{
    sp_auto(sp_result_clear) struct sp_result result = {0};
    const struct sp_provider_job job = {.code = "import time\ntime.sleep(2)", .timeout_ms = 6000};

    *(enum sp_code *)rc = sp_provider_job_run(m.provider, &job, &result, NULL);
    if (result.outcome != SP_OUTCOME_EXITED)
        *(enum sp_code *)rc = SP_E_TIMEOUT;
    return NULL;
}

/* The manager has one container: the last program waits for longer than it may run. */
Test(self_managed_failures, waiting_for_a_container_is_not_the_programs_time)
{
    pthread_t threads[WAITING];
    enum sp_code rcs[WAITING];
    sp_managed_start(&m, NULL, "");
    int64_t begun = sp_mono_ms();

    for (int i = 0; i < WAITING; i++)
        cr_assert(pthread_create(&threads[i], NULL, run_two_seconds, &rcs[i]) == 0);
    for (int i = 0; i < WAITING; i++) {
        pthread_join(threads[i], NULL);
        cr_expect(eq(int, rcs[i], SP_OK));
    }

    cr_expect(sp_mono_ms() - begun >= WAITING * 2000);
}

/* The manager leaves such a program behind and answers after its own limit and 5 s. */
Test(self_managed_failures, a_program_that_ignores_the_managers_signal_is_an_internal_error)
{
    sp_managed_start(&m, (const char *const[]){"SANDBOX_TIMEOUT=1s", NULL}, "");

    enum sp_code rc = sp_managed_run(
        &m, &(struct sp_provider_job){
                .code = "import signal\nsignal.signal(15, signal.SIG_IGN)\nwhile True:\n    pass"});

    cr_expect(eq(int, rc, SP_E_INVALID), "%s", m.err.msg);
    cr_expect(strstr(m.err.msg, "-3") != NULL, "%s", m.err.msg);
    cr_expect(eq(int, m.result.started, SP_STARTED_MAYBE));
}

/* Health, tokens, rate limits */

Test(self_managed_failures, check_finds_out_whether_programs_run)
{
    sp_managed_start(&m, (const char *const[]){"--no-containers", "--pool-wait", "0.1", NULL}, "");

    enum sp_code rc = sp_managed_check(&m);

    cr_expect(eq(int, rc, SP_E_UNAVAILABLE), "%s", m.err.msg);
    cr_expect(strstr(m.err.msg, "cannot run") != NULL && strstr(m.err.msg, "container") != NULL,
              "%s", m.err.msg);
    cr_expect(eq(int, sp_manager_requests(&m.manager, "/healthz"), 1));
}

Test(self_managed_failures, check_finds_a_pool_that_was_lost)
{
    sp_managed_start(&m, (const char *const[]){"--pool-wait", "0.1", NULL}, QUICK);
    cr_expect(eq(int, sp_managed_check(&m), SP_OK), "%s", m.err.msg);
    sp_managed_tell(&m, "{\"no_containers\":true,\"lose_containers\":true}");
    cr_expect(eq(int, sp_managed_run_one(&m), SP_E_UNAVAILABLE), "%s", m.err.msg);
    const struct sp_provider_job script = {.code = "", .language = SP_JAVASCRIPT};
    cr_expect(eq(int, sp_managed_run(&m, &script), SP_E_UNAVAILABLE), "%s", m.err.msg);
    sp_managed_tell(&m, "{\"no_containers\":false}");

    enum sp_code rc = sp_managed_check(&m);

    cr_expect(eq(int, rc, SP_E_UNAVAILABLE), "the pool never recovers: %s", m.err.msg);
}

Test(self_managed_failures, check_tells_what_is_wrong_with_the_health)
{
    sp_managed_start(&m, NULL, "");
    sp_managed_tell(&m, "{\"faults\":[{\"path\":\"/healthz\",\"status\":503}]}");

    cr_expect(eq(int, sp_managed_check(&m), SP_E_UNAVAILABLE), "%s", m.err.msg);
    cr_expect(strstr(m.err.msg, "/healthz") && strstr(m.err.msg, "HTTP 503"), "%s", m.err.msg);
    cr_expect(eq(int, sp_managed_asked(&m), 0));
    cr_expect(eq(int, sp_managed_check(&m), SP_OK), "%s", m.err.msg);
}

Test(self_managed_failures, check_knows_a_stranger)
{
    sp_managed_start(&m, NULL, "");
    sp_managed_tell(&m, "{\"faults\":[{\"path\":\"/healthz\",\"status\":404,\"times\":0},"
                        "{\"status\":404,\"times\":0}]}");

    cr_expect(eq(int, sp_managed_check(&m), SP_E_INVALID), "%s", m.err.msg);
    cr_expect(strstr(m.err.msg, "HTTP 404") != NULL, "%s", m.err.msg);
}

static const struct {
    const char *token, *says;
    enum sp_code rc;
} tokens[] = {
    {"right", "", SP_OK},
    {"wrong", "HTTP 401", SP_E_DENIED},
    {"", "HTTP 401", SP_E_DENIED},
};

Test(self_managed_failures, a_later_manager_asks_for_its_token)
{
    char more[96];
    sp_manager_start(&m.manager, (const char *const[]){"SANDBOX_EXECUTOR_MANAGER_API_TOKEN=right",
                                                       "--later", NULL});

    for (size_t i = 0; i < SP_COUNT(tokens); i++) {
        snprintf(more, sizeof more, "\"api_token\":\"%s\"", tokens[i].token);
        sp_managed_open(&m, m.manager.url, more);
        enum sp_code rc = sp_managed_run_one(&m);
        cr_expect(eq(int, rc, tokens[i].rc), "%s: %s", tokens[i].token, m.err.msg);
        cr_expect(strstr(m.err.msg, tokens[i].says) != NULL, "%s", m.err.msg);
        cr_expect(strstr(m.err.msg, "wrong") == NULL, "%s", m.err.msg);
        cr_expect(eq(int, sp_managed_check(&m), tokens[i].rc), "%s", m.err.msg);
    }
}

Test(self_managed_failures, a_later_manager_without_a_token_of_its_own_runs_nothing)
{
    sp_managed_start(&m, (const char *const[]){"--later", NULL}, QUICK);

    cr_expect(eq(int, sp_managed_run_one(&m), SP_E_UNAVAILABLE), "%s", m.err.msg);
    cr_expect(strstr(m.err.msg, "SANDBOX_EXECUTOR_MANAGER_API_TOKEN") != NULL, "%s", m.err.msg);
    cr_expect(eq(int, sp_managed_check(&m), SP_E_UNAVAILABLE), "%s", m.err.msg);
}

Test(self_managed_failures, a_later_manager_limits_the_rate)
{
    sp_managed_start(&m,
                     (const char *const[]){"SANDBOX_EXECUTOR_MANAGER_ALLOW_UNAUTHENTICATED=true",
                                           "SANDBOX_RUN_RATE_LIMIT=2/hour", "--later", NULL},
                     QUICK);
    sp_managed_expect_one(&m);
    sp_managed_expect_one(&m);

    cr_expect(eq(int, sp_managed_run_one(&m), SP_E_BUSY), "%s", m.err.msg);
    cr_expect(eq(int, m.result.started, SP_STARTED_NO));
    cr_expect(eq(int, sp_managed_executed(&m), 2));
}

Test(self_managed_failures, a_later_manager_takes_files_beside_the_program_for_artifacts)
{
    sp_managed_start(&m,
                     (const char *const[]){"SANDBOX_EXECUTOR_MANAGER_ALLOW_UNAUTHENTICATED=true",
                                           "--later", NULL},
                     "");

    cr_expect(eq(int,
                 sp_managed_run(
                     &m, &(struct sp_provider_job){.code = "from pathlib import Path\n"
                                                           "Path('table.csv').write_text('1,2')"}),
                 SP_OK),
              "%s", m.err.msg);

    cr_assert(eq(sz, m.result.n_artifacts, 1));
    cr_expect(eq(str, m.result.artifacts[0].name, (char *)"table.csv"));
}
