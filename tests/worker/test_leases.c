#include "worker/leases.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "tests/support.h"
#include "tests/support/until.h"
#include "tests/worker/fixture.h"

enum { LIFE_MS = 30000, SHORT_MS = 200, SETTLE_MS = 1500, LONG_MS = 60000, PATIENCE_MS = 60000 };

static struct redis_rig rig;
static struct sp_leases *leases;
static struct sp_host host;

static void open_leases(const struct sp_lease_times *times)
{
    cr_assert(not(sp_leases_new(rig.link, "sp", times, &leases, NULL)));
    host = sp_leases_host(leases, "w1", &rig.config->limits);
}

static void setup(void)
{
    (void)signal(SIGPIPE, SIG_IGN); /* as the worker does */
    redis_rig_open(&rig);
    open_leases(&(struct sp_lease_times){.life_ms = LIFE_MS});
}

static void teardown(void)
{
    sp_leases_free(leases);
    redis_rig_close(&rig);
}

static void open_anew(int64_t life_ms, int64_t settle_ms)
{
    const struct sp_lease_times times = {.life_ms = life_ms, .settle_ms = settle_ms};
    sp_leases_free(leases);
    open_leases(&times);
}

TestSuite(leases, .init = setup, .fini = teardown);

static void put(const char *id, int64_t ttl_ms)
{
    struct sp_error err = {0};
    cr_assert(not(host.lease_put(host.ctx, "e2b", id, "{\"a\":1}", ttl_ms, &err)), "%s", err.msg);
}

static void keep(void)
{
    struct sp_error err = {0};
    cr_assert(not(sp_leases_keep(leases, &err)), "%s", err.msg);
}

/* What is listed of a provider: the text of a JSON array. */
static char *listed(const char *provider)
{
    json_auto_t *list = NULL;
    struct sp_error err = {0};
    cr_assert(not(host.lease_list(host.ctx, provider, &list, &err)), "%s", err.msg);
    return json_dumps(list, JSON_COMPACT);
}

static bool is_listed(const char *id)
{
    sp_auto(sp_free_str) char *list = listed("e2b");
    return strstr(list, id) != NULL;
}

static int64_t asked(const char *fmt, const char *id)
{
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    cr_assert(not(sp_redis_command(rig.redis, &reply, NULL, fmt, id)));
    return reply->type == REDIS_REPLY_STRING ? atoll(reply->str) : reply->integer;
}

static void tell(const char *command)
{
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    cr_assert(not(sp_redis_command(rig.redis, &reply, NULL, command)));
}

/* Milliseconds, by Redis's clock. */
static int64_t life_left(const char *id)
{
    sp_auto(freeReplyObject) redisReply *now = NULL;
    cr_assert(not(sp_redis_command(rig.redis, &now, NULL, "TIME")));
    return asked("ZSCORE sp:lease:e2b:until %s", id) -
           (atoll(now->element[0]->str) * 1000 + atoll(now->element[1]->str) / 1000);
}

Test(leases, a_lease_is_listed_once_it_has_run_out)
{
    put("box-1", LONG_MS);
    put("box-2", 0);

    sp_auto(sp_free_str) char *list = listed("e2b");

    cr_expect(eq(str, list, "[{\"id\":\"box-2\",\"data\":\"{\\\"a\\\":1}\"}]"));
}

Test(leases, a_dropped_lease_is_not_listed)
{
    put("box-1", 0);

    cr_assert(not(host.lease_drop(host.ctx, "e2b", "box-1", NULL)));

    cr_expect(not(is_listed("box-1")));
    cr_expect(zero(i64, asked("EXISTS sp:lease:e2b", NULL)));
    cr_expect(zero(i64, asked("EXISTS sp:lease:e2b:until", NULL)));
}

Test(leases, the_lease_of_a_worker_that_does_not_keep_it_runs_out_soon)
{
    put("box-1", LONG_MS);
    cr_expect(not(is_listed("box-1")));
    open_anew(SHORT_MS, 0);

    put("box-2", LONG_MS);

    cr_expect(SP_UNTIL(LIFE_MS, is_listed("box-2")));
}

Test(leases, a_kept_lease_begins_its_life_anew)
{
    put("box-1", LONG_MS);
    tell("ZADD sp:lease:e2b:until 5 box-1");

    keep();

    cr_expect(lt(i64, 0, life_left("box-1")));
    cr_expect(life_left("box-1") <= LIFE_MS);
}

Test(leases, a_lease_is_kept_for_its_own_time_only)
{
    put("box-1", 1);
    cr_assert(SP_UNTIL(PATIENCE_MS, is_listed("box-1")));

    keep();

    cr_expect(is_listed("box-1"));
}

Test(leases, a_dropped_lease_is_not_kept)
{
    put("box-1", LONG_MS);
    cr_assert(not(host.lease_drop(host.ctx, "e2b", "box-1", NULL)));

    keep();

    cr_expect(zero(i64, asked("EXISTS sp:lease:e2b", NULL)));
}

