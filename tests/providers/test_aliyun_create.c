/* How aliyun_codeinterpreter gets a sandbox, what it does when the service is slow, away or
 * refuses, and that nothing stays behind. */
#include "tests/providers/agentrun_stage.h"

TestSuite(aliyun_create, .fini = clear_stage);

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

SP_TABLE_TEST(aliyun_create, a_template_is_looked_up_or_made, template_cases, row)
{
    set_stage(row->steps, "");

    cr_expect(eq(int, create(), row->rc), "%s: %s", row->name, stage.err.msg);

    cr_expect(eq(int, asked(GET_TEMPLATE), row->gets), "%s", row->name);
    cr_expect(eq(int, asked(MAKE_TEMPLATE), row->makes), "%s", row->name);
    cr_expect(eq(int, asked(CREATE), row->rc ? 0 : 1), "%s", row->name);
    cr_expect(row->message == NULL || told(row->message), "%s: %s", row->name, stage.err.msg);
}

Test(aliyun_create, a_template_is_made_as_ragflow_makes_it)
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

Test(aliyun_create, a_template_is_asked_for_once_and_for_each_language)
{
    set_stage(NULL, "");

    for (int i = 0; i < 4; i++) {
        stage.req.language = i % 2 ? SP_JAVASCRIPT : SP_PYTHON;
        cr_assert(eq(int, create(), SP_OK), "%s", stage.err.msg);
        destroy();
    }

    cr_expect(eq(int, asked(GET_TEMPLATE), 2));
}

Test(aliyun_create, a_template_that_is_gone_is_looked_up_again)
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

Test(aliyun_create, waiting_for_a_template_ends_with_the_set_up)
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

Test(aliyun_create, many_at_once_ask_for_a_template_once)
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

/* ---- the sandbox ---- */

static const struct create_case {
    const char *name;
    struct step steps[8];
    enum sp_code rc;
    int creates, deletes;
    size_t leases; /* left after the failure */
    const char *message;
} create_cases[] = {
    {"throttled, then fine", {{CREATE, 429, "", NULL, NULL}}, SP_OK, 2, 0, 1, NULL},
    {"throttled by a gateway's header, then fine",
     {{CREATE, 400, "{\"Code\":\"Busy\"}", "x-acs-retry-after: 20\r\n", NULL}},
     SP_OK,
     2,
     0,
     1,
     NULL},
    {"throttled with a good status, then refused",
     {{CREATE, 200, "{\"code\":\"Throttling\"}", NULL, NULL},
      {CREATE, 400, "{\"code\":\"ERR_BAD_REQUEST\"}", NULL, NULL}},
     SP_E_INVALID,
     2,
     1,
     0,
     "HTTP 400 ERR_BAD_REQUEST"},
    {"a number for a code",
     {{CREATE, 200, "{\"code\":403,\"message\":\"m\"}", NULL, NULL}},
     SP_E_INVALID,
     1,
     1,
     0,
     "HTTP 200 403: m"},
    {"a gateway's page, then fine", {{CREATE, 503, "<html>", NULL, NULL}}, SP_OK, 2, 0, 1, NULL},
    {"the answer got lost, and it is there",
     {{CREATE, 0, NULL, NULL, NULL}, {CREATE, 409, "{\"code\":\"CONFLICT\"}", NULL, NULL}},
     SP_OK,
     2,
     0,
     1,
     NULL},
    {"a conflict out of nothing",
     {{CREATE, 409, "{\"code\":\"CONFLICT\"}", NULL, NULL}},
     SP_E_INVALID,
     1,
     0,
     0,
     "HTTP 409 CONFLICT"},
    {"refused",
     {{CREATE, 400, "{\"code\":\"ERR_BAD_REQUEST\"}", NULL, NULL}},
     SP_E_INVALID,
     1,
     0,
     0,
     "HTTP 400 ERR_BAD_REQUEST"},
    {"forbidden, bare", {{CREATE, 403, "", NULL, NULL}}, SP_E_DENIED, 1, 0, 0, "HTTP 403"},
    {"an error of the service's may have made it",
     {{CREATE, 500, "{\"code\":\"ERR_INTERNAL_SERVER_ERROR\"}", NULL, NULL}},
     SP_E_INVALID,
     1,
     1,
     0,
     "HTTP 500"},
    {"a name of its own",
     {{CREATE, 200, "{\"code\":\"SUCCESS\",\"data\":{\"sandboxId\":\"OTHER\"}}", NULL, NULL}},
     SP_E_INVALID,
     1,
     1,
     0,
     "AgentRun made sandbox OTHER where"},
    {"bare, without an envelope",
     {{CREATE, 200, "{\"status\":\"CREATING\"}", NULL, NULL}},
     SP_OK,
     1,
     0,
     1,
     NULL},
    {"no context",
     {{CONTEXT, 400, "{\"code\":\"INVALID_REQUEST\"}", NULL, NULL}},
     SP_E_INVALID,
     1,
     1,
     0,
     "does not create a context"},
    {"a context without id",
     {{CONTEXT, 200, "{\"id\":\"\"}", NULL, NULL}},
     SP_E_INVALID,
     1,
     1,
     0,
     "without an id"},
    {"a context after a while", {{CONTEXT, 502, "", NULL, NULL}}, SP_OK, 1, 0, 1, NULL},
    {"not healthy yet, in every way",
     {{HEALTH, 502, "<html>", NULL, NULL},
      {HEALTH, 404, "sandbox not found", NULL, NULL},
      {HEALTH, 200, "{\"status\":\"starting\"}", NULL, NULL},
      {HEALTH, 0, NULL, NULL, NULL}},
     SP_OK,
     1,
     0,
     1,
     NULL},
    {"the key is refused while it starts",
     {{HEALTH, 401, "", NULL, NULL}},
     SP_E_DENIED,
     1,
     1,
     0,
     "does not start the sandbox: HTTP 401"},
    {"it cannot be deleted either",
     {{CONTEXT, 400, "", NULL, NULL},
      {DELETE_BOX, 500, "", NULL, NULL},
      {DELETE_BOX, 500, "", NULL, NULL}},
     SP_E_INVALID,
     1,
     2,
     1,
     "does not create a context"},
};

