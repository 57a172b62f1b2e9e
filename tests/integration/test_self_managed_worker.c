/*
 * self_managed behind a worker: what a client reads in the reply, and what holds while the service
 * is away or the settings change. RAGFlow's integration test (reference ragflow 3.4) is asked of
 * this provider, too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support.h"
#include "tests/support/manager.h"
#include "tests/support/stage.h"

#define LIMIT_MS 120000

static struct sp_stage *s;
static struct sp_manager manager;

static void open_stage(void)
{
    s = sp_stage_new(2);
}

static void close_stage(void)
{
    sp_stage_free(s);
    sp_manager_stop(&manager);
}

TestSuite(self_managed_worker, .init = open_stage, .fini = close_stage);

static void activate(const char *url, const char *more)
{
    char settings[256];
    snprintf(settings, sizeof settings, "{\"endpoint\":\"%s\"%s%s}", url, *more ? "," : "", more);
    sp_stage_settings(s, "self_managed", settings);
}

static void start(const char *const *words)
{
    sp_manager_start(&manager, words);
    activate(manager.url, "");
    sp_stage_worker(s, NULL);
}

static void tell(const char *command)
{
    json_decref(sp_manager_tell(&manager, command));
}

static const struct sp_stage_case replies[] = {
    {"value",
     "python",
     "def main(n):\n    print('out')\n    return {'n': n, 'x': 1.50}",
     "\"arguments\":{\"n\":1180591620717411303424}",
     {{"status", "\"ok\""},
      {"stdout", "\"out\\n\""},
      {"stderr", "\"\""},
      {"provider", "\"self_managed\""},
      {"error", "null"},
      {"metadata.result_present", "true"},
      {"metadata.result_type", "\"json\""},
      {"metadata.language", "\"python\""},
      {"metadata.status", "\"success\""},
      {"metadata.detail", "null"},
      {"metadata.memory_used_kb", "null"},
      {"metadata.resource_limit_type", "null"},
      {"metadata.artifacts", "[]"},
      {"metadata.stdout_truncated", "false"}},
     "\"result_value\":{\"n\": 1180591620717411303424, \"x\": 1.5}"},
    {"echoed",
     "javascript",
     "function main(args) { return `Hello, ${args.name}!`; }",
     "\"arguments\":{\"name\":\"World\"},\"options\":{\"result_in_stdout\":true}",
     {{"status", "\"ok\""},
      {"stdout", "\"Hello, World!\\n\""},
      {"metadata.language", "\"nodejs\""},
      {"metadata.result_value", "\"Hello, World!\""}},
     NULL},
    {"script",
     "py",
     "import json\ndata = [{'name': 'Alice'}, {'name': 'Bob'}]\nprint(json.dumps(data))",
     "\"timeout\":60",
     {{"status", "\"ok\""},
      {"stdout", "\"[{\\\"name\\\": \\\"Alice\\\"}, {\\\"name\\\": \\\"Bob\\\"}]\\n\""},
      {"exit_code", "0"},
      {"attempt", "1"},
      {"metadata.result_present", "false"},
      {"metadata.result_value", "null"},
      {"metadata.timeout", "30"},
      {"metadata.timeout_requested", "60"}},
     NULL},
    {"error",
     "python",
     "raise ValueError('this is wrong')",
     "",
     {{"status", "\"failed\""},
      {"exit_code", "1"},
      {"error", "null"},
      {"stdout", "\"\""},
      {"metadata.status", "\"program_error\""},
      {"metadata.runtime_error_type", "\"nonzero_exit\""}},
     "ValueError: this is wrong"},
    {"loop",
     "python",
     "while True:\n    pass",
     "",
     {{"status", "\"timeout\""},
      {"exit_code", "-1"},
      {"error.code", "\"SB005\""},
      {"error.kind", "\"timeout\""},
      {"error.retryable", "false"},
      {"metadata.status", "\"resource_limit_exceeded\""},
      {"metadata.resource_limit_type", "\"time\""}},
     "Execution timed out"},
    {"memory",
     "python",
     "def main():\n    n = 400000000\n    return len('x' * n)",
     "",
     {{"status", "\"failed\""},
      {"error.code", "\"SB006\""},
      {"error.kind", "\"runtime\""},
      {"metadata.resource_limit_type", "\"memory\""}},
     NULL},
    {"unsafe",
     "python",
     "x = 1\nimport os\nprint(os.name)",
     "",
     {{"status", "\"rejected\""},
      {"exit_code", "-1"},
      {"error.code", "\"SB007\""},
      {"error.kind", "\"rejected\""},
      {"error.retryable", "false"},
      {"execution_time", "0.0"}},
     "Line 2: import of os"},
    {"files",
     "python",
     "print(1)",
     "\"files\":[{\"name\":\"in.csv\",\"content_b64\":\"MSwy\"}]",
     {{"status", "\"rejected\""}, {"error.code", "\"SB007\""}},
     "files: the provider self_managed"},
    {"module",
     "js",
     "export function main() {}",
     "",
     {{"status", "\"failed\""}, {"exit_code", "1"}},
     "Error"},
    {"artifact",
     "python",
     "from pathlib import Path\nPath('artifacts/a.csv').write_text('1,2')",
     "",
     {{"status", "\"ok\""},
      {"metadata.artifacts",
       "[{\"name\":\"a.csv\",\"content_b64\":\"MSwy\",\"mime_type\":\"text/csv\",\"size\":3}]"}},
     NULL},
};

Test(self_managed_worker, a_reply_says_what_came_of_its_request)
{
    start((const char *const[]){"SANDBOX_TIMEOUT=3s", NULL});
    for (size_t i = 0; i < SP_COUNT(replies); i++)
        sp_stage_submit(s, replies[i].id, replies[i].language, replies[i].code, replies[i].members);

    for (size_t i = 0; i < SP_COUNT(replies); i++) {
        struct sp_stage_answer *a = sp_stage_expect(s, &replies[i], LIMIT_MS);
        cr_expect(json_array_size(sp_stage_answer_get(a, "metadata.limits_of_provider")) > 0 ||
                      strcmp(sp_stage_answer_text(a, "status"), "rejected") == 0,
                  "%s", a->value);
    }
}

/* One job after the other, so that the check and the settings are behind us. */
static const struct {
    const char *id, *fault, *code, *status;
    const char *retryable;
} failures[] = {
    {"internal", "{\"status\":500,\"body\":\"Internal Server Error\"}", "SB004", "error", "true"},
    {"runner", "{\"result\":{\"exit_code\":-3,\"detail\":\"internal_error\"}}", "SB004", "error",
     "true"},
    {"request", "{\"status\":422,\"body\":\"{}\"}", "SB004", "error", "true"},
    {"token", "{\"status\":401,\"body\":\"{}\"}", "SB002", "error", "true"},
    {"proxy", "{\"status\":502}", "SB003", "error", "false"},
    {"cut", "{\"run\":true,\"close\":\"midway\"}", "SB003", "error", "false"},
    {"closed", "{\"run\":true,\"close\":\"unanswered\"}", "SB003", "error", "false"},
    {"large", "{\"run\":true,\"body\":\"0123456789abcdef\",\"repeat\":10000}", "SB006", "failed",
     "false"},
};

