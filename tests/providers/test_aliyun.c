/* The provider aliyun_codeinterpreter over the wire: what it sends, and in what order; what becomes
 * of a run; what it leaves behind. */
#include "tests/providers/agentrun_stage.h"

TestSuite(aliyun, .fini = clear_stage);

static void expect_targets(const char *const *expected, size_t n)
{
    cr_assert(eq(int, sp_http_server_requests(&stage.server), (int)n));
    for (size_t i = 0; i < n; i++) {
        char line[256], wanted[256];
        const struct sp_exchange *x = sp_http_server_request(&stage.server, (int)i);
        snprintf(line, sizeof(line), "%s %s", x->method, x->target);
        snprintf(wanted, sizeof(wanted), expected[i], service.leases[0].id);
        cr_expect(eq(str, line, wanted));
    }
}

Test(aliyun, a_job_is_these_requests)
{
    static const char *const expected[] = {
        "GET /2025-09-10/templates/ragflow-python-default",
        "POST /sandboxes",
        "GET /sandboxes/%s/health",
        "POST /sandboxes/%s/contexts",
        "POST /sandboxes/%s/contexts/execute",
        "GET /sandboxes/%s/filesystem?depth=1&path=%%2Fhome%%2Fuser%%2Fartifacts",
        "DELETE /sandboxes/%s",
    };
    set_stage(NULL, "");

    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);
    destroy();

    expect_targets(expected, SP_COUNT(expected));
    cr_expect(eq(int, stage.result.exit_code, 0));
    cr_expect(eq(int, stage.result.started, SP_STARTED_YES));
    cr_expect(eq(int, (int)stage.result.execution_us, 1500));
    cr_expect(eq(str, stage.result.out.text, ""));
}

Test(aliyun, every_call_is_signed_for_its_plane)
{
    set_stage(NULL, ",\"security_token\":\"sts-token\"");

    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);
    destroy();

    for (int i = 0; i < sp_http_server_requests(&stage.server); i++) {
        const struct sp_exchange *x = sp_http_server_request(&stage.server, i);
        bool control = strncmp(x->target, "/2025-09-10/", 12) == 0;
        char text[512];
        cr_assert(sp_exchange_header(x, control ? "Authorization" : "Agentrun-Authorization", text,
                                     sizeof(text)),
                  "%s", x->target);
        cr_expect(strncmp(text, control ? "ACS3-" : "AGENTRUN4-", 5) == 0, "%s", text);
        cr_expect(strstr(text, "x-acs-security-token") != NULL, "%s", text);
        cr_expect(sp_exchange_header(x, "x-acs-security-token", text, sizeof(text)));
        cr_expect(strstr(x->headers, "test-secret") == NULL);
        sp_exchange_header(x, "Host", text, sizeof(text));
        cr_expect(eq(str, text, stage.server.url + strlen("http://")));
    }
}

Test(aliyun, bodies_are_what_the_service_takes)
{
    char body[256], name[64];
    set_stage(NULL, "");
    stage.req.language = SP_JAVASCRIPT;
    stage.run.timeout_ms = 1500;

    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);

    snprintf(body, sizeof(body),
             "{\"templateName\":\"ragflow-javascript-default\",\"sandboxId\":\"%s\","
             "\"sandboxIdleTimeoutSeconds\":60}",
             stage.instance->id);
    cr_expect(eq(str, find_request(CREATE, 0)->body, body));
    cr_expect(eq(str, find_request(CONTEXT, 0)->body,
                 "{\"language\":\"javascript\",\"cwd\":\"/home/user\"}"));
    const char *execution = find_request(EXECUTE, 0)->body;
    cr_expect(strncmp(execution, "{\"code\":\"(0, eval)(", 19) == 0);
    cr_expect(strstr(execution, "\",\"timeout\":2,\"contextId\":\"ctx-1\"}") != NULL);
    cr_expect(sp_exchange_header(find_request(EXECUTE, 0), "Content-Type", name, sizeof(name)));
    cr_expect(eq(str, name, "application/json"));
    cr_expect(eq(sz, strlen(stage.instance->id), 26));
}

