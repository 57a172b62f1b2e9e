/* Fake providers on a real Redis: what is in force after which change. */
#include "settings/watcher.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "tests/support.h"
#include "tests/support/redis_server.h"

enum { PATIENCE_MS = 15000 };

static struct sp_redis_server server;
static struct sp_redis *redis; /* the administrator's */
static struct sp_watcher *watcher;
static atomic_int opened, checked, closed; /* fake providers */
static atomic_int peer_away, stopping, refuses;

struct fake {
    char api_key[32], peer[16];
};

/* Settings of the fake: {"api_key": text, "peer": what it does while peer_away ("down",
 * "busy") | "denied" once it is not}. */
static enum sp_code fake_open(void *ctx, const struct sp_document *doc, void **value,
                              const char **name, struct sp_error *err)
{
    json_auto_t *settings = NULL;
    const char *key, *peer = "";
    enum sp_code rc =
        sp_document_provider(doc, doc->provider_type ? doc->provider_type : "none", &settings, err);

    (void)ctx;
    if (rc)
        return rc;
    if (json_unpack(settings, "{s:s, s?s}", "api_key", &key, "peer", &peer))
        return sp_error_set(err, SP_E_INVALID, "api_key: required");
    if (!strcmp(key, "env:SP_TEST_KEY"))
        key = getenv("SP_TEST_KEY");
    struct fake *fake = calloc(1, sizeof *fake);
    snprintf(fake->api_key, sizeof fake->api_key, "%s", key);
    snprintf(fake->peer, sizeof fake->peer, "%s", peer);
    *value = fake;
    *name = "fake";
    opened++;
    return SP_OK;
}

static enum sp_code fake_check(void *ctx, void *value, struct sp_error *err)
{
    static const struct {
        const char *peer, *message;
        enum sp_code rc;
    } away[] = {
        {"down", "the peer is away", SP_E_UNAVAILABLE},
        {"denied", "the peer is away", SP_E_UNAVAILABLE},
        {"busy", "the peer throttles", SP_E_BUSY},
    };
    struct fake *fake = value;

    (void)ctx;
    checked++;
    if (stopping)
        return sp_error_set(err, SP_E_CANCELLED, "cancelled");
    if (refuses)
        return sp_error_set(err, SP_E_DENIED, "the key is refused");
    if (!peer_away && !strcmp(fake->peer, "denied"))
        return sp_error_set(err, SP_E_DENIED, "the key is refused");
    for (size_t i = 0; peer_away && i < SP_COUNT(away); i++) {
        if (!strcmp(fake->peer, away[i].peer))
            return sp_error_set(err, away[i].rc, "%s", away[i].message);
    }
    return SP_OK;
}

static void fake_close(void *ctx, void *value)
{
    (void)ctx;
    free(value);
    closed++;
}

static const struct sp_apply_ops ops = {fake_open, fake_check, fake_close};

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
        sp_watcher_start(new_redis(), new_redis(), "sandpiper", &ops, NULL, &watcher, &err);

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
    cr_expect(eq(int, opened, closed), "every provider is closed in the end");
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

/* What a test waits for; members that are 0 or NULL do not matter. */
struct want {
    enum sp_settings_state state;
    int64_t version, error_version, changes, failures;
    const char *message;
    bool redis_down, provider_down, throttled;
};

static bool fits(const struct sp_settings_status *s, const struct want *w)
{
    return s->state == w->state && s->redis_up == !w->redis_down && s->version == w->version &&
           s->throttled == w->throttled &&
           (w->state != SP_SETTINGS_IN_FORCE || s->provider_up == !w->provider_down) &&
           (!w->message || !strcmp(s->message, w->message)) &&
           (!w->error_version || s->error_version == w->error_version) &&
           (!w->changes || s->changes == w->changes) &&
           (!w->failures || s->failures == w->failures);
}

/* Waits on the descriptor of the status, so nothing here depends on timing. */
static void wait_until(struct want want)
{
    struct pollfd fd = {.fd = sp_watcher_fd(watcher), .events = POLLIN};
    int64_t deadline = sp_deadline_in(PATIENCE_MS);
    struct sp_settings_status s = {0};
    eventfd_t count;

    for (;;) {
        (void)eventfd_read(fd.fd, &count);
        sp_watcher_status(watcher, &s);
        if (fits(&s, &want))
            return;
        cr_assert(gt(int, sp_deadline_left(deadline), 0),
                  "state %d, redis %d, provider %d, version %lld, error %lld: \"%s\", %lld/%lld",
                  (int)s.state, s.redis_up, s.provider_up, (long long)s.version,
                  (long long)s.error_version, s.message, (long long)s.changes,
                  (long long)s.failures);
        poll(&fd, 1, sp_deadline_left(deadline));
    }
}

