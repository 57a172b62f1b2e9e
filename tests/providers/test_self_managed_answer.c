/* What the executor manager's answers mean: each row of the tables of reference ragflow 4.1, old
 * and new members, values and artifacts as they came. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "providers/self_managed/answer.h"
#include "tests/support.h"

static const struct sp_limits limits = {.output_bytes = 1000,
                                        .response_bytes = 100000,
                                        .artifacts = 3,
                                        .artifact_bytes = 8,
                                        .artifacts_total = 12};

static enum sp_code read_as(int http, const char *body, bool to_log, struct sp_result *out,
                            struct sp_error *err)
{
    const struct sp_service_answer answer = {.http = http,
                                             .body = {body, strlen(body)},
                                             .suffix = "run1",
                                             .timeout_ms = 10000,
                                             .limits = &limits,
                                             .to_log = to_log};
    return sp_service_answer_read(&answer, out, err);
}

static enum sp_code read_answer(const char *body, struct sp_result *out, struct sp_error *err)
{
    return read_as(200, body, false, out, err);
}

#define BROKEN "\"status\":\"program_runner_error\",\"stdout\":\"\""

/* Nothing ended by itself: an error, and whether the program may have begun. */
static const struct {
    const char *name;
    int http;
    const char *body;
    enum sp_code rc;
    enum sp_started started;
    const char *message; /* the start of it */
} errors[] = {
    {"token", 401, "{\"detail\":\"Missing\"}", SP_E_DENIED, SP_STARTED_NO,
     "the executor manager refuses the api_token (HTTP 401)"},
    {"forbidden", 403, "", SP_E_DENIED, SP_STARTED_NO, "access is refused; see api_token"},
    {"input", 422,
     "{\"detail\":[{\"type\":\"enum\",\"loc\":[\"body\",\"language\"],\"msg\":\"Input should be "
     "'python' or 'nodejs'\",\"input\":\"my secret code\"}]}",
     SP_E_INVALID, SP_STARTED_NO,
     "the executor manager refuses the request (HTTP 422): body.language: Input should be"},
    {"input without detail", 422, "[1]", SP_E_INVALID, SP_STARTED_NO,
     "the executor manager refuses the request (HTTP 422)"},
    {"rate", 429, "{" BROKEN ",\"stderr\":\"\",\"exit_code\":-429,\"detail\":\"x\"}", SP_E_BUSY,
     SP_STARTED_NO, "the executor manager limits the rate of runs (HTTP 429)"},
    {"no token there", 503,
     "{\"detail\":\"not configured. Set SANDBOX_EXECUTOR_MANAGER_API_TOKEN to a secret\"}",
     SP_E_UNAVAILABLE, SP_STARTED_NO,
     "the service is not available (HTTP 503): SANDBOX_EXECUTOR_MANAGER_API_TOKEN is not set at"},
    {"unavailable", 503, "<html>", SP_E_UNAVAILABLE, SP_STARTED_NO,
     "the service is not available (HTTP 503)"},
    {"bad gateway", 502, "<html>", SP_E_UNAVAILABLE, SP_STARTED_MAYBE,
     "a proxy lost the executor manager (HTTP 502)"},
    {"gateway time-out", 504, "", SP_E_UNAVAILABLE, SP_STARTED_MAYBE,
     "a proxy gave up on the executor manager (HTTP 504)"},
    {"server error", 500, "Internal Server Error", SP_E_INVALID, SP_STARTED_MAYBE,
     "the executor manager failed (HTTP 500)"},
    {"not found", 404, "{}", SP_E_INVALID, SP_STARTED_NO,
     "refused; is endpoint that of an executor manager? (HTTP 404)"},
    {"too large", 413, "", SP_E_INVALID, SP_STARTED_NO, "refused; "},
    {"redirect", 301, "", SP_E_INVALID, SP_STARTED_NO, "endpoint redirects"},
    {"no content", 204, "", SP_E_INVALID, SP_STARTED_MAYBE,
     "this is no answer of an executor manager (HTTP 204)"},

    {"no container", 200,
     "{" BROKEN ",\"stderr\":\"Container pool is busy\",\"exit_code\":-10,"
     "\"detail\":\"no_available_container\"}",
     SP_E_UNAVAILABLE, SP_STARTED_NO, "no container is available: the pool is busy or lost (exit_"},
    {"no container, told by detail", 200, "{" BROKEN ",\"detail\":\"no_available_container\"}",
     SP_E_UNAVAILABLE, SP_STARTED_NO, "no container is available"},
    {"rate, with 200", 200, "{" BROKEN ",\"exit_code\":-429}", SP_E_BUSY, SP_STARTED_NO,
     "the executor manager limits the rate of runs (exit_code -429)"},
    {"unsafe", 200,
     "{" BROKEN ",\"stderr\":\"Line 3: Import: os\\nLine 9: Call: eval\",\"exit_code\":-999,"
     "\"detail\":\"Code is unsafe\"}",
     SP_E_UNSUPPORTED, SP_STARTED_NO,
     "self_managed: the executor manager refuses the code as unsafe (exit_code -999): "
     "Line 3: Import: os;Line 9: Call: eval"},
    {"unhandled", 200, "{" BROKEN ",\"exit_code\":-999,\"detail\":\"unhandled_exception\"}",
     SP_E_INVALID, SP_STARTED_MAYBE, "the executor manager met an error of its own"},
    {"internal", 200, "{" BROKEN ",\"exit_code\":-3,\"detail\":\"internal_error\"}", SP_E_INVALID,
     SP_STARTED_MAYBE, "the executor manager met an internal error (exit_code -3)"},
    {"unknown code", 200, "{" BROKEN ",\"exit_code\":-77}", SP_E_INVALID, SP_STARTED_MAYBE,
     "the executor manager answers an unknown code (exit_code -77)"},
    {"runner error", 200, "{" BROKEN "}", SP_E_INVALID, SP_STARTED_MAYBE,
     "the executor manager could not run the program"},

    {"a page", 200, "<html>", SP_E_INVALID, SP_STARTED_MAYBE, "HTTP 200, but no answer of an"},
    {"nothing", 200, "", SP_E_INVALID, SP_STARTED_MAYBE, "HTTP 200, but no answer of an"},
    {"an array", 200, "[]", SP_E_INVALID, SP_STARTED_MAYBE, "HTTP 200, but no answer of an"},
    {"a stranger", 200, "{\"status\":\"ok\"}", SP_E_INVALID, SP_STARTED_MAYBE, "HTTP 200, but no"},
    {"a stranger with output", 200, "{\"status\":\"ok\",\"stdout\":\"\"}", SP_E_INVALID,
     SP_STARTED_MAYBE, "HTTP 200, but no"},
    {"empty object", 200, "{}", SP_E_INVALID, SP_STARTED_MAYBE, "HTTP 200, but no answer of an"},
    {"two objects", 200, "{\"exit_code\":0}{}", SP_E_INVALID, SP_STARTED_MAYBE, "HTTP 200, but"},
    {"stdout of another type", 200, "{\"exit_code\":0,\"stdout\":1}", SP_E_INVALID,
     SP_STARTED_MAYBE, "HTTP 200, but no"},
    {"code of another type", 200, "{\"exit_code\":\"0\"}", SP_E_INVALID, SP_STARTED_MAYBE,
     "HTTP 200, but no"},
    {"code that is no integer", 200, "{\"exit_code\":0.5}", SP_E_INVALID, SP_STARTED_MAYBE,
     "HTTP 200, but no"},
    {"code beyond all", 200, "{\"exit_code\":99999999999999999999999999}", SP_E_INVALID,
     SP_STARTED_MAYBE, "HTTP 200, but no"},
};

