#include "providers/aliyun_codeinterpreter/agentrun.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "providers/aliyun_codeinterpreter/complaint.h"
#include "providers/pause.h"

enum {
    NONCE_BYTES = 16,
    CONNECT_MS = 5000,
    ANSWER_BYTES = 1 << 20,
    ATTEMPTS = 5,
    ATTEMPT_MS = 500, /* one without that much time would only hide why it was made */
    BACKOFF_MS = 250,
    BACKOFF_MAX_MS = 4000,
    HEADERS_MAX = SP_ALIYUN_HEADERS_MAX + 3, /* signed ones, two that are not, NULL */
};
#define VERSION "2025-09-10"
#define HOST_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._:[]"
#define JSON_TYPE "application/json; charset=utf-8"

struct plane {
    char *base;       /* scheme://host[:port] */
    const char *host; /* in base */
    struct sp_http *http;
};

struct sp_agentrun {
    struct sp_aliyun_key key; /* its texts are ours */
    struct plane control, data;
    char *address; /* for leases */
};

/* Of the key, whose texts are const to those who borrow it. */
static void free_text(const char *text)
{
    sp_free_secret((char *)(uintptr_t)text);
}

static void clear_plane(struct plane *plane)
{
    sp_http_free(plane->http);
    free(plane->base);
}

void sp_agentrun_free(struct sp_agentrun *service)
{
    if (!service)
        return;
    clear_plane(&service->control);
    clear_plane(&service->data);
    free(service->address);
    free_text(service->key.id);
    free_text(service->key.secret);
    free_text(service->key.token);
    free_text(service->key.region);
    free(service);
}

static bool is_given(const char *text)
{
    return text && *text;
}

/* The usual port of a scheme is not part of the Host header. */
static void cut(char *base)
{
    const char *usual = strncmp(base, "https:", 6) == 0 ? ":443" : ":80";
    size_t len = strlen(base);

    while (len > 0 && base[len - 1] == '/')
        len--;
    base[len] = '\0';
    if (len > strlen(usual) && strcmp(base + len - strlen(usual), usual) == 0)
        base[len - strlen(usual)] = '\0';
}

/* After the scheme; NULL: it is neither https nor http. */
static const char *host_of(const char *base)
{
    static const char *const schemes[] = {"https://", "http://"};

    for (size_t i = 0; i < SP_COUNT(schemes); i++) {
        if (strncmp(base, schemes[i], strlen(schemes[i])) == 0)
            return base + strlen(schemes[i]);
    }
    return NULL;
}

/* Sets where a plane is; takes base. A path or a user name would not be covered by the signature.
 */
static enum sp_code set_plane(struct plane *plane, const char *setting, char *base,
                              struct sp_error *err)
{
    plane->base = base;
    if (!base)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    cut(base);
    plane->host = host_of(base);
    if (!plane->host || !*plane->host || plane->host[strspn(plane->host, HOST_LETTERS)]) {
        return sp_error_set(err, SP_E_INVALID,
                            "%s: must be scheme://host or scheme://host:port, without a path, the "
                            "scheme being https or http",
                            setting);
    }
    return sp_http_new(&plane->http, err);
}

/* NULL without memory. */
static char *given_base(const char *endpoint)
{
    char *base = NULL;
    int n = asprintf(&base, "%s%s", strstr(endpoint, "://") ? "" : "https://", endpoint);
    return n < 0 ? NULL : base;
}

static char *control_base(const struct sp_agentrun_options *o)
{
    char *base = NULL;
    if (is_given(o->control_endpoint))
        return given_base(o->control_endpoint);
    int n = asprintf(&base, "https://agentrun.%s.aliyuncs.com", o->key.region);
    return n < 0 ? NULL : base;
}

/* What is signed with an access key goes to another host (reference 1.1); takes base. */
static char *with_ram(char *base)
{
    static const char suffix[] = "-ram";
    const char *dot = base ? strchr(base, '.') : NULL;
    size_t len = sizeof(suffix) - 1;

    if (!dot || (!strstr(dot, ".agentrun-data.") && !strstr(dot, ".funagent-data-pre.")) ||
        (size_t)(dot - base) < len || memcmp(dot - len, suffix, len) == 0)
        return base;
    sp_auto(sp_free_str) char *plain = base;
    char *other = NULL;
    int n = asprintf(&other, "%.*s%s%s", (int)(dot - plain), plain, suffix, dot);
    return n < 0 ? NULL : other;
}