Test(self_managed_worker, a_failure_of_the_service_has_its_code)
{
    char command[160];
    sp_manager_start(&manager, NULL);
    activate(manager.url, "");
    sp_stage_worker(s, (const char *const[]){"limits.response_bytes=100K", NULL});
    sp_stage_submit(s, "first", "python", "print(1)", "");
    sp_stage_reply(s, "first", LIMIT_MS);

    for (size_t i = 0; i < SP_COUNT(failures); i++) {
        snprintf(command, sizeof command, "{\"faults\":[%s],\"forget\":true}", failures[i].fault);
        tell(command);
        sp_stage_submit(s, failures[i].id, "python", "print(1)", "");

        struct sp_stage_answer *a = sp_stage_reply(s, failures[i].id, LIMIT_MS);

        cr_expect(eq(str, (char *)sp_stage_answer_text(a, "error.code"), (char *)failures[i].code),
                  "%s", a->value);
        cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), (char *)failures[i].status),
                  "%s", a->value);
        cr_expect(sp_stage_answer_is(a, "error.retryable", failures[i].retryable), "%s", a->value);
        cr_expect(eq(int, sp_manager_requests(&manager, "/run"), 1), "%s", failures[i].id);
    }
}

/* max_retries bounds one dispatch; then the job is held and no attempt is burnt. */
static const struct {
    const char *name, *fault;
} outages[] = {
    {"503", "{\"status\":503,\"times\":0}"},
    {"429", "{\"status\":429,\"times\":0}"},
    {"-429", "{\"times\":0,\"result\":{\"exit_code\":-429}}"},
    {"-10", "{\"times\":0,\"result\":{\"exit_code\":-10,\"detail\":\"no_available_container\"}}"},
};

