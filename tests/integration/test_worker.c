/* The worker as a process: many jobs, memory, an orderly stop, a kill, health and metrics, Redis
 * away. */
#include <math.h>
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

#define LIMIT_MS 30000
#define MANY 10000
#define PARTITIONS 8

static struct sp_stage *s;

static void open_stage(void)
{
    s = sp_stage_new(PARTITIONS);
    sp_stage_local(s, "");
}

static void close_stage(void)
{
    sp_stage_free(s);
}

TestSuite(worker, .init = open_stage, .fini = close_stage);

static bool all_committed(void *arg)
{
    (void)arg;
    return sp_stage_committed(s) == sp_stage_end_offsets(s);
}

/* Each id once: ids are "m<n>". */
static void check_each_once(int n)
{
    char *seen = calloc((size_t)n, 1);
    for (size_t i = 0; i < s->n_answers; i++) {
        int id = -1;
        cr_assert(sscanf(sp_stage_answer_text(s->answers[i], "request_id"), "m%d", &id) == 1 &&
                  id >= 0 && id < n);
        cr_assert(seen[id] == 0, "m%d is answered twice", id);
        cr_assert(eq(str, (char *)sp_stage_answer_text(s->answers[i], "status"), "ok"), "%s",
                  s->answers[i]->value);
        seen[id] = 1;
    }
    free(seen);
    cr_assert(eq(sz, s->n_answers, (size_t)n));
}

Test(worker, ten_thousand_jobs_are_answered_once_each_in_flat_memory, .timeout = 900)
{
    int w =
        sp_stage_worker(s, (const char *const[]){"worker.concurrency=16", "log.level=warn", NULL});
    long start_kb = sp_stage_resident_kb(s, w);
    cr_expect(start_kb <= 20 * 1024, "%ld kB before the first job", start_kb);

    for (int i = 0; i < MANY; i++) {
        char id[16];
        snprintf(id, sizeof(id), "m%d", i);
        sp_stage_submit(s, id, "python", "pass", "");
    }
    cr_assert(sp_stage_wait(s, 1000, 120000));
    long early_kb = sp_stage_resident_kb(s, w);
    cr_assert(sp_stage_wait(s, MANY, 780000), "%zu replies", s->n_answers);
    long late_kb = sp_stage_resident_kb(s, w);

    sp_stage_until(all_committed, NULL, 5000, "the watermark reaches the end of the topic");
    sp_stage_wait(s, MANY + 1, 500);
    check_each_once(MANY);
    cr_expect(labs(late_kb - early_kb) <= 2048, "%ld kB after 1,000 jobs, %ld after 10,000",
              early_kb, late_kb);
    printf("resident: %ld kB before the first job, %ld after 1,000, %ld after 10,000\n", start_kb,
           early_kb, late_kb);
}

/* A worker has at least so many jobs, by the name of the metric. */
struct has_jobs {
    int worker;
    const char *metric;
    double n;
};

static bool has_jobs(void *arg)
{
    const struct has_jobs *has = arg;
    return sp_stage_metric(s, has->worker, has->metric) >= has->n;
}

Test(worker, sigterm_finishes_what_runs_and_hands_the_rest_back)
{
    int w =
        sp_stage_worker(s, (const char *const[]){"worker.concurrency=2", "worker.drain=20s", NULL});
    struct has_jobs two = {w, "sandpiper_jobs_running", 2};
    for (int i = 0; i < 6; i++) {
        char id[16];
        snprintf(id, sizeof(id), "d%d", i);
        sp_stage_submit(s, id, "python", "import time\ntime.sleep(2)\nprint('done')", "");
    }
    sp_stage_flush(s);
    sp_stage_until(has_jobs, &two, LIMIT_MS, "two jobs run");

    int status = sp_stage_worker_end(s, w, SIGTERM);

    cr_expect(status == 0, "wait status %x", (unsigned)status);
    sp_stage_wait(s, 3, 1000);
    cr_expect(eq(sz, s->n_answers, 2), "those that ran are answered");
    sp_stage_worker(s, NULL);
    cr_assert(sp_stage_wait(s, 6, LIMIT_MS), "the others run elsewhere: %zu", s->n_answers);
    sp_stage_wait(s, 7, 500);
    cr_expect(eq(sz, s->n_answers, 6), "nothing is answered twice");
}

/* How many records of a partition were still out when the worker let it go: the most of any; -1:
 * it has let none go. */
static int out_at_revocation(int worker)
{
    char line[4096];
    int most = -1;
    FILE *log = fopen(s->workers[worker].log, "r");
    cr_assert(log != NULL);
    while (fgets(line, sizeof line, log)) {
        const char *out = strstr(line, "partition_revoked") ? strstr(line, "\"out\":") : NULL;
        int n = out ? atoi(out + strlen("\"out\":")) : -1;
        most = n > most ? n : most;
    }
    fclose(log);
    return most;
}

