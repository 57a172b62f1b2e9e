#include "providers/aliyun_codeinterpreter/agentrun.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/json_slice.h"
#include "base/text.h"

enum { NONCE_BYTES = 16, CONNECT_MS = 5000, MESSAGE_SHOWN = 120 };
#define VERSION "2025-09-10"
#define JSON_TYPE "application/json; charset=utf-8"

struct plane {
    char *base;       /* scheme://host[:port], without a slash at its end */
    const char *host; /* in base */
};

struct sp_agentrun {
    struct sp_aliyun_key key; /* its texts are ours */
    struct plane control, data;
    struct sp_http *http;
};

static void free_secret(const char *text)
{
    if (text)
        explicit_bzero((char *)(uintptr_t)text, strlen(text));
    free((char *)(uintptr_t)text);
}

void sp_agentrun_free(struct sp_agentrun *service)
{
    if (!service)
        return;
    sp_http_free(service->http);
    free_secret(service->key.id);
    free_secret(service->key.secret);
    free_secret(service->key.token);
    free_secret(service->key.region);
    free(service->control.base);
    free(service->data.base);
    free(service);
}

/* Takes base. */
static enum sp_code set_plane(struct plane *plane, char *base, struct sp_error *err)
{
    if (!base)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    plane->base = base;
    for (size_t len = strlen(base); len > 0 && base[len - 1] == '/'; len--)
        base[len - 1] = '\0';
    const char *host = strstr(base, "://");
    plane->host = host ? host + 3 : base;
    return SP_OK;
}

static bool is_given(const char *text)
{
    return text && *text;
}

/* Requests that are signed with an access key go to another host (reference 1.1). */
static char *data_base(const struct sp_agentrun_options *o)
{
    char *base = NULL;
    int n = is_given(o->data_endpoint) ? asprintf(&base, "%s", o->data_endpoint)
                                       : asprintf(&base, "https://%s.agentrun-data.%s.aliyuncs.com",
                                                  o->account_id, o->key.region);
    if (n < 0)
        return NULL;
    const char *host = strstr(base, "://");
    const char *dot = host ? strchr(host, '.') : NULL;
    if (!dot || strncmp(dot, ".agentrun-data.", 15) != 0 || strncmp(dot - 4, "-ram", 4) == 0)
        return base;
    sp_auto(sp_free_str) char *plain = base;
    n = asprintf(&base, "%.*s-ram%s", (int)(dot - plain), plain, dot);
    return n < 0 ? NULL : base;
}

