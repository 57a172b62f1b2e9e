/* settings, providers and workers against a private Redis. */
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <jansson.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/files.h"
#include "providers/registry.h"
#include "tests/cli/tool.h"
#include "tests/queue/mock.h"
#include "tests/support.h"
#include "tests/support/fake_provider.h"
#include "tests/support/redis_server.h"
#include "tests/support/until.h"

static struct sp_redis_server server;
static redisContext *redis;
static char url[160], brokers[160];
static struct mock mock;
static char root[] = "/tmp/sandpiper-settings-XXXXXX";

static void open_stage(void)
{
    cr_assert(ne(ptr, mkdtemp(root), NULL));
    cr_assert(eq(int, chdir(root), 0));
    cr_assert(sp_redis_server_start(&server, NULL));
    redis = redisConnectUnix(server.socket);
    mock_start(&mock, 1);
    rd_kafka_mock_topic_create(mock.cluster, "sandpiper.control", 1, 1);
    snprintf(url, sizeof(url), "redis.url=%s", server.url);
    snprintf(brokers, sizeof(brokers), "kafka.bootstrap.servers=%s", mock_brokers(&mock));
    sp_registry_add(&fake_provider);
}

static void close_stage(void)
{
    char command[128];
    redisFree(redis);
    sp_redis_server_stop(&server);
    mock_stop(&mock);
    snprintf(command, sizeof(command), "rm -rf '%s'", root);
    cr_assert(eq(int, system(command), 0));
}

TestSuite(settings, .init = open_stage, .fini = close_stage);

#define REDIS "-X", url, "-X", brokers
#define CALL(code, ...) expect_code(code, TOOL(__VA_ARGS__))

/* The call's code is as said; its output is the caller's. */
static struct tool expect_code(int code, struct tool t)
{
    cr_assert(eq(int, t.code, code), "%s%s", t.out, t.err);
    return t;
}

static void quiet(int code, struct tool t)
{
    expect_code(code, t);
    tool_clear(&t);
}

static bool stored(const char *field, const char *text)
{
    redisReply *reply = redisCommand(redis, "HGET sandpiper:settings %s", field);
    bool found = reply && reply->type == REDIS_REPLY_STRING && strstr(reply->str, text);
    freeReplyObject(reply);
    return found;
}

static void put(const char *key, const char *value)
{
    freeReplyObject(redisCommand(redis, "SET %s %s", key, value));
}

static void write_file(const char *name, const char *text)
{
    cr_assert(eq(int, sp_file_replace(name, text, strlen(text), NULL), SP_OK));
}

/* ---- tests ---- */

Test(settings, where_nothing_is_set_get_says_how_to_begin)
{
    struct tool t = CALL(0, "settings", "get", REDIS);

    cr_expect(ne(ptr, strstr(t.out, "settings import"), NULL), "%s", t.out);
    tool_clear(&t);
}

Test(settings, a_change_raises_the_version_and_is_shown)
{
    struct tool t = CALL(0, "settings", "set", REDIS, "local", "isolation=none", "timeout=12",
                         "--activate", "--comment", "why");
    cr_expect(eq(str, t.out, "version 1\n"));
    tool_clear(&t);

    t = CALL(0, "settings", "get", REDIS);

    cr_expect(ne(ptr, strstr(t.out, "version   1\nactive    local\n"), NULL), "%s", t.out);
    cr_expect(ne(ptr, strstr(t.out, "comment   why\n"), NULL), "%s", t.out);
    cr_expect(ne(ptr,
                 strstr(t.out, "local (active)\n  isolation            none\n  timeout       "
                               "       12\n"),
                 NULL),
              "%s", t.out);
    tool_clear(&t);
}

Test(settings, get_gives_json)
{
    quiet(0, TOOL("settings", "set", REDIS, "local", "isolation=none", "--activate"));

    struct tool t = CALL(0, "settings", "get", REDIS, "--json");

    json_auto_t *json = json_loads(t.out, 0, NULL);
    cr_expect(eq(i64, json_integer_value(json_object_get(json, "version")), 1));
    cr_expect(eq(str, (char *)json_string_value(json_object_get(json, "provider_type")), "local"));
    json_t *local = json_object_get(json_object_get(json, "providers"), "local");
    cr_expect(eq(str, (char *)json_string_value(json_object_get(local, "isolation")), "none"));
    tool_clear(&t);
}