static bool has_let_go(void *worker)
{
    return out_at_revocation(*(const int *)worker) >= 0;
}

/* To all partitions in turn. */
static void submit_sleepers(const char *name, int n, const char *seconds)
{
    for (int i = 0; i < n; i++) {
        char request[160];
        snprintf(request, sizeof(request),
                 "{\"request_id\":\"%s%d\",\"language\":\"python\",\"code\":\"import time\\n"
                 "time.sleep(%s)\"}",
                 name, i, seconds);
        sp_stage_send(s, i % PARTITIONS, NULL, request, NULL, 0);
    }
    sp_stage_flush(s);
}

Test(worker, what_waits_for_an_executor_is_handed_back_when_its_partition_goes)
{
    const char *const options[] = {"worker.concurrency=2", NULL};
    int first = sp_stage_worker(s, options);
    struct has_jobs run = {first, "sandpiper_jobs_running", 2};
    struct has_jobs wait = {first, "sandpiper_jobs_ready", 16};
    submit_sleepers("long", 2, "12");
    sp_stage_until(has_jobs, &run, LIMIT_MS, "two jobs run");
    submit_sleepers("short", 40, "0");
    sp_stage_until(has_jobs, &wait, LIMIT_MS, "others wait for them");

    sp_stage_worker(s, options);
    sp_stage_until(has_let_go, &first, LIMIT_MS, "partitions go to the other worker");

    cr_assert(sp_stage_wait(s, 42, LIMIT_MS));
    cr_expect(le(int, out_at_revocation(first), 2));
    for (size_t i = 0; i < s->n_answers; i++)
        cr_expect(sp_stage_answer_is(s->answers[i], "attempt", "1"));
}

Test(worker, what_is_held_is_handed_back_when_its_partition_goes)
{
    char settings[64];
    snprintf(settings, sizeof(settings), "{\"endpoint\":\"http://127.0.0.1:%d\"}", sp_free_port());
    sp_stage_settings(s, "self_managed", settings);
    int first = sp_stage_worker(s, NULL);
    struct has_jobs held = {first, "sandpiper_jobs_held", 10};
    submit_sleepers("held", 40, "0");
    sp_stage_until(has_jobs, &held, LIMIT_MS, "they are held");

    sp_stage_worker(s, NULL);
    sp_stage_until(has_let_go, &first, LIMIT_MS, "partitions go to the other worker");
    sp_stage_local(s, "");

    cr_assert(sp_stage_wait(s, 40, LIMIT_MS));
    cr_expect(zero(int, out_at_revocation(first)));
}

Test(worker, a_job_past_the_drain_is_ended_and_handed_back_without_an_answer)
{
    int w = sp_stage_worker(s, (const char *const[]){"worker.drain=1s", NULL});
    struct has_jobs one = {w, "sandpiper_jobs_running", 1};
    sp_stage_submit(s, "long", "python", "import time\ntime.sleep(300)", "\"timeout\":400");
    sp_stage_flush(s);
    sp_stage_until(has_jobs, &one, LIMIT_MS, "the job runs");

    int64_t from = sp_mono_ms();
    int status = sp_stage_worker_end(s, w, SIGTERM);

    cr_expect(status == 0);
    cr_expect(sp_mono_ms() - from < 8000);
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

    sp_stage_until(daemon_is_gone, &pid, 2000, "the grandchild is gone");
    char path[96];
    snprintf(path, sizeof(path), "/tmp/%s.pids", s->prefix);
    unlink(path);
}

Test(worker, health_readiness_and_metrics_are_served)
{
    char *body = NULL;
    int w = sp_stage_worker(s, NULL);
    sp_stage_submit(s, "one", "python", "print(1)", "");
    sp_stage_reply(s, "one", LIMIT_MS);

    cr_expect(eq(int, sp_stage_http(s, w, "/healthz", &body), 200));
    free(body);
    cr_expect(eq(int, sp_stage_http(s, w, "/readyz", &body), 200), "%s", body);
    free(body);
    cr_expect(eq(int, sp_stage_http(s, w, "/nothing", &body), 404));
    free(body);
    cr_expect(sp_stage_metric(s, w, "sandpiper_jobs_total{status=\"ok\",provider=\"local\"}") == 1);
    cr_expect(sp_stage_metric(s, w, "sandpiper_settings_version") == 1);
    sp_auto(sp_free_str) char *keys =
        sp_stage_redis(s, "EVAL %s 0", "return #redis.call('KEYS', 't*:worker:*')");
    cr_expect(atoi(keys) >= 1);
}

static bool redis_is_told(void *arg)
{
    char *body = NULL;
    int status = sp_stage_http(s, 0, "/readyz", &body);
    bool told = strstr(body ? body : "", "edis") != NULL;
    (void)arg;
    free(body);
    return told && status != 0;
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
    sp_stage_until(redis_is_told, NULL, LIMIT_MS, "/readyz tells of Redis");
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