SP_TABLE_TEST(self_managed_answer, an_error_has_its_code_and_its_words, errors, row)
{
    sp_auto(sp_result_clear) struct sp_result out = {0};
    struct sp_error err = {0};

    enum sp_code rc = read_as(row->http, row->body, false, &out, &err);

    cr_expect(eq(int, rc, row->rc), "%s: %s", row->name, err.msg);
    cr_expect(eq(int, out.started, row->started), "%s", row->name);
    cr_expect(strncmp(err.msg, row->message, strlen(row->message)) == 0, "%s: %s", row->name,
              err.msg);
    cr_expect(strstr(err.msg, "secret code") == NULL, "%s: %s", row->name, err.msg);
    if (out.started == SP_STARTED_NO)
        cr_expect(out.out.text == NULL && out.err.text == NULL && out.metadata == NULL, "%s",
                  row->name);
}

SP_TABLE_TEST(self_managed_answer, a_log_sees_no_word_of_the_peer, errors, row)
{
    sp_auto(sp_result_clear) struct sp_result out = {0};
    struct sp_error err = {0};

    cr_expect(eq(int, read_as(row->http, row->body, true, &out, &err), row->rc), "%s", row->name);

    cr_expect(strstr(err.msg, "Line 3") == NULL && strstr(err.msg, "Input should") == NULL, "%s",
              err.msg);
}

