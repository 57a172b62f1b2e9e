/* What aliyun_codeinterpreter does at the control plane: it finds or makes the template of its
 * sandboxes, and checks the settings. */
#include "tests/providers/agentrun_stage.h"

TestSuite(aliyun_template, .fini = clear_stage);

/* ---- templates ---- */

#define KEY_404                                                                                    \
    "{\"Code\":\"InvalidAccessKeyId.NotFound\",\"Message\":\"Specified access key is not "         \
    "found.\","                                                                                    \
    "\"RequestId\":\"REQ-4\"}"

static const struct template_case {
    const char *name;
    struct step steps[6];
    enum sp_code rc;
    int gets, makes;
    const char *message; /* part of it; NULL: none */
} template_cases[] = {
    {"there", {{0}}, SP_OK, 1, 0, NULL},
    {"missing, made, ready at once",
     {{GET_TEMPLATE, 404, NO_TEMPLATE, NULL, NULL}, {MAKE_TEMPLATE, 200, NULL, NULL, NULL}},
     SP_OK,
     2,
     1,
     NULL},
    {"missing, and others make it at the same time",
     {{GET_TEMPLATE, 404, NO_TEMPLATE, NULL, NULL},
      {MAKE_TEMPLATE, 409, "{\"code\":\"CONFLICT\"}", NULL, NULL}},
     SP_OK,
     2,
     1,
     NULL},
    {"missing, and there already in other words",
     {{GET_TEMPLATE, 404, NO_TEMPLATE, NULL, NULL},
      {MAKE_TEMPLATE, 400, "{\"code\":\"X\",\"message\":\"template Already Exists\"}", NULL, NULL}},
     SP_OK,
     2,
     1,
     NULL},
    {"an error object says that it is missing",
     {{GET_TEMPLATE, 404, "{\"error\":{\"code\":\"NOT_FOUND\",\"message\":\"m\"}}", NULL, NULL}},
     SP_OK,
     2,
     1,
     NULL},
    {"a wrong key is 404 too, and makes nothing",
     {{GET_TEMPLATE, 404, KEY_404, NULL, NULL}},
     SP_E_DENIED,
     1,
     0,
     "HTTP 404 InvalidAccessKeyId.NotFound (request REQ-4)"},
    {"creating, then ready",
     {{GET_TEMPLATE, 200, TEMPLATE_IS("CREATING"), NULL, NULL}},
     SP_OK,
     2,
     0,
     NULL},
    {"creation failed",
     {{GET_TEMPLATE, 200, TEMPLATE_IS("CREATE_FAILED"), NULL, NULL}},
     SP_E_INVALID,
     1,
     0,
     "template ragflow-python-default is in state CREATE_FAILED"},
    {"made, but creation failed",
     {{GET_TEMPLATE, 404, NO_TEMPLATE, NULL, NULL},
      {GET_TEMPLATE, 200, TEMPLATE_IS("CREATE_FAILED"), NULL, NULL}},
     SP_E_INVALID,
     2,
     1,
     "CREATE_FAILED"},
    {"no state",
     {{GET_TEMPLATE, 200, "{}", NULL, NULL}},
     SP_E_INVALID,
     1,
     0,
     "does not tell the state"},
    {"200 with another code",
     {{GET_TEMPLATE, 200, "{\"code\":\"ERR_INTERNAL_SERVER_ERROR\",\"requestId\":\"REQ-5\"}", NULL,
       NULL}},
     SP_E_INVALID,
     1,
     0,
     "HTTP 200 ERR_INTERNAL_SERVER_ERROR (request REQ-5)"},
    {"may not be made",
     {{GET_TEMPLATE, 404, NO_TEMPLATE, NULL, NULL},
      {MAKE_TEMPLATE, 403, "{\"Code\":\"NoPermission\"}", NULL, NULL}},
     SP_E_DENIED,
     1,
     1,
     "does not create the template: HTTP 403 NoPermission"},
    {"a gateway's page, then fine", {{GET_TEMPLATE, 502, "<html>", NULL, NULL}}, SP_OK, 2, 0, NULL},
    {"cut off, then fine", {{GET_TEMPLATE, 0, NULL, NULL, NULL}}, SP_OK, 2, 0, NULL},
};

