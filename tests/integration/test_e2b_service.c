/*
 * e2b and its service: how sandboxes are asked for, checked and always ended, also when calls fail
 * or their worker died (reference e2b 2, 3, 12). The server counts, checks and misbehaves.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support.h"
#include "tests/support/e2b_stage.h"

static struct e2b_stage s;

static void start(void)
{
    e2b_stage_start(&s, "");
}

static void stop(void)
{
    e2b_stage_stop(&s);
}

TestSuite(e2b_service, .init = start, .fini = stop);

static void fault(const char *on, const char *members)
{
    char json[600];

    snprintf(json, sizeof json, "{\"on\":\"%s\",%s}", on, members);
    e2b_stage_fault(&s, json);
}

/* ---- making ---- */

/* Makes one, looks at it as the server knows it, and ends it. */
static json_t *look_at_one(int64_t timeout_ms)
{
    const struct sp_provider_job job = {.code = "", .timeout_ms = timeout_ms};
    struct sp_run run = sp_provider_job_limits(&job);
    struct sp_request req = sp_provider_job_request(&job);
    struct sp_instance *instance = NULL;

    enum sp_code rc = sp_provider_create(s.provider, &req, &run, &instance, &s.err);
    cr_assert(eq(int, rc, SP_OK), "%s", s.err.msg);
    json_auto_t *state = e2b_stage_tell(&s, "GET", "state", NULL);
    json_t *one = json_incref(json_array_get(json_object_get(state, "sandboxes"), 0));
    cr_expect(eq(str,
                 (char *)json_string_value(
                     json_object_get(json_object_get(one, "metadata"), "sandpiper_run")),
                 instance->id));
    cr_expect(eq(int, test_leases_count(&s.leases), 1));
    sp_provider_destroy(instance, &run);
    return one;
}

Test(e2b_service, a_sandbox_is_asked_for_as_the_settings_say)
{
    json_auto_t *first = look_at_one(2500);
    e2b_stage_open(&s, "\"template\":\"code-interpreter-v1\",\"allow_internet\":false,"
                       "\"secure\":false,\"timeout\":7");
    json_auto_t *second = look_at_one(0);

    cr_expect(eq(str, (char *)json_string_value(json_object_get(first, "template")), "base"));
    cr_expect(eq(int, (int)json_integer_value(json_object_get(first, "ttl_s")), 63));
    cr_expect(eq(int, json_is_true(json_object_get(first, "secure")), 1));
    cr_expect(eq(int, json_is_true(json_object_get(first, "internet")), 1));
    cr_expect(eq(str, (char *)json_string_value(json_object_get(second, "template")),
                 "code-interpreter-v1"));
    cr_expect(eq(int, (int)json_integer_value(json_object_get(second, "ttl_s")), 67));
    cr_expect(eq(int, json_is_false(json_object_get(second, "secure")), 1));
    cr_expect(eq(int, json_is_false(json_object_get(second, "internet")), 1));
}

static const struct {
    const char *config;
} withdrawals[] = {{"{\"create_v1\":404}"}, {"{\"create_v1\":405}"}, {"{\"create_v1\":410}"}};

SP_TABLE_TEST(e2b_service, the_newer_endpoint_is_found_and_remembered, withdrawals, row)
{
    json_decref(e2b_stage_tell(&s, "POST", "config", row->config));

    cr_assert(eq(int, e2b_stage_run_python(&s, "print(1)"), SP_OK), "%s", s.err.msg);
    cr_expect(eq(int, e2b_stage_requests(&s, "create"), 2));
    cr_assert(eq(int, e2b_stage_run_python(&s, "print(2)"), SP_OK), "%s", s.err.msg);

    cr_expect(eq(int, e2b_stage_requests(&s, "create"), 3));
    cr_expect(eq(str, (char *)sp_provider_job_out(&s.result), (char *)"2\n"));
}

Test(e2b_service, an_unknown_template_is_not_taken_for_a_missing_endpoint)
{
    e2b_stage_open(&s, "\"template\":\"nowhere\"");

    cr_expect(eq(int, e2b_stage_run_python(&s, "1"), SP_E_INVALID));

    cr_expect(strstr(s.err.msg, "template 'nowhere' not found") != NULL, "%s", s.err.msg);
    cr_expect(eq(int, e2b_stage_requests(&s, "create"), 1));
    cr_expect(zero(int, test_leases_count(&s.leases)));
}