SP_TABLE_TEST(self_managed_worker, a_job_that_did_not_start_is_held_until_it_can, outages, row)
{
    char command[160];
    start(NULL);
    sp_stage_submit(s, "first", "python", "print(1)", "");
    sp_stage_reply(s, "first", LIMIT_MS);
    snprintf(command, sizeof command, "{\"forget\":true,\"faults\":[%s]}", row->fault);
    tell(command);
    sp_stage_submit(s, "held", "python", "print(1)", "");
    sp_stage_until_metric(s, 0, "sandpiper_jobs_held", 1, LIMIT_MS);
    tell("{\"faults\":[]}");

    struct sp_stage_answer *a = sp_stage_reply(s, "held", LIMIT_MS);

    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), "ok"), "%s: %s", row->name,
              a->value);
    cr_expect(sp_stage_answer_is(a, "attempt", "1"), "%s", a->value);
    cr_expect(strcmp(sp_stage_answer_text(a, "stdout"), "1\n") == 0, "%s", a->value);
}

/* The reason is that of the last check, which is made again every 5 s. */
Test(self_managed_worker, a_held_job_has_its_own_end_and_the_reason)
{
    sp_manager_start(&manager, NULL);
    activate(manager.url, "");
    sp_stage_worker(s, (const char *const[]){"worker.hold=8s", NULL});
    sp_stage_submit(s, "first", "python", "print(1)", "");
    sp_stage_reply(s, "first", LIMIT_MS);
    tell("{\"faults\":[{\"times\":0,\"result\":{\"exit_code\":-10}}]}");

    sp_stage_submit(s, "away", "python", "print(1)", "");
    struct sp_stage_answer *away = sp_stage_reply(s, "away", LIMIT_MS);
    sp_stage_submit(s, "stale", "python", "print(1)", "\"queue_ttl\":\"1s\"");
    struct sp_stage_answer *stale = sp_stage_reply(s, "stale", LIMIT_MS);

    cr_expect(eq(str, (char *)sp_stage_answer_text(away, "error.code"), "SB009"), "%s",
              away->value);
    cr_expect(strstr(away->value, "no container") != NULL, "%s", away->value);
    cr_expect(eq(str, (char *)sp_stage_answer_text(stale, "error.code"), "SB010"), "%s",
              stale->value);
}

Test(self_managed_worker, rate_limits_that_last_are_sb008)
{
    sp_manager_start(&manager, NULL);
    activate(manager.url, "");
    sp_stage_worker(s, (const char *const[]){"worker.hold=1s", NULL});
    sp_stage_submit(s, "first", "python", "print(1)", "");
    sp_stage_reply(s, "first", LIMIT_MS);
    tell("{\"faults\":[{\"times\":0,\"status\":429}]}");

    sp_stage_submit(s, "busy", "python", "print(1)", "");

    struct sp_stage_answer *a = sp_stage_reply(s, "busy", LIMIT_MS);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "error.code"), "SB008"), "%s", a->value);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "error.kind"), "busy"), "%s", a->value);
    cr_expect(sp_stage_answer_is(a, "error.retryable", "true"), "%s", a->value);
}

