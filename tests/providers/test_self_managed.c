/* The provider self_managed over the wire: what it sends, when it sends again, when it gives up. */
#include <poll.h>
#include <sys/timerfd.h>

#include "tests/providers/managed_stage.h"

static struct step fine[] = {{200, FINE, NULL}, {0}};

TestSuite(self_managed, .fini = clear_stage);

static void expect_header(const struct sp_exchange *x, const char *name, const char *value)
{
    char text[128];
    cr_expect(eq(int, sp_exchange_header(x, name, text, sizeof(text)), *value != '\0'), "%s", name);
    cr_expect(eq(str, text, (char *)value), "%s", name);
}

/* The code that went out, decoded; the rest of the body must be this. */
static char *sent_code(const struct sp_exchange *x, const char *rest)
{
    static const char before[] = "{\"code_b64\":\"";
    sp_auto(sp_buf_clear) struct sp_buf code = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    cr_assert(eq(int, strncmp(x->body, before, strlen(before)), 0), "%s", x->body);
    const char *base64 = x->body + strlen(before);
    size_t len = strcspn(base64, "\"");
    cr_assert(eq(int, sp_base64_decode(base64, len, &code), SP_OK));
    cr_expect(eq(str, (char *)(base64 + len), (char *)rest));
    return sp_buf_take(&code, NULL);
}

Test(self_managed, a_job_is_one_request_as_the_api_wants_it)
{
    static char arguments[] = "{ \"n\":1180591620717411303424,\"f\":1.10, \"s\":\"\\u00e9\" }";
    set_stage(play_steps, fine, "");
    stage.req.arguments = arguments;
    stage.req.arguments_len = strlen(arguments);

    cr_assert(eq(int, execute_anew(), SP_OK), "%s", stage.err.msg);

    cr_assert(eq(int, requests(), 1));
    const struct sp_exchange *x = sp_http_server_request(&stage.server, 0);
    cr_expect(eq(str, x->method, "POST"));
    cr_expect(eq(str, x->target, "/run"));
    expect_header(x, "Content-Type", "application/json");
    expect_header(x, "Authorization", "");
    expect_header(x, "Expect", "");
    sp_auto(sp_free_str) char *code =
        sent_code(x, "\",\"language\":\"python\",\"arguments\":{ \"n\":1180591620717411303424,"
                     "\"f\":1.10, \"s\":\"\\u00e9\" }}");
    cr_expect(eq(int, strncmp(code, "print(1)\ntry:", 13), 0), "%s", code);
    cr_expect(eq(int, stage.result.started, SP_STARTED_YES));
}

Test(self_managed, arguments_that_the_manager_cannot_carry_cross_as_text)
{
    static char arguments[] = "{\"s\": \"\\ud800\"}";
    char rest[256], id[37];
    size_t n = 0;
    set_stage(play_steps, fine, "");
    stage.req.arguments = arguments;
    stage.req.arguments_len = strlen(arguments);

    cr_assert(eq(int, execute_anew(), SP_OK), "%s", stage.err.msg);

    for (const char *at = stage.instance->id; *at; at++)
        if (*at != '-')
            id[n++] = *at;
    id[n] = '\0';
    snprintf(rest, sizeof(rest),
             "\",\"language\":\"python\",\"arguments\":{\"_sandpiper_%s\":\"{\\\"s\\\": "
             "\\\"\\\\ud800\\\"}\"}}",
             id);
    sp_auto(sp_free_str) char *code = sent_code(sp_http_server_request(&stage.server, 0), rest);
    cr_expect(strstr(code, id) != NULL);
}

Test(self_managed, javascript_is_nodejs_and_no_arguments_are_an_empty_object)
{
    static char code[] = "\xEF\xBB\xBFlet a = 1";
    set_stage(play_steps, fine, "");
    stage.req.language = SP_JAVASCRIPT;
    stage.req.code = code;
    stage.req.code_len = strlen(code);

    cr_assert(eq(int, execute_anew(), SP_OK), "%s", stage.err.msg);

    sp_auto(sp_free_str) char *sent = sent_code(sp_http_server_request(&stage.server, 0),
                                                "\",\"language\":\"nodejs\",\"arguments\":{}}");
    cr_expect(eq(int, strncmp(sent, "let a = 1\nconst ", 16), 0), "%s", sent);
    cr_expect(eq(str, (char *)stage.result.language, "nodejs"));
}

Test(self_managed, an_instance_is_a_uuid_and_its_end_is_nothing_on_the_wire)
{
    set_stage(play_steps, fine, "");

    cr_assert(
        eq(int,
           sp_provider_create(stage.provider, &stage.req, &stage.run, &stage.instance, &stage.err),
           SP_OK));

    cr_expect(eq(sz, strlen(stage.instance->id), 36));
    sp_provider_destroy(stage.instance, &stage.run);
    stage.instance = NULL;
    cr_expect(eq(int, requests(), 0));
}

