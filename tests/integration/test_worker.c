/* The worker as a process: many jobs, memory, an orderly stop, a kill, health and metrics, Redis
 * away. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "tests/support.h"
#include "tests/support/port.h"
#include "tests/support/redis_server.h"
#include "tests/support/stage.h"

#define LIMIT_MS 120000
#define MANY_LIMIT_MS 900000
#define MANY 10000
#define PARTITIONS 8

static struct sp_stage *s;

static void open_stage(void)
{
    s = sp_stage_new(PARTITIONS);
    sp_stage_local(s, "\"timeout\":300");
}

static void close_stage(void)
{
    sp_stage_free(s);
}

TestSuite(worker, .init = open_stage, .fini = close_stage);

Test(worker, ten_thousand_jobs_are_answered_once_each_in_flat_memory)
{
    int w =
        sp_stage_worker(s, (const char *const[]){"worker.concurrency=16", "log.level=warn", NULL});
    long start_kb = sp_stage_memory_kb(s, w, "VmRSS");
    cr_expect(start_kb <= 20 * 1024, "%ld kB before the first job", start_kb);

    for (int i = 0; i < MANY; i++) {
        char id[16];
        snprintf(id, sizeof(id), "m%d", i);
        sp_stage_submit(s, id, "python", "pass", "");
    }
    sp_stage_flush(s);
    cr_assert(sp_stage_wait(s, 1000, MANY_LIMIT_MS));
    long early_kb = sp_stage_memory_kb(s, w, "VmRSS");
    cr_assert(sp_stage_wait(s, MANY, MANY_LIMIT_MS), "%zu replies", s->n_answers);
    long late_kb = sp_stage_memory_kb(s, w, "VmRSS");

    sp_stage_until_committed(s, LIMIT_MS);
    sp_stage_wait(s, MANY + 1, 500);
    sp_stage_expect_each_once(s, "m", MANY);
    cr_expect(late_kb - early_kb <= 2048, "%ld kB after 1,000 jobs, %ld after 10,000", early_kb,
              late_kb);
    printf("resident: %ld kB before the first job, %ld after 1,000, %ld after 10,000\n", start_kb,
           early_kb, late_kb);
}

static void submit_behind_gate(const char *name, int n)
{
    for (int i = 0; i < n; i++) {
        char id[16];
        snprintf(id, sizeof(id), "%s%d", name, i);
        sp_stage_submit_to(s, i % PARTITIONS, id, "python", sp_stage_behind_gate(s, "print(1)"),
                           "");
    }
    sp_stage_flush(s);
}

Test(worker, sigterm_finishes_what_runs_and_hands_the_rest_back)
{
    int w =
        sp_stage_worker(s, (const char *const[]){"worker.concurrency=2", "worker.drain=60s", NULL});
    submit_behind_gate("d", 6);
    sp_stage_until_metric(s, w, "sandpiper_jobs_running", 2, LIMIT_MS);
    sp_stage_until_metric(s, w, "sandpiper_jobs_ready", 4, LIMIT_MS);

    cr_assert(kill(s->workers[w].pid, SIGTERM) == 0);
    sp_stage_until_readyz(s, w, 200, "the worker is stopping", LIMIT_MS);
    sp_stage_open_gate(s);
    int status = sp_stage_worker_end(s, w, 0);

    cr_expect(status == 0, "wait status %x", (unsigned)status);
    cr_assert(sp_stage_wait(s, 2, LIMIT_MS), "those that ran are answered: %zu", s->n_answers);
    sp_stage_wait(s, 3, 500);
    cr_expect(eq(sz, s->n_answers, 2), "and no others");
    sp_stage_worker(s, NULL);
    cr_assert(sp_stage_wait(s, 6, LIMIT_MS), "the others run elsewhere: %zu", s->n_answers);
    sp_stage_wait(s, 7, 500);
    cr_expect(eq(sz, s->n_answers, 6), "nothing is answered twice");
}

/* How many records of a partition were still out when the worker let it go: the most of any; -1:
 * it has let none go. */
static int out_at_revocation(int worker)
{
    json_auto_t *lines = sp_stage_log(s, worker, "partition_revoked");
    json_t *line = NULL;
    size_t i = 0;
    int most = -1;
    json_array_foreach (lines, i, line) {
        int out = (int)json_integer_value(json_object_get(line, "out"));
        most = out > most ? out : most;
    }
    return most;
}