/* The program's code is in the job, as it is; see tests/providers/test_cell.c for what it does. */
Test(aliyun, code_of_any_bytes_goes_along)
{
    static char code[1 << 20];
    sp_auto(sp_buf_clear) struct sp_buf job = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_buf_clear) struct sp_buf base64 = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    for (size_t i = 0; i < sizeof(code); i++)
        code[i] = (char)(i * 7);
    set_stage(NULL, "");
    stage.req.code = code;
    stage.req.code_len = sizeof(code);

    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);

    read_job(find_request(EXECUTE, 0), &job);
    cr_assert(eq(int, sp_base64_encode(code, sizeof(code), &base64), SP_OK));
    cr_expect(strstr(job.data, base64.data) != NULL);
}

Test(aliyun, one_instance_keeps_its_context_for_the_next_run)
{
    set_stage(NULL, "");

    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);
    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);

    cr_expect(eq(int, asked(CREATE), 1));
    cr_expect(eq(int, asked(CONTEXT), 1));
    cr_expect(eq(int, asked(EXECUTE), 2));
    cr_expect(strstr(find_request(EXECUTE, 1)->body, "\"contextId\":\"ctx-1\"") != NULL);
}

Test(aliyun, another_language_gets_a_context_of_its_own)
{
    static const struct step steps[] = {{CONTEXT, 200, "{\"id\":\"py\"}", NULL, NULL},
                                        {CONTEXT, 200, "{\"data\":{\"id\":\"js\"}}", NULL, NULL},
                                        {0}};
    set_stage(steps, "");

    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);
    stage.req.language = SP_JAVASCRIPT;
    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);

    cr_expect(strstr(find_request(EXECUTE, 1)->body, "\"contextId\":\"js\"") != NULL);
}

Test(aliyun, metadata_tells_where_the_run_was)
{
    static const struct step steps[] = {{EXECUTE, 200, NULL, "x-acs-request-id: REQ-9\r\n", NULL},
                                        {0}};
    set_stage(steps, ",\"template_name\":\"mine\"");

    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);

    cr_expect(eq(str, stage.result.metadata,
                 "\"context_id\":\"ctx-1\",\"template_name\":\"mine\",\"region\":\"cn-hangzhou\","
                 "\"request_id\":\"REQ-9\""));
    cr_expect(eq(str, (char *)(uintptr_t)stage.result.language, "python"));
    cr_expect(eq(str, (char *)(uintptr_t)stage.result.limits_of_provider[0], "whole_seconds"));
}

/* ---- what the program left ---- */

