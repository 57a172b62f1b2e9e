/* The settings thread on a real Redis: when it looks, and what it does with Redis away. What it
 * finds is judged by the rules that test_judge.c tests. */
#include "settings/watcher.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "tests/settings/fake.h"
#include "tests/support.h"
#include "tests/support/redis_server.h"

enum { PATIENCE_MS = 30000 };

static struct sp_redis_server server;
static struct sp_redis *redis; /* the administrator's */
static struct sp_watcher *watcher;

static struct sp_redis *new_redis(void)
{
    struct sp_config config = {.redis = {.url = server.url}};
    struct sp_redis *out = NULL;

    cr_assert(eq(int, sp_redis_new(&config, &out, NULL), SP_OK));
    return out;
}

static void start_watcher(void)
{
    struct sp_error err = {0};
    enum sp_code rc =
        sp_watcher_start(new_redis(), new_redis(), "sandpiper", &fake_ops, NULL, &watcher, &err);

    cr_assert(eq(int, rc, SP_OK), "%s", err.msg);
}

static void start(void)
{
    signal(SIGPIPE, SIG_IGN);
    cr_assert(sp_redis_server_start(&server, NULL));
    redis = new_redis();
    start_watcher();
}

static void stop(void)
{
    sp_watcher_stop(watcher);
    sp_redis_free(redis);
    sp_redis_server_stop(&server);
    cr_expect(eq(int, fake_opened, fake_closed), "every provider is closed in the end");
}

TestSuite(watcher, .init = start, .fini = stop);

static void run(const char *fmt, const char *arg)
{
    redisReply *reply = NULL;
    struct sp_error err = {0};

    cr_assert(eq(int, sp_redis_command(redis, &reply, &err, fmt, arg), SP_OK), "%s", err.msg);
    freeReplyObject(reply);
}

static int64_t set(const char *json)
{
    json_auto_t *providers = json_object();
    struct sp_change change = {.provider_type = "e2b", .providers = providers};
    struct sp_error err = {0};
    int64_t version = 0;
    enum sp_stored stored;

    json_object_set_new(providers, "e2b", json_loads(json, 0, NULL));
    cr_assert(eq(int, sp_store_change(redis, "sandpiper", &change, &version, &stored, &err), SP_OK),
              "%s", err.msg);
    return version;
}

/* Waits on the descriptor of the status, so nothing here depends on timing. */
static void wait_until(struct want want)
{
    struct pollfd fd = {.fd = sp_watcher_fd(watcher), .events = POLLIN};
    int64_t deadline = sp_deadline_in(PATIENCE_MS);
    struct sp_settings_status s = {0};
    char line[400];
    eventfd_t count;

    for (;;) {
        (void)eventfd_read(fd.fd, &count);
        sp_watcher_status(watcher, &s);
        if (fits(&s, &want))
            return;
        describe(&s, line);
        cr_assert(ne(int, sp_deadline_left(deadline), 0), "%s", line);
        poll(&fd, 1, sp_deadline_left(deadline));
    }
}

static void wait_for_version(int64_t version)
{
    wait_until(want_version(version));
}

static void wait_for_down(int64_t version, const char *message)
{
    wait_until(want_down(version, message));
}

static void expect_key(const char *key)
{
    expect_key_of(sp_watcher_get(watcher), key);
}

Test(watcher, a_change_is_applied_at_once)
{
    enum { CHANGES = 20, LIMIT_MS = 30000 };
    wait_until((struct want){.state = SP_SETTINGS_ABSENT});
    int64_t deadline = sp_deadline_in(LIMIT_MS);

    for (int i = 1; i <= CHANGES; i++) {
        set(i % 2 ? "{\"api_key\":\"one\"}" : "{\"api_key\":\"two\"}");
        wait_for_version(i);
    }

    /* By looking now and then so many would take a minute. */
    cr_expect(ne(int, sp_deadline_left(deadline), 0), "the hints were not heard");
    expect_key("two");
    struct sp_settings_status s;
    sp_watcher_status(watcher, &s);
    cr_expect(eq(str, s.provider, "fake"));
    cr_expect(eq(i64, s.changes, CHANGES));
}

Test(watcher, a_key_of_another_type_is_a_failed_configuration)
{
    run("SET sandpiper:settings x", NULL);
    sp_watcher_poke(watcher, false);
    wait_until((struct want){.state = SP_SETTINGS_INVALID, .failures = 1});

    run("DEL sandpiper:settings", NULL);
    set("{\"api_key\":\"one\"}");
    wait_for_version(1);
}

Test(watcher, an_unavailable_peer_is_tried_again_while_the_old_one_works)
{
    set("{\"api_key\":\"one\"}");
    wait_for_version(1);
    fake_peer_away = true;

    set("{\"api_key\":\"two\",\"peer\":\"down\"}");
    wait_until((struct want){.state = SP_SETTINGS_IN_FORCE,
                             .version = 1,
                             .message = "the peer is away",
                             .error_version = 2});
    expect_key("one");
    fake_peer_away = false;
    wait_for_version(2);

    expect_key("two");
    struct sp_settings_status s;
    sp_watcher_status(watcher, &s);
    cr_expect(eq(i64, s.failures, 0));
}

Test(watcher, without_an_old_one_an_unavailable_peer_is_put_in_force_and_checked_again)
{
    fake_peer_away = true;
    set("{\"api_key\":\"one\",\"peer\":\"down\"}");
    wait_for_down(1, "the peer is away");
    expect_key("one");
    set("{\"api_key\":\"two\",\"peer\":\"down\"}");
    wait_for_down(2, NULL);

    fake_peer_away = false;
    wait_for_version(2);

    cr_expect(eq(int, fake_opened, 2), "checking again opens nothing");
}