Test(settings, secrets_are_masked_and_a_mask_keeps_what_is_stored)
{
    quiet(0, TOOL("settings", "set", REDIS, "e2b", "api_key=top-secret-1"));
    struct tool t = CALL(0, "settings", "get", REDIS, "e2b");
    cr_expect(eq(ptr, strstr(t.out, "top-secret"), NULL), "%s", t.out);
    cr_expect(ne(ptr, strstr(t.out, "********"), NULL), "%s", t.out);
    tool_clear(&t);

    quiet(0, TOOL("settings", "set", REDIS, "e2b", "api_key=********", "timeout=20"));

    cr_expect(stored("sandbox.e2b", "top-secret-1"));
    cr_expect(stored("sandbox.e2b", "20"));
}

Test(settings, a_mask_that_nothing_stands_behind_is_refused)
{
    struct tool t = CALL(1, "settings", "set", REDIS, "e2b", "api_key=********");

    cr_expect(ne(ptr, strstr(t.err, "api_key"), NULL), "%s", t.err);
    cr_expect(not(stored("version", "1")));
    tool_clear(&t);
}

Test(settings, text_that_looks_like_a_number_stays_text_in_a_text_field)
{
    quiet(0, TOOL("settings", "set", REDIS, "e2b", "api_key=12345"));

    cr_expect(stored("sandbox.e2b", "\"12345\""));
}

static const struct {
    const char *words[4];
    int code;
    const char *message;
} refused[] = {
    {{"set", "local", "timeout=5"}, 1, "isolation"},
    {{"set", "local", "isolation=none", "timeout=soon"}, 1, "timeout"},
    {{"set", "local", "isolation=none", "colour=red"}, 1, "colour"},
    {{"set", "local", "oops"}, 1, "expected KEY=VALUE, not \"oops\""},
    {{"set", "local", "--unset=timeout"}, 1, "--unset: timeout is not set"},
    {{"set", "local"}, 2, "nothing to set"},
    {{"set", "elsewhere", "a=b"}, 2, "there is no provider \"elsewhere\"; there are "},
    {{"activate", "local"}, 1, "isolation"},
    {{"activate", "nobody"}, 2, "there is no provider"},
    {{"get", "nobody"}, 2, "there is no provider"},
    {{"schema", "nobody"}, 2, "there is no provider"},
    {{"import", "gone.json"}, 1, "gone.json: No such file"},
};

SP_TABLE_TEST(settings, a_bad_change_is_named_and_stores_nothing, refused, row)
{
    const char *words[] = {"settings",    row->words[0], REDIS, row->words[1],
                           row->words[2], row->words[3], NULL};

    struct tool t = expect_code(row->code, tool_call(words));

    cr_expect(ne(ptr, strstr(t.err, row->message), NULL), "%s", t.err);
    cr_expect(not(stored("version", "")));
    tool_clear(&t);
}

Test(settings, a_file_replaces_all_of_a_providers_keys)
{
    quiet(0, TOOL("settings", "set", REDIS, "local", "isolation=none", "timeout=12"));
    write_file("local.json", "{\"isolation\": \"none\", \"max_memory_mb\": 100}");

    quiet(0, TOOL("settings", "set", REDIS, "local", "--from", "local.json"));

    cr_expect(stored("sandbox.local", "max_memory_mb"));
    cr_expect(not(stored("sandbox.local", "timeout")));
}

static const struct {
    const char *json;
} broken_files[] = {
    {"{\"token\": sk-hidden}"},
    {"{\"token\": \"sk-hidden\n\"}"},
    {"{\"token\": \"sk-hidden\" \"x\"}"},
};

