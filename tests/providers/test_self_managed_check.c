/* The check of self_managed: what answers, and what can run a program. */
#include "tests/providers/managed_stage.h"

#define READY "{\"status\":\"success\",\"stdout\":\"ready\\n\",\"stderr\":\"\",\"exit_code\":0}"
#define UNSAFE                                                                                     \
    "{\"stderr\":\"Line 3: Import: sys\",\"exit_code\":-999,\"detail\":\"Code is unsafe\"}"

/* What each request of a check gets. */
struct script {
    struct step health, python, nodejs;
};

static bool play_check(void *ctx, struct sp_exchange *x)
{
    const struct script *script = ctx;
    if (strcmp(x->target, "/healthz") == 0)
        return play(x, &script->health);
    return play(x, strstr(x->body, "\"nodejs\"") ? &script->nodejs : &script->python);
}

static enum sp_code check(void)
{
    stage.err = (struct sp_error){0};
    return sp_provider_check(stage.provider, &stage.run, &stage.err);
}

TestSuite(self_managed_check, .fini = clear_stage);

#define HEALTHY                                                                                    \
    {                                                                                              \
        200, "{\"status\":\"ok\"}", NULL                                                           \
    }
#define CANNOT "the executor manager answers, but cannot run programs: "

static const struct {
    const char *name;
    struct script script;
    enum sp_code rc;
    const char *message; /* the start of it */
    int requests;
} services[] = {
    {"healthy", {HEALTHY, {200, READY, NULL}, {0}}, SP_OK, "", 2},
    {"another page as health", {{200, "fine", NULL}, {200, READY, NULL}, {0}}, SP_OK, "", 2},
    {"not there any more",
     {{404, "", NULL}, {0}, {0}},
     SP_E_INVALID,
     "the executor manager's /healthz: refused; is endpoint that of an",
     1},
    {"a proxy that wants a password",
     {{401, "", NULL}, {0}, {0}},
     SP_E_DENIED,
     "the executor manager's /healthz: ",
     1},
    {"a proxy before nothing",
     {{502, "", NULL}, {0}, {0}},
     SP_E_UNAVAILABLE,
     "the executor manager's /healthz: a proxy lost the executor manager (HTTP 502)",
     1},
    {"a broken service",
     {{500, "", NULL}, {0}, {0}},
     SP_E_UNAVAILABLE,
     "the executor manager's /healthz: the executor manager failed (HTTP 500)",
     1},
    {"hangs up", {{0}, {0}, {0}}, SP_E_UNAVAILABLE, "the executor manager does not answer: ", 1},

    {"a healthz that lies",
     {HEALTHY, {200, NO_CONTAINER, NULL}, {200, NO_CONTAINER, NULL}},
     SP_E_UNAVAILABLE,
     CANNOT "no container is available",
     3},
    {"only JavaScript", {HEALTHY, {200, NO_CONTAINER, NULL}, {200, READY, NULL}}, SP_OK, "", 3},
    {"a wrong token",
     {HEALTHY, {401, "", NULL}, {0}},
     SP_E_DENIED,
     CANNOT "the executor manager refuses the api_token (HTTP 401)",
     2},
    {"no token there",
     {HEALTHY,
      {503, "{\"detail\":\"Set SANDBOX_EXECUTOR_MANAGER_API_TOKEN\"}", NULL},
      {503, "", NULL}},
     SP_E_UNAVAILABLE,
     CANNOT "the service is not available (HTTP 503): SANDBOX_EXECUTOR_MANAGER_API_TOKEN is not",
     3},
    {"throttles", {HEALTHY, {429, "", NULL}, {0}}, SP_OK, "", 2},
    {"no /run there", {HEALTHY, {404, "", NULL}, {0}}, SP_E_INVALID, CANNOT "refused; ", 2},
    {"refuses our own code",
     {HEALTHY, {200, UNSAFE, NULL}, {0}},
     SP_E_INVALID,
     CANNOT "self_managed: the executor manager refuses the code as unsafe (exit_code -999)",
     2},
    {"an internal error",
     {HEALTHY, {200, "{\"exit_code\":-3}", NULL}, {500, "", NULL}},
     SP_E_UNAVAILABLE,
     CANNOT "the executor manager met an internal error",
     3},
    {"a page for a run",
     {HEALTHY, {200, "<html>", NULL}, {200, "<html>", NULL}},
     SP_E_UNAVAILABLE,
     CANNOT "HTTP 200, but no answer of an executor manager",
     3},
    {"an interpreter that fails",
     {HEALTHY, {200, "{\"exit_code\":1}", NULL}, {200, "{\"exit_code\":1}", NULL}},
     SP_E_UNAVAILABLE,
     CANNOT "a program that prints a word failed (exit_code 1)",
     3},
    {"prints nothing",
     {HEALTHY, {200, FINE, NULL}, {200, FINE, NULL}},
     SP_E_UNAVAILABLE,
     CANNOT "a program that prints a word failed (exit_code 0)",
     3},
    {"its own time-out",
     {HEALTHY, {200, "{\"exit_code\":-124}", NULL}, {200, FINE, NULL}},
     SP_E_UNAVAILABLE,
     CANNOT "a program that prints a word failed",
     3},
};