static void doubt(void)
{
    struct sp_snapshot *snapshot = sp_watcher_get(watcher);

    sp_watcher_doubt(watcher, snapshot);
    sp_snapshot_unref(snapshot);
}

Test(watcher, a_provider_that_a_job_found_away_is_up_again_after_a_check)
{
    int64_t version = set("{\"api_key\":\"one\",\"peer\":\"down\"}");
    wait_for_version(version);
    fake_peer_away = true;

    doubt();

    wait_for_down(version, "the peer is away");
    fake_peer_away = false;
    wait_for_version(version);
}

Test(watcher, a_change_whose_hint_is_lost_is_found_by_looking)
{
    wait_until((struct want){.state = SP_SETTINGS_ABSENT});

    run("HSET sandpiper:settings version 7 sandbox.provider_type e2b sandbox.e2b %s",
        "{\"api_key\":\"one\"}");

    wait_for_version(7);
}

Test(watcher, references_are_resolved_again_on_demand)
{
    setenv("SP_TEST_KEY", "old", 1);
    set("{\"api_key\":\"env:SP_TEST_KEY\"}");
    wait_for_version(1);
    expect_key("old");

    setenv("SP_TEST_KEY", "new", 1);
    sp_watcher_poke(watcher, true);
    wait_until((struct want){.state = SP_SETTINGS_IN_FORCE, .version = 1, .changes = 2});

    expect_key("new");
}

Test(watcher, a_redis_that_comes_back_empty_leaves_the_last_good_one)
{
    set("{\"api_key\":\"one\"}");
    set("{\"api_key\":\"two\"}");
    wait_for_version(2);

    sp_redis_server_kill(&server);
    wait_until((struct want){
        .state = SP_SETTINGS_IN_FORCE, .version = 2, .redis_down = true, .message = ""});
    expect_key("two");
    cr_assert(sp_redis_server_start(&server, NULL));
    wait_until((struct want){.state = SP_SETTINGS_IN_FORCE,
                             .version = 2,
                             .message = "Redis holds no settings; version 2 stays in force"});
    sp_redis_disconnect(redis);
    set("{\"api_key\":\"three\"}");
    wait_for_version(1);

    expect_key("three");
}

Test(watcher, references_handed_out_outlive_the_watcher)
{
    set("{\"api_key\":\"one\"}");
    wait_for_version(1);
    struct sp_snapshot *held = sp_watcher_get(watcher);

    sp_watcher_stop(watcher);
    watcher = NULL;

    cr_expect(eq(int, fake_closed, 0));
    cr_expect(eq(str, ((struct fake *)held->value)->api_key, "one"));
    sp_snapshot_unref(held);
    cr_expect(eq(int, fake_closed, 1));
}

static void start_without_redis(void)
{
    signal(SIGPIPE, SIG_IGN);
    cr_assert(sp_redis_server_start(&server, NULL));
    sp_redis_server_kill(&server);
    start_watcher();
}

TestSuite(watcher_start, .init = start_without_redis, .fini = stop);

static void start_redis(void)
{
    cr_assert(sp_redis_server_start(&server, NULL));
    redis = new_redis();
}

Test(watcher_start, redis_may_be_down)
{
    struct pollfd fd = {.fd = sp_watcher_fd(watcher), .events = POLLIN};
    struct sp_settings_status s;

    cr_assert(eq(int, poll(&fd, 1, PATIENCE_MS), 1));
    sp_watcher_status(watcher, &s);
    cr_expect(eq(int, (int)s.state, SP_SETTINGS_UNREAD));
    cr_expect(not(s.redis_up));
    cr_expect(zero(strncmp(s.message, "sandpiper:settings: redis /tmp/", 31)), "%s", s.message);
    cr_expect(eq(ptr, sp_watcher_get(watcher), NULL));
    start_redis();
    set("{\"api_key\":\"one\"}");
    wait_for_version(1);

    expect_key("one");
}

static void offer(const char *json)
{
    struct sp_document doc = fake_document(json);

    sp_watcher_offer(watcher, &doc);
    cr_expect(not(doc.present), "it is taken");
}

Test(watcher_start, what_the_control_topic_offers_is_in_force_until_redis_answers)
{
    offer("{\"colour\":1}");
    wait_until((struct want){
        .state = SP_SETTINGS_INVALID, .redis_down = true, .message = "api_key: required"});
    offer("{\"api_key\":\"one\"}");
    wait_until((struct want){.state = SP_SETTINGS_IN_FORCE, .redis_down = true, .message = ""});
    expect_key("one");

    start_redis();
    set("{\"api_key\":\"one\"}");
    wait_for_version(1);
    cr_expect(eq(int, fake_opened, 1), "the same settings keep their provider");
    offer("{\"api_key\":\"other\"}");
    set("{\"api_key\":\"two\"}");
    wait_for_version(2);

    expect_key("two");
}

Test(watcher_start, references_of_what_is_offered_are_resolved_again_once)
{
    offer("{\"api_key\":\"one\"}");
    wait_until((struct want){.state = SP_SETTINGS_IN_FORCE, .redis_down = true, .changes = 1});

    sp_watcher_poke(watcher, true);
    wait_until((struct want){.state = SP_SETTINGS_IN_FORCE, .redis_down = true, .changes = 2});
    start_redis();
    set("{\"api_key\":\"one\"}");
    wait_for_version(1);

    cr_expect(eq(int, fake_opened, 2), "once it was offered, once it was asked for");
}