SP_TABLE_TEST(settings, a_file_that_is_no_json_is_named_by_the_place_and_never_quoted, broken_files,
              row)
{
    write_file("fake.json", row->json);

    struct tool t = CALL(1, "settings", "set", REDIS, "fake", "--from", "fake.json");

    cr_expect(ne(ptr, strstr(t.err, "fake.json: is not valid JSON at line "), NULL), "%s", t.err);
    cr_expect(eq(ptr, strstr(t.err, "sk"), NULL), "%s", t.err);
    tool_clear(&t);
}

Test(settings, stored_text_that_is_no_json_is_an_error_and_no_output)
{
    freeReplyObject(redisCommand(redis, "HSET sandpiper:settings sandbox.local %s", "{sk-hidden"));

    struct tool t = CALL(1, "settings", "get", REDIS, "local", "--json");

    cr_expect(eq(str, t.out, ""));
    cr_expect(ne(ptr, strstr(t.err, "sandbox.local: is not valid JSON"), NULL), "%s", t.err);
    cr_expect(eq(ptr, strstr(t.err, "sk"), NULL), "%s", t.err);
    tool_clear(&t);
}

Test(settings, a_key_can_be_taken_away)
{
    quiet(0, TOOL("settings", "set", REDIS, "local", "isolation=none", "timeout=12"));

    quiet(0, TOOL("settings", "set", REDIS, "local", "--unset", "timeout"));

    cr_expect(not(stored("sandbox.local", "timeout")));
    cr_expect(stored("version", "2"));
}

Test(settings, activate_changes_only_the_type)
{
    quiet(0, TOOL("settings", "set", REDIS, "local", "isolation=none", "timeout=12"));

    quiet(0, TOOL("settings", "activate", REDIS, "local"));

    cr_expect(stored("sandbox.provider_type", "local"));
    cr_expect(stored("sandbox.local", "12"));
}

Test(settings, an_import_replaces_everything)
{
    quiet(0, TOOL("settings", "set", REDIS, "e2b", "api_key=x"));
    write_file("all.json", "{\"sandbox.provider_type\": \"local\", \"sandbox.local\": "
                           "{\"isolation\": \"none\"}, \"sandbox.ssh\": {}}");

    quiet(0, TOOL("settings", "import", REDIS, "all.json"));

    cr_expect(stored("sandbox.provider_type", "local"));
    cr_expect(not(stored("sandbox.e2b", "")));
    cr_expect(stored("version", "2"));
}

Test(settings, an_import_if_absent_leaves_what_is_there)
{
    quiet(0, TOOL("settings", "set", REDIS, "e2b", "api_key=x"));
    write_file("all.json", "{\"sandbox.provider_type\": \"local\", \"sandbox.local\": "
                           "{\"isolation\": \"none\"}}");

    struct tool t = CALL(0, "settings", "import", REDIS, "--if-absent", "all.json");

    cr_expect(ne(ptr, strstr(t.out, "nothing was changed"), NULL), "%s", t.out);
    cr_expect(not(stored("sandbox.local", "")));
    tool_clear(&t);
}

static const struct {
    const char *json, *message;
} bad_imports[] = {
    {"[]", "expected a JSON object"},
    {"{\"a\": 1,}", "line 1"},
    {"{\"sandbox.provider_type\": 1}", "sandbox.provider_type: expected a name"},
    {"{\"sandbox.provider_type\": \"x\"}", "sandbox.provider_type: there is no provider \"x\""},
    {"{\"sandbox.provider_type\": \"local\"}", "sandbox.local: isolation"},
    {"{\"sandbox.provider_type\": \"local\", \"sandbox.local\": {}}", "sandbox.local: isolation"},
    {"{\"sandbox.provider_type\": \"fake\", \"sandbox.local\": {\"timeout\": 0}}",
     "sandbox.local: "},
    {"{\"sandbox.provider_type\": \"fake\", \"sandbox.nobody\": {}}",
     "sandbox.nobody: there is no provider"},
    {"{\"sandbox.provider_type\": \"fake\", \"sandbox.e2b\": 1}",
     "sandbox.e2b: expected a JSON object"},
    {"{\"sandbox.provider_type\": \"fake\", \"local\": {}}", "local: not known"},
};

