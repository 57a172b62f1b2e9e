/* Many self_managed jobs at one time, against a peer that takes 200 ms for each and executes
 * nothing: what they cost the worker. How fast they are is bench's business. */
#include <signal.h>
#include <stdio.h>

#include "base/clock.h"
#include "tests/support.h"
#include "tests/support/load_peer.h"
#include "tests/support/stage.h"

#define JOBS 20000
#define IN_FLIGHT 256
#define CHECKS 2 /* requests of the check before the first job: /healthz, and a run */
#define DELAY_MS 200
#define PEAK_KB (64 * 1024)
#define LIMIT_MS 300000

static struct sp_stage *s;
static struct sp_load_peer peer;

static void open_stage(void)
{
    s = sp_stage_new(8);
}

static void start_peer(int64_t delay_ms)
{
    char settings[96];
    peer = sp_load_peer_start(delay_ms);
    snprintf(settings, sizeof settings, "{\"endpoint\":\"http://127.0.0.1:%d\"}", peer.port);
    sp_stage_settings(s, "self_managed", settings);
}

static void submit(int n)
{
    for (int i = 0; i < n; i++) {
        char id[16];
        snprintf(id, sizeof id, "j%d", i);
        sp_stage_submit(s, id, "python", "print('hello')", "");
    }
    sp_stage_flush(s);
}

static void close_stage(void)
{
    sp_stage_free(s);
    sp_process_stop(&peer.process);
}

TestSuite(load, .init = open_stage, .fini = close_stage);

/* The most memory that the worker has had at any moment. */
static long peak_kb(int worker)
{
    char path[64], line[128];
    long kb = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)s->workers[worker].pid);
    FILE *f = fopen(path, "r");
    cr_assert(f != NULL);
    while (kb == 0 && fgets(line, sizeof line, f))
        (void)!sscanf(line, "VmHWM: %ld", &kb);
    fclose(f);
    return kb;
}

static bool all_committed(void *arg)
{
    (void)arg;
    return sp_stage_committed(s) == sp_stage_end_offsets(s);
}

/* Ids are "j<n>". */
static void check_each_once(void)
{
    static char seen[JOBS];
    for (size_t i = 0; i < s->n_answers; i++) {
        int id = -1;
        const struct sp_stage_answer *a = s->answers[i];
        cr_assert(sscanf(sp_stage_answer_text(a, "request_id"), "j%d", &id) == 1 && id >= 0 &&
                      id < JOBS,
                  "%s", a->value);
        cr_assert(seen[id]++ == 0, "j%d is answered twice", id);
        cr_assert(eq(str, (char *)sp_stage_answer_text(a, "status"), "ok"), "%s", a->value);
    }
    cr_assert(eq(sz, s->n_answers, JOBS));
}

Test(load, jobs_at_a_slow_service_cost_little_memory_and_one_connection_an_executor, .timeout = 900)
{
    start_peer(DELAY_MS);
    submit(JOBS);

    int w =
        sp_stage_worker(s, (const char *const[]){"worker.concurrency=256", "log.level=warn", NULL});
    cr_assert(sp_stage_wait(s, JOBS, LIMIT_MS), "%zu replies", s->n_answers);

    sp_stage_until(all_committed, NULL, 5000, "the watermark reaches the end of the topic");
    sp_stage_wait(s, JOBS + 1, 500);
    check_each_once();
    long peak = peak_kb(w);
    cr_expect(peak <= PEAK_KB, "%ld kB at the peak", peak);
    cr_expect(eq(int, sp_stage_worker_end(s, w, SIGTERM), 0));
    struct sp_load_count count = sp_load_peer_end(&peer);
    cr_expect(count.connections <= IN_FLIGHT + 1, "%lld connections", count.connections);
    cr_expect(count.requests == JOBS + CHECKS, "%lld requests", count.requests);
    cr_expect(count.cut_off == 0, "%lld connections were cut off", count.cut_off);
    printf("peak: %ld kB, %lld connections, %lld requests at once\n", peak, count.connections,
           count.most_waiting);
}

/* Else all of it would be held in memory, until the check of the provider is over. */
Test(load, a_backlog_waits_in_kafka_for_the_settings)
{
    const int jobs = 500;
    start_peer(1000);
    submit(jobs);

    int64_t until = sp_deadline_in(2000);
    int w = sp_stage_worker(s, NULL);
    while (!sp_stage_wait(s, 1, 10) && sp_deadline_left(until) > 0) {
        double held = sp_stage_metric(s, w, "sandpiper_jobs_held");
        cr_assert(held == 0 || sp_deadline_left(until) == 0, "%.0f jobs are held", held);
    }

    struct sp_stage_answer *a = sp_stage_reply(s, "j0", LIMIT_MS);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), "ok"), "%s", a->value);
}
