/*
 * self_managed and how it reaches its peer: the request, connections that are kept, TLS, proxies,
 * bodies, answers of other versions (reference ragflow 2.1, 4). The manager counts connections.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/support.h"
#include "tests/support/managed.h"
#include "tests/support/port.h"
#include "tests/support/until.h"

static struct sp_managed m;

static void prepare(void)
{
    m.limits = sp_usual_limits;
}

static void stop(void)
{
    sp_managed_stop(&m);
}

TestSuite(self_managed_peer, .init = prepare, .fini = stop);

static int count(const char *name)
{
    return sp_manager_count(&m.manager, name);
}

static json_t *last_request(const json_t *seen)
{
    json_t *requests = json_object_get(seen, "requests");
    return json_array_get(requests, json_array_size(requests) - 1);
}

/* Of the last request; NULL: not sent. Borrowed. */
static const char *header(const json_t *seen, const char *name)
{
    json_t *pair = NULL;
    size_t i = 0;

    json_array_foreach (json_object_get(last_request(seen), "headers"), i, pair) {
        if (strcasecmp(json_string_value(json_array_get(pair, 0)), name) == 0)
            return json_string_value(json_array_get(pair, 1));
    }
    return NULL;
}

Test(self_managed_peer, the_request_is_what_the_manager_asks_for)
{
    char url[80];
    sp_managed_start(&m, NULL, "\"api_token\":\"t0ken\"");
    snprintf(url, sizeof url, "%s//", m.manager.url);

    sp_managed_expect_one(&m);
    json_auto_t *seen = sp_manager_tell(&m.manager, "{}");
    const char *text = json_string_value(json_object_get(last_request(seen), "body"));
    json_auto_t *body = json_loads(text, 0, NULL);

    cr_expect(
        eq(str, (char *)json_string_value(json_object_get(body, "language")), (char *)"python"));
    cr_expect(eq(sz, json_object_size(json_object_get(body, "arguments")), 0), "%s", text);
    cr_expect(json_object_get(body, "arguments") != NULL, "%s", text);
    cr_expect(eq(sz, json_object_size(body), 3), "%s", text);
    cr_expect(eq(str, (char *)header(seen, "content-type"), (char *)"application/json"));
    cr_expect(eq(str, (char *)header(seen, "authorization"), (char *)"Bearer t0ken"));
    cr_expect(strncmp(header(seen, "user-agent"), "sandpiper", 9) == 0, "%s",
              header(seen, "user-agent"));
    cr_expect(header(seen, "expect") == NULL);

    /* an endpoint that ends in slashes is the same one */
    sp_managed_open(&m, url, "");
    sp_managed_expect_one(&m);
}

/* Connections */

Test(self_managed_peer, one_connection_serves_all_runs_of_a_thread)
{
    sp_managed_start(&m, NULL, "");

    cr_expect(eq(int, sp_managed_check(&m), SP_OK), "%s", m.err.msg);
    for (int i = 0; i < 10; i++)
        sp_managed_expect_one(&m);

    cr_expect(eq(int, sp_managed_asked(&m) >= 10, 1));
    cr_expect(eq(int, count("connections"), 1));
}

enum { THREADS = 4, RUNS = 5 };

static void *run_some(void *failed)
{
    for (int i = 0; i < RUNS; i++) {
        sp_auto(sp_result_clear) struct sp_result r = {0};
        struct sp_error e = {0};
        const struct sp_provider_job job = {.code = "def main(n):\n    return n",
                                            .arguments = "{\"n\":5}"};
        bool ok = !sp_provider_job_run(m.provider, &job, &r, &e) && r.result_present &&
                  strcmp(r.result_value, "5") == 0;
        *(int *)failed += !ok;
    }
    return NULL;
}

static void run_in_threads(void)
{
    pthread_t threads[THREADS];
    int failed[THREADS] = {0};

    for (int i = 0; i < THREADS; i++)
        cr_assert(pthread_create(&threads[i], NULL, run_some, &failed[i]) == 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        cr_expect(eq(int, failed[i], 0));
    }
}

Test(self_managed_peer, threads_need_no_more_connections_than_they_are)
{
    sp_managed_start(&m, (const char *const[]){"SANDBOX_EXECUTOR_MANAGER_POOL_SIZE=4", NULL}, "");

    run_in_threads();

    cr_expect(eq(int, sp_managed_executed(&m), THREADS *RUNS));
    cr_expect(count("connections") <= THREADS, "%d", count("connections"));
}

/* Requests that came over different connections of the client's to m.nginx. */
static int connections_to_nginx(void)
{
    json_auto_t *seen = sp_manager_tell(&m.manager, "{}");
    json_auto_t *serials = json_object();
    json_t *request = NULL;
    size_t i = 0;

    json_array_foreach (json_object_get(seen, "requests"), i, request) {
        json_t *one = json_pack("{s:[O]}", "requests", request);
        json_object_set_new(serials, header(one, "x-connection"), json_true());
        json_decref(one);
    }
    return (int)json_object_size(serials);
}