SP_TABLE_TEST(settings, a_bad_file_is_named_by_its_key_and_stores_nothing, bad_imports, row)
{
    write_file("bad.json", row->json);

    struct tool t = CALL(1, "settings", "import", REDIS, "bad.json");

    cr_expect(ne(ptr, strstr(t.err, "bad.json: "), NULL), "%s", t.err);
    cr_expect(ne(ptr, strstr(t.err, row->message), NULL), "%s", t.err);
    cr_expect(not(stored("version", "")));
    tool_clear(&t);
}

Test(settings, the_defaults_that_we_ship_can_be_imported)
{
    quiet(0, TOOL("settings", "import", REDIS, SP_SOURCE_DIR "/conf/system_settings.json"));

    cr_expect(stored("sandbox.provider_type", "local"));
}

Test(settings, schema_prints_the_fields)
{
    struct tool t = CALL(0, "settings", "schema", "local");

    json_auto_t *json = json_loads(t.out, 0, NULL);
    cr_expect(ne(ptr, json_object_get(json, "isolation"), NULL), "%s", t.out);
    tool_clear(&t);
}

#define WORKER(id, version, error)                                                                 \
    "{\"id\":\"" id "\",\"host\":\"h\",\"pid\":4,\"state\":\"running\",\"provider\":\"local\","    \
    "\"settings_version\":" version ",\"settings_error\":" error ",\"concurrency\":8,"             \
    "\"running\":2,\"partitions\":[\"t-0\",\"t-1\"],\"started\":1}"

Test(settings, wait_is_over_when_the_whole_fleet_has_the_version)
{
    put("sandpiper:worker:a", WORKER("a", "1", "null"));
    put("sandpiper:worker:b", WORKER("b", "2", "null"));

    struct tool t = CALL(0, "settings", "set", REDIS, "local", "isolation=none", "--wait", "5s");

    cr_expect(eq(str, t.err, "2 workers have applied it.\n"));
    tool_clear(&t);
}

Test(settings, wait_names_a_worker_that_refuses_the_version)
{
    put("sandpiper:worker:a", WORKER("a", "null", "null"));
    put("sandpiper:worker:b", WORKER("b", "null", "{\"version\":1,\"message\":\"no node\"}"));

    struct tool t = CALL(1, "settings", "set", REDIS, "local", "isolation=none", "--wait", "5s");

    cr_expect(ne(ptr, strstr(t.err, "worker b did not apply it: no node"), NULL), "%s", t.err);
    tool_clear(&t);
}

/* Which is another administrator's, made meanwhile. */
Test(settings, wait_does_not_mind_a_later_version_that_is_refused)
{
    put("sandpiper:worker:a", WORKER("a", "1", "{\"version\":2,\"message\":\"no node\"}"));

    struct tool t = CALL(0, "settings", "set", REDIS, "local", "isolation=none", "--wait", "5s");

    cr_expect(eq(str, t.err, "1 worker has applied it.\n"));
    tool_clear(&t);
}

Test(settings, wait_names_a_worker_that_is_late)
{
    put("sandpiper:worker:a", WORKER("a", "null", "null"));

    struct tool t = CALL(1, "settings", "set", REDIS, "local", "isolation=none", "--wait", "1ms");

    cr_expect(ne(ptr, strstr(t.err, "worker a has not applied version 1 yet"), NULL), "%s", t.err);
    tool_clear(&t);
}

Test(settings, without_workers_there_is_nothing_to_wait_for)
{
    struct tool t = CALL(0, "settings", "set", REDIS, "local", "isolation=none", "--wait", "5s");

    cr_expect(eq(str, t.err, "No worker is running; the next one to start reads it.\n"));
    tool_clear(&t);
}

Test(settings, workers_are_listed_by_id)
{
    put("sandpiper:worker:b", WORKER("b", "null", "{\"version\":1,\"message\":\"no node\"}"));
    put("sandpiper:worker:a", WORKER("a", "7", "null"));
    put("sandpiper:worker:broken", "{");

    struct tool t = CALL(0, "workers", REDIS);
    const char *a = strstr(t.out, "\na ");
    const char *b = strstr(t.out, "\nb ");
    cr_assert(a && b && a < b, "%s", t.out);
    cr_expect(ne(ptr, strstr(a, "2/8"), NULL), "%s", t.out);
    cr_expect(ne(ptr, strstr(b, "settings were not applied: no node\n"), NULL), "%s", t.out);
    tool_clear(&t);

    t = CALL(0, "workers", REDIS, "--json");
    json_auto_t *json = json_loads(t.out, 0, NULL);
    cr_expect(eq(sz, json_array_size(json), 2));
    tool_clear(&t);
}