Test(self_managed, the_slash_behind_an_endpoint_is_not_doubled)
{
    char endpoint[96];
    set_stage(play_steps, fine, "");
    sp_provider_close(stage.provider);
    snprintf(endpoint, sizeof(endpoint), "%s//", stage.server.url);
    cr_assert(eq(int, open_provider(endpoint, ""), SP_OK));

    cr_assert(eq(int, execute_anew(), SP_OK));

    cr_expect(eq(str, sp_http_server_request(&stage.server, 0)->target, "/run"));
}

Test(self_managed, the_token_goes_along)
{
    set_stage(play_steps, fine, ",\"api_token\":\"T0ken\"");

    cr_assert(eq(int, execute_anew(), SP_OK));

    expect_header(sp_http_server_request(&stage.server, 0), "Authorization", "Bearer T0ken");
}

Test(self_managed, a_token_that_would_be_two_headers_does_not_open)
{
    set_stage(play_steps, fine, "");
    sp_provider_close(stage.provider);
    stage.provider = NULL;

    enum sp_code rc = open_provider(stage.server.url, ",\"api_token\":\"a\\r\\nX-Evil: 1\"");

    cr_expect(eq(int, rc, SP_E_INVALID));
    cr_expect(told("api_token: ") && !told("X-Evil"), "%s", stage.err.msg);
}

Test(self_managed, files_are_refused_by_name)
{
    char name[] = "a.csv", data[] = "x";
    struct sp_file file = {.name = name, .data = data, .len = 1};
    set_stage(play_steps, fine, "");
    stage.req.files = &file;
    stage.req.n_files = 1;

    cr_expect(eq(int, execute_anew(), SP_E_UNSUPPORTED));

    cr_expect(told("files") && told("self_managed"), "%s", stage.err.msg);
    cr_expect(eq(int, requests(), 0));
}

Test(self_managed, code_that_is_not_utf8_is_refused)
{
    char code[] = "# \xE9";
    set_stage(play_steps, fine, "");
    stage.req.code = code;
    stage.req.code_len = strlen(code);

    cr_expect(eq(int, execute_anew(), SP_E_UNSUPPORTED));

    cr_expect(told("UTF-8") && told("self_managed"), "%s", stage.err.msg);
    cr_expect(eq(int, requests(), 0));
}

Test(self_managed, what_the_provider_cannot_keep_is_told)
{
    static const char *const names[] = {
        "partial_output", "early_end", "service_time_limit", "main_guard", "es_modules",
        "files",          "signals",   "negative_exit_codes"};
    set_stage(play_steps, fine, "");

    cr_assert(eq(int, execute_anew(), SP_OK));

    for (size_t i = 0; i < SP_COUNT(names); i++)
        cr_expect(eq(str, (char *)stage.result.limits_of_provider[i], (char *)names[i]));
    cr_expect(stage.result.limits_of_provider[SP_COUNT(names)] == NULL);
}

/* Nothing ran: sent again until it does, or until the retries are used up. */
static const struct {
    const char *name;
    struct step steps[5];
    enum sp_code rc;
    int requests;
} repeated[] = {
    {"503, then fine", {{503, "", NULL}, {503, "", NULL}, {200, FINE, NULL}}, SP_OK, 3},
    {"429, then fine", {{429, "{}", NULL}, {200, FINE, NULL}}, SP_OK, 2},
    {"-429, then fine", {{200, "{\"exit_code\":-429}", NULL}, {200, FINE, NULL}}, SP_OK, 2},
    {"no container, then fine", {{200, NO_CONTAINER, NULL}, {200, FINE, NULL}}, SP_OK, 2},
    {"never a container", {{200, NO_CONTAINER, NULL}}, SP_E_UNAVAILABLE, 4},
    {"always throttled", {{503, "", NULL}, {429, "", NULL}}, SP_E_BUSY, 4},
    {"throttled, then failed", {{429, "", NULL}, {500, "", NULL}}, SP_E_INVALID, 2},
};

SP_TABLE_TEST(self_managed, what_surely_did_not_run_is_sent_again, repeated, row)
{
    struct step steps[5];
    memcpy(steps, row->steps, sizeof(steps));
    set_stage(play_steps, steps, "");

    enum sp_code rc = execute_anew();

    cr_expect(eq(int, rc, row->rc), "%s: %s", row->name, stage.err.msg);
    cr_expect(eq(int, requests(), row->requests), "%s", row->name);
    if (rc == SP_E_UNAVAILABLE || rc == SP_E_BUSY)
        cr_expect(eq(int, stage.result.started, SP_STARTED_NO), "%s", row->name);
}

