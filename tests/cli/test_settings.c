/* settings against a private Redis: what is shown, set, imported and tested. */
#include <jansson.h>
#include <string.h>

#include "tests/cli/stage.h"
#include "tests/support.h"
#include "tests/support/fake_provider.h"

TestSuite(settings, .init = open_stage, .fini = close_stage);

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
