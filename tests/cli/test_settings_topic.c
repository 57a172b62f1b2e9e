/* The changes of administrators as records of the control topic, and several of them at once. */
#include <fcntl.h>
#include <jansson.h>
#include <spawn.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/cli/stage.h"
#include "tests/support.h"
#include "tests/support/until.h"

TestSuite(topic, .init = open_stage, .fini = close_stage);

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

Test(topic, a_change_is_a_record_of_the_whole_document_first)
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

Test(topic, a_mask_is_replaced_before_the_record_is_written)
{
    quiet(0, TOOL("settings", "set", REDIS, "e2b", "api_key=env:KEY"));
    quiet(0, TOOL("settings", "set", REDIS, "e2b", "api_key=********", "timeout=20"));

    json_auto_t *json = control_json(1, "settings");

    json_t *e2b = json_object_get(json_object_get(json, "providers"), "e2b");
    cr_expect(eq(str, (char *)json_string_value(json_object_get(e2b, "api_key")), "env:KEY"));
}

Test(topic, a_secret_that_is_no_reference_is_warned_about)
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
Test(topic, a_change_is_made_from_the_topics_last_record)
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

Test(topic, an_import_if_absent_leaves_what_the_topic_has)
{
    publish("{\"provider_type\":\"local\",\"providers\":{\"local\":{\"isolation\":\"none\"}}}");
    write_file("all.json", "{\"sandbox.provider_type\": \"fake\"}");

    struct tool t = CALL(0, "settings", "import", REDIS, "--if-absent", "all.json");

    cr_expect(ne(ptr, strstr(t.out, "nothing was changed"), NULL), "%s", t.out);
    cr_expect(stored("sandbox.provider_type", "local"));
    tool_clear(&t);
}

Test(topic, with_redis_only_no_record_is_written_and_that_is_warned_about)
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

Test(topic, with_kafka_away_a_change_fails_and_stores_nothing)
{
    rd_kafka_mock_broker_set_down(mock.cluster, -1);

    struct tool t = CALL(1, "settings", "set", REDIS, "local", "isolation=none");

    cr_expect(ne(ptr, strstr(t.err, "kafka.bootstrap.servers"), NULL), "%s", t.err);
    cr_expect(not(stored("version", "")));
    tool_clear(&t);
    quiet(0, TOOL("settings", "set", REDIS, "--redis-only", "local", "isolation=none"));
    cr_expect(stored("version", "1"));
}

Test(topic, cancel_publishes_a_record)
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

SP_TABLE_TEST(topic, an_id_that_no_request_can_have_is_refused, impossible_ids, row)
{
    struct tool t = CALL(2, "cancel", "-X", brokers, row->id);

    cr_expect(ne(ptr, strstr(t.err, "no request can have this id"), NULL), "%s", t.err);
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

Test(topic, administrators_who_set_different_keys_lose_nothing)
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

Test(topic, what_comes_on_standard_input_survives_another_change_meanwhile)
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