static char *data_base(const struct sp_agentrun_options *o)
{
    char *base = NULL;
    if (is_given(o->data_endpoint))
        return with_ram(given_base(o->data_endpoint));
    int n =
        asprintf(&base, "https://%s.agentrun-data.%s.aliyuncs.com", o->account_id, o->key.region);
    return n < 0 ? NULL : with_ram(base);
}

static enum sp_code copy_key(struct sp_aliyun_key *to, const struct sp_aliyun_key *from,
                             struct sp_error *err)
{
    *to = (struct sp_aliyun_key){.id = sp_strdup(from->id),
                                 .secret = sp_strdup(from->secret),
                                 .token = sp_strdup(is_given(from->token) ? from->token : ""),
                                 .region = sp_strdup(from->region)};
    return to->id && to->secret && to->token && to->region
               ? SP_OK
               : sp_error_set(err, SP_E_NOMEM, "out of memory");
}

/* An endpoint of the user's own may lead to several accounts. */
static enum sp_code set_address(struct sp_agentrun *service, const char *account_id,
                                struct sp_error *err)
{
    if (asprintf(&service->address, "%s %s", service->data.base, account_id) >= 0)
        return SP_OK;
    service->address = NULL;
    return sp_error_set(err, SP_E_NOMEM, "out of memory");
}

enum sp_code sp_agentrun_new(const struct sp_agentrun_options *options, struct sp_agentrun **out,
                             struct sp_error *err)
{
    struct sp_agentrun *service = calloc(1, sizeof *service);
    if (!service)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    enum sp_code rc = copy_key(&service->key, &options->key, err);
    if (!rc)
        rc = set_plane(&service->control, "control_endpoint", control_base(options), err);
    if (!rc)
        rc = set_plane(&service->data, "data_endpoint", data_base(options), err);
    if (!rc)
        rc = set_address(service, options->account_id, err);
    if (rc) {
        sp_agentrun_free(service);
        return rc;
    }
    *out = service;
    return SP_OK;
}

const char *sp_agentrun_address(const struct sp_agentrun *service)
{
    return service->address;
}

void sp_agentrun_answer_clear(struct sp_agentrun_answer *answer)
{
    sp_http_response_clear(&answer->http);
    *answer = (struct sp_agentrun_answer){0};
}

/* ---- calls ---- */

static const struct plane *plane_of(const struct sp_agentrun *service,
                                    const struct sp_agentrun_call *call)
{
    return call->action ? &service->control : &service->data;
}

static enum sp_code sign(const struct sp_agentrun *service, const struct sp_agentrun_call *call,
                         struct sp_aliyun_headers *headers, struct sp_error *err)
{
    char nonce[2 * NONCE_BYTES + 1];
    const struct sp_aliyun_call signed_call = {
        .method = call->method,
        .host = plane_of(service, call)->host,
        .path = call->path,
        .query = call->query,
        .n_query = call->n_query,
        .content_type = call->action && call->json ? JSON_TYPE : NULL,
        .body = call->json,
        .body_len = call->json_len,
        .at = sp_wall_ms() / 1000,
        .action = call->action,
        .version = VERSION,
        .nonce = nonce,
    };

    sp_random_hex(nonce, NONCE_BYTES);
    return call->action ? sp_aliyun_sign_control(&service->key, &signed_call, headers, err)
                        : sp_aliyun_sign_data(&service->key, &signed_call, headers, err);
}

static enum sp_code write_url(const struct sp_agentrun *service,
                              const struct sp_agentrun_call *call, struct sp_buf *out,
                              struct sp_error *err)
{
    const struct sp_aliyun_call query = {.query = call->query, .n_query = call->n_query};
    enum sp_code rc = sp_buf_addf(out, "%s%s%s", plane_of(service, call)->base, call->path,
                                  call->n_query > 0 ? "?" : "");
    if (!rc)
        rc = sp_aliyun_query(&query, out);
    return rc ? sp_error_set(err, rc, "no memory for an address") : SP_OK;
}

/* Signed headers, and those that are not part of the signature. */
static void list_headers(const struct sp_agentrun_call *call,
                         const struct sp_aliyun_headers *signed_headers,
                         const char *lines[HEADERS_MAX])
{
    size_t n = 0;
    for (; n < signed_headers->n; n++)
        lines[n] = signed_headers->lines[n];
    lines[n++] = call->is_file ? "Accept: */*" : "Accept: application/json";
    if (!call->action && call->json)
        lines[n++] = "Content-Type: application/json";
    lines[n] = NULL;
}