SP_TABLE_TEST(self_managed_check, a_service_is_told_by_what_it_can_do, services, row)
{
    struct script script = row->script;
    set_stage(play_check, &script, "");

    enum sp_code rc = check();

    cr_expect(eq(int, rc, row->rc), "%s: %s", row->name, stage.err.msg);
    cr_expect(strncmp(stage.err.msg, row->message, strlen(row->message)) == 0, "%s: %s", row->name,
              stage.err.msg);
    cr_expect(strstr(stage.err.msg, "Line 3") == NULL, "%s: the message is for logs", row->name);
    cr_expect(eq(int, requests(), row->requests), "%s", row->name);
}

Test(self_managed_check, a_service_that_is_not_there_does_not_answer)
{
    struct script script = {0};
    set_stage(play_check, &script, "");
    sp_http_server_stop(&stage.server);

    cr_expect(eq(int, check(), SP_E_UNAVAILABLE));

    cr_expect(told("the executor manager does not answer: "), "%s", stage.err.msg);
}

Test(self_managed_check, the_token_goes_along)
{
    struct script script = {HEALTHY, {200, READY, NULL}, {0}};
    char text[64];
    set_stage(play_check, &script, ",\"api_token\":\"T0ken\"");

    cr_assert(eq(int, check(), SP_OK));

    for (int i = 0; i < 2; i++) {
        cr_expect(sp_exchange_header(sp_http_server_request(&stage.server, i), "Authorization",
                                     text, sizeof(text)));
        cr_expect(eq(str, text, "Bearer T0ken"));
    }
}

Test(self_managed_check, a_busy_service_answers_late_and_is_not_down)
{
    struct script script = {HEALTHY, {-1, NULL, NULL}, {-1, NULL, NULL}};
    set_stage(play_check, &script, "");
    stage.run.setup_deadline = sp_deadline_in(500);

    cr_expect(eq(int, check(), SP_OK), "%s", stage.err.msg);

    cr_expect(eq(int, requests(), 2));
}

Test(self_managed_check, one_language_without_containers_and_one_without_an_answer_is_down)
{
    struct script script = {HEALTHY, {200, NO_CONTAINER, NULL}, {-1, NULL, NULL}};
    set_stage(play_check, &script, "");
    stage.run.setup_deadline = sp_deadline_in(1000);

    cr_expect(eq(int, check(), SP_E_UNAVAILABLE));

    cr_expect(told(CANNOT "no container is available"), "%s", stage.err.msg);
}

Test(self_managed_check, no_health_within_the_time_is_no_answer)
{
    struct script script = {{-1, NULL, NULL}, {0}, {0}};
    set_stage(play_check, &script, "");
    stage.run.setup_deadline = sp_deadline_in(300);

    cr_expect(eq(int, check(), SP_E_TIMEOUT));

    cr_expect(told("the executor manager does not answer: "), "%s", stage.err.msg);
}

static bool cancel_at_the_probe(void *ctx, struct sp_exchange *x)
{
    (void)ctx;
    if (strcmp(x->target, "/healthz") == 0)
        return sp_exchange_json(x, 200, "{}");
    cr_assert(zero(int, eventfd_write(stage.cancel, 1)));
    return sp_exchange_hold(x);
}

Test(self_managed_check, a_cancelled_check_ends_at_once)
{
    set_stage(cancel_at_the_probe, NULL, "");

    cr_expect(eq(int, check(), SP_E_CANCELLED), "%s", stage.err.msg);

    cr_expect(eq(int, requests(), 2));
}