/* Settings */

enum { JOBS = 60 };

static void submit_some(int from, int to)
{
    char id[16];
    for (int i = from; i < to; i++) {
        snprintf(id, sizeof id, "j%d", i);
        sp_stage_submit(s, id, "python", "def main():\n    return 'value'", "");
    }
    sp_stage_flush(s);
}

Test(self_managed_worker, a_switch_to_self_managed_and_back_fails_no_job)
{
    char settings[128];
    int seen[4] = {0};
    sp_manager_start(&manager, (const char *const[]){"SANDBOX_EXECUTOR_MANAGER_POOL_SIZE=2", NULL});
    sp_stage_local(s, "");
    sp_stage_worker(s, NULL);
    snprintf(settings, sizeof settings, "{\"endpoint\":\"%s\"}", manager.url);

    submit_some(0, JOBS / 3);
    int64_t version = sp_stage_settings(s, "self_managed", settings);
    submit_some(JOBS / 3, 2 * JOBS / 3);
    sp_stage_until_metric(s, 0, "sandpiper_settings_version", (double)version, LIMIT_MS);
    sp_stage_reply(s, "j39", LIMIT_MS);
    version = sp_stage_local(s, "");
    submit_some(2 * JOBS / 3, JOBS);
    sp_stage_until_metric(s, 0, "sandpiper_settings_version", (double)version, LIMIT_MS);

    for (int i = 0; i < JOBS; i++) {
        char id[16];
        snprintf(id, sizeof id, "j%d", i);
        struct sp_stage_answer *a = sp_stage_reply(s, id, LIMIT_MS);
        bool managed = strcmp(sp_stage_answer_text(a, "provider"), "self_managed") == 0;
        cr_expect(sp_stage_answer_is(a, "metadata.result_value", "\"value\""), "%s", a->value);
        cr_expect(sp_stage_answer_is(a, "settings_version", "2") == managed, "%s", a->value);
        seen[managed]++;
    }
    cr_expect(seen[0] > 0 && seen[1] > 0);
    cr_expect(eq(int, sp_manager_count(&manager, "executions"), seen[1] + 1), "and one probe");
}

Test(self_managed_worker, refused_credentials_are_a_failed_configuration)
{
    sp_manager_start(&manager, (const char *const[]){"SANDBOX_EXECUTOR_MANAGER_API_TOKEN=right",
                                                     "--later", NULL});
    activate(manager.url, "\"api_token\":\"not-this-one\"");
    sp_stage_worker(s, NULL);
    sp_stage_submit(s, "refused", "python", "print(1)", "");

    struct sp_stage_answer *a = sp_stage_reply(s, "refused", LIMIT_MS);

    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "error.code"), "SB002"), "%s", a->value);
    cr_expect(strstr(a->value, "api_token") != NULL, "%s", a->value);
    cr_expect(strstr(a->value, "not-this-one") == NULL, "%s", a->value);

    activate(manager.url, "\"api_token\":\"right\"");
    sp_stage_until_metric(s, 0, "sandpiper_settings_version", 2, LIMIT_MS);
    sp_stage_submit(s, "right", "python", "print(1)", "");
    cr_expect(strcmp(sp_stage_answer_text(sp_stage_reply(s, "right", LIMIT_MS), "status"), "ok") ==
              0);
}

Test(self_managed_worker, settings_without_a_type_mean_self_managed)
{
    sp_manager_start(&manager, NULL);
    activate(manager.url, "");
    free(sp_stage_redis(s, "HDEL %s:settings sandbox.provider_type", s->prefix));
    sp_stage_worker(s, NULL);
    sp_stage_submit(s, "default", "python", "print(1)", "");

    struct sp_stage_answer *a = sp_stage_reply(s, "default", LIMIT_MS);

    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "provider"), "self_managed"), "%s", a->value);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), "ok"), "%s", a->value);
}