static enum sp_code send_call(struct sp_agentrun *service, const struct sp_agentrun_call *call,
                              struct sp_http_response *out, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf url = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_aliyun_headers_clear) struct sp_aliyun_headers headers = {.n = 0};
    const char *lines[HEADERS_MAX];
    int64_t deadline = call->time->deadline;

    enum sp_code rc = write_url(service, call, &url, err);
    if (!rc)
        rc = sign(service, call, &headers, err);
    if (rc)
        return rc;
    list_headers(call, &headers, lines);
    const struct sp_http_request request = {
        .method = call->method,
        .url = sp_buf_str(&url),
        .headers = lines,
        .body = call->json,
        .body_len = call->json_len,
        .max_body = call->max_body > 0 ? call->max_body : ANSWER_BYTES,
        .connect_deadline = sp_deadline_min(deadline, sp_deadline_in(CONNECT_MS)),
        .deadline = deadline,
        .cancel_fd = call->time->cancel_fd,
    };
    return sp_http_do(plane_of(service, call)->http, &request, out, err);
}

/* A failure's code with a good status does not tell how far the service came. */
static bool is_refusal(enum sp_code rc, int status)
{
    return status / 100 != 2 &&
           (rc == SP_E_BUSY || rc == SP_E_DENIED || (status / 100 != 5 && status != 408));
}

enum sp_code sp_agentrun_do(struct sp_agentrun *service, const struct sp_agentrun_call *call,
                            struct sp_agentrun_answer *out, struct sp_error *err)
{
    const struct sp_http_response *http = &out->http;
    int64_t since = sp_mono_us();

    enum sp_code rc = send_call(service, call, &out->http, err);
    bool answered = !rc || (rc == SP_E_LIMIT && http->status / 100 != 2); /* by a long page */
    if (answered)
        rc = sp_complaint_read(call, out, err);
    out->unsure = rc && http->sent != SP_STARTED_NO && !(answered && is_refusal(rc, http->status));
    sp_log(SP_DEBUG, "agentrun_call", sp_s("call", call->what), sp_i("http", http->status),
           sp_s("code", sp_code_name(rc)), sp_s("service_code", out->code),
           sp_s("request_id", http->request_id), sp_i("took_us", sp_mono_us() - since));
    return rc;
}

static bool may_pass(enum sp_code rc)
{
    return rc == SP_E_BUSY || rc == SP_E_UNAVAILABLE;
}

enum sp_code sp_agentrun_insist(struct sp_agentrun *service, const struct sp_agentrun_call *call,
                                struct sp_agentrun_answer *out, struct sp_error *err)
{
    bool unsure = false;

    for (int attempt = 0;; attempt++) {
        sp_agentrun_answer_clear(out);
        enum sp_code rc = sp_agentrun_do(service, call, out, err);
        unsure |= out->unsure;
        out->unsure = unsure;
        out->was_repeat = attempt > 0;
        if (!may_pass(rc) || attempt + 1 >= ATTEMPTS)
            return rc;
        int64_t delay = sp_backoff_ms(attempt, BACKOFF_MS, BACKOFF_MAX_MS);
        int64_t asked = out->http.retry_after_ms;
        int64_t until = sp_deadline_in(delay > asked ? delay : asked);
        if (until + ATTEMPT_MS >= call->time->deadline)
            return rc;
        if (sp_pause_until(until, call->time->cancel_fd))
            return sp_error_set(err, SP_E_CANCELLED, "cancelled while waiting for AgentRun");
    }
}

bool sp_agentrun_data(const struct sp_agentrun_answer *answer, struct sp_json_value *out)
{
    const struct sp_buf *body = &answer->http.body;
    struct sp_json_value data;

    if (sp_json_scan(sp_buf_str(body), body->len, out, NULL) || out->type != SP_JSON_OBJECT)
        return false;
    if (sp_json_get(out, "data", &data) && data.type == SP_JSON_OBJECT)
        *out = data;
    return true;
}

bool sp_agentrun_text(const struct sp_json_value *object, const char *name, char *out, size_t size)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(size - 1);
    struct sp_json_value value;

    *out = '\0';
    if (!sp_json_get(object, name, &value) || value.type != SP_JSON_STRING ||
        sp_json_unescape(&value, &text) || sp_utf8_has_control(sp_buf_str(&text), text.len))
        return false;
    memcpy(out, sp_buf_str(&text), text.len + 1);
    return true;
}
