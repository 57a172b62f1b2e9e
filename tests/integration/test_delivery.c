/* What becomes of an id that comes again, of jobs whose worker died, and of cancelled ones:
 * CONTRACT.md 2.1 and 5, through Kafka. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "tests/support.h"
#include "tests/support/stage.h"

#define LIMIT_MS 180000

static struct sp_stage *s;
static char runs[64]; /* a file to which programs append */

static void open_stage(void)
{
    s = sp_stage_new(4);
    sp_stage_local(s, "\"timeout\":300");
    snprintf(runs, sizeof(runs), "/tmp/sandpiper-runs-XXXXXX");
    int fd = mkstemp(runs);
    cr_assert(fd >= 0);
    close(fd);
}

static void close_stage(void)
{
    sp_stage_free(s);
    unlink(runs);
}

TestSuite(delivery, .init = open_stage, .fini = close_stage);

/* Short, so that a dead worker's jobs come back soon. */
static int start_worker(void)
{
    return sp_stage_worker(s, (const char *const[]){"worker.liveness=2s",
                                                    "kafka.session.timeout.ms=6000",
                                                    "worker.concurrency=4", NULL});
}

#define LONG "\"timeout\":300" /* more than any test takes */

/* Its second run ends at once. */
#define LONG_ONCE "time.sleep(300 if len(open(path).readlines()) < 2 else 0)\nprint(1)"

/* A program that leaves a line in the file, then goes on. */
static const char *program(const char *rest)
{
    static char text[1024];
    snprintf(text, sizeof(text),
             "import time\npath = '%s'\nwith open(path, 'a') as f:\n    f.write('run\\n')\n%s",
             runs, rest);
    return text;
}

/* The same, which ends when the gate is opened. */
static const char *waiting_program(void)
{
    return program(sp_stage_behind_gate(s, "print(1)"));
}

static int count_runs(void)
{
    char line[16];
    int n = 0;
    FILE *f = fopen(runs, "r");
    cr_assert(f != NULL);
    while (fgets(line, sizeof(line), f))
        n++;
    fclose(f);
    return n;
}

static bool has_run(void *arg)
{
    return count_runs() >= *(int *)arg;
}

static void wait_for_runs(int n)
{
    sp_stage_until(has_run, &n, LIMIT_MS, "the program runs");
}

/* The n-th reply to an id; n from 1. */
static struct sp_stage_answer *nth_reply(const char *id, size_t n)
{
    int64_t until = sp_deadline_in(LIMIT_MS);
    while (sp_stage_count(s, id) < n && sp_deadline_left(until) > 0)
        sp_stage_wait(s, s->n_answers + 1, 100);
    for (size_t i = 0; i < s->n_answers; i++) {
        if (strcmp(sp_stage_answer_text(s->answers[i], "request_id"), id) == 0 && --n == 0)
            return s->answers[i];
    }
    cr_assert(false, "no such reply to %s", id);
    return NULL;
}

static const char *text(const struct sp_stage_answer *a, const char *path)
{
    return sp_stage_answer_text(a, path);
}

Test(delivery, the_same_content_again_gets_the_same_bytes_and_does_not_run)
{
    start_worker();
    sp_stage_submit(s, "same", "python", program("print(1)"), "");
    struct sp_stage_answer *first = nth_reply("same", 1);

    sp_stage_submit(s, "same", "python", program("print(1)"), "");
    struct sp_stage_answer *second = nth_reply("same", 2);

    cr_expect(eq(str, first->value, second->value));
    cr_expect(eq(int, count_runs(), 1));
    cr_expect(eq(str, (char *)sp_stage_answer_header(first, "sandpiper_result_id", NULL),
                 (char *)sp_stage_answer_header(second, "sandpiper_result_id", NULL)));
    cr_expect(
        eq(ptr, (void *)(uintptr_t)sp_stage_answer_header(second, "sandpiper_dedupe", NULL), NULL));
}

Test(delivery, a_second_one_waits_for_the_first_and_shares_its_reply)
{
    start_worker();
    sp_stage_submit(s, "twins", "python", waiting_program(), LONG);
    wait_for_runs(1);
    sp_stage_submit(s, "twins", "python", waiting_program(), LONG);
    sp_stage_until_metric(s, 0, "sandpiper_claims_parked_total", 1, LIMIT_MS);
    sp_stage_open_gate(s);

    struct sp_stage_answer *first = nth_reply("twins", 1), *second = nth_reply("twins", 2);

    cr_expect(eq(str, first->value, second->value));
    cr_expect(eq(int, count_runs(), 1));
}

Test(delivery, a_second_one_that_may_not_wait_expires_by_itself)
{
    start_worker();
    sp_stage_submit(s, "late", "python", waiting_program(), LONG);
    wait_for_runs(1);
    sp_stage_submit(s, "late", "python", waiting_program(), LONG ",\"queue_ttl\":1");

    struct sp_stage_answer *first = nth_reply("late", 1);
    sp_stage_open_gate(s);
    struct sp_stage_answer *second = nth_reply("late", 2);

    cr_expect(eq(str, (char *)text(first, "status"), "expired"));
    cr_expect(eq(str, (char *)text(second, "status"), "ok"));
    cr_expect(eq(int, count_runs(), 1));
}

