#include "settings/store.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "tests/support.h"
#include "tests/support/redis_server.h"

static struct sp_redis_server server;
static struct sp_redis *redis;

static void start(void)
{
    struct sp_config config = {.redis = {.url = server.url}};

    signal(SIGPIPE, SIG_IGN);
    cr_assert(sp_redis_server_start(&server, NULL));
    cr_assert(eq(int, sp_redis_new(&config, &redis, NULL), SP_OK));
}

static void stop(void)
{
    sp_redis_free(redis);
    sp_redis_server_stop(&server);
}

TestSuite(store, .init = start, .fini = stop);

static void run(const char *command)
{
    redisReply *reply = NULL;
    struct sp_error err = {0};

    cr_assert(eq(int, sp_redis_command(redis, &reply, &err, command), SP_OK), "%s: %s", command,
              err.msg);
    freeReplyObject(reply);
}

static struct sp_document read_now(void)
{
    struct sp_document doc = {0};
    struct sp_error err = {0};

    cr_assert(eq(int, sp_store_read(redis, "sandpiper", &doc, &err), SP_OK), "%s", err.msg);
    return doc;
}

static int64_t change(const struct sp_change *c)
{
    struct sp_error err = {0};
    int64_t version = 0;
    enum sp_stored outcome = SP_STORED_NOT;

    cr_assert(eq(int, sp_store_change(redis, "sandpiper", c, &version, &outcome, &err), SP_OK),
              "%s", err.msg);
    cr_expect(eq(int, outcome, SP_STORED));
    return version;
}

static const char *stored(const struct sp_document *doc, const char *name)
{
    return json_string_value(json_object_get(doc->providers, name));
}

Test(store, a_missing_hash_is_an_empty_document)
{
    sp_auto(sp_document_clear) struct sp_document doc = read_now();
    json_t *settings = NULL;

    cr_expect(not(doc.present));
    cr_expect(not(doc.has_version));
    cr_expect(eq(ptr, doc.provider_type, NULL));
    cr_assert(eq(int, sp_document_provider(&doc, "local", &settings, NULL), SP_OK));
    cr_expect(eq(sz, json_object_size(settings), 0));
    json_decref(settings);
}

Test(store, a_change_sets_the_fields_and_raises_the_version_once)
{
    json_auto_t *providers =
        json_pack("{s:{s:i}, s:{s:s}}", "local", "timeout", 5, "e2b", "api_key", "ü");
    struct sp_change c = {
        .provider_type = "local", .providers = providers, .author = "ann", .comment = "first"};

    cr_expect(eq(i64, change(&c), 1));
    cr_expect(eq(i64, change(&(struct sp_change){.provider_type = "e2b"}), 2));

    sp_auto(sp_document_clear) struct sp_document doc = read_now();
    cr_expect(doc.present);
    cr_expect(doc.has_version);
    cr_expect(eq(i64, doc.version, 2));
    cr_expect(eq(str, doc.provider_type, "e2b"));
    cr_expect(eq(str, (char *)stored(&doc, "local"), "{\"timeout\":5}"));
    cr_expect(eq(str, (char *)stored(&doc, "e2b"), "{\"api_key\":\"ü\"}"));
    cr_expect(eq(str, doc.author, "ann"));
    cr_expect(eq(str, doc.comment, "first"));
}

Test(store, replacing_removes_what_is_not_named)
{
    json_auto_t *first = json_pack("{s:{}, s:{}}", "local", "e2b");
    json_auto_t *second = json_pack("{s:{}}", "ssh");

    change(&(struct sp_change){.provider_type = "local", .providers = first, .author = "ann"});
    run("HSET sandpiper:settings control_position 7:1");
    change(&(struct sp_change){.providers = second, .replace = true});

    sp_auto(sp_document_clear) struct sp_document doc = read_now();
    cr_expect(eq(i64, doc.version, 2));
    cr_expect(eq(ptr, doc.provider_type, NULL));
    cr_expect(eq(ptr, doc.author, NULL));
    cr_expect(eq(sz, json_object_size(doc.providers), 1));
    cr_expect(ne(ptr, (void *)stored(&doc, "ssh"), NULL));
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    cr_assert(eq(int,
                 sp_redis_command(redis, &reply, NULL, "HGET sandpiper:settings control_position"),
                 SP_OK));
    cr_expect(eq(str, reply->str, "7:1"));
}

