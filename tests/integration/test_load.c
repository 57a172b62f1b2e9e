/* Many jobs at one time, against a peer that takes 200 ms for each and executes nothing: what they
 * cost the worker, and that they leave nothing behind. How fast they are is bench's business. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"
#include "tests/support.h"
#include "tests/support/load_peer.h"
#include "tests/support/stage.h"

#define JOBS 20000
#define IN_FLIGHT 256
#define JOB_MS 200
#define LIMIT_MS 900000

struct service {
    const char *provider;
    const char *settings; /* members, one of them "<url>" */
    int calls;            /* of a job */
    int others;           /* calls of the check before the first job, and what all jobs share */
    int pools;            /* of connections */
    bool sandboxes;
    long peak_kb;
};

static const struct service services[] = {
    {"self_managed", "\"endpoint\":<url>", 1, 2, 1, false, 64 * 1024},
    {"aliyun_codeinterpreter",
     "\"access_key_id\":\"LTAI1\",\"access_key_secret\":\"s\",\"account_id\":\"1\","
     "\"control_endpoint\":<url>,\"data_endpoint\":<url>",
     6, 2, 1, true, 96 * 1024},
    {"e2b", "\"api_key\":\"e2b_0\",\"api_url\":<url>,\"sandbox_url\":<url>", 7, 1, 2, true,
     96 * 1024},
};

static struct sp_stage *s;
static struct sp_load_peer peer;

static void open_stage(void)
{
    s = sp_stage_new(8);
}

static void start_peer(const struct service *service, int64_t job_ms)
{
    sp_auto(sp_buf_clear) struct sp_buf settings = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    const char *from = service->settings, *url;

    peer = sp_load_peer_start(service->provider, job_ms);
    (void)sp_buf_addc(&settings, '{');
    for (; (url = strstr(from, "<url>")); from = url + strlen("<url>"))
        (void)sp_buf_addf(&settings, "%.*s\"http://127.0.0.1:%d\"", (int)(url - from), from,
                          peer.port);
    (void)sp_buf_addf(&settings, "%s}", from);
    sp_stage_settings(s, service->provider, sp_buf_str(&settings));
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

static void check_nothing_left(const struct service *service, const struct sp_load_count *count)
{
    sp_auto(sp_free_str) char *leases =
        sp_stage_redis(s, "EXISTS %s:lease:%s", s->prefix, service->provider);

    cr_expect(eq(str, leases, "0"), "leases are left");
    cr_expect(count->made == (service->sandboxes ? JOBS : 0), "%lld sandboxes", count->made);
    cr_expect(count->ended == count->made, "%lld of %lld are ended", count->ended, count->made);
}

/* Of connections that end others may take the place before the peer has noticed. */
static void check_calls(const struct service *service, const struct sp_load_count *count)
{
    cr_expect(count->requests == (long long)JOBS * service->calls + service->others,
              "%lld requests", count->requests);
    cr_expect(count->cut_off == 0, "%lld connections were cut off", count->cut_off);
    cr_expect(count->most_connections <= 2 * IN_FLIGHT * service->pools, "%lld connections at once",
              count->most_connections);
    cr_expect(count->connections <= JOBS / 10, "%lld connections", count->connections);
}

SP_TABLE_TEST(load, many_jobs_at_a_slow_service_cost_little_memory_and_few_connections, services,
              row)
{
    start_peer(row, JOB_MS);
    submit(JOBS);

    int w =
        sp_stage_worker(s, (const char *const[]){"worker.concurrency=256", "log.level=warn", NULL});
    cr_assert(sp_stage_wait(s, JOBS, LIMIT_MS), "%zu replies", s->n_answers);

    sp_stage_until_committed(s, LIMIT_MS);
    sp_stage_wait(s, JOBS + 1, 500);
    sp_stage_expect_each_once(s, "j", JOBS);
    long peak = sp_stage_memory_kb(s, w, "VmHWM");
    cr_expect(peak <= row->peak_kb, "%ld kB at the peak", peak);
    cr_expect(eq(int, sp_stage_worker_end(s, w, SIGTERM), 0));
    struct sp_load_count count = sp_load_peer_end(&peer);
    check_calls(row, &count);
    check_nothing_left(row, &count);
    printf("%s: peak %ld kB, %lld connections, %lld at once\n", row->provider, peak,
           count.connections, count.most_connections);
}

/* Else all of it would be held in memory, until the check of the provider is over. */
Test(load, a_backlog_waits_in_kafka_for_the_settings)
{
    const int jobs = 500;
    start_peer(&services[0], 1000);
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
