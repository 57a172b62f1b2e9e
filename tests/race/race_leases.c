/*
 * Many threads put, renew and drop leases while one keeps them and another sweeps what has run out,
 * with a Redis that is away for a while. Passes when in the end no lease is left that was dropped.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "providers/lease.h"
#include "tests/support/redis_server.h"
#include "worker/leases.h"

enum { THREADS = 6, ROUNDS = 200, OUTAGE_AT = 300, PATIENCE_MS = 60000 };
#define PROVIDER "race"
#define SERVICE "there"

static struct sp_leases *leases;
static struct sp_host host;
static struct sp_redis_server server;
static atomic_bool stop, is_back;
static atomic_int rounds, ended;

static void use_once(const char *id, bool leave)
{
    const struct sp_lease lease = {id, SERVICE, ""};

    sp_lease_put(&host, PROVIDER, &lease, PATIENCE_MS);
    if (leave) {
        sp_lease_leave(&host, PROVIDER, id);
    } else {
        sp_lease_drop(&host, PROVIDER, id);
    }
    atomic_fetch_add(&rounds, 1);
}

/* Until Redis was away and is back. */
static void *use(void *arg)
{
    for (int i = 0; i < ROUNDS || !is_back; i++) {
        char id[32];
        (void)snprintf(id, sizeof id, "%d-%d", *(const int *)arg, i);
        use_once(id, i % 4 == 0);
    }
    return NULL;
}

static void *keep(void *arg)
{
    (void)arg;
    while (!stop) {
        if (sp_leases_keep(leases, NULL))
            (void)usleep(1000);
    }
    return NULL;
}

static enum sp_code end_one(void *ctx, const struct sp_lease *lease, int64_t deadline,
                            struct sp_error *err)
{
    (void)ctx, (void)lease, (void)deadline, (void)err;
    atomic_fetch_add(&ended, 1);
    return SP_OK;
}

static void *sweep(void *arg)
{
    (void)arg;
    while (!stop)
        sp_lease_sweep(&host, PROVIDER, SERVICE, end_one, NULL);
    return NULL;
}

static bool start_host(const struct sp_config *config, struct sp_redis_link **link)
{
    const struct sp_lease_times times = {.life_ms = PATIENCE_MS};
    sp_auto(sp_redis_free) struct sp_redis *redis = NULL;

    if (sp_redis_new(config, &redis, NULL) || sp_redis_link_new(redis, link, NULL))
        return false;
    redis = NULL; /* the link's now */
    if (sp_leases_new(*link, "race", &times, &leases, NULL))
        return false;
    host = sp_leases_host(leases, "w", NULL);
    return true;
}

static void break_redis(void)
{
    while (atomic_load(&rounds) < OUTAGE_AT)
        (void)usleep(1000);
    sp_redis_server_kill(&server);
    while (sp_leases_keep(leases, NULL) == SP_OK)
        ;
    (void)sp_redis_server_start(&server, NULL);
    while (sp_leases_keep(leases, NULL) != SP_OK)
        (void)usleep(1000);
    is_back = true;
}

static bool run_all(void)
{
    pthread_t users[THREADS], keeper, sweeper;
    int numbers[THREADS];

    if (pthread_create(&keeper, NULL, keep, NULL) || pthread_create(&sweeper, NULL, sweep, NULL))
        return false;
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        if (pthread_create(&users[i], NULL, use, &numbers[i]))
            return false;
    }
    break_redis();
    for (int i = 0; i < THREADS; i++)
        pthread_join(users[i], NULL);
    stop = true;
    pthread_join(keeper, NULL);
    pthread_join(sweeper, NULL);
    return true;
}

/* Those that were left are swept as soon as Redis answers; then none is held or listed any more. */
static bool comes_to_an_end(void)
{
    int64_t end = sp_deadline_in(PATIENCE_MS);

    while (sp_deadline_left(end) > 0) {
        if (sp_leases_keep(leases, NULL) == SP_OK && !sp_leases_have_expired(leases, PROVIDER))
            return true;
        sp_lease_sweep(&host, PROVIDER, SERVICE, end_one, NULL);
    }
    return false;
}

int main(void)
{
    struct sp_redis_link *link = NULL;

    (void)signal(SIGPIPE, SIG_IGN);
    sp_log_setup(SP_ERROR, true);
    if (!sp_redis_server_start(&server, NULL))
        return 1;
    struct sp_config config = {.redis = {.url = server.url, .prefix = "race"}};
    bool ok = start_host(&config, &link) && run_all() && comes_to_an_end();
    sp_leases_free(leases);
    sp_redis_link_free(link);
    sp_redis_server_stop(&server);
    (void)fprintf(stderr, "%d rounds, %d swept\n", atomic_load(&rounds), atomic_load(&ended));
    return !ok || ended == 0 || rounds < THREADS * ROUNDS;
}
