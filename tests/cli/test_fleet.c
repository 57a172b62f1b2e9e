/* What commands say about the workers: providers, workers, settings watch, and --wait. */
#include <jansson.h>
#include <string.h>

#include "tests/cli/stage.h"
#include "tests/support.h"

#define SET_AND_WAIT(code, limit)                                                                  \
    CALL(code, "settings", "set", REDIS, "local", "isolation=none", "--wait", limit)

TestSuite(fleet, .init = open_stage, .fini = close_stage);

Test(fleet, wait_is_over_when_the_whole_fleet_has_the_version)
{
    put("sandpiper:worker:a", WORKER("a", "1", "null"));
    put("sandpiper:worker:b", WORKER("b", "2", "null"));

    struct tool t = SET_AND_WAIT(0, "5s");

    cr_expect(eq(str, t.err, "2 workers have applied it.\n"));
    tool_clear(&t);
}

Test(fleet, wait_names_a_worker_that_refuses_the_version)
{
    put("sandpiper:worker:a", WORKER("a", "null", "null"));
    put("sandpiper:worker:b", WORKER("b", "null", "{\"version\":1,\"message\":\"no node\"}"));

    struct tool t = SET_AND_WAIT(1, "5s");

    cr_expect(ne(ptr, strstr(t.err, "worker b did not apply it: no node"), NULL), "%s", t.err);
    tool_clear(&t);
}

/* Which is another administrator's, made meanwhile. */
Test(fleet, wait_does_not_mind_a_later_version_that_is_refused)
{
    put("sandpiper:worker:a", WORKER("a", "1", "{\"version\":2,\"message\":\"no node\"}"));

    struct tool t = SET_AND_WAIT(0, "5s");

    cr_expect(eq(str, t.err, "1 worker has applied it.\n"));
    tool_clear(&t);
}

Test(fleet, wait_names_a_worker_that_is_late)
{
    put("sandpiper:worker:a", WORKER("a", "null", "null"));

    struct tool t = SET_AND_WAIT(1, "1ms");

    cr_expect(ne(ptr, strstr(t.err, "worker a has not applied version 1 yet"), NULL), "%s", t.err);
    tool_clear(&t);
}

Test(fleet, without_workers_there_is_nothing_to_wait_for)
{
    struct tool t = SET_AND_WAIT(0, "5s");

    cr_expect(eq(str, t.err, "No worker is running; the next one to start reads it.\n"));
    tool_clear(&t);
}

Test(fleet, workers_are_listed_by_id)
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

Test(fleet, without_workers_the_list_says_so)
{
    struct tool t = CALL(0, "workers", REDIS);

    cr_expect(eq(str, t.out, "No worker is running. 'sandpiper worker' starts one.\n"));
    tool_clear(&t);
}

Test(fleet, providers_say_which_is_active_and_where_it_is_in_force)
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

Test(fleet, watch_shows_author_and_comment_and_the_fleet)
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