Test(settings, without_workers_the_list_says_so)
{
    struct tool t = CALL(0, "workers", REDIS);

    cr_expect(eq(str, t.out, "No worker is running. 'sandpiper worker' starts one.\n"));
    tool_clear(&t);
}

Test(settings, providers_say_which_is_active_and_where_it_is_in_force)
{
    quiet(0, TOOL("settings", "set", REDIS, "local", "isolation=none", "--activate"));
    put("sandpiper:worker:a", WORKER("a", "1", "null"));

    struct tool t = CALL(0, "providers", REDIS);
    cr_expect(ne(ptr, strstr(t.out, "* local "), NULL), "%s", t.out);
    cr_expect(ne(ptr, strstr(t.out, "in force on 1 of 1 worker)"), NULL), "%s", t.out);
    cr_expect(ne(ptr, strstr(t.out, "  e2b "), NULL), "%s", t.out);
    tool_clear(&t);

    t = CALL(0, "providers", REDIS, "--json");
    json_auto_t *json = json_loads(t.out, 0, NULL);
    bool active_is_local = false;
    for (size_t i = 0; i < json_array_size(json); i++) {
        json_t *p = json_array_get(json, i);
        if (json_is_true(json_object_get(p, "active")))
            active_is_local = !strcmp(json_string_value(json_object_get(p, "id")), "local") &&
                              json_integer_value(json_object_get(p, "in_force")) == 1;
    }
    cr_expect(active_is_local);
    tool_clear(&t);
}

Test(settings, without_redis_the_address_is_named_and_providers_are_still_listed)
{
    sp_redis_server_kill(&server);

    struct tool t = CALL(1, "settings", "get", REDIS);
    cr_expect(ne(ptr, strstr(t.err, server.socket), NULL), "%s", t.err);
    cr_expect(ne(ptr, strstr(t.err, "redis.url"), NULL), "%s", t.err);
    tool_clear(&t);

    t = CALL(1, "providers", REDIS);
    cr_expect(ne(ptr, strstr(t.out, "  local "), NULL), "%s", t.out);
    tool_clear(&t);
}

/* Begins to set one key, in a process of its own. */
static pid_t begin_setting(const char *assignment)
{
    const char *words[] = {SP_BINARY, "settings", "set", REDIS, "local", assignment, NULL};
    pid_t pid = 0;
    cr_assert(eq(int, posix_spawn(&pid, SP_BINARY, NULL, NULL, (char **)words, environ), 0));
    return pid;
}

Test(settings, administrators_who_set_different_keys_lose_nothing)
{
    static const char *const keys[] = {"timeout", "max_memory_mb"};
    quiet(0, TOOL("settings", "set", REDIS, "local", "isolation=none"));

    for (int round = 0; round < 10; round++) {
        pid_t pids[SP_COUNT(keys)];
        char word[32], expected[32];
        int status = 0;
        for (size_t i = 0; i < SP_COUNT(keys); i++) {
            snprintf(word, sizeof(word), "%s=%d", keys[i], 100 + round);
            pids[i] = begin_setting(word);
        }
        for (size_t i = 0; i < SP_COUNT(keys); i++) {
            cr_assert(eq(int, waitpid(pids[i], &status, 0), pids[i]));
            cr_expect(eq(int, status, 0), "%s failed", keys[i]);
        }
        for (size_t i = 0; i < SP_COUNT(keys); i++) {
            snprintf(expected, sizeof(expected), "\"%s\":%d", keys[i], 100 + round);
            cr_expect(stored("sandbox.local", expected), "%s was lost", expected);
        }
    }
}

/* Waits until the reader of a pipe has taken what is in it. */
static bool taken(int fd)
{
    int left = 0;
    return ioctl(fd, FIONREAD, &left) == 0 && left == 0;
}