/* A program ended, one way or the other. */
static const struct {
    const char *name, *body;
    enum sp_outcome outcome;
    int exit_code;
    const char *limit, *out, *err;
    const char *warning; /* part of it */
} ends[] = {
    {"success",
     "{\"status\":\"success\",\"stdout\":\"hi\\n\",\"stderr\":\"w\",\"exit_code\":0,\"detail\":"
     "null,"
     "\"time_used_ms\":12.5,\"memory_used_kb\":null,\"resource_limit_type\":null,"
     "\"unauthorized_access_type\":null,\"runtime_error_type\":null,\"artifacts\":[],"
     "\"result\":null}",
     SP_OUTCOME_EXITED, 0, NULL, "hi\n", "w", NULL},
    {"old members only", "{\"stdout\":\"x\",\"stderr\":\"\",\"exit_code\":0}", SP_OUTCOME_EXITED, 0,
     NULL, "x", "", NULL},
    {"stdout only", "{\"stdout\":\"x\"}", SP_OUTCOME_EXITED, 0, NULL, "x", "", NULL},
    {"status only", "{\"status\":\"success\"}", SP_OUTCOME_EXITED, 0, NULL, "", "", NULL},
    {"null streams", "{\"exit_code\":0,\"stdout\":null,\"stderr\":null}", SP_OUTCOME_EXITED, 0,
     NULL, "", "", NULL},
    {"an unknown status with a code", "{\"status\":\"fine\",\"exit_code\":0}", SP_OUTCOME_EXITED, 1,
     NULL, "", "", NULL},
    {"members of a later version",
     "{\"exit_code\":0,\"time_used_ms\":\"1\",\"result\":[],"
     "\"artifacts\":{},\"detail\":{}}",
     SP_OUTCOME_EXITED, 0, NULL, "", "", NULL},
    {"program error",
     "{\"status\":\"program_error\",\"stdout\":\"\",\"stderr\":\"Traceback\",\"exit_code\":3,"
     "\"runtime_error_type\":\"nonzero_exit\"}",
     SP_OUTCOME_EXITED, 3, NULL, "", "Traceback", NULL},
    {"a failure without a code", "{\"status\":\"program_error\"}", SP_OUTCOME_EXITED, 1, NULL, "",
     "", NULL},
    {"file access",
     "{\"status\":\"unauthorized_access\",\"unauthorized_access_type\":\"file_access\","
     "\"stderr\":\"Permission denied\",\"exit_code\":1}",
     SP_OUTCOME_EXITED, 1, NULL, "", "Permission denied", NULL},
    {"memory, told by the type",
     "{\"status\":\"resource_limit_exceeded\",\"resource_limit_type\":\"memory\","
     "\"stderr\":\"MemoryError\",\"exit_code\":1}",
     SP_OUTCOME_LIMIT, 1, "memory", "", "MemoryError", NULL},
    {"memory, told by the code",
     "{\"status\":\"resource_limit_exceeded\",\"resource_limit_type\":\"memory\","
     "\"stderr\":\"Memory limit exceeded (killed by OOM)\",\"exit_code\":-137}",
     SP_OUTCOME_LIMIT, -1, "memory", "", "Memory limit exceeded (killed by OOM)", NULL},
    {"output", "{\"resource_limit_type\":\"output\",\"exit_code\":1}", SP_OUTCOME_LIMIT, 1,
     "output", "", "", NULL},
    {"time, told by the code", "{\"stderr\":\"Execution timeout\",\"exit_code\":-124}",
     SP_OUTCOME_TIMEOUT, -1, NULL, "", "Execution timeout", "its own limit, SANDBOX_TIMEOUT"},
    {"time, told by the type", "{\"resource_limit_type\":\"time\",\"exit_code\":-1}",
     SP_OUTCOME_TIMEOUT, -1, NULL, "", "", "its own limit, SANDBOX_TIMEOUT"},
    {"later than it might", "{\"stdout\":\"kept\",\"exit_code\":0,\"time_used_ms\":10000.5}",
     SP_OUTCOME_TIMEOUT, -1, NULL, "kept", "", NULL},
    {"just in time", "{\"stdout\":\"\",\"exit_code\":0,\"time_used_ms\":10000.0}",
     SP_OUTCOME_EXITED, 0, NULL, "", "", NULL},
    {"a syntax error",
     "{" BROKEN ",\"stderr\":\"Line -1: Parsing Error: '(' was never closed (<unknown>, line 2)\","
     "\"exit_code\":-999,\"detail\":\"Code is unsafe\"}",
     SP_OUTCOME_EXITED, 1, NULL, NULL, "SyntaxError: '(' was never closed (<unknown>, line 2)\n",
     NULL},
};