Test(self_managed_peer, connections_through_nginx_are_kept_too)
{
    sp_managed_start_proxy(&m, (const char *const[]){"SANDBOX_EXECUTOR_MANAGER_POOL_SIZE=4", NULL},
                           (struct sp_nginx_options){.directives = "proxy_set_header X-Connection "
                                                                   "$connection;"});

    run_in_threads();

    cr_expect(eq(int, sp_managed_executed(&m), THREADS *RUNS));
    cr_expect(count("connections") <= THREADS, "%d from nginx", count("connections"));
    cr_expect(connections_to_nginx() <= THREADS, "%d to nginx", connections_to_nginx());
}

/* uvicorn closes what is idle; that is no failure of a run. */
Test(self_managed_peer, a_connection_that_the_peer_closed_while_idle_is_replaced)
{
    sp_managed_start(&m, (const char *const[]){"--keep-alive", "1", NULL}, "\"max_retries\":0");

    for (int i = 1; i <= 3; i++) {
        int64_t end = sp_deadline_in(60000);
        sp_managed_expect_one(&m);
        while (count("closed") < i)
            cr_assert(sp_deadline_left(end) > 0, "the manager closes idle connections");
    }

    cr_expect(eq(int, sp_managed_executed(&m), 3));
    cr_expect(eq(int, count("connections"), 3));
}

/* TLS */

static void start_tls(const char *alt_name, const char *authorities)
{
    sp_managed_start_proxy(&m, NULL, (struct sp_nginx_options){.certificate = alt_name});
    setenv("SSL_CERT_FILE", authorities ? authorities : m.nginx.ca, 1);
    sp_managed_open(&m, m.nginx.url, "\"max_retries\":1");
}

Test(self_managed_peer, tls_with_a_private_authority)
{
    start_tls("IP:127.0.0.1", NULL);

    cr_expect(eq(int, sp_managed_check(&m), SP_OK), "%s", m.err.msg);
    for (int i = 0; i < 3; i++)
        sp_managed_expect_one(&m);

    cr_expect(eq(int, count("connections"), 1));
}

static const struct {
    const char *alt_name, *authorities;
} strangers[] = {
    {"IP:127.0.0.1", "/etc/ssl/certs/ca-certificates.crt"}, /* not signed by these */
    {"DNS:other.example", NULL},                            /* another host's */
};

SP_TABLE_TEST(self_managed_peer, a_certificate_that_is_not_the_peers_is_refused_by_name, strangers,
              row)
{
    char host[32];
    start_tls(row->alt_name, row->authorities);
    snprintf(host, sizeof host, "127.0.0.1:%d", m.nginx.port);

    cr_expect(eq(int, sp_managed_check(&m), SP_E_DENIED), "%s", m.err.msg);
    cr_expect(strstr(m.err.msg, host) && strstr(m.err.msg, "certificate"), "%s", m.err.msg);
    cr_expect(eq(int, sp_managed_run_one(&m), SP_E_DENIED), "%s", m.err.msg);
    cr_expect(eq(int, m.result.started, SP_STARTED_NO));
    cr_expect(eq(int, count("connections"), 0));
}

/* Answers of other versions */

static const struct {
    const char *fault;
} shapes[] = {
    {"{\"run\":true,\"drop\":[\"artifacts\",\"result\",\"detail\",\"runtime_error_type\","
     "\"unauthorized_access_type\",\"resource_limit_type\",\"time_used_ms\",\"memory_used_kb\"]}"},
    {"{\"run\":true,\"add\":{\"container\":\"x\",\"trace\":[{}],\"memory_used_kb\":17}}"},
    {"{\"run\":true,\"chunked\":true}"},
};

Test(self_managed_peer, an_answer_of_another_version_is_understood)
{
    char command[256];
    sp_managed_start(&m, NULL, "");

    for (size_t i = 0; i < SP_COUNT(shapes); i++) {
        snprintf(command, sizeof command, "{\"faults\":[%s]}", shapes[i].fault);
        sp_managed_tell(&m, command);
        cr_expect(
            eq(int,
               sp_managed_run(&m, &(struct sp_provider_job){.code = "print('out')\ndef main():\n"
                                                                    "    return [1.50, 2]"}),
               SP_OK),
            "%s: %s", shapes[i].fault, m.err.msg);
        cr_expect(eq(str, m.result.out.text, (char *)"out\n"), "%s", shapes[i].fault);
        cr_expect(eq(str, m.result.result_value, (char *)"[1.5, 2]"), "%s", shapes[i].fault);
    }
    cr_expect(eq(int, count("connections"), 1));
}

Test(self_managed_peer, what_the_manager_tells_of_a_run_is_kept)
{
    sp_managed_start(&m, NULL, "");
    sp_managed_tell(&m, "{\"faults\":[{\"run\":true,\"add\":{\"memory_used_kb\":17}}]}");

    sp_managed_expect_one(&m);

    cr_expect(strstr(m.result.metadata, "\"status\":\"success\"") != NULL, "%s", m.result.metadata);
    cr_expect(strstr(m.result.metadata, "\"memory_used_kb\":17") != NULL, "%s", m.result.metadata);
    cr_expect(strstr(m.result.metadata, "\"detail\":null") != NULL, "%s", m.result.metadata);
    cr_expect(strstr(m.result.metadata, "\"runtime_error_type\":null") != NULL, "%s",
              m.result.metadata);
    cr_expect(strstr(m.result.metadata, "\"time_used_ms\":") != NULL, "%s", m.result.metadata);
}