Test(settings, what_comes_on_standard_input_survives_another_change_meanwhile)
{
    int ends[2], status = -1;
    pid_t pid = 0;
    const char *words[] = {SP_BINARY, "settings", "set", REDIS, "local", "--from", "-", NULL};
    posix_spawn_file_actions_t actions;
    cr_assert(eq(int, pipe2(ends, O_CLOEXEC), 0));
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO);
    cr_assert(eq(int, posix_spawn(&pid, SP_BINARY, &actions, NULL, (char **)words, environ), 0));
    posix_spawn_file_actions_destroy(&actions);

    cr_assert(eq(i64, write(ends[1], "{\"isolation\":\"none\"", 19), 19));
    cr_assert(SP_UNTIL(MOCK_LIMIT_MS, taken(ends[1])));
    quiet(0, TOOL("settings", "set", REDIS, "e2b", "api_key=env:KEY"));
    cr_assert(eq(i64, write(ends[1], "}", 1), 1));
    close(ends[1]);
    close(ends[0]);

    cr_assert(eq(int, waitpid(pid, &status, 0), pid));
    cr_expect(eq(int, status, 0));
    cr_expect(stored("sandbox.local", "none"));
    cr_expect(stored("sandbox.e2b", "env:KEY"));
}

Test(settings, a_test_goes_through_every_step_and_cleans_up)
{
    struct tool t = CALL(0, "settings", "test", REDIS, "fake");

    static const char *const lines[] = {"open      ok", "check     ok", "create    ok",
                                        "execute   ok", "result    ok", "PASSED | exit code: 0"};
    for (size_t i = 0; i < SP_COUNT(lines); i++)
        cr_expect(ne(ptr, strstr(t.out, lines[i]), NULL), "%s: %s", lines[i], t.out);
    cr_expect(eq(int, fake_counts.destroyed, 1));
    cr_expect(eq(int, fake_counts.closed, 1));
    cr_expect(not(stored("version", "")));
    tool_clear(&t);
}

static const struct {
    const char *fails, *step, *message;
    int closed, destroyed;
} broken[] = {
    {"fails=open", "open", "open broke", 0, 0},
    {"fails=check", "check", "check broke", 1, 0},
    {"fails=create", "create", "create broke", 1, 0},
    {"fails=execute", "execute", "execute broke", 1, 1},
    {"fails=exit", "result", "the program ended with exit code 3", 1, 1},
    {"fails=output", "result", "TEST_PASSED is missing in the output", 1, 1},
    {"fails=value", "result", "the value that main returned was lost", 1, 1},
};

SP_TABLE_TEST(settings, a_test_names_the_step_that_failed, broken, row)
{
    char expected[128];
    snprintf(expected, sizeof(expected), "FAILED at %s: %s", row->step, row->message);

    struct tool t = CALL(1, "settings", "test", REDIS, "--json", "fake", row->fails);

    json_auto_t *json = json_loads(t.out, 0, NULL);
    cr_expect(eq(int, json_typeof(json_object_get(json, "success")), JSON_FALSE));
    const char *step = json_string_value(json_object_get(json, "failed_step"));
    cr_expect(eq(str, (char *)step, (char *)row->step));
    const char *message = json_string_value(json_object_get(json, "message"));
    cr_expect(eq(int, strncmp(message, expected, strlen(expected)), 0), "%s", message);
    cr_expect(eq(int, fake_counts.closed, row->closed));
    cr_expect(eq(int, fake_counts.destroyed, row->destroyed));
    tool_clear(&t);
}

Test(settings, a_test_has_the_members_of_ragflows)
{
    struct tool t = CALL(0, "settings", "test", REDIS, "--json", "fake");

    json_auto_t *json = json_loads(t.out, 0, NULL);
    json_t *details = json_object_get(json, "details");
    cr_expect(eq(int, json_typeof(json_object_get(json, "success")), JSON_TRUE));
    cr_expect(eq(i64, json_integer_value(json_object_get(details, "exit_code")), 0));
    cr_expect(eq(int, json_typeof(json_object_get(details, "execution_time")), JSON_REAL));
    cr_expect(
        eq(str, (char *)json_string_value(json_object_get(details, "stdout")), "TEST_PASSED\n"));
    cr_expect(eq(str, (char *)json_string_value(json_object_get(details, "stderr")), ""));
    tool_clear(&t);
}