/* It may have run, or would fail again. */
static const struct {
    struct step step;
    enum sp_code rc;
    enum sp_started started;
} final[] = {
    {{401, "", NULL}, SP_E_DENIED, SP_STARTED_NO},
    {{404, "", NULL}, SP_E_INVALID, SP_STARTED_NO},
    {{422, "", NULL}, SP_E_INVALID, SP_STARTED_NO},
    {{500, "", NULL}, SP_E_INVALID, SP_STARTED_MAYBE},
    {{502, "", NULL}, SP_E_UNAVAILABLE, SP_STARTED_MAYBE},
    {{504, "", NULL}, SP_E_UNAVAILABLE, SP_STARTED_MAYBE},
    {{200, "{\"exit_code\":-3}", NULL}, SP_E_INVALID, SP_STARTED_MAYBE},
    {{200, "{\"exit_code\":-999}", NULL}, SP_E_INVALID, SP_STARTED_MAYBE},
    {{200, "<html>", NULL}, SP_E_INVALID, SP_STARTED_MAYBE},
    {{0}, SP_E_UNAVAILABLE, SP_STARTED_MAYBE},
};

SP_TABLE_TEST(self_managed, what_may_have_run_is_never_sent_again, final, row)
{
    struct step steps[] = {row->step, {0}};
    set_stage(play_steps, steps, "");

    cr_expect(eq(int, execute_anew(), row->rc), "%d: %s", row->step.status, stage.err.msg);

    cr_expect(eq(int, stage.result.started, row->started), "%d", row->step.status);
    cr_expect(eq(int, requests(), 1), "%d", row->step.status);
}

Test(self_managed, max_retries_0_is_one_request)
{
    struct step steps[] = {{503, "", NULL}, {0}};
    set_stage(play_steps, steps, ",\"max_retries\":0");

    cr_expect(eq(int, execute_anew(), SP_E_UNAVAILABLE));

    cr_expect(eq(int, requests(), 1));
}

Test(self_managed, a_refused_connection_did_not_run_and_gives_up_soon)
{
    set_stage(play_steps, fine, "");
    sp_http_server_stop(&stage.server);

    cr_expect(eq(int, execute_anew(), SP_E_UNAVAILABLE));

    cr_expect(eq(int, stage.result.started, SP_STARTED_NO));
    cr_expect(lt(i64, stage.took_ms, 5000));
}

Test(self_managed, retry_after_is_waited_for)
{
    struct step steps[] = {{429, "", "Retry-After: 1\r\n"}, {200, FINE, NULL}, {0}};
    set_stage(play_steps, steps, "");

    cr_expect(eq(int, execute_anew(), SP_OK), "%s", stage.err.msg);

    cr_expect(lt(i64, 999, stage.took_ms));
}

Test(self_managed, there_is_no_waiting_beyond_the_time_of_the_setup)
{
    struct step steps[] = {{429, "", "Retry-After: 60\r\n"}, {0}};
    set_stage(play_steps, steps, "");

    cr_expect(eq(int, execute_anew(), SP_E_BUSY));

    cr_expect(eq(int, requests(), 1));
    cr_expect(lt(i64, stage.took_ms, 5000));
}

Test(self_managed, a_cancelled_wait_ends_at_once)
{
    struct step steps[] = {{503, "", "Retry-After: 20\r\n"}, {0}};
    struct itimerspec soon = {.it_value = {.tv_sec = 1}};
    set_stage(play_steps, steps, "");
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    cr_assert(zero(int, timerfd_settime(timer, 0, &soon, NULL)));
    stage.run.cancel_fd = timer;

    cr_expect(eq(int, execute_anew(), SP_E_CANCELLED), "%s", stage.err.msg);

    cr_expect(eq(int, stage.result.started, SP_STARTED_NO));
    cr_expect(lt(i64, stage.took_ms, 10000));
    close(timer);
}

/* The handler lets the test's own thread wait for no answer. */
static bool cancel_and_hold(void *ctx, struct sp_exchange *x)
{
    (void)ctx;
    cr_assert(zero(int, eventfd_write(stage.cancel, 1)));
    return sp_exchange_hold(x);
}

Test(self_managed, a_cancelled_run_may_go_on_over_there)
{
    set_stage(cancel_and_hold, NULL, "");

    cr_expect(eq(int, execute_anew(), SP_OK));

    cr_expect(eq(int, stage.result.outcome, SP_OUTCOME_CANCELLED));
    cr_expect(eq(int, stage.result.started, SP_STARTED_MAYBE));
}

