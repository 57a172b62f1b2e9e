/* Control threads on librdkafka's mock cluster and a private Redis. */
#include "worker/control.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "providers/registry.h"
#include "tests/queue/mock.h"
#include "tests/support.h"
#include "tests/support/fake_provider.h"
#include "tests/support/redis_server.h"
#include "tests/support/until.h"

#define TOPIC "control"
enum { PATIENCE_MS = 60000, TTL_MS = 60000 };

static struct mock mock;
static struct sp_redis_server server;
static struct sp_redis *redis; /* the administrator's */

/* What of a worker takes part. */
struct member {
    struct sp_watcher *watcher;
    struct sp_cancels *cancels;
    struct sp_control *control;
    atomic_int told;
    char told_id[32];
};
static struct member one;

/* Its providers. */
static enum sp_code fake_open(void *ctx, const struct sp_document *doc, void **value,
                              const char **name, struct sp_error *err)
{
    (void)ctx, (void)err;
    *value = sp_strdup(doc->digest);
    *name = "fake";
    return SP_OK;
}

static enum sp_code fake_check(void *ctx, void *value, struct sp_error *err)
{
    (void)ctx, (void)value, (void)err;
    return SP_OK;
}

static void fake_close(void *ctx, void *value)
{
    (void)ctx;
    free(value);
}

static const struct sp_apply_ops ops = {fake_open, fake_check, fake_close};

static struct sp_redis *new_redis(void)
{
    struct sp_config config = {.redis = {.url = server.url}};
    struct sp_redis *out = NULL;
    cr_assert(eq(int, sp_redis_new(&config, &out, NULL), SP_OK));
    return out;
}

static void on_cancel(void *ctx, const char *id)
{
    struct member *m = ctx;
    snprintf(m->told_id, sizeof(m->told_id), "%s", id);
    atomic_fetch_add(&m->told, 1);
}

static void member_start(struct member *m)
{
    static struct sp_queue_property kafka[] = {{"bootstrap.servers", NULL},
                                               {"fetch.wait.max.ms", "10"}};
    struct sp_error err = {0};
    kafka[0].value = mock_brokers(&mock);
    m->cancels = sp_cancels_new(SP_CANCELS_MAX);
    enum sp_code rc =
        sp_watcher_start(new_redis(), new_redis(), "sandpiper", &ops, NULL, &m->watcher, &err);
    cr_assert(eq(int, rc, SP_OK), "%s", err.msg);
    const struct sp_control_options options = {
        .kafka = kafka,
        .n_kafka = SP_COUNT(kafka),
        .topic = TOPIC,
        .prefix = "sandpiper",
        .cancel_ttl_ms = TTL_MS,
        .cancels = m->cancels,
        .watcher = m->watcher,
        .on_cancel = on_cancel,
        .ctx = m,
    };
    rc = sp_control_start(&options, new_redis(), &m->control, &err);
    cr_assert(eq(int, rc, SP_OK), "%s", err.msg);
}

static void member_stop(struct member *m)
{
    sp_control_stop(m->control);
    sp_watcher_stop(m->watcher);
    sp_cancels_free(m->cancels);
    memset(m, 0, sizeof(*m));
}

static void start(void)
{
    signal(SIGPIPE, SIG_IGN);
    sp_registry_add(&fake_provider);
    mock_start(&mock, 1);
    rd_kafka_mock_topic_create(mock.cluster, TOPIC, 1, 1);
    cr_assert(sp_redis_server_start(&server, NULL));
    redis = new_redis();
}

static void stop(void)
{
    member_stop(&one);
    sp_redis_free(redis);
    sp_redis_server_stop(&server);
    mock_stop(&mock);
}

TestSuite(control, .init = start, .fini = stop);

static void say(const char *key, const char *value)
{
    mock_send(&mock, &(struct mock_record){.topic = TOPIC, .key = key, .value = value});
}

#define SETTINGS(token)                                                                            \
    "{\"provider_type\":\"fake\",\"providers\":{\"fake\":{\"token\":\"" token "\"}},"              \
    "\"author\":\"ann\",\"comment\":\"why\"}"