Test(delivery, other_content_under_an_id_is_refused)
{
    start_worker();
    sp_stage_submit(s, "taken", "python", program("print(1)"), "");
    nth_reply("taken", 1);

    sp_stage_submit(s, "taken", "python", program("print(2)"), "");
    struct sp_stage_answer *second = nth_reply("taken", 2);

    cr_expect(eq(str, (char *)text(second, "status"), "rejected"));
    cr_expect(eq(str, (char *)text(second, "error.code"), "SB007"));
    cr_expect(strstr(text(second, "error.message"), "request_id") != NULL, "%s", second->value);
    cr_expect(eq(int, count_runs(), 1));
}

Test(delivery, an_id_is_free_again_after_results_ttl)
{
    sp_stage_worker(s, (const char *const[]){"results.ttl=1s", NULL});
    sp_stage_submit(s, "brief", "python", program("print(1)"), "");
    nth_reply("brief", 1);
    int64_t until = sp_deadline_in(LIMIT_MS);

    for (size_t n = 2; count_runs() < 2 && sp_deadline_left(until) > 0; n++) {
        sp_stage_submit(s, "brief", "python", program("print(1)"), "");
        nth_reply("brief", n);
    }

    cr_expect(eq(int, count_runs(), 2));
}

Test(delivery, an_id_without_a_result_is_free_for_another_request)
{
    start_worker();
    sp_stage_submit(s, "again", "cobol", program("print(1)"), "");
    cr_expect(eq(str, (char *)text(nth_reply("again", 1), "status"), "rejected"));

    sp_stage_submit(s, "again", "python", program("print(2)"), "");

    cr_expect(eq(str, (char *)text(nth_reply("again", 2), "status"), "ok"));
}

Test(delivery, a_job_whose_worker_is_killed_runs_again_as_a_second_attempt)
{
    int w = start_worker();
    sp_stage_submit(s, "victim", "python", program(LONG_ONCE), LONG);
    wait_for_runs(1);
    sp_stage_worker_end(s, w, SIGKILL);
    start_worker();

    struct sp_stage_answer *a = nth_reply("victim", 1);

    cr_expect(eq(str, (char *)text(a, "status"), "ok"), "%s", a->value);
    cr_expect(sp_stage_answer_is(a, "attempt", "2"), "%s", a->value);
    cr_expect(eq(int, count_runs(), 2));
    sp_stage_wait(s, s->n_answers + 1, 500);
    cr_expect(eq(sz, sp_stage_count(s, "victim"), 1));
}

Test(delivery, at_most_once_is_not_run_again_when_its_worker_is_killed)
{
    int w = start_worker();
    sp_stage_submit(s, "once", "python", program("time.sleep(300)"),
                    LONG ",\"delivery\":\"at_most_once\"");
    wait_for_runs(1);
    sp_stage_worker_end(s, w, SIGKILL);
    start_worker();

    struct sp_stage_answer *a = nth_reply("once", 1);

    cr_expect(eq(str, (char *)text(a, "error.code"), "SB014"), "%s", a->value);
    cr_expect(eq(int, count_runs(), 1));
}

Test(delivery, at_most_once_is_answered_when_its_worker_is_stopped_past_the_drain)
{
    int w = sp_stage_worker(s, (const char *const[]){"worker.drain=100ms", NULL});
    sp_stage_submit(s, "stopped", "python", program("print('so far', flush=True)\ntime.sleep(300)"),
                    LONG ",\"delivery\":\"at_most_once\"");
    wait_for_runs(1);

    cr_expect(eq(int, sp_stage_worker_end(s, w, SIGTERM), 0));

    struct sp_stage_answer *a = nth_reply("stopped", 1);
    cr_expect(eq(str, (char *)text(a, "error.code"), "SB014"), "%s", a->value);
}

Test(delivery, a_stop_past_the_drain_does_not_count_as_an_attempt)
{
    int w = sp_stage_worker(s, (const char *const[]){"worker.drain=100ms", NULL});
    sp_stage_submit(s, "moved", "python", program(LONG_ONCE), LONG);
    wait_for_runs(1);
    cr_expect(eq(int, sp_stage_worker_end(s, w, SIGTERM), 0));
    start_worker();

    struct sp_stage_answer *a = nth_reply("moved", 1);

    cr_expect(sp_stage_answer_is(a, "attempt", "1"), "%s", a->value);
    cr_expect(eq(int, count_runs(), 2));
}

