/*
 * The ways in which AgentRun may answer, those that its documents leave open among them (reference
 * aliyun-agentrun 8.2): templates, envelopes, items, errors of every shape, keys and tokens. The
 * test server checks each request's signature and fields.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support.h"
#include "tests/support/aliyun_stage.h"

static struct aliyun_stage s;

static void start(void)
{
    aliyun_stage_start(&s, NULL, "");
}

static void stop(void)
{
    aliyun_stage_stop(&s);
}

TestSuite(aliyun_service, .init = start, .fini = stop);
TestSuite(aliyun_token, .fini = stop);

static const struct sp_provider_job one = {.code = "def main():\n    return 1", .quiet = true};

static void expect_one(void)
{
    cr_assert(eq(int, aliyun_stage_run(&s, &one), SP_OK), "%s", s.err.msg);
    cr_assert(s.result.result_present, "%s", sp_provider_job_err(&s.result));
    cr_expect(eq(str, s.result.result_value, (char *)"1"));
}

/* Tells the server of one fault: `on`, and its other members. */
static void fault(const char *on, const char *members)
{
    char command[1024];

    snprintf(command, sizeof command, "{\"forget\":true,\"faults\":[{\"on\":\"%s\",%s}]}", on,
             members);
    aliyun_stage_do(&s, command);
}

/* ---- keys ---- */

Test(aliyun_token, temporary_credentials_come_with_their_token_signed)
{
    aliyun_stage_start(&s, (const char *const[]){"--token", "fake-sts-token==", NULL},
                       "\"security_token\":\"fake-sts-token==\"");

    cr_expect(eq(int, aliyun_stage_check(&s), SP_OK), "%s", s.err.msg);
    expect_one();
}

Test(aliyun_token, a_token_that_is_missing_is_a_matter_of_credentials)
{
    aliyun_stage_start(&s, (const char *const[]){"--token", "fake-sts-token==", NULL}, "");

    cr_expect(eq(int, aliyun_stage_check(&s), SP_E_DENIED), "%s", s.err.msg);
    cr_expect(eq(int, aliyun_stage_run(&s, &one), SP_E_DENIED), "%s", s.err.msg);
    aliyun_stage_do(&s, "{\"forget\":true}");
}

/* AgentRun answers 404, as for a template that is not there. */
Test(aliyun_service, an_unknown_key_makes_no_template)
{
    aliyun_stage_open(&s, "\"access_key_id\":\"LTAI-OTHER\"");

    cr_expect(eq(int, aliyun_stage_run(&s, &one), SP_E_DENIED), "%s", s.err.msg);
    cr_expect(strstr(s.err.msg, "InvalidAccessKeyId.NotFound") != NULL, "%s", s.err.msg);
    cr_expect(eq(int, aliyun_stage_check(&s), SP_E_DENIED), "%s", s.err.msg);

    cr_expect(zero(int, aliyun_stage_calls(&s, "CreateTemplate")));
    cr_expect(zero(int, aliyun_stage_calls(&s, "create")));
}

Test(aliyun_service, a_wrong_secret_is_refused_and_never_shown)
{
    aliyun_stage_open(&s, "\"access_key_secret\":\"wrong-secret\"");

    cr_expect(eq(int, aliyun_stage_check(&s), SP_E_DENIED), "%s", s.err.msg);
    cr_expect(strstr(s.err.msg, "SignatureDoesNotMatch") != NULL, "%s", s.err.msg);
    cr_expect(strstr(s.err.msg, "wrong-secret") == NULL);

    cr_expect(zero(int, aliyun_stage_calls(&s, "CreateTemplate")));
    aliyun_stage_do(&s, "{\"forget\":true}"); /* the server cannot tell it from a wrong signature */
}

/* ---- templates ---- */

Test(aliyun_service, a_template_that_is_missing_is_made_once)
{
    expect_one();
    expect_one();

    cr_expect(eq(int, aliyun_stage_calls(&s, "CreateTemplate"), 1));
    cr_expect(eq(int, aliyun_stage_calls(&s, "GetTemplate"), 2));
}

