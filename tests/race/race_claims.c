/*
 * Executors of two workers share one Redis: every job is offered to both and runs on one of them,
 * while their connections are cut again and again. Passes when each job was run once.
 * `race_claims <threads> <jobs>` measures one worker alone, without cuts.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/log.h"
#include "tests/support/redis_server.h"
#include "tests/worker/claims_soon.h"

enum {
    WORKERS = 2,
    THREADS = 8,
    JOBS = 20000,
    CUT_EVERY_MS = 300,
    LIVENESS_MS = 10000,
    STOP_MS = 10000
};

static struct sp_redis_server server;
static struct sp_claims *workers[WORKERS];
static atomic_int next_job[WORKERS], runs, again, bad, cuts;
static int n_jobs;
static atomic_bool over;

static struct sp_claims *start(int n)
{
    struct sp_config config = {.redis = {.url = server.url}};
    struct sp_redis *redis = NULL;
    struct sp_claims *claims = NULL;
    struct sp_claims_status status = {0};
    char id[16];
    snprintf(id, sizeof id, "worker-%d", n);
    if (sp_redis_new(&config, &redis, NULL))
        abort();
    struct sp_claims_options options = {.redis = redis,
                                        .prefix = "sp",
                                        .worker_id = id,
                                        .liveness_ms = LIVENESS_MS,
                                        .results_ttl_ms = 60000,
                                        .max_attempts = 3};
    if (sp_claims_start(&options, &claims, NULL))
        abort();
    while (!status.up) {
        poll(NULL, 0, 1);
        sp_claims_status(claims, &status);
    }
    return claims;
}

/* As the executors do: the short way first. */
static enum sp_claim_verdict take(struct sp_claims *claims, const struct sp_claim_request *request,
                                  struct sp_claim **claim)
{
    if (take_soon(claims, request, claim) && *claim)
        return SP_CLAIM_RUN;
    return sp_claims_take(claims, request, claim);
}

static void finish(struct sp_claims *claims, struct sp_claim *claim, enum sp_claim_verdict verdict)
{
    static const char reply[] = "{\"status\":\"ok\",\"stdout\":\"hello\",\"exit_code\":0}";
    struct sp_stored_reply stored = {.bytes = reply,
                                     .len = sizeof reply - 1,
                                     .status = SP_STATUS_OK,
                                     .result_id = "0123456789abcdef0123456789abcdef",
                                     .worker = "w",
                                     .attempt = claim->attempt,
                                     .remembered = true};
    if (verdict == SP_CLAIM_RUN)
        atomic_fetch_add(&runs, 1);
    const struct sp_stored_reply *what = verdict == SP_CLAIM_REPUBLISH ? &claim->stored : &stored;
    enum sp_code rc = SP_OK;
    bool soon = verdict == SP_CLAIM_RUN && store_soon(claims, claim, what);
    while (!soon && (rc = sp_claims_finish(claims, claim, what, NULL)) == SP_E_UNAVAILABLE)
        poll(NULL, 0, 1);
    if (rc || claim->degraded)
        atomic_fetch_add(&bad, 1);
    sp_claims_delivered(claims, claim);
    sp_claims_committed(claims, claim);
}

/* Every eighth job is given back once before it is run. */
static void run_job(struct sp_claims *claims, int job)
{
    char id[32];
    snprintf(id, sizeof id, "job-%d", job);
    struct sp_claim_request request = {
        .id = id, .topic = "sandpiper.requests", .offset = job, .timestamp_ms = 1700000000000};
    memset(request.digest, 'a', SP_DIGEST_SIZE - 1);
    for (int tries = 0;; tries++) {
        struct sp_claim *claim = NULL;
        enum sp_claim_verdict verdict = take(claims, &request, &claim);
        if (verdict == SP_CLAIM_RUN && job % 8 == 0 && tries == 0 && workers[1]) {
            sp_claims_release(claims, claim);
            atomic_fetch_add(&again, 1);
        } else if (claim && verdict == SP_CLAIM_SKIP) {
            sp_claims_committed(claims, claim);
            return;
        } else if (claim) {
            finish(claims, claim, verdict);
            return;
        } else {
            poll(NULL, 0, 1);
        }
    }
}

static void *execute(void *arg)
{
    long worker = (long)(intptr_t)arg;
    int job = 0;
    while ((job = atomic_fetch_add(&next_job[worker], 1)) < n_jobs)
        run_job(workers[worker], job);
    return NULL;
}

/* Looks at the state all the time and, with two workers, cuts their connections now and then. */
static void *disturb(void *arg)
{
    struct sp_config config = {.redis = {.url = server.url}};
    struct sp_redis *redis = NULL;
    int64_t cut_at = sp_deadline_in(CUT_EVERY_MS);
    if (sp_redis_new(&config, &redis, NULL))
        abort();
    while (!atomic_load(&over)) {
        struct sp_claims_status status;
        redisReply *reply = NULL;
        sp_claims_status(workers[0], &status);
        poll(NULL, 0, 1);
        if (!workers[1] || sp_mono_ms() < cut_at)
            continue;
        cut_at = sp_deadline_in(CUT_EVERY_MS);
        if (!sp_redis_command(redis, &reply, NULL, "CLIENT KILL TYPE normal SKIPME yes"))
            freeReplyObject(reply);
        atomic_fetch_add(&cuts, 1);
    }
    sp_redis_free(redis);
    return arg;
}

static int64_t cpu_ms(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000 +
           (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1000;
}

static bool measure(int n_workers, int n_threads)
{
    pthread_t threads[256], disturber;
    int n = 0;
    for (int i = 0; i < n_workers; i++)
        workers[i] = start(i);
    int64_t begin = sp_mono_us(), cpu = cpu_ms();
    pthread_create(&disturber, NULL, disturb, NULL);
    for (int i = 0; i < n_threads; i++) {
        for (int w = 0; w < n_workers; w++)
            pthread_create(&threads[n++], NULL, execute, (void *)(intptr_t)w);
    }
    while (n > 0)
        pthread_join(threads[--n], NULL);
    int64_t took = sp_mono_us() - begin;
    atomic_store(&over, true);
    pthread_join(disturber, NULL);
    for (int i = 0; i < n_workers; i++)
        sp_claims_stop(workers[i], STOP_MS);
    printf("%d threads: %d jobs, %d runs, %d given back, %d cuts, %d wrong, %lld jobs/s, %lld us "
           "of CPU each\n",
           n_threads, n_jobs, atomic_load(&runs), atomic_load(&again), atomic_load(&cuts),
           atomic_load(&bad), (long long)n_jobs * 1000000 / (took ? took : 1),
           (long long)(cpu_ms() - cpu) * 1000 / n_jobs);
    return atomic_load(&bad) == 0 && atomic_load(&runs) == n_jobs;
}

int main(int argc, char **argv)
{
    bool alone = argc == 3;
    int n_threads = alone ? (int)strtol(argv[1], NULL, 10) : THREADS;
    n_jobs = alone ? (int)strtol(argv[2], NULL, 10) : JOBS;
    signal(SIGPIPE, SIG_IGN);
    sp_log_setup(SP_ERROR, true);
    if (!sp_redis_server_start(&server, NULL))
        return 1;
    bool ok = n_threads <= 128 && measure(alone ? 1 : WORKERS, n_threads);
    sp_redis_server_stop(&server);
    return ok ? 0 : 1;
}