static struct sp_document read_now(void)
{
    struct sp_document doc = {0};
    cr_assert(eq(int, sp_store_read(redis, "sandpiper", &doc, NULL), SP_OK));
    return doc;
}

/* Redis holds this token for the provider. */
static bool holds(const char *token)
{
    sp_auto(sp_document_clear) struct sp_document doc = read_now();
    json_t *text = json_object_get(doc.providers, "fake");
    return text && strstr(json_string_value(text), token);
}

static int64_t version_now(void)
{
    sp_auto(sp_document_clear) struct sp_document doc = read_now();
    return doc.version;
}

static void run(const char *command)
{
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    cr_assert(eq(int, sp_redis_command(redis, &reply, NULL, command), SP_OK));
}

static struct sp_control_status status_of(struct member *m)
{
    struct sp_control_status status;
    sp_control_status(m->control, &status);
    return status;
}

static struct sp_settings_status settings_of(struct member *m)
{
    struct sp_settings_status status;
    sp_watcher_status(m->watcher, &status);
    return status;
}

#define UNTIL(condition) cr_assert(SP_UNTIL(PATIENCE_MS, condition))

Test(control, a_bare_record_is_applied_with_its_author_and_position)
{
    member_start(&one);

    say("settings", SETTINGS("a"));

    UNTIL(settings_of(&one).version == 1);
    sp_auto(sp_document_clear) struct sp_document doc = read_now();
    cr_expect(eq(str, doc.provider_type, "fake"));
    cr_expect(eq(str, doc.author, "ann"));
    cr_expect(eq(str, doc.comment, "why"));
    cr_expect(doc.has_position);
    cr_expect(eq(i64, doc.position.offset, 0));
    UNTIL(status_of(&one).settings_applied == 1);
    cr_expect(eq(i64, status_of(&one).position, 0));
}

static int64_t applied_by(struct member *fleet, size_t n)
{
    int64_t applied = 0;
    for (size_t i = 0; i < n; i++)
        applied += status_of(&fleet[i]).settings_applied;
    return applied;
}

Test(control, a_fleet_applies_a_record_exactly_once)
{
    static struct member fleet[3];
    for (size_t i = 0; i < SP_COUNT(fleet); i++)
        member_start(&fleet[i]);
    for (size_t i = 0; i < SP_COUNT(fleet); i++)
        UNTIL(sp_control_ready(fleet[i].control));

    say("settings", SETTINGS("a"));

    for (size_t i = 0; i < SP_COUNT(fleet); i++)
        UNTIL(settings_of(&fleet[i]).version == 1 && status_of(&fleet[i]).position == 0);
    UNTIL(applied_by(fleet, SP_COUNT(fleet)) >= 1);
    cr_expect(eq(i64, applied_by(fleet, SP_COUNT(fleet)), 1));
    for (size_t i = 0; i < SP_COUNT(fleet); i++)
        member_stop(&fleet[i]);
    cr_expect(eq(i64, version_now(), 1));
}

Test(control, at_the_start_only_the_last_record_counts)
{
    say("settings", SETTINGS("a"));
    say("settings", SETTINGS("b"));
    say("settings", SETTINGS("c"));

    member_start(&one);

    UNTIL(settings_of(&one).version > 0);
    cr_expect(eq(i64, version_now(), 1));
    cr_expect(holds("\"c\""));
}

static const struct {
    const char *value, *message;
} invalid[] = {
    {"{", "is not valid JSON"},
    {"{\"provider_type\":\"nobody\",\"providers\":{}}", "provider_type: there is no provider"},
    {"{\"provider_type\":\"fake\",\"providers\":{\"fake\":{\"colour\":1}}}", "providers.fake: "},
};