Test(aliyun_service, a_template_that_is_there_is_used)
{
    aliyun_stage_open(&s, "\"template_name\":\"my tpl+1\"");
    aliyun_stage_do(&s, "{\"template\":{\"templateName\":\"my tpl+1\",\"status\":\"READY\"}}");

    expect_one();

    cr_expect(zero(int, aliyun_stage_calls(&s, "CreateTemplate")));
}

Test(aliyun_service, a_template_is_waited_for)
{
    aliyun_stage_do(&s, "{\"ways\":{\"template_delay\":4}}");

    expect_one();

    cr_expect(lt(int, 2, aliyun_stage_calls(&s, "GetTemplate")));
}

Test(aliyun_service, a_template_that_does_not_become_ready_takes_no_longer_than_the_setup)
{
    aliyun_stage_do(&s, "{\"ways\":{\"template_delay\":60}}");
    struct sp_provider_job job = one;
    job.setup_ms = 1500;

    cr_expect(eq(int, aliyun_stage_run(&s, &job), SP_E_TIMEOUT), "%s", s.err.msg);

    cr_expect(lt(i64, s.took_ms, 25000));
    cr_expect(zero(int, aliyun_stage_calls(&s, "create")));
}

Test(aliyun_service, a_template_that_failed_is_named_with_its_state)
{
    aliyun_stage_do(&s, "{\"ways\":{\"template_end\":\"CREATE_FAILED\"}}");

    cr_expect(eq(int, aliyun_stage_run(&s, &one), SP_E_INVALID), "%s", s.err.msg);

    cr_expect(strstr(s.err.msg, "ragflow-python-default") && strstr(s.err.msg, "CREATE_FAILED"),
              "%s", s.err.msg);
    cr_expect(zero(int, aliyun_stage_calls(&s, "create")));
}

Test(aliyun_service, a_template_that_another_makes_at_the_same_time_is_used)
{
    fault("CreateTemplate", "\"error\":{\"status\":500,\"code\":\"ERR_INTERNAL_SERVER_ERROR\","
                            "\"message\":\"template already exists\"},\"work\":true");

    expect_one();
}

/* ---- sandboxes ---- */

Test(aliyun_service, a_sandbox_is_understood_without_an_envelope)
{
    aliyun_stage_do(&s, "{\"ways\":{\"envelope\":false}}");
    fault("create", "\"patch\":{\"sandboxIdleTimeoutSeconds\":\"60\",\"status\":\"RUNNING\"}");

    expect_one();
}

Test(aliyun_service, a_sandbox_that_is_starting_is_waited_for)
{
    aliyun_stage_do(&s, "{\"ways\":{\"starting\":3}}");

    expect_one();

    cr_expect(lt(int, 1, aliyun_stage_calls(&s, "health")));
    cr_expect(eq(int, aliyun_stage_calls(&s, "execute"), 1));
}

Test(aliyun_service, a_sandbox_that_does_not_start_is_deleted)
{
    aliyun_stage_do(&s, "{\"ways\":{\"starting\":60}}");
    struct sp_provider_job job = one;
    job.setup_ms = 1500;

    cr_expect(eq(int, aliyun_stage_run(&s, &job), SP_E_TIMEOUT), "%s", s.err.msg);

    cr_expect(lt(i64, s.took_ms, 25000));
    cr_expect(zero(int, aliyun_stage_alive(&s)));
}

/* Each is a sandbox that is gone. */
static const char *const deletions[] = {
    "\"answer\":{\"status\":204},\"work\":true",
    "\"error\":{\"status\":404,\"code\":\"ERR_NOT_FOUND\",\"message\":\"sandbox not found\"},"
    "\"work\":true",
    "\"error\":{\"status\":404,\"message\":\"sandbox not found\",\"shape\":\"text\"},\"work\":true",
    "\"error\":{\"status\":404,\"code\":\"NOT_FOUND\",\"shape\":\"nested\"},\"work\":true",
    "\"answer\":{\"body\":\"{\\\"code\\\":\\\"ERR\\\",\\\"message\\\":\\\"Sandbox not found: x"
    "\\\"}\"},\"work\":true",
    "\"die\":true",
};

