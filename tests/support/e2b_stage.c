#include "tests/support/e2b_stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "providers/registry.h"
#include "tests/support.h"

enum { START_MS = 240000, USUAL_MS = 20000, STATE_BYTES = 1 << 20 };

#define KEY "e2b_0000000000000000000000000000000000000000"

json_t *e2b_stage_settings(const struct e2b_stage *s, const char *more)
{
    char text[1024];

    snprintf(text, sizeof text,
             "{\"api_key\":\"" KEY "\",\"api_url\":\"%s/\",\"sandbox_url\":\"%s\"%s%s}", s->url,
             s->url, *more ? "," : "", more);
    json_t *settings = json_loads(text, 0, NULL);
    cr_assert(settings != NULL, "%s", text);
    return settings;
}

void e2b_stage_open(struct e2b_stage *s, const char *more)
{
    json_auto_t *settings = e2b_stage_settings(s, more);

    sp_provider_close(s->provider);
    s->provider = NULL;
    enum sp_code rc =
        sp_provider_open(sp_registry_find("e2b"), settings, &s->host, &s->provider, &s->err);
    cr_assert(eq(int, rc, SP_OK), "%s", s->err.msg);
}

void e2b_stage_start(struct e2b_stage *s, const char *more)
{
    sp_process_start(&s->process, (const char *const[]){E2B_RUN, "server.mjs", NULL});
    char *line = sp_process_line(&s->process, START_MS); /* the first one installs packages */
    cr_assert(sscanf(line, "ready %63s", s->url) == 1, "%s", line);
    free(line);
    cr_assert(eq(int, sp_http_new(&s->http, &s->err), SP_OK));
    s->limits = sp_usual_limits;
    test_leases_init(&s->leases);
    s->host = (struct sp_host){.worker_id = "test", .limits = &s->limits};
    test_leases_use(&s->leases, &s->host);
    e2b_stage_open(s, more);
}

json_t *e2b_stage_tell(struct e2b_stage *s, const char *method, const char *call, const char *json)
{
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    sp_auto(sp_http_response_clear) struct sp_http_response response = {0};
    struct sp_error err = {0};
    char url[128];

    snprintf(url, sizeof url, "%s/_test/%s", s->url, call);
    const struct sp_http_request request = {.method = method,
                                            .url = url,
                                            .headers = headers,
                                            .body = json,
                                            .body_len = json ? strlen(json) : 0,
                                            .max_body = STATE_BYTES,
                                            .connect_deadline = sp_deadline_in(USUAL_MS),
                                            .deadline = sp_deadline_in(USUAL_MS),
                                            .cancel_fd = -1};
    enum sp_code rc = sp_http_do(s->http, &request, &response, &err);
    cr_assert(rc == SP_OK && response.status == 200, "%s: %s%s", call, err.msg,
              sp_buf_str(&response.body));
    json_t *state = json_loads(sp_buf_str(&response.body), 0, NULL);
    cr_assert(state != NULL);
    return state;
}

void e2b_stage_fault(struct e2b_stage *s, const char *json)
{
    json_decref(e2b_stage_tell(s, "POST", "faults", json));
}

int e2b_stage_count(struct e2b_stage *s, const char *name)
{
    json_auto_t *state = e2b_stage_tell(s, "GET", "state", NULL);
    return (int)json_integer_value(json_object_get(state, name));
}

int e2b_stage_alive(struct e2b_stage *s)
{
    json_auto_t *state = e2b_stage_tell(s, "GET", "state", NULL);
    return (int)json_array_size(json_object_get(state, "sandboxes"));
}

int e2b_stage_requests(struct e2b_stage *s, const char *operation)
{
    json_auto_t *state = e2b_stage_tell(s, "GET", "state", NULL);
    json_t *requests = json_object_get(state, "requests");
    return (int)json_integer_value(json_object_get(requests, operation));
}

void e2b_stage_stop(struct e2b_stage *s)
{
    json_auto_t *state = e2b_stage_tell(s, "GET", "state", NULL);
    json_auto_t *wrong = json_incref(json_object_get(state, "violations"));
    char *text = json_dumps(wrong, JSON_INDENT(1));

    cr_expect(zero(sz, json_array_size(wrong)), "%s", text);
    cr_expect(zero(sz, json_array_size(json_object_get(state, "sandboxes"))), "a sandbox lives on");
    free(text);
    sp_result_clear(&s->result);
    sp_provider_close(s->provider);
    s->provider = NULL;
    test_leases_clear(&s->leases);
    sp_http_free(s->http);
    sp_process_stop(&s->process);
}

enum sp_code e2b_stage_check(struct e2b_stage *s)
{
    s->err = (struct sp_error){0};
    return sp_provider_job_check(s->provider, &s->err);
}

enum sp_code e2b_stage_run(struct e2b_stage *s, const struct sp_provider_job *job)
{
    int64_t began = sp_mono_ms();

    sp_result_clear(&s->result);
    s->result = (struct sp_result){.exit_code = 0};
    s->err = (struct sp_error){0};
    enum sp_code rc = sp_provider_job_run(s->provider, job, &s->result, &s->err);
    s->took_ms = sp_mono_ms() - began;
    return rc;
}

enum sp_code e2b_stage_run_python(struct e2b_stage *s, const char *code)
{
    return e2b_stage_run(s, &(struct sp_provider_job){.code = code});
}