SP_TABLE_TEST(control, an_invalid_record_is_named_and_changes_nothing, invalid, row)
{
    member_start(&one);
    say("settings", SETTINGS("a"));
    UNTIL(settings_of(&one).version == 1);

    say("settings", row->value);

    UNTIL(settings_of(&one).control_message[0]);
    struct sp_settings_status settings = settings_of(&one);
    cr_expect(eq(i64, settings.control_offset, 1));
    cr_expect(strncmp(settings.control_message, row->message, strlen(row->message)) == 0, "%s",
              settings.control_message);
    UNTIL(status_of(&one).invalid_position == 1);
    cr_expect(eq(i64, status_of(&one).invalid_records, 1));
    cr_expect(eq(i64, version_now(), 1));

    say("settings", SETTINGS("b"));
    UNTIL(settings_of(&one).version == 2);
    cr_expect(eq(str, settings_of(&one).control_message, ""));
    UNTIL(status_of(&one).invalid_position == -1);
}

Test(control, keys_that_are_not_known_are_ignored)
{
    member_start(&one);

    say("something", "else");
    say(NULL, "{}");
    say("cancel:", "{}");
    say("settings", SETTINGS("a"));

    UNTIL(settings_of(&one).version == 1);
    cr_expect(eq(i64, status_of(&one).invalid_records, 0));
    cr_expect(eq(sz, sp_cancels_count(one.cancels), 0));
}

Test(control, a_record_made_from_settings_that_are_gone_is_not_applied)
{
    member_start(&one);
    say("settings", SETTINGS("a"));
    UNTIL(settings_of(&one).version == 1);

    say("settings", "{\"provider_type\":\"fake\",\"providers\":{},\"base\":\"none\"}");
    say("cancel:after", "{}");

    UNTIL(sp_cancels_has(one.cancels, "after"));
    UNTIL(status_of(&one).position == 1);
    say("settings", SETTINGS("c"));
    UNTIL(holds("\"c\""));
    cr_expect(eq(i64, version_now(), 2), "only the first and the last one were applied");
}

Test(control, a_mask_stands_for_what_redis_holds)
{
    member_start(&one);
    say("settings", SETTINGS("env:SECRET"));
    UNTIL(settings_of(&one).version == 1);

    say("settings", "{\"provider_type\":\"fake\",\"providers\":{\"fake\":{\"token\":\"********\","
                    "\"fails\":\"none\"}}}");

    UNTIL(holds("none"));
    cr_expect(holds("env:SECRET"));
}

Test(control, at_the_start_a_mask_stands_for_the_record_before)
{
    say("settings", SETTINGS("env:SECRET"));
    say("settings", SETTINGS("********"));

    member_start(&one);

    UNTIL(settings_of(&one).version == 1);
    cr_expect(holds("env:SECRET"));
}

Test(control, an_emptied_redis_is_filled_from_the_topic)
{
    member_start(&one);
    say("settings", SETTINGS("a"));
    UNTIL(settings_of(&one).version == 1);

    run("FLUSHALL");

    UNTIL(holds("\"a\""));
    sp_auto(sp_document_clear) struct sp_document doc = read_now();
    cr_expect(eq(str, doc.author, "ann"));
    cr_expect(eq(i64, doc.version, 1));
    cr_expect(eq(i64, doc.position.offset, 0));
}

Test(control, an_older_copy_of_redis_gives_way_to_the_topic)
{
    member_start(&one);
    say("settings", SETTINGS("a"));
    UNTIL(settings_of(&one).version == 1);
    say("settings", SETTINGS("b"));
    UNTIL(settings_of(&one).version == 2);

    run("HSET sandpiper:settings version 1 control_position 0:5 sandbox.fake {\"token\":\"a\"}");

    UNTIL(holds("\"b\""));
}

/* What the hash held was set without a record, and the only record is no good. */
Test(control, without_a_valid_record_an_emptied_redis_is_filled_with_what_is_in_force)
{
    run("HSET sandpiper:settings version 7 sandbox.provider_type fake author bob "
        "control_position 3:9 sandbox.fake {\"token\":\"hand\"}");
    say("settings", "{");
    member_start(&one);
    UNTIL(settings_of(&one).version == 7 && settings_of(&one).control_message[0]);

    run("FLUSHALL");

    UNTIL(holds("hand"));
    sp_auto(sp_document_clear) struct sp_document doc = read_now();
    cr_expect(eq(str, doc.author, "bob"));
    cr_expect(eq(i64, doc.position.offset, 3));
}

