#include "providers/self_managed/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "providers/ending.h"
#include "providers/http.h"
#include "providers/pause.h"
#include "providers/self_managed/answer.h"
#include "providers/self_managed/program.h"

enum {
    BACKOFF_MS = 100,
    BACKOFF_MAX_MS = 2000,
    HEALTH_BYTES_MAX = 65536,
    HEADERS = 2,
    ID_MAX = 64,
};
#define PROBE_WORD "ready"

struct sp_service {
    struct sp_limits limits;
    struct sp_http *http;
    char *run_url, *health_url;
    char *authorization; /* a header; NULL: no token */
};

void sp_service_free(struct sp_service *service)
{
    if (!service)
        return;
    sp_http_free(service->http);
    free(service->run_url);
    free(service->health_url);
    sp_free_secret(service->authorization);
    free(service);
}

/* NULL without memory. */
static char *join(const char *first, size_t first_len, const char *second)
{
    char *text = NULL;
    return asprintf(&text, "%.*s%s", (int)first_len, first, second) < 0 ? NULL : text;
}

static enum sp_code make_texts(struct sp_service *m, const char *endpoint, const char *token,
                               struct sp_error *err)
{
    static const char bearer[] = "Authorization: Bearer ";
    size_t len = strlen(endpoint);

    while (len > 0 && endpoint[len - 1] == '/')
        len--;
    m->run_url = join(endpoint, len, "/run");
    m->health_url = join(endpoint, len, "/healthz");
    if (*token)
        m->authorization = join(bearer, sizeof(bearer) - 1, token);
    if (!m->run_url || !m->health_url || (*token && !m->authorization))
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    return SP_OK;
}

enum sp_code sp_service_new(const char *endpoint, const char *token, const struct sp_limits *limits,
                            struct sp_service **out, struct sp_error *err)
{
    if (!sp_utf8_valid(token, strlen(token)) || sp_utf8_has_control(token, strlen(token)))
        return sp_error_set(err, SP_E_INVALID, "api_token: must be one line of text");
    struct sp_service *m = calloc(1, sizeof *m);
    if (!m)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    m->limits = *limits;
    enum sp_code rc = make_texts(m, endpoint, token, err);
    if (!rc)
        rc = sp_http_new(&m->http, err);
    if (rc) {
        sp_service_free(m);
        return rc;
    }
    *out = m;
    return SP_OK;
}

/* A call with what is sent for it. */
struct sending {
    struct sp_service *service;
    const struct sp_service_call *call;
    struct sp_bytes body;
    const char *suffix;     /* of the run's marker */
    int64_t retry_after_ms; /* that the last answer asks for; -1: none */
};

static enum sp_code send_once(struct sending *s, struct sp_result *out, struct sp_error *err)
{
    const struct sp_service *m = s->service;
    const char *const headers[HEADERS + 1] = {"Content-Type: application/json", m->authorization};
    const struct sp_http_request request = {
        .method = "POST",
        .url = m->run_url,
        .headers = headers,
        .body = s->body.data,
        .body_len = s->body.len,
        .max_body = (size_t)m->limits.response_bytes,
        .connect_deadline = s->call->send_deadline,
        .deadline = s->call->deadline,
        .cancel_fd = s->call->cancel_fd,
    };
    sp_auto(sp_http_response_clear) struct sp_http_response response = {0};

    enum sp_code rc = sp_http_do(m->http, &request, &response, err);
    s->retry_after_ms = response.retry_after_ms;
    bool is_error_page = rc == SP_E_LIMIT && response.status != 200;
    if (rc && !is_error_page) {
        out->started = response.sent;
        return sp_ending_unanswered(out, rc);
    }
    const struct sp_service_answer answer = {
        .http = response.status,
        .body = {sp_buf_str(&response.body), response.body.len},
        .suffix = s->suffix,
        .timeout_ms = s->call->timeout_ms,
        .limits = &m->limits,
        .to_log = s->call->to_log,
    };
    return sp_service_answer_read(&answer, out, err);
}

/* Never less than the service asks for. SP_E_TIMEOUT: there is no time for it. */
static enum sp_code back_off(const struct sending *s, int64_t attempt)
{
    int64_t delay = sp_backoff_ms((int)attempt, BACKOFF_MS, BACKOFF_MAX_MS);
    int64_t until = sp_deadline_in(delay > s->retry_after_ms ? delay : s->retry_after_ms);

    if (until >= s->call->send_deadline)
        return SP_E_TIMEOUT;
    return sp_pause_until(until, s->call->cancel_fd);
}

static bool surely_did_not_run(enum sp_code rc, const struct sp_result *out)
{
    return out->started == SP_STARTED_NO && (rc == SP_E_UNAVAILABLE || rc == SP_E_BUSY);
}

static enum sp_code send_until_answered(struct sending *s, struct sp_result *out,
                                        struct sp_error *err)
{
    for (int64_t attempt = 0;; attempt++) {
        enum sp_code rc = send_once(s, out, err);
        if (!surely_did_not_run(rc, out) || attempt >= s->call->max_retries)
            return rc;
        enum sp_code pause = back_off(s, attempt);
        if (pause == SP_E_CANCELLED)
            return sp_error_set(err, pause, "cancelled while waiting for the executor manager");
        if (pause)
            return rc;
    }
}

/* An id without its dashes is fit for a name in the program. */
static void make_suffix(const char *id, char out[ID_MAX])
{
    size_t n = 0;
    for (; *id && n < ID_MAX - 1; id++) {
        if (*id != '-')
            out[n++] = *id;
    }
    out[n] = '\0';
}