SP_TABLE_TEST(self_managed_answer, a_program_that_ran_has_its_end, ends, row)
{
    sp_auto(sp_result_clear) struct sp_result out = {0};
    struct sp_error err = {0};

    enum sp_code rc = read_answer(row->body, &out, &err);

    cr_assert(eq(int, rc, SP_OK), "%s: %s", row->name, err.msg);
    cr_expect(eq(int, out.started, SP_STARTED_YES), "%s", row->name);
    cr_expect(eq(int, out.outcome, row->outcome), "%s", row->name);
    cr_expect(eq(int, out.exit_code, row->exit_code), "%s", row->name);
    if (row->limit)
        cr_expect(eq(str, (char *)out.limit, (char *)row->limit), "%s", row->name);
    if (row->out)
        cr_expect(eq(str, out.out.text, (char *)row->out), "%s", row->name);
    cr_expect(eq(str, out.err.text, (char *)row->err), "%s", row->name);
    if (row->warning)
        cr_expect(out.warning && strstr(out.warning, row->warning), "%s", row->name);
    else
        cr_expect(out.warning == NULL, "%s: %s", row->name, out.warning);
    cr_expect(not(out.result_present), "%s", row->name);
}

Test(self_managed_answer, a_failed_service_keeps_its_stderr_for_the_reply)
{
    sp_auto(sp_result_clear) struct sp_result out = {0};

    enum sp_code rc =
        read_answer("{" BROKEN ",\"exit_code\":-3,\"stderr\":\"copy failed\"}", &out, NULL);

    cr_expect(eq(int, rc, SP_E_INVALID));
    cr_expect(eq(str, out.err.text, "copy failed"));
}

Test(self_managed_answer, the_facts_of_the_answer_are_its_metadata)
{
    sp_auto(sp_result_clear) struct sp_result out = {0};
    struct sp_error err = {0};

    cr_assert(eq(int,
                 read_answer("{\"status\":\"program_error\",\"exit_code\":1,\"time_used_ms\":1.50,"
                             "\"memory_used_kb\":12e1,\"runtime_error_type\":\"nonzero_exit\"}",
                             &out, &err),
                 SP_OK));

    cr_expect(eq(str, out.metadata,
                 "\"status\":\"program_error\",\"time_used_ms\":1.50,\"memory_used_kb\":12e1,"
                 "\"detail\":null,\"resource_limit_type\":null,\"unauthorized_access_type\":null,"
                 "\"runtime_error_type\":\"nonzero_exit\""));
    cr_expect(eq(i64, out.execution_us, 1500));
}