static void wait_for_version(int64_t version)
{
    wait_until((struct want){.state = SP_SETTINGS_IN_FORCE, .version = version, .message = ""});
}

/* In force, and away. message: NULL for any. */
static void wait_for_down(int64_t version, const char *message)
{
    wait_until((struct want){.state = SP_SETTINGS_IN_FORCE,
                             .version = version,
                             .message = message,
                             .provider_down = true});
}

static void expect_key(const char *key)
{
    struct sp_snapshot *snapshot = sp_watcher_get(watcher);

    cr_assert(ne(ptr, snapshot, NULL));
    cr_expect(eq(str, ((struct fake *)snapshot->value)->api_key, (char *)key));
    sp_snapshot_unref(snapshot);
}

Test(watcher, without_settings_nothing_is_in_force)
{
    wait_until((struct want){.state = SP_SETTINGS_ABSENT, .message = ""});

    cr_expect(eq(ptr, sp_watcher_get(watcher), NULL));
}

Test(watcher, a_change_is_applied_at_once)
{
    wait_until((struct want){.state = SP_SETTINGS_ABSENT});
    int64_t begin = sp_mono_ms();

    set("{\"api_key\":\"one\"}");
    wait_for_version(1);
    cr_expect(lt(i64, sp_mono_ms() - begin, 2000), "the hint was not heard");
    expect_key("one");
    set("{\"api_key\":\"two\"}");
    wait_for_version(2);

    expect_key("two");
    struct sp_settings_status s;
    sp_watcher_status(watcher, &s);
    cr_expect(eq(str, s.provider, "fake"));
    cr_expect(eq(i64, s.changes, 2));
}

Test(watcher, a_job_keeps_its_snapshot_until_it_ends)
{
    set("{\"api_key\":\"one\"}");
    wait_for_version(1);
    struct sp_snapshot *held = sp_watcher_get(watcher);

    set("{\"api_key\":\"two\"}");
    wait_for_version(2);
    cr_expect(eq(int, closed, 0));
    cr_expect(eq(str, ((struct fake *)held->value)->api_key, "one"));
    cr_expect(eq(i64, held->version, 1));
    sp_snapshot_unref(held);

    cr_expect(eq(int, closed, 1));
}

Test(watcher, a_bad_change_is_kept_out_and_its_reason_kept)
{
    set("{\"api_key\":\"one\"}");
    wait_for_version(1);

    set("{\"apikey\":\"two\"}");
    wait_until((struct want){.state = SP_SETTINGS_IN_FORCE,
                             .version = 1,
                             .message = "api_key: required",
                             .error_version = 2,
                             .failures = 1});
    expect_key("one");
    sp_watcher_poke(watcher, false);
    set("{\"apikey\":\"three\"}");
    wait_until((struct want){
        .state = SP_SETTINGS_IN_FORCE, .version = 1, .error_version = 3, .failures = 2});
    set("{\"api_key\":\"four\"}");
    wait_for_version(4);

    expect_key("four");
}

Test(watcher, refused_credentials_are_a_failed_configuration)
{
    set("{\"api_key\":\"one\"}");
    wait_for_version(1);

    set("{\"api_key\":\"two\",\"peer\":\"denied\"}");
    wait_until((struct want){
        .state = SP_SETTINGS_IN_FORCE, .version = 1, .message = "the key is refused"});

    expect_key("one");
}