/* Bodies */

Test(self_managed_peer, chunked_answers_through_nginx)
{
    sp_managed_start_proxy(&m, NULL, (struct sp_nginx_options){0});
    sp_managed_tell(&m, "{\"faults\":[{\"run\":true,\"chunked\":true}]}");

    cr_expect(
        eq(int,
           sp_managed_run(&m, &(struct sp_provider_job){.code = "def main(n):\n    return 'x' * n",
                                                        .arguments = "{\"n\":100000}"}),
           SP_OK),
        "%s", m.err.msg);
    cr_expect(eq(sz, m.result.result_value_len, 100002));
}

Test(self_managed_peer, an_answer_beyond_the_limit_is_cut_off_while_it_comes)
{
    m.limits.response_bytes = 65536;
    sp_managed_start(&m, NULL, "");
    sp_managed_tell(
        &m, "{\"faults\":[{\"run\":true,\"body\":\"0123456789abcdef\",\"repeat\":4000000}]}");

    enum sp_code rc = sp_managed_run_one(&m);

    cr_expect(eq(int, rc, SP_OK), "%s", m.err.msg);
    cr_expect(eq(int, m.result.outcome, SP_OUTCOME_LIMIT));
    cr_expect(eq(str, (char *)m.result.limit, (char *)"response size"));
    cr_expect(eq(int, sp_managed_executed(&m), 1));
    sp_managed_expect_one(&m);
}

Test(self_managed_peer, output_beyond_the_limit_keeps_both_ends)
{
    m.limits.output_bytes = 4096;
    sp_managed_start(&m, NULL, "");

    cr_expect(eq(int,
                 sp_managed_run(
                     &m,
                     &(struct sp_provider_job){
                         .code = "def main(n):\n    print('a' * n, end='z\\n')\n    return 'v' * n",
                         .arguments = "{\"n\":9000}"}),
                 SP_OK),
              "%s", m.err.msg);

    cr_assert(m.result.out.len > 0);
    cr_expect(m.result.out.truncated && m.result.out.bytes == 9002 && m.result.out.len < 5000);
    cr_expect(strstr(m.result.out.text, "bytes left out]") != NULL);
    cr_expect(eq(str, m.result.out.text + m.result.out.len - 3, (char *)"az\n"));
    cr_expect(eq(sz, m.result.result_value_len, 9002));
}

Test(self_managed_peer, a_proxy_that_refuses_a_large_request_says_so)
{
    static char code[300000];
    sp_managed_start_proxy(&m, NULL,
                           (struct sp_nginx_options){.directives = "client_max_body_size 64k;"});
    memset(code, '#', sizeof code - 1);

    cr_expect(eq(int, sp_managed_run(&m, &(struct sp_provider_job){.code = code}), SP_E_INVALID),
              "%s", m.err.msg);
    cr_expect(strstr(m.err.msg, "HTTP 413") != NULL, "%s", m.err.msg);
    cr_expect(eq(int, sp_managed_executed(&m), 0));
}

/* Proxies */

Test(self_managed_peer, a_proxy_without_its_manager_is_not_asked_again)
{
    sp_nginx_start(&m.nginx, &(struct sp_nginx_options){.upstream = sp_free_port()});
    sp_managed_open(&m, m.nginx.url, "");

    cr_expect(eq(int, sp_managed_run_one(&m), SP_E_UNAVAILABLE), "%s", m.err.msg);
    cr_expect(strstr(m.err.msg, "HTTP 502") != NULL, "%s", m.err.msg);
    cr_expect(eq(int, m.result.started, SP_STARTED_MAYBE));
    cr_expect(eq(int, sp_managed_check(&m), SP_E_UNAVAILABLE), "%s", m.err.msg);
}

Test(self_managed_peer, a_proxy_that_gives_up_leaves_a_program_that_may_have_run)
{
    sp_managed_start_proxy(&m, NULL,
                           (struct sp_nginx_options){.directives = "proxy_read_timeout 1s;"});

    enum sp_code rc =
        sp_managed_run(&m, &(struct sp_provider_job){.code = "import time\ntime.sleep(2)"});

    cr_expect(eq(int, rc, SP_E_UNAVAILABLE), "%s", m.err.msg);
    cr_expect(strstr(m.err.msg, "HTTP 504") != NULL, "%s", m.err.msg);
    cr_expect(eq(int, m.result.started, SP_STARTED_MAYBE));
    cr_expect(eq(int, sp_managed_asked(&m), 1));
    cr_expect(SP_UNTIL(60000, sp_managed_executed(&m) == 1), "it runs, though nobody waits");
}