static const struct ending {
    const char *name, *body, *document;
    enum sp_outcome outcome;
    int exit_code;
    const char *out, *err, *value, *warning; /* NULL: none */
} endings[] = {
    {"a value", RESULTS("{\"type\":\"stdout\",\"text\":\"a\\n\"}," END_ITEM),
     "{\"present\":true,\"value\":{\"n\": 1180591620717411303424},\"exit\":0,\"us\":1}",
     SP_OUTCOME_EXITED, 0, "a\n{\"n\":1180591620717411303424}\n", "",
     "{\"n\": 1180591620717411303424}", NULL},
    {"stderr alone does not fail a run",
     RESULTS("{\"type\":\"stderr\",\"text\":\"careful\\n\"}," END_ITEM), DONE, SP_OUTCOME_EXITED, 0,
     "", "careful\n", NULL, NULL},
    {"SystemExit's value", ENDED, "{\"present\":false,\"exit\":3,\"us\":1}", SP_OUTCOME_EXITED, 3,
     "", "", NULL, NULL},
    {"an error that the kernel tells of",
     RESULTS("{\"type\":\"error\",\"name\":\"KeyboardInterrupt\",\"value\":\"\"}"), NULL,
     SP_OUTCOME_EXITED, 1, "", "KeyboardInterrupt: \n", NULL, NULL},
    {"a forged end, and a kernel that died after it",
     RESULTS(END_ITEM ",{\"type\":\"error\",\"name\":\"KernelDied\",\"value\":\"\"},"
                      "{\"type\":\"endOfExecution\",\"status\":\"error\"}"),
     DONE, SP_OUTCOME_EXITED, 1, "", "KernelDied: \n", NULL, NULL},
    {"a forged end, and a service that had to end the program",
     RESULTS(END_ITEM ",{\"type\":\"timeout\"}"), DONE, SP_OUTCOME_TIMEOUT, -1, "", "", NULL, NULL},
    {"a failure that the program told of itself",
     RESULTS(END_ITEM ",{\"type\":\"endOfExecution\",\"status\":\"error\"}"),
     "{\"present\":false,\"exit\":3,\"us\":1}", SP_OUTCOME_EXITED, 3, "", "", NULL, NULL},
    {"an end that is not ok", RESULTS("{\"type\":\"endOfExecution\",\"status\":\"error\"}"), NULL,
     SP_OUTCOME_EXITED, 1, "", "", NULL, NULL},
    {"no word of the end", RESULTS("{\"type\":\"stdout\",\"text\":\"a\\n\"}"), NULL,
     SP_OUTCOME_EXITED, 1, "a\n", "", NULL, "AgentRun does not say how the program ended"},
    {"a time-out item keeps what was printed",
     RESULTS("{\"type\":\"stdout\",\"text\":\"part\\n\"},{\"type\":\"timeout\"}"), NULL,
     SP_OUTCOME_TIMEOUT, -1, "part\n", "", NULL, NULL},
    {"a time-out error",
     RESULTS("{\"type\":\"error\",\"name\":\"TimeoutError\",\"value\":\"30 s\"}"), NULL,
     SP_OUTCOME_TIMEOUT, -1, "", "TimeoutError: 30 s\n", NULL, NULL},
    {"a program's own TimeoutError is its own",
     RESULTS("{\"type\":\"stderr\",\"text\":\"TimeoutError: no\\n\"}," END_ITEM),
     "{\"present\":false,\"exit\":1,\"us\":1}", SP_OUTCOME_EXITED, 1, "", "TimeoutError: no\n",
     NULL, NULL},
    {"it took longer than asked for, within the service's whole seconds",
     RESULTS("{\"type\":\"stdout\",\"text\":\"late\\n\"}," END_ITEM),
     "{\"present\":false,\"exit\":0,\"us\":10000001}", SP_OUTCOME_TIMEOUT, -1, "late\n", "", NULL,
     NULL},
    {"memory", ENDED, "{\"limit\":\"memory\",\"exit\":1,\"us\":1}", SP_OUTCOME_LIMIT, 1, "", "",
     NULL, NULL},
    {"with an envelope", "{\"code\":\"SUCCESS\",\"data\":" ENDED "}", DONE, SP_OUTCOME_EXITED, 0,
     "", "", NULL, NULL},
    {"a document that is none", ENDED, "{\"present\":1,\"exit\":0,\"us\":1}", SP_OUTCOME_EXITED, 1,
     "", "", NULL,
     "the line with the value was not usable: result document: members of wrong type or place; "
     "AgentRun does not say how the program ended"},
    {"RAGFlow's own marker",
     RESULTS("{\"type\":\"stdout\",\"text\":\"__RAGFLOW_RESULT__:eyJwcmVzZW50Ijp0cnVlLCJ2YWx1ZSI6MX"
             "0=\\n\"}," END_ITEM),
     DONE, SP_OUTCOME_EXITED, 0, "1\n", "", "1", NULL},
};

static char *text_or(const char *text, const char *other)
{
    return (char *)(uintptr_t)(text ? text : other);
}

SP_TABLE_TEST(aliyun, how_a_program_ends, endings, row)
{
    const struct step steps[] = {{EXECUTE, 200, row->body, NULL, row->document}, {0}};
    struct sp_result *r = &stage.result;
    set_stage(steps, "");

    cr_assert(eq(int, execute(), SP_OK), "%s: %s", row->name, stage.err.msg);

    cr_expect(eq(int, r->outcome, row->outcome), "%s", row->name);
    cr_expect(eq(int, r->exit_code, row->exit_code), "%s", row->name);
    cr_expect(eq(str, r->out.text, text_or(row->out, "")), "%s", row->name);
    cr_expect(eq(str, r->err.text, text_or(row->err, "")), "%s", row->name);
    cr_expect(eq(str, text_or(r->result_value, ""), text_or(row->value, "")), "%s", row->name);
    cr_expect(eq(str, text_or(r->warning, ""), text_or(row->warning, "")), "%s", row->name);
}