Test(aliyun_service, a_sandbox_that_is_gone_needs_no_deletion)
{
    for (size_t i = 0; i < SP_COUNT(deletions); i++) {
        fault("delete", deletions[i]);

        expect_one();

        cr_expect(eq(int, aliyun_stage_calls(&s, "delete"), 1), "%s", deletions[i]);
        cr_expect(zero(int, test_leases_count(&s.leases)), "%s", deletions[i]);
    }
}

/* ---- what a failure looks like ---- */

static const struct {
    const char *fault, *says; /* members of the fault; part of the message */
    enum sp_code rc;
} failures[] = {
    {"\"answer\":{\"status\":400,\"body\":\"{\\\"code\\\":\\\"ERR_BAD_REQUEST\\\",\\\"requestId\\\""
     ":\\\"REQ-7\\\",\\\"message\\\":\\\"words\\\"}\"}",
     "ERR_BAD_REQUEST (request REQ-7): words", SP_E_INVALID},
    {"\"error\":{\"status\":400,\"code\":\"INVALID_REQUEST\",\"message\":\"words\","
     "\"shape\":\"nested\"},\"headers\":{\"x-agentrun-request-id\":\"REQ-8\"}",
     "words", SP_E_INVALID},
    {"\"error\":{\"status\":403,\"code\":\"Forbidden.RAM\",\"message\":\"words\","
     "\"shape\":\"gateway\"}",
     "Forbidden.RAM", SP_E_DENIED},
    {"\"error\":{\"status\":502,\"shape\":\"html\"},\"times\":0", "HTTP 502", SP_E_UNAVAILABLE},
    {"\"error\":{\"status\":404,\"message\":\"template not found\",\"shape\":\"text\"}",
     "template not found", SP_E_INVALID},
    {"\"error\":{\"status\":401,\"shape\":\"empty\"}", "HTTP 401", SP_E_DENIED},
    {"\"answer\":{\"status\":200,\"body\":\"{\\\"code\\\":\\\"ERR_QUOTA\\\",\\\"message\\\":"
     "\\\"words\\\"}\"}",
     "ERR_QUOTA", SP_E_INVALID},
    {"\"answer\":{\"status\":503,\"type\":\"text/html\",\"body\":\"<p>0123456789</p>\","
     "\"repeat\":200000},\"times\":0",
     "HTTP 503", SP_E_UNAVAILABLE},
    {"\"error\":{\"status\":429,\"shape\":\"empty\"},\"times\":0", "HTTP 429", SP_E_BUSY},
    {"\"error\":{\"status\":400,\"code\":\"Throttling.User\"},\"times\":0", "Throttling.User",
     SP_E_BUSY},
};

Test(aliyun_service, a_failure_is_told_for_what_it_is)
{
    for (size_t i = 0; i < SP_COUNT(failures); i++) {
        struct sp_provider_job job = one;
        job.setup_ms = 60000; /* more than all attempts take */
        fault("create", failures[i].fault);

        enum sp_code rc = aliyun_stage_run(&s, &job);

        cr_expect(eq(int, rc, failures[i].rc), "%s: %s", failures[i].fault, s.err.msg);
        cr_expect(strstr(s.err.msg, failures[i].says) != NULL, "%s: %s", failures[i].fault,
                  s.err.msg);
        cr_expect(strstr(s.err.msg, "<p>") == NULL, "%s", s.err.msg);
        cr_expect(eq(int, (int)s.result.started, SP_STARTED_NO), "%s", failures[i].fault);
        cr_expect(zero(int, aliyun_stage_count(&s, "executions")), "%s", failures[i].fault);
    }
    aliyun_stage_sweep(&s);
}

/* The sandbox is made, whatever the answer says. */
Test(aliyun_service, a_failed_creation_leaves_nothing_behind)
{
    static const char *const faults[] = {
        "\"error\":{\"status\":500,\"code\":\"ERR_INTERNAL_SERVER_ERROR\"},\"work\":true",
        "\"answer\":{\"body\":\"{\\\"code\\\":\\\"ERR_INTERNAL_SERVER_ERROR\\\"}\"},\"work\":true",
        "\"answer\":{\"body\":\"no json\"},\"work\":true",
        "\"patch\":{\"code\":\"SUCCESS\",\"data\":{\"sandboxId\":\"ANOTHER\"}}",
    };
    for (size_t i = 0; i < SP_COUNT(faults); i++) {
        fault("create", faults[i]);

        (void)!aliyun_stage_run(&s, &one);

        cr_expect(zero(int, aliyun_stage_alive(&s)), "%s: %s", faults[i], s.err.msg);
        cr_expect(zero(int, test_leases_count(&s.leases)), "%s", faults[i]);
    }
}

