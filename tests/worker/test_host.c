#include "worker/host.h"

#include <stdio.h>
#include <string.h>

#include "tests/support.h"
#include "tests/worker/fixture.h"

static struct redis_rig rig;
static struct sp_lease_store leases;
static struct sp_host host;

static void setup(void)
{
    redis_rig_open(&rig);
    leases = (struct sp_lease_store){.prefix = "sp", .link = rig.link};
    host = sp_host_make(&leases, "w1", &rig.config->limits);
}

static void teardown(void)
{
    redis_rig_close(&rig);
}

TestSuite(host, .init = setup, .fini = teardown);

static json_t *listed(void)
{
    json_t *list = NULL;
    struct sp_error err = {0};
    cr_assert(not(host.lease_list(host.ctx, "e2b", &list, &err)), "%s", err.msg);
    return list;
}

static void expire(const char *id)
{
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    cr_assert(not(sp_redis_command(rig.redis, &reply, NULL, "DEL sp:lease:e2b:%s", id)));
}

Test(host, a_lease_is_listed_until_it_is_dropped)
{
    cr_assert(not(host.lease_put(host.ctx, "e2b", "box-1", "{\"a\":1}", 60000, NULL)));

    json_auto_t *before = listed();
    cr_assert(not(host.lease_drop(host.ctx, "e2b", "box-1", NULL)));
    json_auto_t *after = listed();

    json_t *lease = json_array_get(before, 0);
    cr_assert(eq(sz, json_array_size(before), 1));
    cr_expect(eq(str, (char *)json_string_value(json_object_get(lease, "id")), "box-1"));
    cr_expect(eq(str, (char *)json_string_value(json_object_get(lease, "data")), "{\"a\":1}"));
    cr_expect(eq(int, json_is_false(json_object_get(lease, "expired")), 1));
    cr_expect(eq(sz, json_array_size(after), 0));
}

Test(host, a_lease_that_nobody_renewed_is_listed_as_expired)
{
    cr_assert(not(host.lease_put(host.ctx, "e2b", "box-1", "{}", 60000, NULL)));
    expire("box-1");

    json_auto_t *list = listed();

    cr_expect(eq(int, json_is_true(json_object_get(json_array_get(list, 0), "expired")), 1));
}

Test(host, renewing_gives_a_lease_its_time_anew)
{
    sp_auto(freeReplyObject) redisReply *ttl = NULL;
    cr_assert(not(host.lease_put(host.ctx, "e2b", "box-1", "{}", 1000, NULL)));

    cr_assert(not(host.lease_renew(host.ctx, "e2b", "box-1", 60000, NULL)));

    cr_assert(not(sp_redis_command(rig.redis, &ttl, NULL, "PTTL sp:lease:e2b:box-1")));
    cr_expect(ttl->integer > 50000);
}

Test(host, an_expired_lease_cannot_be_renewed)
{
    struct sp_error err = {0};
    cr_assert(not(host.lease_put(host.ctx, "e2b", "box-1", "{}", 60000, NULL)));
    expire("box-1");

    enum sp_code rc = host.lease_renew(host.ctx, "e2b", "box-1", 60000, &err);

    cr_expect(eq(int, rc, SP_E_INVALID));
    cr_expect(eq(str, err.msg, "lease box-1 has expired"));
}

Test(host, providers_do_not_see_each_others_leases)
{
    json_t *list = NULL;
    cr_assert(not(host.lease_put(host.ctx, "e2b", "box-1", "{}", 60000, NULL)));

    cr_assert(not(host.lease_list(host.ctx, "ssh", &list, NULL)));

    cr_expect(eq(sz, json_array_size(list), 0));
    json_decref(list);
}