Test(self_managed_answer, a_fact_that_is_too_long_is_left_out)
{
    sp_auto(sp_result_clear) struct sp_result out = {0};
    sp_auto(sp_buf_clear) struct sp_buf body = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    cr_assert(eq(int, sp_buf_adds(&body, "{\"exit_code\":0,\"detail\":\""), SP_OK));
    for (int i = 0; i < 1000; i++)
        cr_assert(eq(int, sp_buf_addc(&body, 'x'), SP_OK));
    cr_assert(eq(int, sp_buf_adds(&body, "\"}"), SP_OK));
    cr_assert(eq(int, read_answer(sp_buf_str(&body), &out, NULL), SP_OK));

    cr_expect(strstr(out.metadata, "\"detail\":null") != NULL, "%s", out.metadata);
}

/* The value, byte for byte: what the epilogue printed, before what the manager found. */
static const struct {
    const char *name, *stdout_json; /* as it stands in the answer */
    const char *document;           /* that the epilogue printed behind it; NULL: it did not */
    const char *result;             /* of the answer; NULL: none */
    const char *out, *value, *warning;
} values[] = {
    {"none", "x\\n", NULL, NULL, "x\n", NULL, NULL},
    {"of the epilogue", "x\\n", "{\"present\":true,\"value\":[1180591620717411303424, 1.10]}", NULL,
     "x\n", "[1180591620717411303424, 1.10]", NULL},
    {"behind output without an end of line", "x", "{\"present\":true,\"value\":\"\\ud800\"}", NULL,
     "x", "\"\\ud800\"", NULL},
    {"null", "", "{\"present\":true,\"value\":null}", NULL, "", "null", NULL},
    {"with a warning", "", "{\"present\":true,\"value\":null,\"warning\":\"NaN became null\"}",
     NULL, "", "null", "NaN became null"},
    {"no main", "x", "{\"present\":false,\"warning\":\"no main\"}", NULL, "x", NULL, "no main"},
    {"before the manager's", "", "{\"present\":true,\"value\":1}",
     "{\"present\":true,\"value\":2,\"type\":\"json\"}", "", "1", NULL},
    {"of the manager", "x", NULL,
     "{\"present\":true,\"value\":{\"a\": 1180591620717411303424, \"b\":\"\\ud800\"},\"type\":"
     "\"json\"}",
     "x", "{\"a\": 1180591620717411303424, \"b\":\"\\ud800\"}", NULL},
    {"null of the manager", "", NULL, "{\"present\":true,\"value\":null}", "", "null", NULL},
    {"not present", "", NULL, "{\"present\":false,\"value\":1}", "", NULL, NULL},
    {"a marker that an old manager leaves in stdout",
     "a\\n__RAGFLOW_RESULT__:eyJwcmVzZW50Ijp0cnVlLCJ2YWx1ZSI6N30=\\nb\\n", NULL, NULL, "a\nb\n",
     "7", NULL},
};