Test(aliyun, the_value_is_found_before_the_output_is_cut)
{
    static char body[5000];
    int n = snprintf(body, sizeof(body), "{\"results\":[{\"type\":\"stdout\",\"text\":\"");
    memset(body + n, 'x', 4000);
    snprintf(body + n + 4000, sizeof(body) - (size_t)n - 4000, "\"}," END_ITEM "]}");
    const struct step steps[] = {
        {EXECUTE, 200, body, NULL, "{\"present\":true,\"value\":[1],\"exit\":0,\"us\":1}"}, {0}};
    set_stage(steps, "");
    stage.limits.output_bytes = 100;
    stage.req.result_in_stdout = SP_NO;

    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);

    cr_expect(eq(str, stage.result.result_value, "[1]"));
    cr_expect(stage.result.out.truncated);
    cr_expect(eq(int, (int)stage.result.out.bytes, 4000));
    cr_expect(strstr(stage.result.out.text, "[sandpiper: 3900 bytes left out]") != NULL);
}

Test(aliyun, an_answer_over_the_limit_ends_the_run_by_it)
{
    static char body[3000];
    memset(body, ' ', sizeof(body) - 1);
    const struct step steps[] = {{EXECUTE, 200, body, NULL, NULL}, {0}};
    set_stage(steps, "");
    stage.limits.response_bytes = 2000;

    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);

    cr_expect(eq(int, stage.result.outcome, SP_OUTCOME_LIMIT));
    cr_expect(eq(str, (char *)(uintptr_t)stage.result.limit, "response size"));
    cr_expect(eq(int, stage.result.exit_code, -1));
}

/* ---- when execute fails ---- */

static const struct failure {
    const char *name;
    int status;
    const char *body;
    enum sp_code rc;
    enum sp_started started;
    enum sp_outcome outcome;
    const char *message; /* part of it */
} failures[] = {
    {"408", 408, "", SP_OK, SP_STARTED_YES, SP_OUTCOME_TIMEOUT, ""},
    {"504", 504, "<html>", SP_OK, SP_STARTED_YES, SP_OUTCOME_TIMEOUT, ""},
    {"400 with a time-out code", 400, "{\"code\":\"ExecutionTimeout\",\"message\":\"m\"}", SP_OK,
     SP_STARTED_YES, SP_OUTCOME_TIMEOUT, ""},
    {"500 that speaks of a time-out", 500, "{\"message\":\"execution timed out\"}", SP_OK,
     SP_STARTED_YES, SP_OUTCOME_TIMEOUT, ""},
    {"200 with another code", 200,
     "{\"code\":\"ERR_VALIDATION_FAILED\",\"message\":\"timeout must be 1 to 30\"}", SP_E_INVALID,
     SP_STARTED_MAYBE, 0, "does not run the program: HTTP 200 ERR_VALIDATION_FAILED: timeout must"},
    {"400", 400, "{\"error\":{\"code\":\"INVALID_REQUEST\",\"message\":\"bad \\n code\"}}",
     SP_E_INVALID, SP_STARTED_NO, 0, "HTTP 400 INVALID_REQUEST: bad   code"},
    {"the sandbox is gone", 404, "sandbox not found", SP_E_INVALID, SP_STARTED_NO, 0,
     "HTTP 404: sandbox not found"},
    {"the key", 403, "{\"code\":\"ERR_FORBIDDEN\",\"requestId\":\"REQ-3\"}", SP_E_DENIED,
     SP_STARTED_NO, 0, "HTTP 403 ERR_FORBIDDEN (request REQ-3)"},
    {"the key, with an echo of what was sent", 400,
     "{\"Code\":\"SignatureDoesNotMatch\",\"Message\":\"got Signature=<html>\"}", SP_E_DENIED,
     SP_STARTED_NO, 0, "HTTP 400 SignatureDoesNotMatch"},
    {"throttled, with a good status", 200, "{\"code\":\"Throttling\"}", SP_E_BUSY, SP_STARTED_MAYBE,
     0, "HTTP 200 Throttling"},
    {"throttled", 429, "{}", SP_E_BUSY, SP_STARTED_NO, 0, "HTTP 429"},
    {"throttled, by the gateway", 400, "{\"Code\":\"Throttling.User\",\"RequestId\":\"REQ-4\"}",
     SP_E_BUSY, SP_STARTED_NO, 0, "HTTP 400 Throttling.User (request REQ-4)"},
    {"200 with a number for a code", 200, "{\"code\":500,\"message\":\"m\"}", SP_E_INVALID,
     SP_STARTED_MAYBE, 0, "does not run the program: HTTP 200 500: m"},
    {"500", 500, "{\"code\":\"ERR_INTERNAL_SERVER_ERROR\"}", SP_E_INVALID, SP_STARTED_MAYBE, 0,
     "HTTP 500 ERR_INTERNAL_SERVER_ERROR"},
    {"502", 502, "<html>gone</html>", SP_E_UNAVAILABLE, SP_STARTED_MAYBE, 0, "HTTP 502"},
    {"cut off", 0, NULL, SP_E_UNAVAILABLE, SP_STARTED_MAYBE, 0, "http://127.0.0.1"},
    {"no results", 200, "{\"contextId\":\"c\"}", SP_E_INVALID, SP_STARTED_MAYBE, 0,
     "holds no results"},
    {"not JSON", 200, "<html>", SP_E_INVALID, SP_STARTED_MAYBE, 0, "holds no results"},
};