SP_TABLE_TEST(aliyun_create, a_sandbox_is_made_or_nothing_is_left, create_cases, row)
{
    set_stage(row->steps, "");

    cr_expect(eq(int, create(), row->rc), "%s: %s", row->name, stage.err.msg);

    cr_expect(eq(int, asked(CREATE), row->creates), "%s", row->name);
    cr_expect(eq(int, asked(DELETE_BOX), row->deletes), "%s", row->name);
    cr_expect(eq(sz, leases_left(), row->leases), "%s", row->name);
    cr_expect(row->message == NULL || told(row->message), "%s: %s", row->name, stage.err.msg);
}

Test(aliyun_create, a_repeated_create_asks_for_the_same_sandbox)
{
    static const struct step steps[] = {{CREATE, 0, NULL, NULL, NULL}, {0}};
    set_stage(steps, "");

    cr_assert(eq(int, create(), SP_OK), "%s", stage.err.msg);

    cr_expect(eq(str, find_request(CREATE, 0)->body, find_request(CREATE, 1)->body));
    cr_expect(strstr(find_request(CREATE, 0)->body, stage.instance->id) != NULL);
}

Test(aliyun_create, a_service_that_is_away_is_given_up_soon)
{
    static const struct step steps[] = {
        {CREATE, 503, "", NULL, NULL}, {CREATE, 503, "", NULL, NULL}, {CREATE, 503, "", NULL, NULL},
        {CREATE, 503, "", NULL, NULL}, {CREATE, 503, "", NULL, NULL}, {0}};
    set_stage(steps, "");

    cr_expect(eq(int, create(), SP_E_UNAVAILABLE));

    cr_expect(eq(int, asked(CREATE), 5));
    cr_expect(eq(sz, leases_left(), 0));
}

/* The next attempt's lack of time would hide what is the matter. */
Test(aliyun_create, nothing_is_tried_again_without_time_for_it)
{
    static const struct step steps[] = {{CREATE, 503, "", NULL, NULL},
                                        {CREATE, 503, "", NULL, NULL},
                                        {CREATE, 503, "", NULL, NULL},
                                        {0}};
    set_stage(steps, "");
    stage.run.setup_deadline = sp_deadline_in(500);

    cr_expect(eq(int, create(), SP_E_UNAVAILABLE), "%s", stage.err.msg);

    cr_expect(eq(int, asked(CREATE), 1));
}

