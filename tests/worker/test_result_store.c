#include "worker/result_store.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "tests/support.h"
#include "tests/support/redis_server.h"
#include "tests/worker/fixture.h"

static struct sp_redis_server server;
static struct sp_config *config;
static struct sp_redis *redis;
static struct sp_result_store store;

static void setup(void)
{
    struct sp_redis *own = NULL;
    char url[160];
    cr_assert(sp_redis_server_start(&server, NULL));
    snprintf(url, sizeof url, "redis.url=%s", server.url);
    config = config_with((const char *const[]){url}, 1);
    cr_assert(not(sp_redis_new(config, &redis, NULL)));
    cr_assert(not(sp_redis_new(config, &own, NULL)));
    store = (struct sp_result_store){.prefix = "sp", .ttl_ms = 60000, .metrics = sp_metrics_new()};
    cr_assert(not(sp_redis_link_new(own, &store.link, NULL)));
}

static void teardown(void)
{
    sp_redis_link_free(store.link);
    sp_metrics_free(store.metrics);
    sp_redis_free(redis);
    sp_config_free(config);
    sp_redis_server_stop(&server);
}

TestSuite(result_store, .init = setup, .fini = teardown);

Test(result_store, a_part_is_kept_byte_for_byte_for_its_time)
{
    struct sp_part_store parts = sp_result_store_parts(&store);
    struct sp_error err = {0};
    char ref[128];
    sp_auto(freeReplyObject) redisReply *got = NULL;
    sp_auto(freeReplyObject) redisReply *ttl = NULL;

    enum sp_code rc = parts.put(parts.ctx, "a\0b\n", 4, ref, &err);

    cr_assert(eq(int, rc, SP_OK), "%s", err.msg);
    cr_assert(eq(int, strncmp(ref, "redis:sp:blob:", 14), 0), "%s", ref);
    cr_assert(not(sp_redis_command(redis, &got, &err, "GET %s", ref + 6)));
    cr_expect(eq(sz, got->len, 4));
    cr_expect(eq(int, memcmp(got->str, "a\0b\n", 4), 0));
    cr_assert(not(sp_redis_command(redis, &ttl, &err, "PTTL %s", ref + 6)));
    cr_expect(ttl->integer > 50000 && ttl->integer <= 60000);
}

Test(result_store, while_redis_is_away_only_the_first_caller_waits)
{
    struct sp_part_store parts = sp_result_store_parts(&store);
    struct sp_error err = {0};
    char ref[128];
    sp_redis_server_kill(&server);
    enum sp_code first = parts.put(parts.ctx, "x", 1, ref, &err);
    int64_t before = sp_mono_ms();

    enum sp_code second = parts.put(parts.ctx, "x", 1, ref, &err);

    cr_expect(eq(int, first, SP_E_UNAVAILABLE));
    cr_expect(eq(int, second, SP_E_UNAVAILABLE));
    cr_expect(strstr(err.msg, "is away") != NULL, "%s", err.msg);
    cr_expect(sp_mono_ms() - before < 100);
}