static const struct {
    const char *base_text;
    bool applied;
} bases[] = {
    {"{\"timeout\":5}", true},
    {"{\"timeout\":6}", false},
    {NULL, false},
};

SP_TABLE_TEST(store, a_change_may_insist_on_what_it_was_made_from, bases, row)
{
    json_auto_t *first = json_pack("{s:{s:i}}", "local", "timeout", 5);
    json_auto_t *second = json_pack("{s:{s:i}}", "local", "timeout", 7);
    struct sp_change c = {.providers = second, .base = "local", .base_text = row->base_text};
    int64_t version = 0;
    enum sp_stored outcome = SP_STORED_ALREADY;
    change(&(struct sp_change){.providers = first});

    cr_assert(eq(int, sp_store_change(redis, "sandpiper", &c, &version, &outcome, NULL), SP_OK));

    sp_auto(sp_document_clear) struct sp_document doc = read_now();
    cr_expect(eq(int, outcome, row->applied ? SP_STORED : SP_STORED_NOT));
    cr_expect(eq(i64, doc.version, row->applied ? 2 : 1));
    cr_expect(eq(str, (char *)stored(&doc, "local"),
                 row->applied ? "{\"timeout\":7}" : "{\"timeout\":5}"));
}

Test(store, a_change_may_insist_that_there_is_nothing_yet)
{
    json_auto_t *providers = json_pack("{s:{}}", "local");

    change(&(struct sp_change){.providers = providers, .base = "local"});

    sp_auto(sp_document_clear) struct sp_document doc = read_now();
    cr_expect(eq(str, (char *)stored(&doc, "local"), "{}"));
}

Test(store, if_absent_does_nothing_where_there_are_settings)
{
    struct sp_change c = {.provider_type = "e2b", .if_absent = true, .replace = true};
    int64_t version = 0;
    enum sp_stored outcome = SP_STORED;

    change(&(struct sp_change){.provider_type = "local"});
    cr_assert(eq(int, sp_store_change(redis, "sandpiper", &c, &version, &outcome, NULL), SP_OK));

    cr_expect(eq(int, outcome, SP_STORED_NOT));
    cr_expect(eq(i64, version, 1));
    sp_auto(sp_document_clear) struct sp_document doc = read_now();
    cr_expect(eq(str, doc.provider_type, "local"));
}

Test(store, if_absent_fills_an_empty_redis)
{
    change(&(struct sp_change){.provider_type = "e2b", .if_absent = true});

    sp_auto(sp_document_clear) struct sp_document doc = read_now();
    cr_expect(eq(str, doc.provider_type, "e2b"));
}

static const struct {
    const char *version;
    int64_t next;
} odd_versions[] = {
    {"soon", 1}, {"007", 1}, {"-3", 1}, {"1.5", 1}, {" 4", 1}, {"99999999999999999999", 1},
    {"0", 1},    {"41", 42},
};

SP_TABLE_TEST(store, a_version_that_is_no_number_does_not_stop_a_change, odd_versions, row)
{
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    cr_assert(eq(int,
                 sp_redis_command(redis, &reply, NULL,
                                  "HSET sandpiper:settings version %s sandbox.provider_type e2b",
                                  row->version),
                 SP_OK));

    cr_expect(eq(i64, change(&(struct sp_change){.provider_type = "local"}), row->next));
}