SP_TABLE_TEST(self_managed_answer, the_value_is_exact, values, row)
{
    sp_auto(sp_result_clear) struct sp_result out = {0};
    sp_auto(sp_buf_clear) struct sp_buf body = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_error err = {0};

    cr_assert(eq(int, sp_buf_addf(&body, "{\"exit_code\":0,\"stdout\":\"%s", row->stdout_json), 0));
    if (row->document) {
        cr_assert(eq(int, sp_buf_adds(&body, "\\n__RAGFLOW_RESULT_run1__:"), 0));
        cr_assert(eq(int, sp_base64_encode(row->document, strlen(row->document), &body), 0));
        cr_assert(eq(int, sp_buf_adds(&body, "\\n"), 0));
    }
    cr_assert(eq(int, sp_buf_addf(&body, "\",\"result\":%s}", row->result ? row->result : "null"),
                 SP_OK));
    cr_assert(eq(int, read_answer(sp_buf_str(&body), &out, &err), SP_OK), "%s", err.msg);

    cr_expect(eq(str, out.out.text, (char *)row->out), "%s", row->name);
    cr_expect(eq(i64, out.out.bytes, (int64_t)strlen(row->out)), "%s", row->name);
    cr_expect(eq(int, out.result_present, row->value != NULL), "%s", row->name);
    if (row->value)
        cr_expect(eq(str, out.result_value, (char *)row->value), "%s", row->name);
    cr_expect(eq(str, out.warning ? out.warning : "", (char *)(row->warning ? row->warning : "")));
}

Test(self_managed_answer, output_is_bounded_and_the_value_is_not)
{
    sp_auto(sp_result_clear) struct sp_result out = {0};
    sp_auto(sp_buf_clear) struct sp_buf body = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_buf_clear) struct sp_buf document = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    cr_assert(eq(int, sp_buf_adds(&body, "{\"exit_code\":0,\"stdout\":\""), 0));
    for (int i = 0; i < 5000; i++)
        cr_assert(eq(int, sp_buf_addc(&body, 'x'), 0));
    cr_assert(eq(int, sp_buf_adds(&document, "{\"present\":true,\"value\":\""), 0));
    for (int i = 0; i < 5000; i++)
        cr_assert(eq(int, sp_buf_addc(&document, 'v'), 0));
    cr_assert(eq(int, sp_buf_adds(&document, "\"}"), 0));
    cr_assert(eq(int, sp_buf_adds(&body, "\\n__RAGFLOW_RESULT_run1__:"), 0));
    cr_assert(eq(int, sp_base64_encode(sp_buf_str(&document), document.len, &body), 0));
    cr_assert(eq(int, sp_buf_adds(&body, "\\n\"}"), 0));
    cr_assert(eq(int, read_answer(sp_buf_str(&body), &out, NULL), SP_OK));

    cr_expect(eq(sz, out.result_value_len, 5002));
    cr_expect(out.out.truncated && !out.err.truncated);
    cr_expect(eq(i64, out.out.bytes, 5000));
    cr_expect(lt(sz, out.out.len, 1100));
    cr_expect(strstr(out.out.text, "[sandpiper: 4000 bytes left out]") != NULL);
}

/* Items beside one that is fine, each refused for its own reason. */
static const struct {
    const char *item, *name, *reason;
} refused[] = {
    {"{\"name\":\"a.txt\",\"content_b64\":\"eA==\"}", "a.txt", "Unsupported artifact type"},
    {"{\"name\":\"../a.csv\",\"content_b64\":\"eA==\"}", "../a.csv", "not a relative path"},
    {"{\"name\":\"/etc/a.csv\",\"content_b64\":\"eA==\"}", "/etc/a.csv", "not a relative path"},
    {"{\"name\":\"b/./a.csv\",\"content_b64\":\"eA==\"}", "b/./a.csv", "not a relative path"},
    {"{\"name\":\"b//a.csv\",\"content_b64\":\"eA==\"}", "b//a.csv", "not a relative path"},
    {"{\"name\":\"b\\\\a.csv\",\"content_b64\":\"eA==\"}", "b\\a.csv", "not a relative path"},
    {"{\"name\":\"a\\n.csv\",\"content_b64\":\"eA==\"}", "a\n.csv", "not a relative path"},
    {"{\"name\":\"a\\u0000.csv\",\"content_b64\":\"eA==\"}", "a", "not a relative path"},
    {"{\"name\":\"\",\"content_b64\":\"eA==\"}", "", "not a relative path"},
    {"{\"name\":\"good.csv\",\"content_b64\":\"eA==\"}", "good.csv", "the name comes twice"},
    {"{\"name\":\"a.csv\",\"content_b64\":\"e A==\"}", "a.csv", "the content is not base64"},
    {"{\"name\":\"a.csv\",\"content_b64\":5}", "a.csv", "the content is not base64"},
    {"{\"name\":\"a.csv\"}", "a.csv", "the content is not base64"},
    {"{\"name\":\"a.csv\",\"content_b64\":\"eA==\",\"size\":2}", "a.csv", "another size"},
    {"{\"name\":\"a.csv\",\"content_b64\":\"MTIzNDU2Nzg5\"}", "a.csv", "exceeds 8 bytes"},
    {"{\"content_b64\":\"eA==\"}", "", "without a usable name"},
    {"7", "", "without a usable name"},
};