Test(watcher, bad_settings_from_the_start_have_their_reason)
{
    set("{\"apikey\":\"one\"}");
    wait_until((struct want){
        .state = SP_SETTINGS_INVALID, .message = "api_key: required", .error_version = 1});

    cr_expect(eq(ptr, sp_watcher_get(watcher), NULL));
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

Test(watcher, a_reverted_change_clears_the_reason)
{
    run("HSET sandpiper:settings version 1 sandbox.provider_type e2b sandbox.e2b %s",
        "{\"api_key\":\"one\"}");
    sp_watcher_poke(watcher, false);
    wait_for_version(1);

    run("HSET sandpiper:settings sandbox.e2b %s", "{}");
    sp_watcher_poke(watcher, false);
    wait_until(
        (struct want){.state = SP_SETTINGS_IN_FORCE, .version = 1, .message = "api_key: required"});
    run("HSET sandpiper:settings sandbox.e2b %s", "{\"api_key\":\"one\"}");
    sp_watcher_poke(watcher, false);
    wait_for_version(1);

    cr_expect(eq(int, opened, 1));
}

Test(watcher, an_unavailable_peer_is_tried_again_while_the_old_one_works)
{
    set("{\"api_key\":\"one\"}");
    wait_for_version(1);
    peer_away = 1;

    set("{\"api_key\":\"two\",\"peer\":\"down\"}");
    wait_until((struct want){.state = SP_SETTINGS_IN_FORCE,
                             .version = 1,
                             .message = "the peer is away",
                             .error_version = 2});
    expect_key("one");
    peer_away = 0;
    wait_for_version(2);

    expect_key("two");
    struct sp_settings_status s;
    sp_watcher_status(watcher, &s);
    cr_expect(eq(i64, s.failures, 0));
}

Test(watcher, without_an_old_one_an_unavailable_peer_is_put_in_force_and_checked_again)
{
    peer_away = 1;
    set("{\"api_key\":\"one\",\"peer\":\"down\"}");
    wait_for_down(1, "the peer is away");
    expect_key("one");
    set("{\"api_key\":\"two\",\"peer\":\"down\"}");
    wait_for_down(2, NULL);

    peer_away = 0;
    wait_for_version(2);

    cr_expect(eq(int, opened, 2), "checking again opens nothing");
}

Test(watcher, a_throttling_peer_counts_as_away)
{
    peer_away = 1;
    int64_t version = set("{\"api_key\":\"one\",\"peer\":\"busy\"}");
    wait_until((struct want){.state = SP_SETTINGS_IN_FORCE,
                             .version = version,
                             .message = "the peer throttles",
                             .provider_down = true,
                             .throttled = true});
    peer_away = 0;

    sp_watcher_poke(watcher, false);

    wait_for_version(version);
}

static void wait_for_check(int n)
{
    int64_t deadline = sp_deadline_in(PATIENCE_MS);

    while (checked < n && sp_deadline_left(deadline) > 0)
        poll(NULL, 0, 10);
    cr_assert(le(int, n, checked));
}

Test(watcher, a_cancelled_check_judges_nothing)
{
    int64_t good = set("{\"api_key\":\"one\"}");
    wait_for_version(good);
    stopping = 1;

    set("{\"api_key\":\"two\"}");
    wait_for_check(2);

    wait_for_version(good);
    stopping = 0;
    int64_t last = set("{\"api_key\":\"three\"}");
    wait_for_version(last);
    struct sp_settings_status s = {0};
    sp_watcher_status(watcher, &s);
    cr_expect(eq(i64, s.failures, 0));
}

Test(watcher, a_cancelled_check_does_not_withdraw_the_one_in_force)
{
    peer_away = 1;
    int64_t version = set("{\"api_key\":\"one\",\"peer\":\"down\"}");
    wait_for_down(version, NULL);
    stopping = 1;

    sp_watcher_poke(watcher, false);
    wait_for_check(2);

    wait_for_down(version, NULL);
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
    peer_away = 1;

    doubt();

    wait_for_down(version, "a job found it unavailable");
    wait_for_down(version, "the peer is away");
    peer_away = 0;
    wait_for_version(version);
}

Test(watcher, a_doubt_about_one_that_is_not_in_force_any_more_is_none)
{
    wait_for_version(set("{\"api_key\":\"one\"}"));
    struct sp_snapshot *old = sp_watcher_get(watcher);
    int64_t version = set("{\"api_key\":\"two\"}");
    wait_for_version(version);

    sp_watcher_doubt(watcher, old);
    sp_watcher_poke(watcher, true);
    wait_for_check(3);

    wait_for_version(version);
    sp_snapshot_unref(old);
}

Test(watcher, one_that_has_worked_is_not_withdrawn_by_a_refusal)
{
    int64_t version = set("{\"api_key\":\"one\"}");
    wait_for_version(version);
    refuses = 1;

    doubt();
    wait_for_check(2);

    wait_for_version(version);
}

Test(watcher, one_that_has_worked_stays_when_the_peer_of_the_next_is_away_too)
{
    int64_t old = set("{\"api_key\":\"one\",\"peer\":\"down\"}");
    wait_for_version(old);
    peer_away = 1;
    doubt();

    int64_t next = set("{\"api_key\":\"two\",\"peer\":\"down\"}");

    wait_until((struct want){.state = SP_SETTINGS_IN_FORCE,
                             .version = old,
                             .error_version = next,
                             .message = "the peer is away",
                             .provider_down = true});
    expect_key("one");
    peer_away = 0;
    wait_for_version(next);
    expect_key("two");
}

Test(watcher, what_never_worked_is_withdrawn_when_its_credentials_are_refused)
{
    peer_away = 1;
    set("{\"api_key\":\"one\",\"peer\":\"denied\"}");
    wait_for_down(1, NULL);

    peer_away = 0;
    wait_until((struct want){
        .state = SP_SETTINGS_INVALID, .message = "the key is refused", .error_version = 1});

    cr_expect(eq(ptr, sp_watcher_get(watcher), NULL));
}

Test(watcher, saving_again_takes_the_version_and_keeps_the_provider)
{
    set("{\"api_key\":\"one\"}");
    wait_for_version(1);
    struct sp_snapshot *held = sp_watcher_get(watcher);

    set("{\"api_key\":\"one\"}");
    wait_for_version(2);

    struct sp_snapshot *now = sp_watcher_get(watcher);
    cr_expect(eq(i64, now->version, 2));
    cr_expect(eq(ptr, now->value, held->value));
    cr_expect(eq(int, opened, 1));
    sp_snapshot_unref(held);
    sp_snapshot_unref(now);
}

Test(watcher, a_hand_edit_without_a_version_is_obeyed)
{
    run("HSET sandpiper:settings sandbox.provider_type e2b sandbox.e2b %s",
        "{\"api_key\":\"one\"}");
    sp_watcher_poke(watcher, false);
    wait_until((struct want){.state = SP_SETTINGS_IN_FORCE, .version = 0, .changes = 1});
    run("HSET sandpiper:settings sandbox.e2b %s", "{\"api_key\":\"two\"}");
    sp_watcher_poke(watcher, false);
    wait_until((struct want){.state = SP_SETTINGS_IN_FORCE, .version = 0, .changes = 2});

    expect_key("two");
}

Test(watcher, a_lost_hint_costs_a_few_seconds_only)
{
    wait_until((struct want){.state = SP_SETTINGS_ABSENT});
    int64_t begin = sp_mono_ms();

    run("HSET sandpiper:settings version 7 sandbox.provider_type e2b sandbox.e2b %s",
        "{\"api_key\":\"one\"}");
    wait_for_version(7);

    cr_expect(lt(i64, sp_mono_ms() - begin, 8000));
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

Test(watcher, settings_without_a_type_are_marked)
{
    run("HSET sandpiper:settings version 1 sandbox.none %s", "{\"api_key\":\"one\"}");
    sp_watcher_poke(watcher, false);
    wait_for_version(1);

    struct sp_snapshot *snapshot = sp_watcher_get(watcher);
    cr_expect(snapshot->defaulted);
    sp_snapshot_unref(snapshot);
}

Test(watcher, missing_settings_never_unload_a_provider)
{
    set("{\"api_key\":\"one\"}");
    wait_for_version(1);

    run("DEL sandpiper:settings", NULL);
    sp_watcher_poke(watcher, false);
    wait_until((struct want){.state = SP_SETTINGS_IN_FORCE,
                             .version = 1,
                             .message = "Redis holds no settings; version 1 stays in force"});

    expect_key("one");
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

    cr_expect(eq(int, closed, 0));
    cr_expect(eq(str, ((struct fake *)held->value)->api_key, "one"));
    sp_snapshot_unref(held);
    cr_expect(eq(int, closed, 1));
}

TestSuite(watcher_start, .fini = stop);

Test(watcher_start, redis_may_be_down)
{
    signal(SIGPIPE, SIG_IGN);
    cr_assert(sp_redis_server_start(&server, NULL));
    sp_redis_server_kill(&server);
    start_watcher();
    struct pollfd fd = {.fd = sp_watcher_fd(watcher), .events = POLLIN};
    struct sp_settings_status s;

    cr_assert(eq(int, poll(&fd, 1, PATIENCE_MS), 1));
    sp_watcher_status(watcher, &s);
    cr_expect(eq(int, (int)s.state, SP_SETTINGS_UNREAD));
    cr_expect(not(s.redis_up));
    cr_expect(zero(strncmp(s.message, "sandpiper:settings: redis /tmp/", 31)), "%s", s.message);
    cr_expect(eq(ptr, sp_watcher_get(watcher), NULL));
    cr_assert(sp_redis_server_start(&server, NULL));
    redis = new_redis();
    set("{\"api_key\":\"one\"}");
    wait_for_version(1);

    expect_key("one");
}

/* A document as the control topic would give it. */
static struct sp_document offer_of(const char *json, int64_t offset)
{
    json_auto_t *settings = json_loads(json, 0, NULL);
    json_auto_t *providers = json_pack("{s:O}", "e2b", settings);
    struct sp_position position = {offset, 1};
    struct sp_change change = {
        .provider_type = "e2b", .providers = providers, .replace = true, .position = &position};
    struct sp_document doc = {0};

    cr_assert(eq(int, sp_store_preview(&change, &doc, NULL), SP_OK));
    return doc;
}

static void offer(const char *json, int64_t offset)
{
    struct sp_document doc = offer_of(json, offset);

    sp_watcher_offer(watcher, &doc);
    cr_expect(not(doc.present), "it is taken");
}

Test(watcher_start, what_the_control_topic_offers_is_in_force_until_redis_answers)
{
    signal(SIGPIPE, SIG_IGN);
    cr_assert(sp_redis_server_start(&server, NULL));
    sp_redis_server_kill(&server);
    start_watcher();

    offer("{\"colour\":1}", 3);
    wait_until((struct want){
        .state = SP_SETTINGS_INVALID, .redis_down = true, .message = "api_key: required"});
    offer("{\"api_key\":\"one\"}", 4);
    wait_until((struct want){.state = SP_SETTINGS_IN_FORCE, .redis_down = true, .message = ""});
    expect_key("one");

    cr_assert(sp_redis_server_start(&server, NULL));
    redis = new_redis();
    set("{\"api_key\":\"one\"}");
    wait_for_version(1);
    cr_expect(eq(int, opened, 1), "the same settings keep their provider");
    offer("{\"api_key\":\"other\"}", 5);
    set("{\"api_key\":\"two\"}");
    wait_for_version(2);

    expect_key("two");
}

Test(watcher_start, references_of_what_is_offered_are_resolved_again_once)
{
    signal(SIGPIPE, SIG_IGN);
    cr_assert(sp_redis_server_start(&server, NULL));
    sp_redis_server_kill(&server);
    start_watcher();
    offer("{\"api_key\":\"one\"}", 4);
    wait_until((struct want){.state = SP_SETTINGS_IN_FORCE, .redis_down = true, .changes = 1});

    sp_watcher_poke(watcher, true);
    wait_until((struct want){.state = SP_SETTINGS_IN_FORCE, .redis_down = true, .changes = 2});
    cr_assert(sp_redis_server_start(&server, NULL));
    redis = new_redis();
    set("{\"api_key\":\"one\"}");
    wait_for_version(1);

    cr_expect(eq(int, opened, 2), "once it was offered, once it was asked for");
}

Test(watcher, the_document_in_force_can_be_had)
{
    sp_auto(sp_document_clear) struct sp_document doc = {0};
    cr_expect(not(sp_watcher_document(watcher, &doc)));
    set("{\"api_key\":\"one\"}");
    run("HSET sandpiper:settings author ann control_position %s", "5:6");
    wait_for_version(1);
    set("{\"api_key\":\"two\"}");
    wait_for_version(2);
    set("{}"); /* refused */
    wait_until((struct want){.state = SP_SETTINGS_IN_FORCE, .version = 2, .error_version = 3});

    cr_assert(sp_watcher_document(watcher, &doc));

    cr_expect(eq(i64, doc.version, 2));
    cr_expect(eq(str, doc.author, "ann"));
    cr_expect(eq(i64, doc.position.offset, 5));
    cr_expect(
        ne(ptr, strstr(json_string_value(json_object_get(doc.providers, "e2b")), "two"), NULL));
}

Test(watcher, what_is_wrong_with_the_control_topic_is_shown_beside_the_settings)
{
    struct sp_settings_status s;
    set("{\"api_key\":\"one\"}");
    wait_for_version(1);

    sp_watcher_control(watcher, 7, "provider_type: required");
    set("{\"api_key\":\"two\"}");
    wait_for_version(2);

    sp_watcher_status(watcher, &s);
    cr_expect(eq(i64, s.control_offset, 7));
    cr_expect(eq(str, s.control_message, "provider_type: required"));

    sp_watcher_control(watcher, -1, "");
    sp_watcher_status(watcher, &s);
    cr_expect(eq(str, s.control_message, ""));
}