enum sp_code sp_service_run(struct sp_service *service, const struct sp_service_call *call,
                            struct sp_result *out, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf body = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    char suffix[ID_MAX];

    make_suffix(call->id, suffix);
    enum sp_code rc = sp_program_body(call->req, suffix, &body, err);
    if (rc)
        return rc;
    struct sending s = {
        .service = service, .call = call, .body = {sp_buf_str(&body), body.len}, .suffix = suffix};
    return send_until_answered(&s, out, err);
}

/* The status of the answer; 0: none came. */
static enum sp_code get_health(const struct sp_service *m, const struct sp_run *run, int *status,
                               struct sp_error *err)
{
    const char *const headers[HEADERS] = {m->authorization};
    const struct sp_http_request request = {
        .method = "GET",
        .url = m->health_url,
        .headers = headers,
        .max_body = HEALTH_BYTES_MAX,
        .connect_deadline = run->setup_deadline,
        .deadline = run->setup_deadline,
        .cancel_fd = run->cancel_fd,
    };
    sp_auto(sp_http_response_clear) struct sp_http_response response = {0};

    enum sp_code rc = sp_http_do(m->http, &request, &response, err);
    *status = response.status;
    return rc == SP_E_LIMIT ? SP_OK : rc; /* somebody's page: its status is enough */
}

/* What may have started has failed for a reason that may pass; what surely did not is refused. */
static enum sp_code lasting(enum sp_code rc, const struct sp_result *out)
{
    if (rc == SP_E_UNSUPPORTED)
        return SP_E_INVALID;
    return rc == SP_E_INVALID && out->started != SP_STARTED_NO ? SP_E_UNAVAILABLE : rc;
}

static enum sp_code check_health(const struct sp_service *m, const struct sp_run *run,
                                 struct sp_error *err)
{
    sp_auto(sp_result_clear) struct sp_result none = {0};
    int status = 0;

    enum sp_code rc = get_health(m, run, &status, err);
    if (rc)
        return sp_error_wrap(err, rc, "the executor manager does not answer");
    if (status == 200)
        return SP_OK;
    const struct sp_service_answer answer = {.http = status, .limits = &m->limits, .to_log = true};
    rc = sp_service_answer_read(&answer, &none, err);
    return sp_error_wrap(err, lasting(rc, &none), "the executor manager's /healthz");
}

/* A service that throttles runs programs. SP_E_TIMEOUT: it has the program, and no answer yet. */
static enum sp_code judge_probe(enum sp_code rc, const struct sp_result *out, struct sp_error *err)
{
    if (rc == SP_E_BUSY)
        return SP_OK;
    if (rc)
        return rc == SP_E_TIMEOUT ? SP_E_UNAVAILABLE : lasting(rc, out);
    if (out->outcome == SP_OUTCOME_CANCELLED)
        return sp_error_set(err, SP_E_CANCELLED, "cancelled");
    if (out->outcome == SP_OUTCOME_TIMEOUT && out->started == SP_STARTED_MAYBE)
        return sp_error_set(err, SP_E_TIMEOUT, "no answer within the time of the check");
    if (out->outcome == SP_OUTCOME_EXITED && out->exit_code == 0 &&
        strstr(out->out.text, PROBE_WORD))
        return SP_OK;
    return sp_error_set(err, SP_E_UNAVAILABLE, "a program that prints a word failed (exit_code %d)",
                        out->exit_code);
}

static enum sp_code probe(struct sp_service *m, enum sp_language language, const struct sp_run *run,
                          struct sp_error *err)
{
    sp_auto(sp_result_clear) struct sp_result out = {0};
    char code[64], id[37];
    int len = snprintf(code, sizeof(code), "%s('" PROBE_WORD "')",
                       language == SP_PYTHON ? "print" : "console.log");
    const struct sp_request req = {.language = language, .code = code, .code_len = (size_t)len};
    const struct sp_service_call call = {.req = &req,
                                         .id = id,
                                         .send_deadline = run->setup_deadline,
                                         .deadline = run->setup_deadline,
                                         .cancel_fd = run->cancel_fd,
                                         .to_log = true};

    sp_random_uuid(id);
    return judge_probe(sp_service_run(m, &call, &out, err), &out, err);
}

enum sp_code sp_service_check(struct sp_service *service, const struct sp_run *run,
                              struct sp_error *err)
{
    struct sp_error why = {0}, second = {0};

    enum sp_code rc = check_health(service, run, err);
    if (rc)
        return rc;
    rc = probe(service, SP_PYTHON, run, &why);
    if (rc == SP_E_TIMEOUT) {
        sp_log(SP_INFO, "check_unanswered", sp_s("provider", "self_managed"),
               sp_s("hint", "the executor manager is there, and busy"));
        return SP_OK;
    }
    if (rc == SP_E_UNAVAILABLE && !probe(service, SP_JAVASCRIPT, run, &second)) {
        sp_log(SP_WARN, "check_partly", sp_s("provider", "self_managed"),
               sp_s("language", "python"), sp_s("reason", why.msg));
        return SP_OK;
    }
    if (rc == SP_E_CANCELLED)
        return sp_error_set(err, rc, "%s", why.msg);
    return rc ? sp_error_set(err, rc, "the executor manager answers, but cannot run programs: %s",
                             why.msg)
              : SP_OK;
}
