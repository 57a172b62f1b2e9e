/* How aliyun_codeinterpreter gets a sandbox, what it does when the service is slow, away or
 * refuses, and that nothing stays behind. */
#include "tests/providers/agentrun_stage.h"

TestSuite(aliyun_create, .fini = clear_stage);

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
    cr_expect(strstr(find_request(DELETE_BOX, 0)->target, service.leases[0].id) != NULL);
    cr_expect(eq(sz, leases_left(), 0));
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
    cr_expect(sp_mono_ms() - service.cancelled_at < 1000, "%s: %lld ms", row->name,
              (long long)(sp_mono_ms() - service.cancelled_at));
    cr_expect(eq(sz, leases_left(), 1), "%s", row->name);
    sp_http_server_release(&stage.server);
}

Test(aliyun_create, a_lease_is_put_before_and_outlasts_the_run)
{
    char data[128];
    set_stage(NULL, "");

    cr_assert(eq(int, create(), SP_OK), "%s", stage.err.msg);

    cr_assert(eq(sz, service.n_leases, 1));
    cr_expect(eq(str, service.leases[0].id, stage.instance->id));
    snprintf(data, sizeof(data), "{\"worker\":\"test\",\"service\":\"%s 1234567890\"}",
             stage.server.url);
    cr_expect(eq(str, service.leases[0].data, data));
    cr_expect(LONG_MS + 50000 < service.leases[0].ttl_ms);
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
    service.warm_ones_sicken = true;

    run_jobs_until(has_deleted_a_warm_one);

    expect_all_deleted();
}

Test(aliyun_create, the_lease_of_one_made_ahead_lasts_longer)
{
    set_stage(NULL, ",\"pool_size\":1");

    run_jobs_until(is_warm);

    cr_expect(240000 + 60000 < find_lease(stage.instance->id)->ttl_ms);
}