SP_TABLE_TEST(aliyun, when_execute_fails, failures, row)
{
    const struct step steps[] = {{EXECUTE, row->status, row->body, NULL, NULL}, {0}};
    set_stage(steps, "");

    cr_expect(eq(int, execute(), row->rc), "%s: %s", row->name, stage.err.msg);

    cr_expect(eq(int, stage.result.started, row->started), "%s", row->name);
    cr_expect(eq(int, stage.result.outcome, row->outcome), "%s", row->name);
    cr_expect(strstr(stage.err.msg, row->message) != NULL, "%s: %s", row->name, stage.err.msg);
    cr_expect(strstr(stage.err.msg, "html") == NULL, "%s: %s", row->name, stage.err.msg);
    cr_expect(eq(int, asked(EXECUTE), 1), "%s: it must not be sent twice", row->name);
}

Test(aliyun, a_deadline_that_passes_ends_the_run_as_a_time_out)
{
    static const struct step steps[] = {{EXECUTE, -1, NULL, NULL, NULL}, {0}};
    set_stage(steps, "");
    cr_assert(eq(int, create(), SP_OK), "%s", stage.err.msg);
    stage.run.deadline = sp_deadline_in(200);

    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);

    cr_expect(eq(int, stage.result.outcome, SP_OUTCOME_TIMEOUT));
    cr_expect(eq(int, stage.result.started, SP_STARTED_MAYBE));
    cr_expect(stage.took_ms < 5000);
}

static void *cancel_when_sent(void *arg)
{
    const int *n = arg;
    sp_http_server_wait_requests(&stage.server, *n);
    cancel_now();
    return NULL;
}

Test(aliyun, a_cancelled_run_ends_at_once_and_its_sandbox_too)
{
    static const struct step steps[] = {{EXECUTE, -1, NULL, NULL, NULL}, {0}};
    int n = 5;
    pthread_t thread;
    set_stage(steps, "");
    cr_assert(eq(int, pthread_create(&thread, NULL, cancel_when_sent, &n), 0));

    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);
    pthread_join(thread, NULL);
    destroy();

    cr_expect(eq(int, stage.result.outcome, SP_OUTCOME_CANCELLED));
    cr_expect(eq(int, asked(DELETE_BOX), 1));
    cr_expect(eq(sz, leases_left(), 0));
}