SP_TABLE_TEST(self_managed_answer, an_artifact_is_checked_again, refused, row)
{
    sp_auto(sp_result_clear) struct sp_result out = {0};
    char body[512];

    snprintf(body, sizeof(body),
             "{\"exit_code\":0,\"artifacts\":[{\"name\":\"good.csv\",\"mime_type\":\"image/png\","
             "\"size\":2,\"content_b64\":\"aGk=\"},%s]}",
             row->item);
    cr_assert(eq(int, read_answer(body, &out, NULL), SP_OK));

    cr_assert(eq(sz, out.n_artifacts, 1), "%s", row->item);
    cr_expect(eq(str, out.artifacts[0].name, "good.csv"));
    cr_expect(eq(str, (char *)out.artifacts[0].mime_type, "text/csv"), "ours, not the manager's");
    cr_expect(eq(str, out.artifacts[0].data, "hi"));
    cr_assert(eq(sz, out.n_refused, 1), "%s", row->item);
    cr_expect(eq(str, out.refused[0].name, (char *)row->name), "%s", row->item);
    cr_expect(strstr(out.refused[0].reason, row->reason) != NULL, "%s: %s", row->item,
              out.refused[0].reason);
}

Test(self_managed_answer, artifacts_are_bounded_in_number_and_in_all)
{
    sp_auto(sp_result_clear) struct sp_result out = {0};

    cr_assert(eq(int,
                 read_answer("{\"exit_code\":0,\"artifacts\":["
                             "{\"name\":\"a.csv\",\"content_b64\":\"MTIzNDU2Nzg=\"},"
                             "{\"name\":\"b.csv\",\"content_b64\":\"MTIzNDU2Nzg=\"},"
                             "{\"name\":\"d/c.csv\",\"content_b64\":\"MQ==\"},"
                             "{\"name\":\"d.csv\",\"content_b64\":\"MQ==\"},"
                             "{\"name\":\"e.csv\",\"content_b64\":\"MQ==\"}]}",
                             &out, NULL),
                 SP_OK));

    cr_expect(eq(sz, out.n_artifacts, 3));
    cr_expect(eq(str, out.artifacts[1].name, "d/c.csv"));
    cr_assert(eq(sz, out.n_refused, 2));
    cr_expect(eq(str, out.refused[0].reason, "exceeds 12 bytes in all artifacts together"));
    cr_expect(eq(str, out.refused[1].reason, "more than 3 artifacts"));
}

Test(self_managed_answer, refusals_are_bounded_too)
{
    sp_auto(sp_result_clear) struct sp_result out = {0};
    sp_auto(sp_buf_clear) struct sp_buf body = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    cr_assert(eq(int, sp_buf_adds(&body, "{\"exit_code\":0,\"artifacts\":[0"), 0));
    for (int i = 1; i < 300; i++)
        cr_assert(eq(int, sp_buf_adds(&body, ",0"), 0));
    cr_assert(eq(int, sp_buf_adds(&body, "]}"), 0));
    cr_assert(eq(int, read_answer(sp_buf_str(&body), &out, NULL), SP_OK));

    cr_expect(eq(sz, out.n_refused, 200));
    cr_expect(eq(str, out.warning, "100 more artifacts were refused"));
}