/* A refusal of a create: what becomes of the job, after how many calls. unsure: the service may go
 * on with it. */
static const struct {
    const char *fault;
    enum sp_code rc;
    const char *message;
    int creates;
    bool unsure;
} refusals[] = {
    {"\"times\":2,\"answer\":{\"status\":429,\"headers\":{\"Retry-After\":\"0\"},\"body\":"
     "{\"code\":429,\"message\":\"slow down\"}}",
     SP_OK, "", 3, false},
    {"\"times\":0,\"answer\":{\"status\":429,\"body\":{\"code\":429,\"message\":\"the maximum of "
     "20 sandboxes\"}}",
     SP_E_BUSY, "the maximum of 20 sandboxes", 4, false},
    {"\"times\":0,\"answer\":{\"status\":429,\"headers\":{\"Retry-After\":\"60\"},\"body\":\"\"}",
     SP_E_BUSY, "HTTP 429", 1, false},
    {"\"answer\":{\"status\":503,\"body\":\"<html>no</html>\"}", SP_OK, "", 2, false},
    {"\"times\":0,\"answer\":{\"status\":503,\"headers\":{\"X-Request-Id\":\"r-17\"},"
     "\"body\":\"<html>no</html>\"}",
     SP_E_UNAVAILABLE, "create: HTTP 503 (request r-17)", 4, true},
    {"\"answer\":{\"status\":503,\"headers\":{\"Should-Retry\":\"false\"},\"body\":\"\"}",
     SP_E_UNAVAILABLE, "HTTP 503", 1, true},
    {"\"answer\":{\"status\":500,\"body\":{\"code\":500,\"message\":\"Failed to place sandbox\"}}",
     SP_E_INVALID, "Failed to place sandbox", 1, true},
    {"\"answer\":{\"status\":500,\"headers\":{\"Should-Retry\":\"true\"},\"body\":\"\"}", SP_OK, "",
     2, false},
    {"\"answer\":{\"status\":500,\"body\":{\"code\":500,\"message\":\"x\",\"error_code\":"
     "\"sandbox_capacity_unavailable\"}}",
     SP_E_UNAVAILABLE, "sandbox_capacity_unavailable", 1, true},
    {"\"answer\":{\"status\":401,\"body\":{\"code\":401,\"message\":\"Invalid API key\"}}",
     SP_E_DENIED, "Invalid API key", 1, false},
    {"\"answer\":{\"status\":403,\"body\":{\"code\":403,\"message\":\"blocked\"}}", SP_E_DENIED,
     "blocked", 1, false},
    {"\"answer\":{\"status\":400,\"body\":{\"code\":400,\"message\":\"Timeout cannot be\"}}",
     SP_E_INVALID, "Timeout cannot be", 1, false},
    {"\"reset\":true", SP_E_UNAVAILABLE, "create", 1, true},
};

SP_TABLE_TEST(e2b_service, a_refused_create_is_repeated_where_that_helps, refusals, row)
{
    fault("create", row->fault);

    enum sp_code rc = e2b_stage_run_python(&s, "print('x')");

    cr_assert(eq(int, rc, row->rc), "%s: %s", row->fault, s.err.msg);
    cr_expect(strstr(s.err.msg, row->message) != NULL, "%s: %s", row->fault, s.err.msg);
    cr_expect(eq(int, (int)s.result.started, rc ? SP_STARTED_NO : SP_STARTED_YES));
    cr_expect(eq(int, e2b_stage_requests(&s, "create"), row->creates), "%s", row->fault);
    cr_expect(eq(int, e2b_stage_count(&s, "created"), rc ? 0 : 1), "%s", row->fault);
    cr_expect(eq(int, test_leases_count(&s.leases), row->unsure), "%s", row->fault);
    json_decref(e2b_stage_tell(&s, "DELETE", "faults", NULL));
}

Test(e2b_service, a_repeated_create_makes_no_second_sandbox)
{
    fault("create", "\"work\":true,\"answer\":{\"status\":504,\"body\":\"<html></html>\"}");

    cr_assert(eq(int, e2b_stage_run_python(&s, "print('x')"), SP_OK), "%s", s.err.msg);

    cr_expect(eq(int, e2b_stage_requests(&s, "create"), 2));
    cr_expect(eq(int, e2b_stage_count(&s, "created"), 1));
    cr_expect(zero(int, e2b_stage_alive(&s)));
}

