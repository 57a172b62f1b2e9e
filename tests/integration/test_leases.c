/*
 * No sandbox outlives its worker for long, however that one ends: leases through Redis, with
 * workers as processes, jobs through Kafka, and both services that sandboxes are paid for at.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "tests/support.h"
#include "tests/support/aliyun_stage.h"
#include "tests/support/e2b_stage.h"
#include "tests/support/redis_server.h"
#include "tests/support/stage.h"

enum {
    RUNNING = 4, /* worker.concurrency */
    POOL = 2,
    LIMIT_MS = 300000, /* a lease's life, a round of the other worker, and a busy machine */
    JOBS = 500,
    JOBS_MS = 1200000,
};

#define LONG_S "75" /* seconds: a lease's life, and some rounds of the workers */

static struct aliyun_stage aliyun;
static struct e2b_stage e2b;
static struct sp_stage *s;

/* ---- the services ---- */

static void start_aliyun(void)
{
    aliyun_stage_start(&aliyun, NULL, "");
}

static json_t *settings_of_aliyun(const char *more)
{
    return aliyun_stage_settings(&aliyun, more);
}

static int alive_at_aliyun(void)
{
    return aliyun_stage_alive(&aliyun);
}

static int begun_at_aliyun(void)
{
    return aliyun_stage_count(&aliyun, "executions");
}

static void spoil_aliyun(void)
{
    aliyun_stage_do(&aliyun,
                    "{\"faults\":["
                    "{\"on\":\"*\",\"times\":0,\"chance\":0.02,\"cut\":\"unanswered\"},"
                    "{\"on\":\"*\",\"times\":0,\"chance\":0.02,\"error\":{\"status\":502,"
                    "\"shape\":\"html\"}},"
                    "{\"on\":\"create\",\"times\":0,\"chance\":0.05,\"cut\":\"unanswered\","
                    "\"work\":true},"
                    "{\"on\":\"execute\",\"times\":0,\"chance\":0.05,\"die\":true},"
                    "{\"on\":\"delete\",\"times\":0,\"chance\":0.3,\"error\":{\"status\":500}}]}");
}

static void mend_aliyun(void)
{
    aliyun_stage_do(&aliyun, "{\"faults\":[]}");
}

static void stop_aliyun(void)
{
    aliyun_stage_stop(&aliyun);
}

static void start_e2b(void)
{
    e2b_stage_start(&e2b, "");
}

static json_t *settings_of_e2b(const char *more)
{
    return e2b_stage_settings(&e2b, more);
}

static int alive_at_e2b(void)
{
    return e2b_stage_alive(&e2b);
}

static int begun_at_e2b(void)
{
    return e2b_stage_count(&e2b, "processes_started");
}

static void spoil_e2b(void)
{
    static const char *const faults[] = {
        "{\"on\":\"*\",\"times\":0,\"chance\":0.02,\"reset\":true}",
        "{\"on\":\"*\",\"times\":0,\"chance\":0.02,\"answer\":{\"status\":502,\"body\":\"\"}}",
        "{\"on\":\"create\",\"times\":0,\"chance\":0.05,\"work\":true,\"answer\":{\"status\":504,"
        "\"body\":\"\"}}",
        "{\"on\":\"process.Start\",\"times\":0,\"chance\":0.05,\"die_at\":\"data\"}",
        "{\"on\":\"delete\",\"times\":0,\"chance\":0.3,\"answer\":{\"status\":500,\"body\":\"\"}}",
    };

    for (size_t i = 0; i < SP_COUNT(faults); i++)
        e2b_stage_fault(&e2b, faults[i]);
}

static void mend_e2b(void)
{
    json_decref(e2b_stage_tell(&e2b, "DELETE", "faults", NULL));
}

static void stop_e2b(void)
{
    e2b_stage_stop(&e2b);
}

static const struct service {
    const char *provider;
    int timeout_s; /* of a run */
    void (*start)(void);
    json_t *(*settings)(const char *more);
    int (*alive)(void);  /* sandboxes */
    int (*begun)(void);  /* programs, so far */
    void (*spoil)(void); /* it fails at random from now on */
    void (*mend)(void);
    void (*stop)(void); /* asserts that no sandbox lives */
} services[] = {
    {"aliyun_codeinterpreter", 30, start_aliyun, settings_of_aliyun, alive_at_aliyun,
     begun_at_aliyun, spoil_aliyun, mend_aliyun, stop_aliyun},
    {"e2b", 120, start_e2b, settings_of_e2b, alive_at_e2b, begun_at_e2b, spoil_e2b, mend_e2b,
     stop_e2b},
};