SP_TABLE_TEST(aliyun_template, a_template_is_looked_up_or_made, template_cases, row)
{
    set_stage(row->steps, "");

    cr_expect(eq(int, create(), row->rc), "%s: %s", row->name, stage.err.msg);

    cr_expect(eq(int, asked(GET_TEMPLATE), row->gets), "%s", row->name);
    cr_expect(eq(int, asked(MAKE_TEMPLATE), row->makes), "%s", row->name);
    cr_expect(eq(int, asked(CREATE), row->rc ? 0 : 1), "%s", row->name);
    cr_expect(row->message == NULL || told(row->message), "%s: %s", row->name, stage.err.msg);
}

Test(aliyun_template, a_template_is_made_as_ragflow_makes_it)
{
    static const struct step steps[] = {{GET_TEMPLATE, 404, NO_TEMPLATE, NULL, NULL}, {0}};
    char text[64];
    set_stage(steps, ",\"template_name\":\"my own\"");

    cr_assert(eq(int, create(), SP_OK), "%s", stage.err.msg);

    const struct sp_exchange *x = find_request(MAKE_TEMPLATE, 0);
    cr_expect(eq(str, find_request(GET_TEMPLATE, 0)->target, "/2025-09-10/templates/my%20own"));
    cr_expect(eq(str, x->body,
                 "{\"templateName\":\"my own\",\"templateType\":\"CodeInterpreter\",\"cpu\":2,"
                 "\"memory\":4096,\"diskSize\":512,\"networkConfiguration\":{\"networkMode\":"
                 "\"PUBLIC\"},\"ossConfiguration\":[],\"sandboxIdleTimeoutInSeconds\":1800,"
                 "\"sandboxTTLInSeconds\":21600}"));
    sp_exchange_header(x, "Content-Type", text, sizeof(text));
    cr_expect(eq(str, text, "application/json; charset=utf-8"));
    sp_exchange_header(x, "x-acs-action", text, sizeof(text));
    cr_expect(eq(str, text, "CreateTemplate"));
}

Test(aliyun_template, a_template_is_asked_for_once_and_for_each_language)
{
    set_stage(NULL, "");

    for (int i = 0; i < 4; i++) {
        stage.req.language = i % 2 ? SP_JAVASCRIPT : SP_PYTHON;
        cr_assert(eq(int, create(), SP_OK), "%s", stage.err.msg);
        destroy();
    }

    cr_expect(eq(int, asked(GET_TEMPLATE), 2));
}

Test(aliyun_template, a_template_that_is_gone_is_looked_up_again)
{
    static const struct step steps[] = {{CREATE, 404, NO_TEMPLATE, NULL, NULL}, {0}};
    set_stage(steps, "");

    cr_expect(eq(int, create(), SP_E_INVALID));
    cr_expect(told("does not create the sandbox: HTTP 404 ERR_NOT_FOUND: template not found"), "%s",
              stage.err.msg);
    cr_assert(eq(int, create(), SP_OK), "%s", stage.err.msg);

    cr_expect(eq(int, asked(GET_TEMPLATE), 2));
    cr_expect(eq(int, asked(DELETE_BOX), 0));
    cr_expect(eq(sz, leases_left(), 1));
}

Test(aliyun_template, waiting_for_a_template_ends_with_the_set_up)
{
    static const struct step steps[] = {{GET_TEMPLATE, 200, TEMPLATE_IS("CREATING"), NULL, NULL},
                                        {0}};
    set_stage(steps, "");
    stage.run.setup_deadline = sp_deadline_in(500);

    cr_expect(eq(int, create(), SP_E_TIMEOUT));

    cr_expect(told("template ragflow-python-default is not ready in time (CREATING)"), "%s",
              stage.err.msg);
}

struct creator {
    pthread_t thread;
    struct sp_instance *instance;
    enum sp_code rc;
    struct sp_error err;
};

static void *create_one(void *arg)
{
    struct creator *c = arg;
    c->rc = sp_provider_create(stage.provider, &stage.req, &stage.run, &c->instance, &c->err);
    return NULL;
}