Test(leases, putting_it_again_replaces_what_it_says)
{
    put("box-1", LONG_MS);
    cr_assert(not(host.lease_put(host.ctx, "e2b", "box-1", "new", 0, NULL)));

    sp_auto(sp_free_str) char *list = listed("e2b");

    cr_expect(eq(str, list, "[{\"id\":\"box-1\",\"data\":\"new\"}]"));
}

Test(leases, renewing_sets_the_time)
{
    put("box-1", 0);

    cr_assert(not(host.lease_renew(host.ctx, "e2b", "box-1", LONG_MS, NULL)));
    cr_expect(not(is_listed("box-1")));
    cr_assert(not(host.lease_renew(host.ctx, "e2b", "box-1", 0, NULL)));
    keep();

    cr_expect(is_listed("box-1"), "it was let go");
}

Test(leases, somebody_elses_lease_can_be_renewed)
{
    struct sp_error err = {0};
    put("box-1", 0);
    open_anew(LIFE_MS, 0);

    cr_expect(not(host.lease_renew(host.ctx, "e2b", "box-1", LONG_MS, &err)), "%s", err.msg);

    cr_expect(not(is_listed("box-1")));
}

Test(leases, a_lease_that_is_not_there_cannot_be_renewed)
{
    struct sp_error err = {0};

    enum sp_code rc = host.lease_renew(host.ctx, "e2b", "box-1", LONG_MS, &err);

    cr_expect(eq(int, rc, SP_E_INVALID));
    cr_expect(eq(str, err.msg, "there is no lease box-1"));
    cr_expect(zero(i64, asked("EXISTS sp:lease:e2b:until", NULL)));
}

Test(leases, providers_do_not_see_each_others_leases)
{
    put("box-1", 0);

    sp_auto(sp_free_str) char *list = listed("ssh");

    cr_expect(eq(str, list, "[]"));
    cr_expect(sp_leases_have_expired(leases, "e2b"));
    cr_expect(not(sp_leases_have_expired(leases, "ssh")));
}

Test(leases, what_ran_out_a_day_ago_is_forgotten)
{
    put("box-1", 0);
    put("box-2", 0);
    tell("ZADD sp:lease:e2b:until 5 box-1");

    sp_auto(sp_free_str) char *list = listed("e2b");

    cr_expect(strstr(list, "box-1") == NULL);
    cr_expect(strstr(list, "box-2") != NULL);
    cr_expect(eq(i64, asked("HLEN sp:lease:e2b", NULL), 1));
}

/* ---- Redis away ---- */

static bool can_keep(void)
{
    return sp_leases_keep(leases, NULL) == SP_OK;
}

Test(leases, what_could_not_be_written_is_written_when_redis_is_back)
{
    struct sp_error err = {0};
    sp_redis_server_kill(&rig.server);

    enum sp_code rc = host.lease_put(host.ctx, "e2b", "box-1", "{}", LONG_MS, &err);
    cr_expect(eq(int, rc, SP_E_UNAVAILABLE));
    cr_expect(not(can_keep()));
    cr_assert(sp_redis_server_start(&rig.server, NULL));

    cr_assert(SP_UNTIL(PATIENCE_MS, can_keep()));
    sp_redis_disconnect(rig.redis);
    cr_expect(eq(i64, asked("HEXISTS sp:lease:e2b %s", "box-1"), 1));
    cr_expect(lt(i64, 0, life_left("box-1")));
}

Test(leases, what_redis_lost_is_written_again)
{
    put("box-1", LONG_MS);
    put("box-2", LONG_MS);
    cr_assert(not(host.lease_drop(host.ctx, "e2b", "box-2", NULL)));
    tell("FLUSHALL");

    keep();

    cr_expect(eq(i64, asked("HEXISTS sp:lease:e2b %s", "box-1"), 1));
    cr_expect(eq(i64, asked("HLEN sp:lease:e2b", NULL), 1));
}

Test(leases, at_the_start_nothing_is_listed_for_a_while)
{
    open_anew(LIFE_MS, LONG_MS);
    put("box-1", 0);

    cr_expect(not(is_listed("box-1")));
    cr_expect(not(sp_leases_have_expired(leases, "e2b")));
}

/* Their holders may live, and had no time to keep them. */
Test(leases, after_an_outage_nothing_is_listed_for_a_while)
{
    open_anew(LIFE_MS, SETTLE_MS);
    put("box-1", 0);
    cr_assert(SP_UNTIL(PATIENCE_MS, is_listed("box-1")));
    sp_redis_server_kill(&rig.server);
    cr_assert(not(can_keep()));
    int64_t seen_away = sp_mono_ms();
    cr_assert(sp_redis_server_start(&rig.server, NULL));
    cr_assert(SP_UNTIL(PATIENCE_MS, can_keep()));
    put("box-2", 0);

    cr_expect(SP_UNTIL(PATIENCE_MS, is_listed("box-2")));
    cr_expect(SETTLE_MS - 10 <= sp_mono_ms() - seen_away);
}