static bool has_let_go(void *worker)
{
    return out_at_revocation(*(const int *)worker) >= 0;
}

Test(worker, what_waits_for_an_executor_is_handed_back_when_its_partition_goes)
{
    const char *const options[] = {"worker.concurrency=2", NULL};
    int first = sp_stage_worker(s, options);
    submit_behind_gate("j", 42);
    sp_stage_until_metric(s, first, "sandpiper_jobs_running", 2, LIMIT_MS);
    sp_stage_until_metric(s, first, "sandpiper_jobs_ready", 16, LIMIT_MS);

    sp_stage_worker(s, options);
    sp_stage_until(has_let_go, &first, LIMIT_MS, "partitions go to the other worker");
    sp_stage_open_gate(s);

    cr_assert(sp_stage_wait(s, 42, LIMIT_MS));
    cr_expect(le(int, out_at_revocation(first), 2));
    for (size_t i = 0; i < s->n_answers; i++)
        cr_expect(sp_stage_answer_is(s->answers[i], "attempt", "1"));
}

/* But for the one that an executor may be trying at that moment. */
Test(worker, what_is_held_is_handed_back_when_its_partition_goes)
{
    const char *const options[] = {"worker.concurrency=1", NULL};
    char settings[64];
    snprintf(settings, sizeof(settings), "{\"endpoint\":\"http://127.0.0.1:%d\"}", sp_free_port());
    sp_stage_settings(s, "self_managed", settings);
    sp_stage_open_gate(s);
    int first = sp_stage_worker(s, options);
    submit_behind_gate("held", 40);
    sp_stage_until_metric(s, first, "sandpiper_jobs_held", 20, LIMIT_MS);

    sp_stage_worker(s, options);
    sp_stage_until(has_let_go, &first, LIMIT_MS, "partitions go to the other worker");
    sp_stage_local(s, "");

    cr_assert(sp_stage_wait(s, 40, LIMIT_MS));
    cr_expect(le(int, out_at_revocation(first), 1));
}

/* Long before it would end by itself, or after the usual drain of 30 s. */
Test(worker, a_job_past_the_drain_is_ended_and_handed_back_without_an_answer)
{
    int w = sp_stage_worker(s, (const char *const[]){"worker.drain=1s", NULL});
    sp_stage_submit(s, "long", "python", "import time\ntime.sleep(300)", "\"timeout\":400");
    sp_stage_flush(s);
    sp_stage_until_metric(s, w, "sandpiper_jobs_running", 1, LIMIT_MS);

    int64_t from = sp_mono_ms();
    int status = sp_stage_worker_end(s, w, SIGTERM);

    cr_expect(status == 0);
    cr_expect(sp_mono_ms() - from < 30000);
    cr_expect(eq(sz, sp_stage_count(s, "long"), 0));
    cr_expect(eq(int, (int)sp_stage_committed(s), 0));
}

static int pid_from_file(void)
{
    char path[96];
    int pid = 0;
    snprintf(path, sizeof(path), "/tmp/%s.pids", s->prefix);
    FILE *f = fopen(path, "r");
    if (f && fscanf(f, "%d", &pid) != 1)
        pid = 0;
    if (f)
        fclose(f);
    return pid;
}

static bool daemon_runs(void *arg)
{
    *(int *)arg = pid_from_file();
    return *(int *)arg > 0;
}

static bool daemon_is_gone(void *arg)
{
    return kill(*(int *)arg, 0) != 0;
}

Test(worker, kill_9_leaves_no_process_of_a_job_behind)
{
    char code[512];
    int pid = 0;
    int w = sp_stage_worker(s, NULL);
    /* The program's grandchild leaves its session and process group, and tells its number once it
     * has done so. */
    snprintf(code, sizeof(code),
             "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
             "        open('/tmp/%s.tmp', 'w').write(str(os.getpid()))\n"
             "        os.rename('/tmp/%s.tmp', '/tmp/%s.pids')\n        time.sleep(600)\n    "
             "os._exit(0)\ntime.sleep(600)",
             s->prefix, s->prefix, s->prefix);
    sp_stage_submit(s, "killed", "python", code, "\"timeout\":600");
    sp_stage_flush(s);
    sp_stage_until(daemon_runs, &pid, LIMIT_MS, "the grandchild runs");

    sp_stage_worker_end(s, w, SIGKILL);

    sp_stage_until(daemon_is_gone, &pid, LIMIT_MS, "the grandchild is gone");
    char path[96];
    snprintf(path, sizeof(path), "/tmp/%s.pids", s->prefix);
    unlink(path);
}