Test(delivery, what_kills_its_workers_ends_in_the_dlq)
{
    const char *const options[] = {"worker.liveness=2s", "kafka.session.timeout.ms=6000",
                                   "worker.max_attempts=2", NULL};
    for (int died = 0; died < 2; died++) {
        int w = sp_stage_worker(s, options);
        if (died == 0)
            sp_stage_submit(s, "poison", "python", program("time.sleep(300)"), LONG);
        wait_for_runs(died + 1);
        sp_stage_worker_end(s, w, SIGKILL);
    }
    sp_stage_worker(s, options);

    struct sp_stage_answer *a = nth_reply("poison", 1);

    cr_expect(eq(str, (char *)text(a, "error.code"), "SB014"), "%s", a->value);
    cr_expect(eq(int, count_runs(), 2));
    cr_assert(sp_stage_wait(s, 2, LIMIT_MS), "the reply and the dead letter");
    for (size_t i = 0; i < s->n_answers; i++) {
        if (strcmp(s->answers[i]->topic, s->dlq) != 0)
            continue;
        cr_expect(eq(str,
                     (char *)sp_stage_answer_header(s->answers[i], "sandpiper_dlq_attempts", NULL),
                     "2"));
        cr_expect(eq(str, (char *)text(s->answers[i], "request_id"), "poison"));
    }
}

static void cancel(const char *id)
{
    char key[160];
    snprintf(key, sizeof(key), "cancel:%s", id);
    sp_stage_control(s, key, "{}");
}

Test(delivery, a_running_job_is_cancelled_and_keeps_its_output)
{
    char code[1100];
    start_worker();
    snprintf(code, sizeof(code), "print('so far', flush=True)\n%s", program("time.sleep(300)"));
    sp_stage_submit(s, "running", "python", code, LONG);
    wait_for_runs(1);

    cancel("running");

    struct sp_stage_answer *a = nth_reply("running", 1);
    cr_expect(eq(str, (char *)text(a, "status"), "cancelled"), "%s", a->value);
    cr_expect(eq(str, (char *)text(a, "error.code"), "SB011"));
    cr_expect(eq(str, (char *)text(a, "stdout"), "so far\n"));
}

/* All executors are busy: it would not be reached for long. */
Test(delivery, a_job_that_waits_for_an_executor_is_cancelled_without_one)
{
    sp_stage_worker(s, (const char *const[]){"worker.concurrency=1", NULL});
    sp_stage_submit(s, "busy", "python", waiting_program(), LONG);
    wait_for_runs(1);
    sp_stage_submit(s, "waiting", "python", program("pass"), "");
    sp_stage_flush(s);
    cancel("waiting");

    struct sp_stage_answer *a = nth_reply("waiting", 1);

    cr_expect(eq(str, (char *)text(a, "status"), "cancelled"), "%s", a->value);
    cr_expect(eq(sz, sp_stage_count(s, "busy"), 0), "the first one goes on");
    sp_stage_open_gate(s);
    cr_expect(eq(str, (char *)text(nth_reply("busy", 1), "status"), "ok"));
    cr_expect(eq(int, count_runs(), 1));
}

Test(delivery, a_cancellation_that_comes_before_its_request_is_kept)
{
    sp_stage_topic(s, s->control, 1, "cleanup.policy=compact");
    cancel("early");
    start_worker();
    sp_stage_submit(s, "early", "python", program("pass"), "");

    struct sp_stage_answer *a = nth_reply("early", 1);

    cr_expect(eq(str, (char *)text(a, "status"), "cancelled"), "%s", a->value);
    cr_expect(eq(int, count_runs(), 0));
}

Test(delivery, cancelling_what_has_ended_does_nothing)
{
    start_worker();
    sp_stage_submit(s, "ended", "python", program("print(1)"), "");
    struct sp_stage_answer *first = nth_reply("ended", 1);
    cancel("ended");
    sp_stage_until_metric(s, 0, "sandpiper_control_cancels_total", 1, LIMIT_MS);

    sp_stage_submit(s, "ended", "python", program("print(1)"), "");

    cr_expect(eq(str, nth_reply("ended", 2)->value, first->value));
}

Test(delivery, without_redis_jobs_go_on_and_say_so_and_at_most_once_waits)
{
    struct sp_redis_server redis = sp_stage_own_redis(s, NULL);
    sp_stage_local(s, "");
    int w = start_worker();
    sp_stage_submit(s, "before", "python", program("pass"), "");
    cr_expect(eq(
        ptr,
        (void *)(uintptr_t)sp_stage_answer_header(nth_reply("before", 1), "sandpiper_dedupe", NULL),
        NULL));
    sp_redis_server_kill(&redis);
    sp_stage_submit(s, "once", "python", program("pass"), "\"delivery\":\"at_most_once\"");
    sp_stage_submit(s, "without", "python", program("pass"), "");

    struct sp_stage_answer *a = nth_reply("without", 1);

    cr_expect(eq(str, (char *)text(a, "status"), "ok"), "%s", a->value);
    cr_expect(eq(str, (char *)sp_stage_answer_header(a, "sandpiper_dedupe", NULL), "degraded"));
    sp_stage_until_metric(s, w, "sandpiper_degraded", 1, LIMIT_MS);
    cr_expect(eq(sz, sp_stage_count(s, "once"), 0));
    cr_assert(sp_redis_server_start(&redis, NULL));
    sp_stage_until_metric(s, w, "sandpiper_claims_up", 1, LIMIT_MS);
    cr_expect(eq(str, (char *)text(nth_reply("once", 1), "status"), "ok"));
    sp_redis_server_stop(&redis);
}