Test(aliyun_create, retry_after_is_waited_for)
{
    static const struct step steps[] = {{CREATE, 429, "", "Retry-After: 1\r\n", NULL}, {0}};
    set_stage(steps, "");
    int64_t start = sp_mono_ms();

    cr_assert(eq(int, create(), SP_OK), "%s", stage.err.msg);

    cr_expect(1000 <= sp_mono_ms() - start);
}

Test(aliyun_create, retry_after_beyond_the_deadline_is_busy_at_once)
{
    static const struct step steps[] = {
        {CREATE, 400, "{\"Code\":\"Throttling\"}", "Retry-After: 600\r\n", NULL}, {0}};
    set_stage(steps, "");

    cr_expect(eq(int, create(), SP_E_BUSY));

    cr_expect(eq(int, asked(CREATE), 1));
    cr_expect(eq(sz, leases_left(), 0));
}

Test(aliyun_create, a_create_that_is_never_answered_is_deleted)
{
    static const struct step steps[] = {{CREATE, -1, NULL, NULL, NULL}, {0}};
    set_stage(steps, "");
    stage.run.setup_deadline = sp_deadline_in(300);

    cr_expect(eq(int, create(), SP_E_TIMEOUT));

    cr_assert(eq(int, asked(DELETE_BOX), 1));
    cr_expect(strstr(find_request(DELETE_BOX, 0)->target, stage.leases[0].id) != NULL);
    cr_expect(eq(sz, leases_left(), 0));
}

static void *cancel_when_asked(void *arg)
{
    sp_http_server_wait_requests(&stage.server, *(const int *)arg);
    cancel_now();
    return NULL;
}

static const struct {
    struct step steps[2];
    int requests; /* until it is cancelled */
    int deletes;  /* -1: it depends on whether the answer was read before */
} cancelled[] = {
    {{{GET_TEMPLATE, -1, NULL, NULL, NULL}}, 1, 0},
    {{{GET_TEMPLATE, 200, TEMPLATE_IS("CREATING"), NULL, NULL}}, 1, 0},
    {{{CREATE, -1, NULL, NULL, NULL}}, 2, 1},
    {{{CREATE, 429, "", "Retry-After: 20\r\n", NULL}}, 2, -1},
    {{{HEALTH, 200, "{}", "Retry-After: 20\r\n", NULL}}, 3, 1},
    {{{CONTEXT, -1, NULL, NULL, NULL}}, 4, 1},
};

SP_TABLE_TEST(aliyun_create, cancelling_ends_it_wherever_it_is, cancelled, row)
{
    int n = row->requests;
    pthread_t thread;
    set_stage(row->steps, "");
    int64_t start = sp_mono_ms();
    cr_assert(eq(int, pthread_create(&thread, NULL, cancel_when_asked, &n), 0));

    cr_expect(eq(int, create(), SP_E_CANCELLED), "%s", stage.err.msg);

    pthread_join(thread, NULL);
    cr_expect(sp_mono_ms() - start < 10000);
    cr_expect(row->deletes < 0 || asked(DELETE_BOX) == row->deletes);
    cr_expect(eq(sz, leases_left(), 0));
}

/* The service hangs, also when it is to delete. */
static const struct {
    const char *name;
    struct step steps[4];
    int requests; /* until it is cancelled */
    enum sp_code rc;
} hanging[] = {
    {"while it is made",
     {{CREATE, -1, NULL, NULL, NULL},
      {DELETE_BOX, -1, NULL, NULL, NULL},
      {DELETE_BOX, -1, NULL, NULL, NULL}},
     2,
     SP_E_CANCELLED},
    {"while it starts",
     {{HEALTH, -1, NULL, NULL, NULL},
      {DELETE_BOX, -1, NULL, NULL, NULL},
      {DELETE_BOX, -1, NULL, NULL, NULL}},
     3,
     SP_E_CANCELLED},
    {"while what failed is deleted",
     {{CONTEXT, 400, "", NULL, NULL},
      {DELETE_BOX, -1, NULL, NULL, NULL},
      {DELETE_BOX, -1, NULL, NULL, NULL}},
     5,
     SP_E_INVALID},
};