/* ---- items ---- */

#define END(status) ",{\"type\":\"endOfExecution\",\"status\":\"" status "\"}"

/* What execute answers, without a sign of our own that the program came to its end. */
static const struct {
    const char *items, *out, *err;
    int exit_code;
    enum sp_outcome outcome;
    const char *artifact;
} answers[] = {
    {.items = "{\"type\":\"stdout\",\"text\":\"1\\n\"}" END("ok"), .out = "1\n", .exit_code = 1},
    {.items = "{\"type\":\"stdout\",\"text\":\"1\"},{\"type\":\"stdout\",\"text\":\"2\"},"
              "{\"type\":\"result\",\"data\":{\"text/plain\":\"42\"},\"executionCount\":1}",
     .out = "1\n2",
     .exit_code = 1},
    {.items = "{\"type\":\"result\",\"text\":\"42\"}", .exit_code = 1},
    {.items = "{\"type\":\"error\",\"name\":\"ZeroDivisionError\",\"value\":\"division by zero\"}",
     .err = "ZeroDivisionError: division by zero\n",
     .exit_code = 1},
    {.items = "{\"type\":\"error\",\"text\":\"it broke\"}" END("error"),
     .err = "it broke\n",
     .exit_code = 1},
    {.items = "{\"type\":\"error\",\"traceback\":[\"line 1\",\"line 2\"]}",
     .err = "line 1\nline 2\n",
     .exit_code = 1},
    {.items = "{\"type\":\"stderr\",\"text\":null},{\"type\":\"stdout\"},{\"type\":\"news\"},7,"
              "null,{\"text\":\"x\"}",
     .exit_code = 1},
    {.items = "{\"type\":\"result\",\"data\":{\"text/plain\":\"<Figure>\",\"image/png\":"
              "\"iVBORw0K\\nGgo=\"},\"executionCount\":2}",
     .exit_code = 1,
     .artifact = "result-1.png"},
    {.items = "{\"type\":\"stdout\",\"text\":\"a\\n\"},{\"type\":\"timeout\"}",
     .out = "a\n",
     .exit_code = -1,
     .outcome = SP_OUTCOME_TIMEOUT},
    {.items = "{\"type\":\"error\",\"name\":\"TimeoutError\"}",
     .err = "TimeoutError\n",
     .exit_code = -1,
     .outcome = SP_OUTCOME_TIMEOUT},
    {.items = "{\"type\":\"error\",\"text\":\"the run timed out\"}",
     .err = "the run timed out\n",
     .exit_code = -1,
     .outcome = SP_OUTCOME_TIMEOUT},
    {.items = "{\"type\":\"endOfExecution\",\"status\":\"timeout\"}",
     .exit_code = -1,
     .outcome = SP_OUTCOME_TIMEOUT},
};

static void answer_execute(const char *items)
{
    json_auto_t *command =
        json_pack("{s:b, s:[{s:s, s:{s:o}}]}", "forget", 1, "faults", "on", "execute", "answer",
                  "body", json_sprintf("{\"results\":[%s],\"contextId\":\"ctx-1\"}", items));
    char *text = json_dumps(command, 0);

    aliyun_stage_do(&s, text);
    free(text);
}