static char *control_base(const struct sp_agentrun_options *o)
{
    char *base = NULL;
    int n = is_given(o->control_endpoint)
                ? asprintf(&base, "%s", o->control_endpoint)
                : asprintf(&base, "https://agentrun.%s.aliyuncs.com", o->key.region);
    return n < 0 ? NULL : base;
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

enum sp_code sp_agentrun_new(const struct sp_agentrun_options *options, struct sp_agentrun **out,
                             struct sp_error *err)
{
    sp_auto(sp_agentrun_free) struct sp_agentrun *service = calloc(1, sizeof *service);
    if (!service)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    enum sp_code rc = copy_key(&service->key, &options->key, err);
    if (!rc)
        rc = set_plane(&service->control, control_base(options), err);
    if (!rc)
        rc = set_plane(&service->data, data_base(options), err);
    if (!rc)
        rc = sp_http_new(&service->http, err);
    if (!rc)
        *out = SP_TAKE(service);
    return rc;
}

void sp_agentrun_answer_clear(struct sp_agentrun_answer *answer)
{
    sp_http_response_clear(&answer->http);
}

/* ---- failures (reference 6) ---- */

/* What the service says of a failure, wherever it says it. Borrowed from the parsed body. */
struct complaint {
    const char *code, *message, *request_id;
};

static const char *text_of(json_t *object, const char *lower, const char *upper)
{
    const char *text = json_string_value(json_object_get(object, lower));
    if (!text)
        text = json_string_value(json_object_get(object, upper));
    return text ? text : "";
}

static struct complaint read_complaint(json_t *root)
{
    json_t *inner = json_object_get(root, "error");
    json_t *holder = json_is_object(inner) ? inner : root;
    return (struct complaint){text_of(holder, "code", "Code"),
                              text_of(holder, "message", "Message"),
                              text_of(root, "requestId", "RequestId")};
}

/* The first row that fits; NULL and 0 fit everything. */
static const struct {
    int status;
    const char *code; /* part of it */
    enum sp_code rc;
} meanings[] = {
    {0, "Throttling", SP_E_BUSY},
    {429, NULL, SP_E_BUSY},
    {0, "InvalidAccessKeyId", SP_E_DENIED}, /* also with 404 */
    {0, "SignatureDoesNotMatch", SP_E_DENIED},
    {0, "IncompleteSignature", SP_E_DENIED},
    {0, "InvalidTimeStamp", SP_E_DENIED},
    {0, "SecurityToken", SP_E_DENIED},
    {401, NULL, SP_E_DENIED},
    {403, NULL, SP_E_DENIED},
    {500, NULL, SP_E_INVALID},
    {502, NULL, SP_E_UNAVAILABLE},
    {503, NULL, SP_E_UNAVAILABLE},
    {504, NULL, SP_E_UNAVAILABLE},
    {0, NULL, SP_E_INVALID},
};

static enum sp_code meaning_of(int status, const char *code)
{
    size_t i = 0;
    while ((meanings[i].status && meanings[i].status != status) ||
           (meanings[i].code && !strstr(code, meanings[i].code)))
        i++;
    return meanings[i].rc;
}

/* Gone is a sandbox, a context or a template, and never a key (reference 6.2). */
static bool means_gone(enum sp_code rc, int status, const char *message)
{
    return rc == SP_E_INVALID && (status == 404 || strcasestr(message, "sandbox not found"));
}

static enum sp_code complain(const struct sp_agentrun_call *call, struct sp_agentrun_answer *out,
                             const struct complaint *c, struct sp_error *err)
{
    int status = out->http.status;
    size_t shown = sp_utf8_floor(c->message, strnlen(c->message, MESSAGE_SHOWN));

    snprintf(out->code, sizeof(out->code), "%s", c->code);
    if (*c->request_id)
        snprintf(out->http.request_id, sizeof(out->http.request_id), "%s", c->request_id);
    enum sp_code rc = meaning_of(status, c->code);
    out->gone = means_gone(rc, status, c->message);
    return sp_error_set(err, rc, "AgentRun refuses %s: HTTP %d%s%s%s%.*s%s%s%s",
                        call->action ? call->action : call->method, status, *c->code ? " " : "",
                        c->code, shown > 0 ? ": " : "", (int)shown, c->message,
                        *out->http.request_id ? " (request " : "", out->http.request_id,
                        *out->http.request_id ? ")" : "");
}

/* A good status may come with a code that is not "SUCCESS". */
static bool says_failure(const struct sp_buf *body)
{
    struct sp_json_value root, code;
    return !sp_json_scan(sp_buf_str(body), body->len, &root, NULL) && root.type == SP_JSON_OBJECT &&
           sp_json_get(&root, "code", &code) && code.type == SP_JSON_STRING &&
           !sp_json_key_is((struct sp_bytes){code.raw.data + 1, code.raw.len - 2}, "SUCCESS");
}

static enum sp_code judge(const struct sp_agentrun_call *call, struct sp_agentrun_answer *out,
                          struct sp_error *err)
{
    const struct sp_buf *body = &out->http.body;
    if (out->http.status / 100 == 2 && !says_failure(body))
        return SP_OK;

    json_auto_t *root = json_loadb(sp_buf_str(body), body->len, JSON_ALLOW_NUL, NULL);
    struct complaint c = read_complaint(root);
    if (!root && strcmp(out->http.content_type, "text/plain") == 0)
        c.message = sp_buf_str(body);
    return complain(call, out, &c, err);
}

/* ---- calls ---- */

static enum sp_code sign(const struct sp_agentrun *service, const struct sp_agentrun_call *call,
                         struct sp_aliyun_headers *headers, struct sp_error *err)
{
    char nonce[2 * NONCE_BYTES + 1];
    const struct plane *plane = call->action ? &service->control : &service->data;
    const struct sp_aliyun_call signed_call = {
        .method = call->method,
        .host = plane->host,
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
    const struct plane *plane = call->action ? &service->control : &service->data;
    const struct sp_aliyun_call query = {.query = call->query, .n_query = call->n_query};
    enum sp_code rc =
        sp_buf_addf(out, "%s%s%s", plane->base, call->path, call->n_query > 0 ? "?" : "");
    if (!rc)
        rc = sp_aliyun_query(&query, out);
    return rc ? sp_error_set(err, rc, "no memory for an address") : SP_OK;
}

/* Signed headers, and those that are not part of the signature. */
static void list_headers(const struct sp_agentrun_call *call,
                         const struct sp_aliyun_headers *signed_headers,
                         const char *lines[SP_ALIYUN_HEADERS_MAX + 3])
{
    size_t n = 0;
    for (; n < signed_headers->n; n++)
        lines[n] = signed_headers->lines[n];
    lines[n++] = "Accept: application/json";
    if (!call->action && call->json)
        lines[n++] = "Content-Type: application/json";
    lines[n] = NULL;
}

enum sp_code sp_agentrun_do(struct sp_agentrun *service, const struct sp_agentrun_call *call,
                            struct sp_agentrun_answer *out, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf url = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_aliyun_headers_clear) struct sp_aliyun_headers headers = {.n = 0};
    const char *lines[SP_ALIYUN_HEADERS_MAX + 3];

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
        .max_body = call->max_body,
        .connect_deadline = sp_deadline_min(call->deadline, sp_deadline_in(CONNECT_MS)),
        .deadline = call->deadline,
        .cancel_fd = call->cancel_fd,
    };
    rc = sp_http_do(service->http, &request, &out->http, err);
    return rc ? rc : judge(call, out, err);
}