Test(store, a_change_counts_where_the_channel_is_forbidden)
{
    run("ACL SETUSER default on nopass ~* +@all resetchannels");

    cr_expect(eq(i64, change(&(struct sp_change){.provider_type = "local"}), 1));
}

Test(store, a_change_publishes_its_version)
{
    struct sp_config config = {.redis = {.url = server.url}};
    sp_auto(sp_redis_free) struct sp_redis *listener = NULL;
    sp_auto(freeReplyObject) redisReply *subscribed = NULL, *message = NULL;
    redisContext *ctx = NULL;

    cr_assert(eq(int, sp_redis_new(&config, &listener, NULL), SP_OK));
    cr_assert(eq(
        int, sp_redis_command(listener, &subscribed, NULL, "SUBSCRIBE sandpiper:settings:changed"),
        SP_OK));
    change(&(struct sp_change){.provider_type = "local"});

    cr_assert(eq(int, sp_redis_connect(listener, &ctx, NULL), SP_OK));
    cr_assert(eq(int, redisGetReply(ctx, (void **)&message), REDIS_OK));
    cr_expect(eq(str, message->element[2]->str, "1"));
}

static const struct {
    const char *commands[3];
    bool differs;
} edits[] = {
    {{"HSET sandpiper:settings version 9 author bob comment x control_position 1:2"}, false},
    {{"HDEL sandpiper:settings sandbox.local", "HSET sandpiper:settings sandbox.local {}"}, false},
    {{"HSET sandpiper:settings sandbox.provider_type e2b"}, true},
    {{"HSET sandpiper:settings sandbox.local {\"timeout\":1}"}, true},
    {{"HSET sandpiper:settings sandbox.ssh {}"}, true},
    {{"HDEL sandpiper:settings sandbox.provider_type"}, true},
    {{"DEL sandpiper:settings", "HSET sandpiper:settings sandbox.provider_type localsandbox.local "
                                "sandbox. {}"},
     true},
};

SP_TABLE_TEST(store, the_digest_is_of_the_settings_alone, edits, row)
{
    run("HSET sandpiper:settings version 1 sandbox.provider_type local sandbox.local {} author a");
    sp_auto(sp_document_clear) struct sp_document before = read_now();

    for (size_t i = 0; i < SP_COUNT(row->commands) && row->commands[i]; i++)
        run(row->commands[i]);

    sp_auto(sp_document_clear) struct sp_document after = read_now();
    cr_expect(eq(int, strcmp(before.digest, after.digest) != 0, row->differs), "after %s",
              row->commands[0]);
}

static const struct {
    const char *command, *message;
} bad_texts[] = {
    {"HSET sandpiper:settings sandbox.e2b hush", "sandbox.e2b: is not valid JSON at line 1, "
                                                 "column 4"},
    {"HSET sandpiper:settings sandbox.e2b []", "sandbox.e2b: expected an object"},
    {"HSET sandpiper:settings sandbox.e2b \xff", "sandbox.e2b: is not UTF-8 text"},
    {"HSET sandpiper:settings sandbox.e2b {\"a\":1,\"a\":2}",
     "sandbox.e2b: is not valid JSON at line 1, column 10"},
};

SP_TABLE_TEST(store, a_bad_text_is_refused_and_never_quoted, bad_texts, row)
{
    struct sp_error err = {0};
    json_t *settings = NULL;

    run(row->command);
    sp_auto(sp_document_clear) struct sp_document doc = read_now();
    enum sp_code rc = sp_document_provider(&doc, "e2b", &settings, &err);

    cr_assert(eq(int, rc, SP_E_INVALID));
    cr_expect(eq(str, err.msg, (char *)row->message));
}

Test(store, a_key_of_another_type_is_an_error)
{
    sp_auto(sp_document_clear) struct sp_document doc = {0};
    struct sp_error err = {0};

    run("SET sandpiper:settings x");

    cr_expect(eq(int, sp_store_read(redis, "sandpiper", &doc, &err), SP_E_INVALID));
    cr_expect(zero(strncmp(err.msg, "sandpiper:settings: redis ", 26)), "%s", err.msg);
}