/* ---- workers and jobs ---- */

static void open_stage(void)
{
    s = sp_stage_new(4);
}

static void close_stage(void)
{
    sp_stage_free(s);
}

TestSuite(leases, .init = open_stage, .fini = close_stage);

static void use_with_pool(const struct service *service, int size)
{
    char more[64];
    snprintf(more, sizeof more, "\"pool_size\":%d,\"timeout\":%d", size, service->timeout_s);
    json_auto_t *settings = service->settings(more);
    sp_auto(sp_free_str) char *text = json_dumps(settings, 0);
    sp_stage_settings(s, service->provider, text);
}

static void use(const struct service *service)
{
    use_with_pool(service, POOL);
}

static int start_worker(void)
{
    return sp_stage_worker(
        s, (const char *const[]){"worker.concurrency=4", "worker.drain=100ms", NULL});
}

static void submit_one(int number, const char *code)
{
    char id[16];
    snprintf(id, sizeof id, "j%d", number);
    sp_stage_submit(s, id, "python", code, "\"timeout\":120");
}

static void expect_answers(int first, int n)
{
    for (int i = first; i < first + n; i++) {
        char id[16], out[32];
        snprintf(id, sizeof id, "j%d", i);
        snprintf(out, sizeof out, "\"%d\\n\"", i);
        const struct sp_stage_case answer = {.id = id,
                                             .expected = {{"status", "\"ok\""}, {"stdout", out}}};
        sp_stage_expect(s, &answer, LIMIT_MS);
    }
}

/* What a condition looks at. */
struct count {
    const struct service *service;
    int n;
};

static bool are_left(void *arg)
{
    const struct count *count = arg;
    return count->service->alive() <= count->n;
}

/* How many sandboxes a worker's sweeps have ended, by its log. */
static int swept_by(int worker)
{
    json_auto_t *lines = sp_stage_log(s, worker, "swept");
    json_t *line = NULL;
    size_t i = 0;
    int n = 0;
    json_array_foreach (lines, i, line)
        n += (int)json_integer_value(json_object_get(line, "ended"));
    return n;
}

/* What a condition looks at. */
struct swept {
    int worker, n;
};

/* It is logged when the service has answered for all of them. */
static bool has_swept(void *arg)
{
    const struct swept *swept = arg;
    return swept_by(swept->worker) >= swept->n;
}

/* ---- the tests ---- */

static bool all_run(void *arg)
{
    const struct service *service = arg;
    return service->begun() == RUNNING && service->alive() == RUNNING + POOL;
}

/* Programs that do not end before the gate is opened. */
static void start_running(const struct service *service)
{
    for (int i = 0; i < RUNNING; i++) {
        char print[16];
        snprintf(print, sizeof print, "print(%d)", i);
        submit_one(i, sp_stage_behind_gate(s, print));
    }
    sp_stage_flush(s);
    sp_stage_until(all_run, (void *)(uintptr_t)service, LIMIT_MS, "four run and two wait");
}

SP_TABLE_TEST(leases, a_killed_workers_sandboxes_are_swept_and_its_jobs_run_again, services,
              service)
{
    service->start();
    use(service);
    int first = start_worker();
    start_running(service);

    sp_stage_worker_end(s, first, SIGKILL);
    sp_stage_open_gate(s);
    int second = start_worker();
    expect_answers(0, RUNNING);
    struct swept all = {second, RUNNING + POOL};
    sp_stage_until(has_swept, &all, LIMIT_MS, "the killed worker's sandboxes are ended");

    sp_stage_worker_end(s, second, SIGTERM);
    cr_expect(zero(int, service->alive()));
    service->stop();
}

Test(leases, a_run_that_outlasts_the_life_of_a_lease_is_not_taken_for_a_dead_workers)
{
    const struct service *service = &services[1];
    service->start();
    json_auto_t *settings = service->settings("\"timeout\":100");
    sp_auto(sp_free_str) char *text = json_dumps(settings, 0);
    sp_stage_settings(s, service->provider, text);
    int workers[] = {start_worker(), start_worker()};
    static const struct sp_stage_case answer = {
        .id = "long", .expected = {{"status", "\"ok\""}, {"attempt", "1"}}};

    sp_stage_submit(s, "long", "python", "import time\ntime.sleep(" LONG_S ")", "\"timeout\":100");
    sp_stage_flush(s);
    sp_stage_expect(s, &answer, 2 * LIMIT_MS);

    for (size_t i = 0; i < SP_COUNT(workers); i++) {
        cr_expect(zero(int, swept_by(workers[i])));
        sp_stage_worker_end(s, workers[i], SIGTERM);
    }
    service->stop();
}