/* The sandbox is made, and the worker does not learn of it. */
static const struct {
    const char *fault;
    enum sp_code rc;
} losses[] = {
    {"\"cut_at\":\"body\"", SP_E_UNAVAILABLE},
    {"\"late_ms\":30000", SP_E_TIMEOUT},
    {"\"patch\":{\"sandboxID\":null}", SP_E_INVALID},
    {"\"patch\":{\"sandboxID\":\"../../x\"}", SP_E_INVALID},
    {"\"patch\":{\"domain\":\"evil/\"}", SP_E_INVALID},
    {"\"patch\":{\"envdVersion\":\"0.0.9\"}", SP_E_INVALID},
    {"\"patch\":{\"envdAccessToken\":null}", SP_E_INVALID},
    {"\"patch\":{\"envdAccessToken\":\"a\\r\\nX-Evil: 1\"}", SP_E_INVALID},
    {"\"times\":0,\"work\":true,\"answer\":{\"status\":502,\"body\":\"\"}", SP_E_UNAVAILABLE},
};

SP_TABLE_TEST(e2b_service, a_sandbox_whose_making_failed_is_ended, losses, row)
{
    fault("create", row->fault);

    enum sp_code rc = e2b_stage_run(&s, &(struct sp_provider_job){.code = "1", .setup_ms = 10000});

    cr_expect(eq(int, rc, row->rc), "%s: %s", row->fault, s.err.msg);
    cr_expect(eq(int, (int)s.result.started, SP_STARTED_NO));
    cr_expect(eq(int, e2b_stage_count(&s, "created"), 1), "%s", row->fault);
    cr_expect(zero(int, e2b_stage_alive(&s)), "%s", row->fault);
    json_decref(e2b_stage_tell(&s, "DELETE", "faults", NULL));
}

/* ---- checking ---- */

static const struct {
    const char *fault; /* of the list; "": none */
    const char *settings;
    enum sp_code rc;
    const char *message;
} checks[] = {
    {"", "", SP_OK, ""},
    {"", "\"api_key\":\"e2b_wrong\"", SP_E_DENIED, "api_key: refused by the service"},
    {"\"times\":1,\"answer\":{\"status\":404,\"body\":\"\"}", "", SP_OK, ""},
    {"\"times\":0,\"answer\":{\"status\":503,\"body\":\"secret words\"}", "", SP_E_UNAVAILABLE,
     "HTTP 503"},
    {"\"times\":0,\"answer\":{\"status\":200,\"body\":\"<html>hello</html>\"}", "", SP_E_INVALID,
     "no list"},
    {"\"times\":0,\"answer\":{\"status\":400,\"body\":{\"code\":400,\"message\":\"secret words\"}}",
     "", SP_E_INVALID, "HTTP 400"},
};

SP_TABLE_TEST(e2b_service, the_check_finds_out_whether_runs_have_a_chance, checks, row)
{
    if (*row->settings)
        e2b_stage_open(&s, row->settings);
    if (*row->fault)
        fault("list", row->fault);

    enum sp_code rc = e2b_stage_check(&s);

    cr_expect(eq(int, rc, row->rc), "%s", s.err.msg);
    cr_expect(strstr(s.err.msg, row->message) != NULL, "%s", s.err.msg);
    cr_expect(strstr(s.err.msg, "secret") == NULL, "%s", s.err.msg);
    json_decref(e2b_stage_tell(&s, "DELETE", "faults", NULL));
}

Test(e2b_service, an_old_daemon_is_told_the_user)
{
    fault("create", "\"patch\":{\"envdVersion\":\"0.3.2\"}");

    struct sp_file file = {(char[]){"a b\"c.txt"}, (char[]){"x"}, 1};
    enum sp_code rc = e2b_stage_run(
        &s, &(struct sp_provider_job){.code = "open('artifacts/a.csv', 'w').write('1')\nprint('x')",
                                      .files = &file,
                                      .n_files = 1});

    cr_assert(eq(int, rc, SP_OK), "%s", s.err.msg);
    cr_expect(eq(str, (char *)sp_provider_job_out(&s.result), (char *)"x\n"));
    cr_expect(eq(sz, s.result.n_artifacts, 1));
}

/* ---- ending ---- */