Test(store, redis_without_memory_counts_as_away_and_nothing_is_written)
{
    struct sp_change c = {.provider_type = "e2b"};
    struct sp_error err = {0};
    int64_t version = 0;
    enum sp_stored outcome = SP_STORED_ALREADY;

    change(&(struct sp_change){.provider_type = "local"});
    run("CONFIG SET maxmemory 1");
    enum sp_code rc = sp_store_change(redis, "sandpiper", &c, &version, &outcome, &err);

    cr_expect(eq(int, rc, SP_E_UNAVAILABLE), "%s", err.msg);
    sp_auto(sp_document_clear) struct sp_document doc = read_now();
    cr_expect(eq(str, doc.provider_type, "local"));
}

static const struct {
    struct sp_position position, made_from;
    bool from_any; /* made_from does not matter */
    enum sp_stored outcome;
} positions[] = {
    /* The hash holds 10:1000. */
    {{11, 1001}, {0, 0}, true, SP_STORED},
    {{11, 900}, {0, 0}, true, SP_STORED},          /* the writer's clock is behind */
    {{3, 1001}, {0, 0}, true, SP_STORED},          /* a topic that was made anew */
    {{10, 1000}, {0, 0}, true, SP_STORED_ALREADY}, /* somebody was faster */
    {{10, 1000}, {2, 2}, false, SP_STORED_ALREADY},
    {{9, 999}, {0, 0}, true, SP_STORED_NOT},
    {{10, 999}, {0, 0}, true, SP_STORED_NOT},
    {{11, 1001}, {10, 1000}, false, SP_STORED},
    {{11, 1001}, {9, 900}, false, SP_STORED_NOT}, /* another record came between */
    {{11, 1001}, {-1, -1}, false, SP_STORED_NOT},
    {{12, 1002}, {11, 1001}, false, SP_STORED}, /* Redis is behind both */
};

SP_TABLE_TEST(store, only_a_newer_record_is_applied, positions, row)
{
    json_auto_t *providers = json_pack("{s:{s:i}}", "local", "timeout", 9);
    struct sp_change c = {.provider_type = "local",
                          .providers = providers,
                          .replace = true,
                          .position = &row->position,
                          .made_from = row->from_any ? NULL : &row->made_from};
    enum sp_stored outcome = SP_STORED_NOT;
    struct sp_error err = {0};
    int64_t version = 0;
    run("HSET sandpiper:settings version 4 sandbox.e2b {} control_position 10:1000");

    cr_assert(eq(int, sp_store_change(redis, "sandpiper", &c, &version, &outcome, &err), SP_OK),
              "%s", err.msg);

    sp_auto(sp_document_clear) struct sp_document doc = read_now();
    bool done = row->outcome == SP_STORED;
    cr_expect(eq(int, outcome, row->outcome));
    cr_expect(eq(i64, version, done ? 5 : 4));
    cr_expect(eq(i64, doc.version, version));
    cr_expect(eq(i64, doc.position.offset, done ? row->position.offset : 10));
    cr_expect(eq(i64, doc.position.timestamp_ms, done ? row->position.timestamp_ms : 1000));
    cr_expect(eq(int, stored(&doc, "local") != NULL, done));
}

static const struct {
    const char *command;
} older_hashes[] = {
    {"DEL sandpiper:settings"},
    {"HSET sandpiper:settings control_position 10:1000 sandbox.e2b {}"},
    {"HSET sandpiper:settings version 3 sandbox.e2b {}"},
    {"HSET sandpiper:settings version 3 control_position soon"},
    {"HSET sandpiper:settings version 3 control_position 4:5"},
};