/* ---- the control topic ---- */

/* The value of the n-th record of the control topic, which has this key. New reference. */
static json_t *control_json(int n, const char *key)
{
    rd_kafka_t *reader = mock_reader(&mock, "sandpiper.control", 1);
    json_t *json = NULL;
    for (int i = 0; i <= n; i++) {
        rd_kafka_message_t *message = mock_read(reader, MOCK_LIMIT_MS);
        cr_assert(ne(ptr, message, NULL), "record %d", i);
        if (i == n) {
            cr_expect(message->key_len == strlen(key) &&
                      !memcmp(message->key, key, message->key_len));
            json = json_loadb(message->payload, message->len, 0, NULL);
        }
        rd_kafka_message_destroy(message);
    }
    rd_kafka_destroy(reader);
    return json;
}

static void publish(const char *value)
{
    mock_send(&mock, &(struct mock_record){
                         .topic = "sandpiper.control", .key = "settings", .value = value});
}

Test(settings, a_change_is_a_record_of_the_whole_document_first)
{
    quiet(0, TOOL("settings", "set", REDIS, "fake", "token=env:TOKEN"));
    quiet(0, TOOL("settings", "set", REDIS, "local", "isolation=none", "--activate", "--author",
                  "ann", "--comment", "why"));

    json_auto_t *json = control_json(1, "settings");

    cr_expect(eq(str, (char *)json_string_value(json_object_get(json, "provider_type")), "local"));
    cr_expect(eq(str, (char *)json_string_value(json_object_get(json, "author")), "ann"));
    cr_expect(eq(str, (char *)json_string_value(json_object_get(json, "comment")), "why"));
    json_t *fake = json_object_get(json_object_get(json, "providers"), "fake");
    cr_expect(eq(str, (char *)json_string_value(json_object_get(fake, "token")), "env:TOKEN"));
    cr_expect(stored("control_position", "1:"));
    cr_expect(zero(strncmp(json_string_value(json_object_get(json, "base")), "0:", 2)));
    cr_expect(stored("version", "2"), "once, though this command and its record say it");
}

Test(settings, a_mask_is_replaced_before_the_record_is_written)
{
    quiet(0, TOOL("settings", "set", REDIS, "e2b", "api_key=env:KEY"));
    quiet(0, TOOL("settings", "set", REDIS, "e2b", "api_key=********", "timeout=20"));

    json_auto_t *json = control_json(1, "settings");

    json_t *e2b = json_object_get(json_object_get(json, "providers"), "e2b");
    cr_expect(eq(str, (char *)json_string_value(json_object_get(e2b, "api_key")), "env:KEY"));
}

Test(settings, a_secret_that_is_no_reference_is_warned_about)
{
    struct tool t = CALL(0, "settings", "set", REDIS, "e2b", "api_key=sk-1");

    cr_expect(ne(ptr, strstr(t.err, "warning: e2b.api_key is on the control topic"), NULL), "%s",
              t.err);
    cr_expect(eq(ptr, strstr(t.err, "sk-1"), NULL), "%s", t.err);
    tool_clear(&t);

    t = CALL(0, "settings", "set", REDIS, "e2b", "api_key=env:KEY");
    cr_expect(eq(str, t.err, ""));
    tool_clear(&t);
}

/* No worker runs that could have applied the record. */
Test(settings, a_change_is_made_from_the_topics_last_record)
{
    publish(
        "{\"provider_type\":\"local\",\"providers\":{\"local\":{\"isolation\":\"none\",\"timeout\":"
        "7}}}");
    publish("{\"provider_type\":\"nobody\",\"providers\":{}}"); /* not valid, so none */

    quiet(0, TOOL("settings", "set", REDIS, "local", "max_memory_mb=99"));

    cr_expect(stored("sandbox.local", "\"timeout\":7"));
    cr_expect(stored("sandbox.local", "99"));
    cr_expect(stored("sandbox.provider_type", "local"));
}