SP_TABLE_TEST(aliyun_create, a_cancelled_one_waits_for_no_service, hanging, row)
{
    int n = row->requests;
    pthread_t thread;
    set_stage(row->steps, "");
    cr_assert(eq(int, pthread_create(&thread, NULL, cancel_when_asked, &n), 0));

    cr_expect(eq(int, create(), row->rc), "%s: %s", row->name, stage.err.msg);

    pthread_join(thread, NULL);
    cr_expect(sp_mono_ms() - stage.cancelled_at < 1000, "%s: %lld ms", row->name,
              (long long)(sp_mono_ms() - stage.cancelled_at));
    cr_expect(eq(sz, leases_left(), 1), "%s", row->name);
    sp_http_server_release(&stage.server);
}

Test(aliyun_create, a_lease_is_put_before_and_outlasts_the_run)
{
    char data[128];
    set_stage(NULL, "");

    cr_assert(eq(int, create(), SP_OK), "%s", stage.err.msg);

    cr_assert(eq(sz, stage.n_leases, 1));
    cr_expect(eq(str, stage.leases[0].id, stage.instance->id));
    snprintf(data, sizeof(data), "{\"worker\":\"test\",\"service\":\"%s 1234567890\"}",
             stage.server.url);
    cr_expect(eq(str, stage.leases[0].data, data));
    cr_expect(LONG_MS + 50000 < stage.leases[0].ttl_ms);
    destroy();
    cr_expect(eq(sz, leases_left(), 0));
}

Test(aliyun_create, a_host_without_leases_is_fine)
{
    set_stage(NULL, "");
    stage.host.lease_put = NULL;
    stage.host.lease_drop = NULL;
    stage.host.lease_list = NULL;

    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);
    destroy();
    sp_provider_sweep(stage.provider);

    cr_expect(eq(int, asked(DELETE_BOX), 1));
}

/* ---- the end ---- */

static const struct {
    const char *name;
    struct step steps[3];
    int deletes;
    size_t leases;
} deletions[] = {
    {"done", {{0}}, 1, 0},
    {"nothing in the answer", {{DELETE_BOX, 204, "", NULL, NULL}}, 1, 0},
    {"gone", {{DELETE_BOX, 404, "{\"code\":\"ERR_NOT_FOUND\"}", NULL, NULL}}, 1, 0},
    {"gone, in plain text", {{DELETE_BOX, 400, "Sandbox Not Found", NULL, NULL}}, 1, 0},
    {"gone, with 200",
     {{DELETE_BOX, 200, "{\"code\":\"X\",\"message\":\"sandbox not found: SB\"}", NULL, NULL}},
     1,
     0},
    {"a second attempt", {{DELETE_BOX, 503, "", NULL, NULL}}, 2, 0},
    {"cut off, a second attempt", {{DELETE_BOX, 0, NULL, NULL, NULL}}, 2, 0},
    {"given up", {{DELETE_BOX, 500, "", NULL, NULL}, {DELETE_BOX, 500, "", NULL, NULL}}, 2, 1},
    {"a refused key is not gone",
     {{DELETE_BOX, 404, "{\"Code\":\"InvalidAccessKeyId.NotFound\"}", NULL, NULL}},
     1,
     1},
};

SP_TABLE_TEST(aliyun_create, a_sandbox_is_deleted, deletions, row)
{
    set_stage(row->steps, "");
    cr_assert(eq(int, create(), SP_OK), "%s", stage.err.msg);

    destroy();

    cr_expect(eq(int, asked(DELETE_BOX), row->deletes), "%s", row->name);
    cr_expect(eq(sz, leases_left(), row->leases), "%s", row->name);
}

Test(aliyun_create, destroying_does_not_heed_the_cancellation)
{
    set_stage(NULL, "");
    cr_assert(eq(int, create(), SP_OK), "%s", stage.err.msg);

    cancel_now();
    destroy();

    cr_expect(eq(int, asked(DELETE_BOX), 1));
    cr_expect(eq(sz, leases_left(), 0));
}