static bool has_record(void *arg)
{
    sp_auto(sp_free_str) char *record = sp_stage_redis(s, "GET %s:worker:shown", s->prefix);
    (void)arg;
    return record != NULL;
}

#define JOBS_OK "sandpiper_jobs_total{status=\"ok\",provider=\"local\"}"

Test(worker, health_readiness_and_metrics_are_served)
{
    char *body = NULL;
    int w = sp_stage_worker(s, (const char *const[]){"worker.id=shown", NULL});
    sp_stage_submit(s, "one", "python", "print(1)", "");
    sp_stage_reply(s, "one", LIMIT_MS);

    cr_expect(eq(int, sp_stage_http(s, w, "/healthz", &body), 200));
    free(body);
    cr_expect(eq(int, sp_stage_http(s, w, "/nothing", &body), 404));
    free(body);
    sp_stage_until_readyz(s, w, 200, "\"ready\":true", LIMIT_MS);
    sp_stage_until_metric(s, w, JOBS_OK, 1, LIMIT_MS);
    cr_expect(sp_stage_metric(s, w, JOBS_OK) == 1);
    cr_expect(sp_stage_metric(s, w, "sandpiper_settings_version") == 1);
    sp_stage_until(has_record, NULL, LIMIT_MS, "the worker's record is in Redis");
}

Test(worker, redis_going_away_leaves_the_settings_in_force)
{
    struct sp_redis_server server = sp_stage_own_redis(s, NULL);
    sp_stage_local(s, "");
    sp_stage_worker(s, NULL);
    sp_stage_submit(s, "before", "python", "print(1)", "");
    cr_expect(eq(str, (char *)sp_stage_answer_text(sp_stage_reply(s, "before", LIMIT_MS), "status"),
                 "ok"));

    sp_redis_server_kill(&server);
    sp_stage_until_readyz(s, 0, 200, "Redis is away", LIMIT_MS);
    sp_stage_submit(s, "after", "python", "print(2)", "");

    struct sp_stage_answer *a = sp_stage_reply(s, "after", LIMIT_MS);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), "ok"), "%s", a->value);
    sp_redis_server_stop(&server);
}

Test(worker, without_redis_at_the_start_jobs_are_held_until_it_answers)
{
    struct sp_redis_server server = sp_stage_own_redis(s, NULL);
    sp_redis_server_kill(&server);
    sp_stage_worker_start(s, NULL);
    sp_stage_submit(s, "held", "python", "print(1)", "");
    sp_stage_submit(s, "short", "python", "print(1)", "\"queue_ttl\":\"3s\"");
    struct sp_stage_answer *expired = sp_stage_reply(s, "short", LIMIT_MS);
    cr_expect(eq(str, (char *)sp_stage_answer_text(expired, "status"), "expired"), "%s",
              expired->value);
    cr_expect(eq(sz, sp_stage_count(s, "held"), 0));

    cr_assert(sp_redis_server_start(&server, NULL));
    sp_stage_local(s, "");

    struct sp_stage_answer *a = sp_stage_reply(s, "held", LIMIT_MS);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), "ok"), "%s", a->value);
    sp_redis_server_stop(&server);
}

Test(worker, wrong_configuration_stops_the_start_with_its_reason)
{
    int w = sp_stage_worker_start(s, (const char *const[]){"worker.concurrency=zero", NULL});
    int status = 0;

    cr_assert(eq(int, waitpid(s->workers[w].pid, &status, 0), s->workers[w].pid));
    s->workers[w].pid = 0;

    cr_expect(status == 1 << 8, "%x", (unsigned)status);
    char text[1024] = "";
    FILE *f = fopen(s->workers[w].log, "r");
    cr_assert(fread(text, 1, sizeof(text) - 1, f) > 0);
    fclose(f);
    cr_expect(strstr(text, "worker.concurrency") != NULL, "%s", text);
}