Test(e2b_service, a_failed_delete_is_repeated)
{
    fault("delete", "\"answer\":{\"status\":500,\"body\":\"\"}");

    cr_assert(eq(int, e2b_stage_run_python(&s, "1"), SP_OK), "%s", s.err.msg);

    cr_expect(eq(int, e2b_stage_requests(&s, "delete"), 2));
    cr_expect(zero(int, e2b_stage_alive(&s)));
    cr_expect(zero(int, test_leases_count(&s.leases)));
}

Test(e2b_service, a_sandbox_that_is_gone_already_is_ended)
{
    fault("delete", "\"die\":true");

    cr_assert(eq(int, e2b_stage_run_python(&s, "1"), SP_OK), "%s", s.err.msg);

    cr_expect(eq(int, e2b_stage_requests(&s, "delete"), 1));
    cr_expect(zero(int, test_leases_count(&s.leases)));
}

/* One whose end the service refuses. */
static void leave_one_behind(void)
{
    fault("delete", "\"times\":2,\"answer\":{\"status\":500,\"body\":\"\"}");
    cr_assert(eq(int, e2b_stage_run_python(&s, "1"), SP_OK), "%s", s.err.msg);
    cr_assert(eq(int, e2b_stage_alive(&s), 1));
    cr_assert(eq(int, test_leases_count(&s.leases), 1));
}

Test(e2b_service, the_sweep_ends_what_could_not_be_ended)
{
    leave_one_behind();

    sp_provider_sweep(s.provider);

    cr_expect(zero(int, e2b_stage_alive(&s)));
    cr_expect(zero(int, test_leases_count(&s.leases)));
}

Test(e2b_service, the_sweep_ends_what_a_dead_worker_left)
{
    const struct sp_provider_job job = {.code = "1"};
    struct sp_run run = sp_provider_job_limits(&job);
    struct sp_request req = sp_provider_job_request(&job);
    struct sp_instance *instance = NULL;
    cr_assert(eq(int, sp_provider_create(s.provider, &req, &run, &instance, &s.err), SP_OK), "%s",
              s.err.msg);
    sp_provider_sweep(s.provider);
    cr_expect(eq(int, e2b_stage_alive(&s), 1), "its worker may live");
    test_leases_expire(&s.leases);

    sp_provider_sweep(s.provider);
    sp_provider_destroy(instance, &run);

    cr_expect(zero(int, e2b_stage_alive(&s)));
    cr_expect(zero(int, test_leases_count(&s.leases)));
}

/* Changes a member of what the only lease says. */
static void change_lease(const char *member, const char *value)
{
    json_t *record = json_object_iter_value(json_object_iter(s.leases.records));
    json_auto_t *data = json_loads(json_string_value(json_object_get(record, "data")), 0, NULL);

    json_object_set_new(data, member, json_string(value));
    char *text = json_dumps(data, 0);
    json_object_set_new(record, "data", json_string(text));
    free(text);
}

Test(e2b_service, the_sweep_finds_a_sandbox_by_its_label)
{
    leave_one_behind();
    change_lease("sandbox", "");
    test_leases_expire(&s.leases);

    sp_provider_sweep(s.provider);

    cr_expect(zero(int, e2b_stage_alive(&s)));
    cr_expect(zero(int, test_leases_count(&s.leases)));
}

Test(e2b_service, the_sweep_leaves_the_sandboxes_of_another_service_or_team)
{
    leave_one_behind();
    test_leases_expire(&s.leases);
    e2b_stage_open(&s, "\"api_key\":\"e2b_other\"");
    sp_provider_sweep(s.provider);
    cr_expect(eq(int, test_leases_count(&s.leases), 1));
    e2b_stage_open(&s, "");
    change_lease("service", "https://api.e2b.app 0");

    sp_provider_sweep(s.provider);

    cr_expect(eq(int, test_leases_count(&s.leases), 1));
    json_decref(e2b_stage_tell(&s, "POST", "end", "{}"));
}

Test(e2b_service, runs_go_on_without_leases)
{
    s.leases.away = true;

    cr_expect(eq(int, e2b_stage_run_python(&s, "print('x')"), SP_OK), "%s", s.err.msg);

    cr_expect(eq(str, (char *)sp_provider_job_out(&s.result), (char *)"x\n"));
}

/* ---- ahead of the run ---- */

static const struct {
    const char *settings;
    int contexts; /* made for three runs, ahead of two */
} pools[] = {{"\"pool_size\":2", 0}, {"\"pool_size\":2,\"mode\":\"kernel\"", 3}};