SP_TABLE_TEST(store, a_redis_that_lost_its_settings_or_has_old_ones_is_filled, older_hashes, row)
{
    struct sp_position position = {7, 7};
    struct sp_change c = {.provider_type = "local", .replace = true, .position = &position};
    run(row->command);

    change(&c);

    sp_auto(sp_document_clear) struct sp_document doc = read_now();
    cr_expect(eq(i64, doc.position.offset, 7));
    cr_expect(eq(ptr, (void *)stored(&doc, "e2b"), NULL));
}

Test(store, a_document_makes_the_hash_what_it_was)
{
    json_auto_t *providers = json_pack("{s:{s:s}, s:{}}", "e2b", "api_key", "ü", "local");
    struct sp_position position = {5, 1700000000000};
    struct sp_document copy = {0};
    change(&(struct sp_change){.provider_type = "e2b",
                               .providers = providers,
                               .author = "ann",
                               .comment = "why",
                               .position = &position});
    sp_auto(sp_document_clear) struct sp_document before = read_now();
    cr_assert(eq(int, sp_document_copy(&before, &copy, NULL), SP_OK));
    run("FLUSHALL");

    struct sp_change again = sp_document_change(&copy);
    change(&again);

    sp_auto(sp_document_clear) struct sp_document after = read_now();
    cr_expect(eq(str, after.digest, before.digest));
    cr_expect(eq(str, after.author, "ann"));
    cr_expect(eq(str, after.comment, "why"));
    cr_expect(eq(i64, after.position.timestamp_ms, 1700000000000));
    sp_document_clear(&copy);
}

/* Written by hand, and of no use to anybody. */
Test(store, bytes_that_are_no_text_do_not_keep_a_document_from_being_stored_again)
{
    run("HSET sandpiper:settings sandbox.provider_type local sandbox.local {} sandbox.e2b \xff");
    sp_auto(sp_document_clear) struct sp_document before = read_now();
    struct sp_change c = sp_document_change(&before);
    run("DEL sandpiper:settings");

    cr_expect(eq(i64, change(&c), 1));

    sp_auto(sp_document_clear) struct sp_document after = read_now();
    cr_expect(eq(str, (char *)stored(&after, "local"), "{}"));
    cr_expect(eq(ptr, json_object_get(after.providers, "e2b"), NULL));
}

Test(store, a_preview_is_what_redis_will_hold)
{
    json_auto_t *providers = json_pack("{s:{s:i}, s:{}}", "local", "timeout", 5, "e2b");
    struct sp_position position = {5, 6};
    struct sp_change c = {.provider_type = "local",
                          .providers = providers,
                          .replace = true,
                          .author = "ann",
                          .position = &position};
    sp_auto(sp_document_clear) struct sp_document expected = {0};
    cr_assert(eq(int, sp_store_preview(&c, &expected, NULL), SP_OK));

    change(&c);

    sp_auto(sp_document_clear) struct sp_document doc = read_now();
    cr_expect(eq(str, doc.digest, expected.digest));
    cr_expect(eq(str, (char *)stored(&expected, "local"), "{\"timeout\":5}"));
    cr_expect(expected.present && expected.has_position);
    cr_expect(eq(str, expected.author, "ann"));
}

static const struct {
    const char *text;
    bool good;
} position_texts[] = {
    {"0:0", true},
    {"12:1700000000000", true},
    {"12", false},
    {":1", false},
    {"1:", false},
    {"-1:5", false},
    {"1:2:3", false},
    {" 1:2", false},
    {"1 :2", false},
    {"", false},
    {"99999999999999999999:1", false},
    {"1:99999999999999999999999999999999999999999999", false},
};

SP_TABLE_TEST(position, is_read_as_it_is_written, position_texts, row)
{
    struct sp_position position = {-7, -7};
    char text[SP_POSITION_SIZE];

    cr_assert(eq(int, sp_position_parse(row->text, &position), row->good));

    sp_position_text(&position, text);
    cr_expect(eq(str, text, (char *)(row->good ? row->text : "-7:-7")));
}