Test(aliyun_service, items_of_every_kind_are_understood)
{
    for (size_t i = 0; i < SP_COUNT(answers); i++) {
        const char *items = answers[i].items;
        answer_execute(items);

        enum sp_code rc = aliyun_stage_run(&s, &one);

        cr_assert(eq(int, rc, SP_OK), "%s: %s", items, s.err.msg);
        cr_expect(eq(int, s.result.exit_code, answers[i].exit_code), "%s", items);
        cr_expect(eq(int, (int)s.result.outcome, (int)answers[i].outcome), "%s", items);
        cr_expect(eq(str, (char *)sp_provider_job_out(&s.result),
                     (char *)(answers[i].out ? answers[i].out : "")),
                  "%s", items);
        cr_expect(eq(str, (char *)sp_provider_job_err(&s.result),
                     (char *)(answers[i].err ? answers[i].err : "")),
                  "%s", items);
        cr_expect(eq(sz, s.result.n_artifacts, answers[i].artifact != NULL), "%s", items);
        if (answers[i].artifact && s.result.n_artifacts > 0)
            cr_expect(eq(str, s.result.artifacts[0].name, (char *)answers[i].artifact));
        cr_expect(not(s.result.result_present), "%s", items);
    }
}

/* The ways of a service that executes for real. */
static const char *const ways[] = {
    "{\"ways\":{\"end_items\":false}}",
    "{\"ways\":{\"final_newlines\":false}}",
    "{\"ways\":{\"final_newlines\":false,\"end_items\":false,\"results\":\"text\"}}",
};

Test(aliyun_service, output_and_value_are_exact_whatever_the_services_ways)
{
    const struct sp_provider_job job = {
        .code = "import sys\nprint('a\\n\\nb')\nprint('warn', file=sys.stderr)\n"
                "print('c', end='')\ndef main():\n    return 'd'",
        .quiet = true};

    for (size_t i = 0; i < SP_COUNT(ways); i++) {
        aliyun_stage_do(&s, ways[i]);

        cr_assert(eq(int, aliyun_stage_run(&s, &job), SP_OK), "%s: %s", ways[i], s.err.msg);

        cr_expect(zero(int, s.result.exit_code), "%s", ways[i]);
        cr_expect(eq(str, (char *)sp_provider_job_out(&s.result), (char *)"a\n\nb\nc"), "%s",
                  ways[i]);
        cr_expect(strncmp(sp_provider_job_err(&s.result), "warn", 4) == 0, "%s", ways[i]);
        cr_assert(s.result.result_present, "%s", ways[i]);
        cr_expect(eq(str, s.result.result_value, (char *)"\"d\""), "%s", ways[i]);
    }
}

Test(aliyun_service, a_displayed_image_is_an_artifact_beside_the_files)
{
    const struct sp_provider_job job = {
        .code = "class Picture:\n    def _repr_png_(self):\n        return 'iVBORw0KGgo='\n"
                "display(Picture())\nopen('artifacts/a.csv', 'w').write('1')"};

    cr_assert(eq(int, aliyun_stage_run(&s, &job), SP_OK), "%s", s.err.msg);

    cr_assert(eq(sz, s.result.n_artifacts, 2), "%s", sp_provider_job_err(&s.result));
    cr_expect(eq(str, s.result.artifacts[0].name, (char *)"a.csv"));
    cr_expect(eq(str, s.result.artifacts[1].name, (char *)"result-1.png"));
    cr_expect(eq(str, (char *)s.result.artifacts[1].mime_type, (char *)"image/png"));
    cr_expect(eq(sz, s.result.artifacts[1].len, 8));
}

Test(aliyun_service, a_program_that_ends_its_kernel_has_failed)
{
    const struct sp_provider_job job = {.code =
                                            "import os\nprint('last', flush=True)\nos._exit(3)"};
    static const char *const forms[] = {"{\"ways\":{\"errors\":\"name\"}}",
                                        "{\"ways\":{\"errors\":\"text\"}}"};

    for (size_t i = 0; i < SP_COUNT(forms); i++) {
        aliyun_stage_do(&s, forms[i]);

        cr_assert(eq(int, aliyun_stage_run(&s, &job), SP_OK), "%s", s.err.msg);

        cr_expect(eq(int, (int)s.result.outcome, SP_OUTCOME_EXITED));
        cr_expect(eq(int, s.result.exit_code, 1));
        cr_expect(eq(str, (char *)sp_provider_job_out(&s.result), (char *)"last\n"));
        cr_expect(strstr(sp_provider_job_err(&s.result), "KernelDied") != NULL, "%s",
                  sp_provider_job_err(&s.result));
    }
}