static struct step silence[] = {{-1, NULL, NULL}, {0}};

Test(self_managed, the_call_ends_with_the_setup_the_program_and_five_seconds)
{
    set_stage(play_steps, silence, "");
    stage.run.setup_deadline = sp_deadline_in(500);
    stage.run.timeout_ms = 200;

    cr_expect(eq(int, execute_anew(), SP_OK));

    cr_expect(eq(int, stage.result.outcome, SP_OUTCOME_TIMEOUT));
    cr_expect(eq(int, stage.result.started, SP_STARTED_MAYBE));
    cr_expect(eq(int, stage.result.exit_code, -1));
    cr_expect(5600 <= stage.took_ms && stage.took_ms < 9000, "%lld", (long long)stage.took_ms);
    cr_expect(eq(int, requests(), 1));
}

static bool answer_after_6_s(void *ctx, struct sp_exchange *x)
{
    (void)ctx;
    poll(NULL, 0, 6000); /* the time is what this is about */
    return sp_exchange_json(x, 200, FINE);
}

Test(self_managed, a_limit_on_the_start_does_not_end_the_wait_of_what_was_sent)
{
    set_stage(answer_after_6_s, NULL, "");
    stage.run.timeout_ms = 200;
    stage.run.setup_deadline = sp_deadline_in(300);
    stage.run.queue_deadline = sp_deadline_in(30000);

    cr_expect(eq(int, execute_anew(), SP_OK));

    cr_expect(eq(int, stage.result.outcome, SP_OUTCOME_EXITED));
}

Test(self_managed, the_deadline_of_the_request_caps_the_call)
{
    set_stage(play_steps, silence, "");
    stage.run.deadline = sp_deadline_in(500);

    cr_expect(eq(int, execute_anew(), SP_OK));

    cr_expect(eq(int, stage.result.outcome, SP_OUTCOME_TIMEOUT));
    cr_expect(lt(i64, stage.took_ms, 4000));
}

Test(self_managed, time_that_is_over_before_anything_was_sent_is_that_of_the_setup)
{
    set_stage(play_steps, fine, "");
    stage.run.setup_deadline = sp_mono_ms();

    cr_expect(eq(int, execute_anew(), SP_E_TIMEOUT), "%s", stage.err.msg);

    cr_expect(eq(int, stage.result.started, SP_STARTED_NO));
    cr_expect(eq(int, requests(), 0));
}

Test(self_managed, the_settings_bound_the_time_of_a_program)
{
    struct step steps[] = {
        {200, "{\"exit_code\":0,\"stdout\":\"kept\",\"time_used_ms\":6000}", NULL}, {0}};
    set_stage(play_steps, steps, ",\"timeout\":5");

    cr_expect(eq(int, execute_anew(), SP_OK));

    cr_expect(eq(int, stage.result.outcome, SP_OUTCOME_TIMEOUT));
    cr_expect(eq(i64, stage.result.timeout_ms, 5000));
    cr_expect(eq(i64, stage.result.execution_us, 6000000));
    cr_expect(eq(str, stage.result.out.text, "kept"));
}

Test(self_managed, an_answer_beyond_the_limit_is_a_limit)
{
    set_stage(play_steps, fine, "");
    sp_provider_close(stage.provider);
    stage.limits.response_bytes = 10;
    cr_assert(eq(int, open_provider(stage.server.url, ""), SP_OK));

    cr_expect(eq(int, execute_anew(), SP_OK));

    cr_expect(eq(int, stage.result.outcome, SP_OUTCOME_LIMIT));
    cr_expect(eq(str, (char *)stage.result.limit, "response size"));
    cr_expect(eq(int, stage.result.exit_code, -1));
    cr_expect(eq(int, requests(), 1));
}

Test(self_managed, a_long_error_page_is_still_that_error)
{
    struct step steps[] = {{500, "a page of more than ten bytes", NULL}, {0}};
    set_stage(play_steps, steps, "");
    sp_provider_close(stage.provider);
    stage.limits.response_bytes = 10;
    cr_assert(eq(int, open_provider(stage.server.url, ""), SP_OK));

    cr_expect(eq(int, execute_anew(), SP_E_INVALID));

    cr_expect(told("HTTP 500"), "%s", stage.err.msg);
}

Test(self_managed, jobs_in_a_row_use_one_connection)
{
    set_stage(play_steps, fine, "");

    for (int i = 0; i < 5; i++)
        cr_assert(eq(int, execute_anew(), SP_OK), "%s", stage.err.msg);

    cr_expect(eq(int, requests(), 5));
    cr_expect(eq(int, sp_http_server_connections(&stage.server), 1));
}
