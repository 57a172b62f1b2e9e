#include "worker/result_store.h"

#include <stdio.h>
#include <string.h>

#include "tests/support.h"
#include "tests/support/until.h"
#include "tests/worker/fixture.h"

enum { PATIENCE_MS = 60000 };

static struct redis_rig rig;
static struct sp_result_store store;

static void setup(void)
{
    redis_rig_open(&rig);
    store = (struct sp_result_store){
        .link = rig.link, .prefix = "sp", .ttl_ms = 60000, .metrics = sp_metrics_new()};
}

static void teardown(void)
{
    sp_metrics_free(store.metrics);
    redis_rig_close(&rig);
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
    cr_assert(not(sp_redis_command(rig.redis, &got, &err, "GET %s", ref + 6)));
    cr_expect(eq(sz, got->len, 4));
    cr_expect(eq(int, memcmp(got->str, "a\0b\n", 4), 0));
    cr_assert(not(sp_redis_command(rig.redis, &ttl, &err, "PTTL %s", ref + 6)));
    cr_expect(ttl->integer > 50000 && ttl->integer <= 60000);
}

Test(result_store, while_redis_is_away_only_the_first_caller_waits)
{
    struct sp_part_store parts = sp_result_store_parts(&store);
    struct sp_error err = {0};
    char ref[128];
    sp_redis_server_kill(&rig.server);

    /* One that comes within a second of the first. */
    cr_expect(SP_UNTIL(PATIENCE_MS, parts.put(parts.ctx, "x", 1, ref, &err) == SP_E_UNAVAILABLE &&
                                        strstr(err.msg, "is away") != NULL),
              "%s", err.msg);
}