Test(settings, an_import_if_absent_leaves_what_the_topic_has)
{
    publish("{\"provider_type\":\"local\",\"providers\":{\"local\":{\"isolation\":\"none\"}}}");
    write_file("all.json", "{\"sandbox.provider_type\": \"fake\"}");

    struct tool t = CALL(0, "settings", "import", REDIS, "--if-absent", "all.json");

    cr_expect(ne(ptr, strstr(t.out, "nothing was changed"), NULL), "%s", t.out);
    cr_expect(stored("sandbox.provider_type", "local"));
    tool_clear(&t);
}

Test(settings, with_redis_only_no_record_is_written_and_that_is_warned_about)
{
    struct tool t =
        CALL(0, "settings", "set", REDIS, "--redis-only", "local", "isolation=none", "--activate");
    cr_expect(ne(ptr, strstr(t.err, "warning: only Redis was changed"), NULL), "%s", t.err);
    cr_expect(stored("sandbox.local", "none"));
    cr_expect(not(stored("control_position", "")));
    tool_clear(&t);

    quiet(0, TOOL("settings", "activate", REDIS, "local"));
    json_auto_t *json = control_json(0, "settings");
    cr_expect(eq(str, (char *)json_string_value(json_object_get(json, "base")), "none"));
}

Test(settings, with_kafka_away_a_change_fails_and_stores_nothing)
{
    rd_kafka_mock_broker_set_down(mock.cluster, -1);

    struct tool t = CALL(1, "settings", "set", REDIS, "local", "isolation=none");

    cr_expect(ne(ptr, strstr(t.err, "kafka.bootstrap.servers"), NULL), "%s", t.err);
    cr_expect(not(stored("version", "")));
    tool_clear(&t);
    quiet(0, TOOL("settings", "set", REDIS, "--redis-only", "local", "isolation=none"));
    cr_expect(stored("version", "1"));
}

Test(settings, watch_shows_author_and_comment_and_the_fleet)
{
    quiet(0, TOOL("settings", "set", REDIS, "local", "isolation=none", "--activate", "--author",
                  "ann", "--comment", "first"));
    put("sandpiper:worker:a", WORKER("a", "1", "null"));
    put("sandpiper:worker:b", WORKER("b", "0", "null"));

    struct tool t = CALL(0, "settings", "watch", REDIS, "--for", "1ms");
    cr_expect(
        eq(str, t.out, "version 1: local, by ann (first)\n  1 of 2 workers have version 1\n"));
    tool_clear(&t);

    t = CALL(0, "settings", "watch", REDIS, "--for", "1ms", "--json");
    cr_expect(eq(str, t.out,
                 "{\"event\":\"change\",\"version\":1,\"provider\":\"local\",\"author\":\"ann\","
                 "\"comment\":\"first\"}\n"
                 "{\"event\":\"fleet\",\"version\":1,\"applied\":1,\"workers\":2}\n"));
    tool_clear(&t);
}

/* ---- cancel ---- */

Test(settings, cancel_publishes_a_record)
{
    struct tool t = CALL(0, "cancel", "-X", brokers, "job 1", "--reason", "why \"so\"", "--by",
                         "ann", "--json");
    cr_expect(ne(ptr, strstr(t.out, "\"position\": 0"), NULL), "%s", t.out);
    tool_clear(&t);

    json_auto_t *json = control_json(0, "cancel:job 1");

    cr_expect(eq(str, (char *)json_string_value(json_object_get(json, "reason")), "why \"so\""));
    cr_expect(eq(str, (char *)json_string_value(json_object_get(json, "by")), "ann"));
}

static const struct {
    const char *id;
} impossible_ids[] = {{""}, {"a\nb"}, {"\xff"}};

SP_TABLE_TEST(settings, an_id_that_no_request_can_have_is_refused, impossible_ids, row)
{
    struct tool t = CALL(2, "cancel", "-X", brokers, row->id);

    cr_expect(ne(ptr, strstr(t.err, "no request can have this id"), NULL), "%s", t.err);
    tool_clear(&t);
}