SP_TABLE_TEST(leases, a_worker_that_is_stopped_leaves_nothing_alive, services, service)
{
    service->start();
    use(service);
    int worker = start_worker();
    start_running(service);

    int status = sp_stage_worker_end(s, worker, SIGTERM);

    cr_expect(zero(int, status));
    cr_expect(zero(int, service->alive()));
    sp_auto(sp_free_str) char *left =
        sp_stage_redis(s, "HLEN %s:lease:%s", s->prefix, service->provider);
    cr_expect(eq(str, left, "0"));
    service->stop();
}

Test(leases, settings_that_change_while_jobs_run_leave_nothing_at_the_old_service)
{
    const struct service *old = &services[1], *new = &services[0];
    struct count none = {old, 0};
    old->start();
    new->start();
    use(old);
    int worker = start_worker();
    start_running(old);

    use(new);
    sp_stage_until_metric(s, worker, "sandpiper_settings_version", 2, LIMIT_MS);
    sp_stage_open_gate(s);
    submit_one(RUNNING, "print(4)");
    expect_answers(0, RUNNING + 1);
    sp_stage_until(are_left, &none, LIMIT_MS, "the old provider is closed");

    cr_expect(sp_stage_answer_is(sp_stage_reply(s, "j0", 0), "provider", "\"e2b\""));
    cr_expect(
        sp_stage_answer_is(sp_stage_reply(s, "j4", 0), "provider", "\"aliyun_codeinterpreter\""));
    sp_stage_worker_end(s, worker, SIGTERM);
    old->stop();
    new->stop();
}

static bool all_have_leases(void *arg)
{
    const struct service *service = arg;
    sp_auto(sp_free_str) char *n =
        sp_stage_redis(s, "HLEN %s:lease:%s", s->prefix, service->provider);
    return atoi(n) > 0 && atoi(n) == service->alive();
}

Test(leases, sandboxes_of_an_outage_of_redis_have_leases_behind_it)
{
    const struct service *service = &services[1];
    struct count pool = {service, POOL};
    service->start();
    struct sp_redis_server redis = sp_stage_own_redis(s, NULL);
    use(service);
    int first = start_worker();
    sp_stage_until_readyz(s, first, 200, "", LIMIT_MS); /* it has its settings */
    sp_redis_server_kill(&redis);
    start_running(service);

    cr_assert(sp_redis_server_start(&redis, NULL)); /* it has lost all */
    use(service);
    sp_stage_until(all_have_leases, (void *)(uintptr_t)service, LIMIT_MS, "the leases are written");
    sp_stage_worker_end(s, first, SIGKILL);
    sp_stage_open_gate(s);
    int second = start_worker();
    expect_answers(0, RUNNING);
    struct swept some = {second, 1};
    sp_stage_until(has_swept, &some, LIMIT_MS, "the killed worker's sandboxes are found");
    sp_stage_until(are_left, &pool, LIMIT_MS, "the killed worker's sandboxes are ended");

    sp_stage_worker_end(s, second, SIGTERM);
    service->stop();
    sp_redis_server_stop(&redis);
}

/* 500 jobs on a service that fails at random; one worker is killed, one is stopped with its runs
 * cancelled, and one does the rest. */
SP_TABLE_TEST(leases, whatever_happens_every_job_is_answered_and_no_sandbox_lives_on, services,
              service)
{
    service->start();
    use(service);
    service->spoil();
    int killed = start_worker(), stopped = start_worker();
    for (int i = 0; i < JOBS; i++)
        submit_one(i, "import time\ntime.sleep(0.05)");

    cr_assert(sp_stage_wait(s, JOBS / 5, JOBS_MS));
    sp_stage_worker_end(s, killed, SIGKILL);
    int last = start_worker();
    cr_assert(sp_stage_wait(s, JOBS / 2, JOBS_MS));
    sp_stage_worker_end(s, stopped, SIGTERM);
    for (int i = 0; i < JOBS; i++) {
        char id[16];
        snprintf(id, sizeof id, "j%d", i);
        sp_stage_reply(s, id, JOBS_MS);
    }
    service->mend();
    use_with_pool(service, 0);
    struct count none = {service, 0};
    sp_stage_until(are_left, &none, LIMIT_MS, "what was left is swept");
    sp_stage_worker_end(s, last, SIGTERM);

    service->stop();
}