Test(control, where_redis_was_never_readable_the_topic_has_the_settings)
{
    sp_redis_server_kill(&server);
    say("settings", SETTINGS("a"));

    member_start(&one);

    UNTIL(settings_of(&one).state == SP_SETTINGS_IN_FORCE);
    cr_expect(eq(i64, settings_of(&one).version, 0));
    cr_expect(not(settings_of(&one).redis_up));

    cr_assert(sp_redis_server_start(&server, NULL));
    UNTIL(settings_of(&one).version == 1);
    cr_expect(holds("\"a\""));
}

Test(control, a_cancellation_is_told_and_a_tombstone_lifts_it)
{
    member_start(&one);
    UNTIL(sp_control_ready(one.control));

    say("cancel:job 1", "{\"reason\":\"enough\",\"by\":\"ann\"}");

    UNTIL(atomic_load(&one.told) == 1);
    cr_expect(eq(str, one.told_id, "job 1"));
    cr_expect(sp_cancels_has(one.cancels, "job 1"));

    say("cancel:job 1", NULL);
    UNTIL(!sp_cancels_has(one.cancels, "job 1"));
}

Test(control, a_cancellation_that_is_no_object_is_named_and_cancels_nothing)
{
    member_start(&one);

    say("cancel:a", "yes");

    UNTIL(status_of(&one).invalid_position == 0);
    cr_expect(ne(ptr, strstr(status_of(&one).invalid, "cancel:a"), NULL));
    cr_expect(not(sp_cancels_has(one.cancels, "a")));
}

Test(control, cancellations_outlive_a_restart)
{
    member_start(&one);
    say("cancel:a", "{}");
    say("cancel:b", "{}");
    say("cancel:b", NULL);
    UNTIL(sp_cancels_has(one.cancels, "a"));
    member_stop(&one);

    member_start(&one);

    UNTIL(sp_control_ready(one.control));
    cr_expect(sp_cancels_has(one.cancels, "a"), "ready means that it is known");
    cr_expect(not(sp_cancels_has(one.cancels, "b")));
    UNTIL(status_of(&one).complete);
}

static void send_old(const char *key, int64_t age_ms)
{
    rd_kafka_resp_err_t failed = rd_kafka_producev(
        mock.producer, RD_KAFKA_V_TOPIC(TOPIC), RD_KAFKA_V_PARTITION(0),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY((void *)key, strlen(key)),
        RD_KAFKA_V_VALUE((void *)"{}", 2), RD_KAFKA_V_TIMESTAMP(sp_wall_ms() - age_ms),
        RD_KAFKA_V_END);
    cr_assert(eq(int, failed, 0));
    cr_assert(eq(int, rd_kafka_flush(mock.producer, MOCK_LIMIT_MS), 0));
}

Test(control, one_that_is_over_cancels_nothing_and_gets_its_tombstone)
{
    send_old("cancel:old", TTL_MS + 120000);

    member_start(&one);

    UNTIL(sp_control_ready(one.control));
    cr_expect(not(sp_cancels_has(one.cancels, "old")));
    UNTIL(status_of(&one).tombstones == 1);
    UNTIL(sp_cancels_count(one.cancels) == 0);
    cr_expect(eq(int, atomic_load(&one.told), 0));
}

Test(control, jobs_wait_until_the_topic_has_been_read)
{
    rd_kafka_mock_broker_set_down(mock.cluster, -1);
    member_start(&one);
    UNTIL(status_of(&one).problem[0]);
    cr_expect(not(sp_control_ready(one.control)));

    rd_kafka_mock_broker_set_up(mock.cluster, -1);

    UNTIL(sp_control_ready(one.control));
    UNTIL(status_of(&one).complete);
}