Test(aliyun_create, destroying_waits_for_no_service_once_it_is_cancelled)
{
    static const struct step steps[] = {
        {DELETE_BOX, -1, NULL, NULL, NULL}, {DELETE_BOX, -1, NULL, NULL, NULL}, {0}};
    int n = 5; /* the deletion */
    pthread_t thread;
    set_stage(steps, "");
    cr_assert(eq(int, create(), SP_OK), "%s", stage.err.msg);
    cr_assert(eq(int, pthread_create(&thread, NULL, cancel_when_asked, &n), 0));

    destroy();

    pthread_join(thread, NULL);
    cr_expect(sp_mono_ms() - stage.cancelled_at < 1000);
    cr_expect(eq(sz, leases_left(), 1));
    sp_http_server_release(&stage.server);
}

Test(aliyun_create, what_a_dead_worker_left_is_swept)
{
    static const struct step steps[] = {{DELETE_BOX, 200, NULL, NULL, NULL},
                                        {DELETE_BOX, 404, "sandbox not found", NULL, NULL},
                                        {DELETE_BOX, 500, "", NULL, NULL},
                                        {DELETE_BOX, 500, "", NULL, NULL},
                                        {0}};
    static const char *const ids[] = {"DEAD1", "ALIVE", "DEAD2", "DEAD3", "DEAD ELSEWHERE"};
    char service[96];
    set_stage(steps, "");
    snprintf(service, sizeof(service), "%s 1234567890", stage.server.url);
    for (size_t i = 0; i < SP_COUNT(ids); i++)
        leave_lease(ids[i], strchr(ids[i], ' ') ? "https://other" : service);
    stage.leases[1].expired = false;

    sp_provider_sweep(stage.provider);

    cr_expect(stage.leases[0].dropped);
    cr_expect(not(stage.leases[1].dropped));
    cr_expect(stage.leases[2].dropped);
    cr_expect(not(stage.leases[3].dropped), "what cannot be deleted is tried again later");
    cr_expect(not(stage.leases[4].dropped), "it is of another account");
    cr_expect(eq(int, asked(DELETE_BOX), 4));
    cr_expect(eq(str, find_request(DELETE_BOX, 0)->target, "/sandboxes/DEAD1"));
    cr_expect(eq(str, find_request(DELETE_BOX, 1)->target, "/sandboxes/DEAD2"));
}

/* ---- made ahead ---- */

/* Until a request is there for which that holds; each round is a job. */
static void run_jobs_until(bool (*holds)(void))
{
    do {
        destroy();
        cr_assert(eq(int, create(), SP_OK), "%s", stage.err.msg);
    } while (!holds());
}

static bool is_warm(void)
{
    return was_made_ahead(stage.instance->id);
}

static bool has_deleted_a_warm_one(void)
{
    cr_expect(not(is_warm()));
    for (int i = 0; find_request(DELETE_BOX, i); i++) {
        if (was_made_ahead(find_request(DELETE_BOX, i)->target + strlen("/sandboxes/")))
            return true;
    }
    return false;
}

/* One whose making was cut off by the close is deleted to be sure, also where it never was. */
static void expect_all_deleted(void)
{
    destroy();
    sp_provider_close(stage.provider);
    stage.provider = NULL;
    cr_expect(asked(CREATE) <= asked(DELETE_BOX));
    cr_expect(eq(sz, leases_left(), 0));
}

Test(aliyun_create, a_sandbox_made_ahead_saves_the_making)
{
    set_stage(NULL, ",\"pool_size\":2");
    run_jobs_until(is_warm);
    char target[96];
    snprintf(target, sizeof(target), "/sandboxes/%s/contexts/execute", stage.instance->id);

    cr_assert(eq(int, execute(), SP_OK), "%s", stage.err.msg);

    cr_expect(eq(str, find_request(EXECUTE, 0)->target, target));
    expect_all_deleted();
}

Test(aliyun_create, a_sandbox_made_ahead_that_is_not_well_any_more_is_replaced)
{
    set_stage(NULL, ",\"pool_size\":1");
    stage.warm_ones_sicken = true;

    run_jobs_until(has_deleted_a_warm_one);

    expect_all_deleted();
}

Test(aliyun_create, the_lease_of_one_made_ahead_lasts_longer)
{
    set_stage(NULL, ",\"pool_size\":1");

    run_jobs_until(is_warm);

    cr_expect(240000 + 60000 < find_lease(stage.instance->id)->ttl_ms);
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

SP_TABLE_TEST(aliyun_create, a_check_lists_templates, checks, row)
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
