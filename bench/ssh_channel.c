/*
 * The baseline for `ssh`: on the worker's own connections (providers/ssh/link.h), IN-FLIGHT threads
 * each open a channel, run `true` in it and wait for its end, until JOBS are done.
 *
 *   ssh_channel HOST PORT USER KEY-FILE FINGERPRINT SESSIONS JOBS IN-FLIGHT
 *
 * SESSIONS: at once on one connection. Prints {"p50_ms": ..., "p99_ms": ...}; the first tenth,
 * which connects, is left out.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "bench/percentile.h"
#include "providers/ssh/link.h"

enum { MAX_THREADS = 64, LIMIT_MS = 30000 };

static struct {
    struct sp_ssh_pool *pool;
    const char *command;
    long long jobs;
    atomic_llong begun;
    int64_t *took_us;
} bench;

/* Reads all output; *own_us: what the program took by itself, 0 where it does not tell. */
static enum sp_code read_own_us(struct sp_ssh_link *link, const struct sp_ssh_wait *wait,
                                int64_t *own_us, struct sp_error *err)
{
    struct sp_ssh_part part = {.stream = SP_SSH_STDOUT};
    char buf[256];
    *own_us = 0;
    for (;;) {
        enum sp_code rc = sp_ssh_read(link, buf, sizeof(buf) - 1, wait, &part, err);
        if (rc || part.stream == SP_SSH_END)
            return rc;
        buf[part.len] = '\0';
        if (part.stream == SP_SSH_STDERR && strncmp(buf, "own_us=", 7) == 0)
            *own_us = strtoll(buf + 7, NULL, 10);
    }
}

static enum sp_code run_one(int64_t *own_us, struct sp_error *err)
{
    const struct sp_ssh_wait wait = {.deadline = sp_deadline_in(LIMIT_MS), .cancel_fd = -1};
    sp_auto(sp_ssh_give) struct sp_ssh_link *link = NULL;
    struct sp_ssh_exit end = {0};
    enum sp_started started = SP_STARTED_NO;
    enum sp_code rc = sp_ssh_take(bench.pool, &wait, &link, err);
    if (!rc)
        rc = sp_ssh_exec(link, bench.command, &wait, &started, err);
    if (!rc)
        rc = read_own_us(link, &wait, own_us, err);
    if (!rc)
        rc = sp_ssh_wait_exit(link, &wait, &end, err);
    if (!rc && end.status != 0)
        rc = sp_error_set(err, SP_E_INTERNAL, "the command ended with %d", end.status);
    return rc;
}

static void *loop(void *arg)
{
    (void)arg;
    for (long long n = atomic_fetch_add(&bench.begun, 1); n < bench.jobs;
         n = atomic_fetch_add(&bench.begun, 1)) {
        struct sp_error err = {0};
        int64_t from = sp_mono_us(), own_us = 0;
        if (run_one(&own_us, &err) != SP_OK) {
            fprintf(stderr, "ssh_channel: %s\n", err.msg);
            exit(1); /* NOLINT(concurrency-mt-unsafe): ends the other threads, too */
        }
        bench.took_us[n] = sp_mono_us() - from - own_us;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct sp_error err = {0};
    pthread_t threads[MAX_THREADS];
    long in_flight = argc == 9 || argc == 10 ? strtol(argv[8], NULL, 10) : 0;
    if (in_flight < 1 || in_flight > MAX_THREADS) {
        fprintf(stderr, "usage: ssh_channel HOST PORT USER KEY-FILE FINGERPRINT SESSIONS JOBS "
                        "IN-FLIGHT [COMMAND]\n");
        return 2;
    }
    const struct sp_ssh_options options = {.host = argv[1],
                                           .port = strtol(argv[2], NULL, 10),
                                           .username = argv[3],
                                           .private_key = argv[4],
                                           .host_key_fingerprint = argv[5],
                                           .max_sessions = strtol(argv[6], NULL, 10)};
    bench.command = argc == 10 ? argv[9] : "true";
    bench.jobs = strtoll(argv[7], NULL, 10);
    bench.took_us = calloc((size_t)bench.jobs, sizeof(*bench.took_us));
    if (!bench.took_us || sp_ssh_pool_new(&options, &bench.pool, &err) != SP_OK) {
        fprintf(stderr, "ssh_channel: %s\n", err.msg);
        return 1;
    }

    for (long i = 0; i < in_flight; i++)
        pthread_create(&threads[i], NULL, loop, NULL);
    for (long i = 0; i < in_flight; i++)
        pthread_join(threads[i], NULL);

    printf("{\"jobs\": %lld, \"p50_ms\": %.2f, \"p99_ms\": %.2f}\n", bench.jobs,
           bench_percentile_ms(bench.took_us, bench.jobs, 50),
           bench_percentile_ms(bench.took_us, bench.jobs, 99));
    sp_ssh_pool_free(bench.pool);
    free(bench.took_us);
    return 0;
}
