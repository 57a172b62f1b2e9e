/* The thread that keeps leases: that it does, and when it sweeps. */
#include "worker/keeper.h"

#include <signal.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "tests/support.h"
#include "tests/support/until.h"
#include "tests/worker/fixture.h"

enum { EVERY_MS = 20, LIFE_MS = 2000, LONG_MS = 60000, PATIENCE_MS = 60000 };

static struct redis_rig rig;
static struct sp_leases *leases;
static struct sp_host host;
static struct sp_watcher *watcher;
static struct sp_keeper *keeper;
static atomic_int sweeps;

/* ---- a provider that counts its sweeps ---- */

static void count_sweep(struct sp_provider *p)
{
    (void)p;
    atomic_fetch_add(&sweeps, 1);
}

static const struct sp_provider_ops counting = {.name = "counting", .sweep = count_sweep};
static struct sp_provider provider = {.ops = &counting};

static enum sp_code apply_open(void *ctx, const struct sp_document *doc, void **value,
                               const char **name, struct sp_error *err)
{
    (void)ctx, (void)doc, (void)err;
    *value = &provider;
    *name = counting.name;
    return SP_OK;
}

static enum sp_code apply_check(void *ctx, void *value, struct sp_error *err)
{
    (void)ctx, (void)value, (void)err;
    return SP_OK;
}

static void apply_close(void *ctx, void *value)
{
    (void)ctx, (void)value;
}

static const struct sp_apply_ops apply = {apply_open, apply_check, apply_close};

/* ---- the stage ---- */

static struct sp_redis *connection(void)
{
    struct sp_redis *redis = NULL;
    cr_assert(not(sp_redis_new(rig.config, &redis, NULL)));
    return redis;
}

static void setup(void)
{
    (void)signal(SIGPIPE, SIG_IGN); /* as the worker does */
    redis_rig_open(&rig);
    const struct sp_lease_times times = {.life_ms = LIFE_MS};
    cr_assert(not(sp_leases_new(rig.link, "sp", &times, &leases, NULL)));
    host = sp_leases_host(leases, "w1", &rig.config->limits);
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    cr_assert(not(sp_redis_command(rig.redis, &reply, NULL,
                                   "HSET sp:settings version 1 sandbox.provider_type counting")));
    cr_assert(
        not(sp_watcher_start(connection(), connection(), "sp", &apply, NULL, &watcher, NULL)));
    const struct sp_keeper_options options = {leases, watcher, EVERY_MS};
    cr_assert(not(sp_keeper_start(&options, &keeper, NULL)));
}

static void teardown(void)
{
    sp_keeper_stop(keeper);
    sp_watcher_stop(watcher);
    sp_leases_free(leases);
    redis_rig_close(&rig);
}

TestSuite(keeper, .init = setup, .fini = teardown);

static void put(const char *name, const char *id, int64_t ttl_ms)
{
    cr_assert(not(host.lease_put(host.ctx, name, id, "{}", ttl_ms, NULL)));
}

static bool is_in_redis(const char *id)
{
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    return !sp_redis_command(rig.redis, &reply, NULL, "HEXISTS sp:lease:counting %s", id) &&
           reply->integer == 1;
}

Test(keeper, a_lease_that_has_run_out_is_swept)
{
    put("counting", "box-1", 0);

    cr_expect(SP_UNTIL(PATIENCE_MS, atomic_load(&sweeps) > 1));
}

Test(keeper, one_that_holds_is_kept_and_not_swept)
{
    put("counting", "box-1", LONG_MS);
    int64_t put_at = sp_mono_ms();

    cr_expect(not(SP_UNTIL(LIFE_MS + LIFE_MS / 2, atomic_load(&sweeps) > 0)));

    cr_expect(put_at + LIFE_MS < sp_mono_ms());
    cr_expect(is_in_redis("box-1"));
}

Test(keeper, a_provider_without_such_leases_is_not_bothered)
{
    put("other", "box-1", 0);
    put("counting", "box-2", LONG_MS);

    cr_expect(not(SP_UNTIL(20 * EVERY_MS, atomic_load(&sweeps) > 0)));
}

Test(keeper, a_lease_that_could_not_be_written_is_written_later)
{
    sp_redis_server_kill(&rig.server);
    cr_assert(ne(int, host.lease_put(host.ctx, "counting", "box-1", "{}", LONG_MS, NULL), SP_OK));

    cr_assert(sp_redis_server_start(&rig.server, NULL));

    cr_expect(SP_UNTIL(PATIENCE_MS, is_in_redis("box-1")));
}