static void create_many(struct creator *creators, size_t n)
{
    for (size_t i = 0; i < n; i++)
        cr_assert(eq(int, pthread_create(&creators[i].thread, NULL, create_one, &creators[i]), 0));
    for (size_t i = 0; i < n; i++)
        pthread_join(creators[i].thread, NULL);
}

Test(aliyun_template, many_at_once_ask_for_a_template_once)
{
    struct creator creators[8] = {0};
    set_stage(NULL, "");

    create_many(creators, SP_COUNT(creators));

    for (size_t i = 0; i < SP_COUNT(creators); i++) {
        cr_expect(eq(int, creators[i].rc, SP_OK), "%s", creators[i].err.msg);
        sp_provider_destroy(creators[i].instance, &stage.run);
    }
    cr_expect(eq(int, asked(GET_TEMPLATE), 1));
}

/* ---- check ---- */

static const struct {
    const char *name;
    struct step step;
    enum sp_code rc;
    const char *message;
} checks[] = {
    {"fine", {LIST_TEMPLATES, 200, NULL, NULL, NULL}, SP_OK, ""},
    {"the key",
     {LIST_TEMPLATES, 404, KEY_404, NULL, NULL},
     SP_E_DENIED,
     "AgentRun does not list templates: HTTP 404 InvalidAccessKeyId.NotFound (request REQ-4)"},
    {"the signature",
     {LIST_TEMPLATES, 400, "{\"Code\":\"SignatureDoesNotMatch\",\"Message\":\"m\"}", NULL, NULL},
     SP_E_DENIED,
     "HTTP 400 SignatureDoesNotMatch"},
    {"the clock",
     {LIST_TEMPLATES, 400, "{\"Code\":\"InvalidTimeStamp.Expired\"}", NULL, NULL},
     SP_E_DENIED,
     "HTTP 400 InvalidTimeStamp.Expired"},
    {"the token",
     {LIST_TEMPLATES, 400, "{\"Code\":\"InvalidSecurityToken.Expired\"}", NULL, NULL},
     SP_E_DENIED,
     "HTTP 400 InvalidSecurityToken.Expired"},
    {"the rights",
     {LIST_TEMPLATES, 403, "{\"Code\":\"Forbidden.RAM\"}", NULL, NULL},
     SP_E_DENIED,
     "HTTP 403 Forbidden.RAM"},
    {"unauthorised, bare", {LIST_TEMPLATES, 401, "", NULL, NULL}, SP_E_DENIED, "HTTP 401"},
    {"not such a service", {LIST_TEMPLATES, 404, "<html>", NULL, NULL}, SP_E_INVALID, "HTTP 404"},
    {"throttled", {LIST_TEMPLATES, 429, "", NULL, NULL}, SP_E_BUSY, "HTTP 429"},
    {"a gateway", {LIST_TEMPLATES, 502, "<html>", NULL, NULL}, SP_E_UNAVAILABLE, "HTTP 502"},
    {"the service",
     {LIST_TEMPLATES, 500, "{}", NULL, NULL},
     SP_E_UNAVAILABLE,
     "the control plane: AgentRun does not list templates: HTTP 500"},
    {"cut off", {LIST_TEMPLATES, 0, NULL, NULL, NULL}, SP_E_UNAVAILABLE, "http://127.0.0.1"},
};

SP_TABLE_TEST(aliyun_template, a_check_lists_templates, checks, row)
{
    const struct step steps[] = {row->step, {0}};
    set_stage(steps, "");

    cr_expect(eq(int, sp_provider_check(stage.provider, &stage.run, &stage.err), row->rc), "%s: %s",
              row->name, stage.err.msg);

    cr_expect(strstr(stage.err.msg, row->message) != NULL, "%s: %s", row->name, stage.err.msg);
    cr_expect(strstr(stage.err.msg, "Specified") == NULL, "the log holds none of its words");
    cr_expect(eq(str, find_request(LIST_TEMPLATES, 0)->target,
                 "/2025-09-10/templates?pageNumber=1&pageSize=10"));
    cr_expect(eq(int, sp_http_server_requests(&stage.server), 1));
}