static void wait_for_alive(int n)
{
    int64_t limit = sp_deadline_in(60000);

    while (e2b_stage_alive(&s) != n)
        cr_assert(lt(int, 0, sp_deadline_left(limit)), "%d sandboxes", e2b_stage_alive(&s));
}

SP_TABLE_TEST(e2b_service, sandboxes_are_made_ahead_and_used_once, pools, row)
{
    e2b_stage_open(&s, row->settings);
    cr_assert(eq(int, e2b_stage_run_python(&s, "open('x', 'w').close()"), SP_OK), "%s", s.err.msg);
    wait_for_alive(2);
    fault("create", "\"times\":0,\"answer\":{\"status\":400,\"body\":\"\"}");

    /* No others can be made now, so each run that works has one of the two, once it is ready. */
    int64_t limit = sp_deadline_in(60000);
    for (int used = 0; used < 2;) {
        cr_assert(lt(int, 0, sp_deadline_left(limit)), "%s", s.err.msg);
        if (e2b_stage_run_python(&s, "import os\nprint(os.path.exists('x'))"))
            continue;
        cr_expect(eq(str, (char *)sp_provider_job_out(&s.result), (char *)"False\n"));
        used++;
    }

    cr_expect(eq(int, e2b_stage_requests(&s, "contexts.create"), row->contexts));
    cr_expect(zero(int, e2b_stage_alive(&s)));
    cr_expect(zero(int, test_leases_count(&s.leases)));
    e2b_stage_open(&s, "");
}

Test(e2b_service, a_sandbox_that_went_while_it_waited_is_replaced)
{
    e2b_stage_open(&s, "\"pool_size\":1");
    cr_assert(eq(int, e2b_stage_run_python(&s, "1"), SP_OK), "%s", s.err.msg);
    wait_for_alive(1);
    json_decref(e2b_stage_tell(&s, "POST", "end", "{}"));

    cr_assert(eq(int, e2b_stage_run_python(&s, "print('x')"), SP_OK), "%s", s.err.msg);

    cr_expect(eq(str, (char *)sp_provider_job_out(&s.result), (char *)"x\n"));
    e2b_stage_open(&s, "");
}

Test(e2b_service, what_was_made_ahead_goes_with_its_provider)
{
    e2b_stage_open(&s, "\"pool_size\":3");
    cr_assert(eq(int, e2b_stage_run_python(&s, "1"), SP_OK), "%s", s.err.msg);
    wait_for_alive(3);

    e2b_stage_open(&s, "");

    cr_expect(zero(int, e2b_stage_alive(&s)));
    cr_expect(zero(int, test_leases_count(&s.leases)));
}

/* ---- many at once ---- */

enum { THREADS = 6, EACH = 4 };

static void *run_some(void *arg)
{
    int number = *(int *)arg;

    for (int i = 0; i < EACH; i++) {
        char code[64], want[32];
        snprintf(code, sizeof code, "print(%d)", number * 100 + i);
        snprintf(want, sizeof want, "%d\n", number * 100 + i);
        const struct sp_provider_job job = {.code = code};
        struct sp_run run = sp_provider_job_limits(&job);
        struct sp_request req = sp_provider_job_request(&job);
        struct sp_instance *instance = NULL;
        struct sp_result result = {.exit_code = 0};
        struct sp_error err = {0};
        enum sp_code rc = sp_provider_create(s.provider, &req, &run, &instance, &err);
        if (!rc)
            rc = sp_provider_execute(instance, &req, &run, &result, &err);
        sp_provider_destroy(instance, &run);
        cr_expect(eq(int, rc, SP_OK), "%s", err.msg);
        cr_expect(result.out.text && strcmp(result.out.text, want) == 0, "%s", want);
        sp_result_clear(&result);
    }
    return NULL;
}

Test(e2b_service, runs_at_once_do_not_meet)
{
    pthread_t threads[THREADS];
    int numbers[THREADS];

    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        cr_assert(zero(int, pthread_create(&threads[i], NULL, run_some, &numbers[i])));
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);

    cr_expect(eq(int, e2b_stage_count(&s, "created"), THREADS *EACH));
    cr_expect(eq(int, e2b_stage_count(&s, "killed"), THREADS *EACH));
    cr_expect(zero(int, test_leases_count(&s.leases)));
}
