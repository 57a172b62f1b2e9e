#include "providers/e2b/control.h"

#include <jansson.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/json_slice.h"
#include "base/text.h"

enum {
    CALL_MS = 60000,
    ANSWER_BYTES = 256 << 10,
    LIST_BYTES = 4 << 20,
    END_TRIES = 2,
    END_MS = 5000, /* of one that is of no use */
    ID_BYTES = sizeof(((struct sp_e2b_sandbox *)NULL)->id),
    DIGEST_SHOWN = 16, /* hex digits: enough to tell teams apart */
};
#define LABEL "sandpiper_run"

struct sp_e2b_control {
    char *api_url;  /* without a slash at its end */
    char *key_line; /* a header */
    char *name;
    char *template, *domain, *worker_id;
    bool allow_internet, secure;
    atomic_bool second; /* POST /sandboxes is no more: /v2/sandboxes */
    struct sp_http *http;
};

void sp_e2b_control_free(struct sp_e2b_control *control)
{
    if (!control)
        return;
    sp_http_free(control->http);
    sp_free_secret(control->key_line);
    free(control->api_url);
    free(control->name);
    free(control->template);
    free(control->domain);
    free(control->worker_id);
    free(control);
}

static enum sp_code check_key(const char *key, struct sp_error *err)
{
    if (!sp_utf8_valid(key, strlen(key)) || sp_utf8_has_control(key, strlen(key)))
        return sp_error_set(err, SP_E_INVALID, "api_key: must be one line of text");
    if (strncmp(key, "sk_e2b_", 7) == 0) {
        return sp_error_set(err, SP_E_INVALID,
                            "api_key: this is an access token of a user; sandboxes need the API "
                            "key of a team (e2b_...)");
    }
    return SP_OK;
}

/* NULL without memory. */
static char *join(const char *first, const char *second)
{
    char *text = NULL;
    return asprintf(&text, "%s%s", first, second) < 0 ? NULL : text;
}

static char *trimmed(const char *url)
{
    size_t len = strlen(url);

    while (len > 0 && url[len - 1] == '/')
        len--;
    return sp_memdup(url, len);
}

/* NULL without memory. */
static char *name_of(const char *api_url, const char *key)
{
    char digest[65], *name = NULL;

    sp_sha256_hex(key, strlen(key), digest);
    return asprintf(&name, "%s %.*s", api_url, DIGEST_SHOWN, digest) < 0 ? NULL : name;
}

static enum sp_code fill(struct sp_e2b_control *c, const struct sp_e2b_control_options *o,
                         struct sp_error *err)
{
    c->api_url = *o->api_url ? trimmed(o->api_url) : join("https://api.", o->domain);
    c->key_line = join("X-API-Key: ", o->api_key);
    c->name = c->api_url ? name_of(c->api_url, o->api_key) : NULL;
    c->template = sp_strdup(o->template);
    c->domain = sp_strdup(o->domain);
    c->worker_id = sp_strdup(o->worker_id);
    c->allow_internet = o->allow_internet;
    c->secure = o->secure;
    if (!c->api_url || !c->key_line || !c->name || !c->template || !c->domain || !c->worker_id)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    return sp_http_new(&c->http, err);
}

enum sp_code sp_e2b_control_new(const struct sp_e2b_control_options *options,
                                struct sp_e2b_control **out, struct sp_error *err)
{
    enum sp_code rc = check_key(options->api_key, err);
    if (rc)
        return rc;
    struct sp_e2b_control *c = calloc(1, sizeof(*c));
    if (!c)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    rc = fill(c, options, err);
    if (rc) {
        sp_e2b_control_free(c);
        return rc;
    }
    *out = c;
    return SP_OK;
}

const char *sp_e2b_control_name(const struct sp_e2b_control *control)
{
    return control->name;
}

/* What all calls share; the caller fills in the rest. path: below the API's address. */
struct request {
    struct sp_e2b_call call;
    const char *path, *idempotency; /* a header, of calls with a body; NULL: none */
};

static enum sp_code send_request(struct sp_e2b_control *c, const struct request *r,
                                 struct sp_http_response *out, struct sp_error *err)
{
    struct sp_e2b_call call = r->call;
    const char *const headers[] = {c->key_line, "Accept: application/json",
                                   call.request.body ? "Content-Type: application/json" : NULL,
                                   r->idempotency, NULL};
    sp_auto(sp_free_str) char *url = join(c->api_url, r->path);

    if (!url)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    call.request.url = url;
    call.request.headers = headers;
    call.request.deadline = sp_deadline_min(call.request.deadline, sp_deadline_in(CALL_MS));
    return sp_e2b_do(c->http, &call, out, err);
}

/* ---- making ---- */

/* NULL without memory, or with a text that is no UTF-8. The second version is always secure. */
static char *create_body(const struct sp_e2b_control *c, const struct sp_e2b_creation *with,
                         bool second)
{
    json_auto_t *body = json_pack("{s:s, s:I, s:{s:s, s:s}}", "templateID", c->template, "timeout",
                                  (json_int_t)with->ttl_s, "metadata", LABEL, with->label,
                                  "sandpiper_worker", c->worker_id);

    if (!body || (!second && json_object_set_new(body, "secure", json_boolean(c->secure))) ||
        (!c->allow_internet && json_object_set_new(body, "allow_internet_access", json_false())))
        return NULL;
    return json_dumps(body, JSON_COMPACT);
}

static enum sp_code create_at(struct sp_e2b_control *c, const struct sp_e2b_creation *with,
                              bool second, struct sp_http_response *out, bool *doubled,
                              struct sp_error *err)
{
    sp_auto(sp_free_str) char *body = create_body(c, with, second);
    char idempotency[96];

    if (!body)
        return sp_error_set(err, SP_E_INVALID, "create: the template or worker.id is no UTF-8");
    snprintf(idempotency, sizeof(idempotency), "Idempotency-Key: %s", with->label);
    struct request r = {.call = {.what = "create",
                                 .request = {.method = "POST",
                                             .body = body,
                                             .body_len = strlen(body),
                                             .max_body = ANSWER_BYTES,
                                             .deadline = with->limits.deadline,
                                             .cancel_fd = with->limits.cancel_fd},
                                 .repeat = true,
                                 .doubled = doubled},
                        .path = second ? "/v2/sandboxes" : "/sandboxes",
                        .idempotency = idempotency};
    return send_request(c, &r, out, err);
}

/* As the service is expected to say it one day. A template that is not there is a 404 as well. */
static bool is_withdrawn(const struct sp_http_response *response)
{
    return response->status == 405 || response->status == 410 ||
           (response->status == 404 && !strcasestr(sp_buf_str(&response->body), "template"));
}

/* The answer of a create that worked. */
static enum sp_code take_sandbox(struct sp_e2b_control *c, const struct sp_http_response *response,
                                 const struct sp_e2b_creation *with, struct sp_e2b_sandbox *out,
                                 bool *left, struct sp_error *err)
{
    struct sp_e2b_sandbox sandbox = {.id = ""};
    struct sp_error ignored;

    enum sp_code rc = sp_e2b_sandbox_read(sp_buf_str(&response->body), response->body.len,
                                          c->domain, c->secure, &sandbox, err);
    if (!rc) {
        *out = sandbox;
        return SP_OK;
    }
    int64_t end_by = sp_deadline_min(with->limits.deadline, sp_deadline_in(END_MS));
    *left = !*sandbox.id || sp_e2b_end(c, sandbox.id, end_by, &ignored);
    sp_e2b_sandbox_clear(&sandbox);
    return rc;
}

enum sp_code sp_e2b_create(struct sp_e2b_control *control, const struct sp_e2b_creation *with,
                           struct sp_e2b_sandbox *out, bool *left, struct sp_error *err)
{
    sp_auto(sp_http_response_clear) struct sp_http_response response = {0};
    bool second = atomic_load(&control->second);
    bool doubled = false;

    enum sp_code rc = create_at(control, with, second, &response, &doubled, err);
    if (rc && !second && response.sent == SP_STARTED_NO && is_withdrawn(&response)) {
        sp_http_response_clear(&response);
        rc = create_at(control, with, true, &response, &doubled, err);
        if (!rc)
            atomic_store(&control->second, true);
    }
    *left = rc && response.sent != SP_STARTED_NO;
    if (!rc)
        rc = take_sandbox(control, &response, with, out, left, err);
    if (!rc)
        out->doubled = doubled;
    return rc;
}

/* ---- ending ---- */

enum sp_code sp_e2b_end(struct sp_e2b_control *control, const char *id, int64_t deadline,
                        struct sp_error *err)
{
    char path[96];
    enum sp_code rc = SP_OK;

    if (!sp_e2b_is_id(id))
        return sp_error_set(err, SP_E_INVALID, "delete: not the id of a sandbox");
    snprintf(path, sizeof(path), "/sandboxes/%s", id);
    for (int i = 0; i < END_TRIES; i++) {
        sp_auto(sp_http_response_clear) struct sp_http_response response = {0};
        struct request r = {.call = {.what = "delete",
                                     .request = {.method = "DELETE",
                                                 .max_body = ANSWER_BYTES,
                                                 .deadline = deadline,
                                                 .cancel_fd = -1},
                                     .repeat = true,
                                     .to_log = true},
                            .path = path};
        rc = send_request(control, &r, &response, err);
        if (!rc || response.status == 404)
            return SP_OK;
    }
    return rc;
}

/* ---- lists ---- */

/* Scanned in place: a tree of many small values takes a hundred times their bytes. */
static enum sp_code read_list(const struct sp_http_response *response, struct sp_json_value *out,
                              struct sp_error *err)
{
    const struct sp_buf *body = &response->body;
    enum sp_code rc = sp_json_scan(sp_buf_str(body), body->len, out, NULL);

    if (rc == SP_E_NOMEM)
        return sp_error_set(err, rc, "out of memory");
    return !rc && out->type == SP_JSON_ARRAY
               ? SP_OK
               : sp_error_set(err, SP_E_INVALID, "list: the answer is no list; is api_url right?");
}

/* queries: "?..." or "", of the second version and of the first, which is all that older and
 * smaller services have. */
static enum sp_code ask_for_list(struct sp_e2b_control *c, const char *const queries[2],
                                 const struct sp_e2b_limits *limits, struct sp_http_response *out,
                                 struct sp_error *err)
{
    static const char *const versions[] = {"/v2/sandboxes", "/sandboxes"};
    char path[160];
    struct request r = {.call = {.what = "list",
                                 .request = {.method = "GET",
                                             .max_body = LIST_BYTES,
                                             .deadline = limits->deadline,
                                             .cancel_fd = limits->cancel_fd},
                                 .repeat = true,
                                 .to_log = true},
                        .path = path};
    enum sp_code rc = SP_OK;

    for (size_t i = 0; i < SP_COUNT(versions); i++) {
        sp_http_response_clear(out);
        snprintf(path, sizeof(path), "%s%s", versions[i], queries[i]);
        rc = send_request(c, &r, out, err);
        if (!rc || (out->status != 404 && out->status != 405))
            break;
    }
    return rc;
}

/* One of a list; its id, where it is of this label. */
static bool is_labelled(const struct sp_json_value *one, const char *label, char id[ID_BYTES])
{
    struct sp_json_value metadata, found, text;

    if (!sp_json_get(one, "metadata", &metadata) || !sp_json_get(&metadata, LABEL, &found) ||
        !sp_json_get(one, "sandboxID", &text) || text.type != SP_JSON_STRING ||
        text.raw.len - 2 >= ID_BYTES || !sp_json_text_is(&found, label))
        return false;
    memcpy(id, text.raw.data + 1, text.raw.len - 2);
    id[text.raw.len - 2] = '\0';
    return true;
}

/* A service that does not know the filter lists all sandboxes, so each is looked at. The first
 * failure counts. */
static enum sp_code end_listed(struct sp_e2b_control *control, const struct sp_json_value *list,
                               const char *label, int64_t deadline, struct sp_error *err)
{
    struct sp_json_iter it = sp_json_iter(list);
    struct sp_json_value one;
    struct sp_bytes key;
    enum sp_code rc = SP_OK;
    char id[ID_BYTES];

    while (sp_json_iter_next(&it, &key, &one)) {
        if (!is_labelled(&one, label, id))
            continue;
        struct sp_error ignored;
        enum sp_code ended = sp_e2b_end(control, id, deadline, rc ? &ignored : err);
        rc = rc ? rc : ended;
    }
    return rc;
}

enum sp_code sp_e2b_end_labelled(struct sp_e2b_control *control, const char *label,
                                 int64_t deadline, struct sp_error *err)
{
    sp_auto(sp_http_response_clear) struct sp_http_response response = {0};
    const struct sp_e2b_limits limits = {deadline, -1};
    struct sp_json_value list;
    char query[128];

    if (strspn(label, "0123456789abcdef-") != strlen(label))
        return sp_error_set(err, SP_E_INVALID, "list: not a label of ours");
    snprintf(query, sizeof(query), "?metadata=" LABEL "%%3D%.60s", label);
    enum sp_code rc =
        ask_for_list(control, (const char *const[]){query, query}, &limits, &response, err);
    if (!rc)
        rc = read_list(&response, &list, err);
    return rc ? rc : end_listed(control, &list, label, deadline, err);
}

/* ---- checking ---- */

enum sp_code sp_e2b_check(struct sp_e2b_control *control, const struct sp_e2b_limits *limits,
                          struct sp_error *err)
{
    sp_auto(sp_http_response_clear) struct sp_http_response response = {0};
    struct sp_json_value list;

    enum sp_code rc =
        ask_for_list(control, (const char *const[]){"?limit=1", ""}, limits, &response, err);
    if (rc == SP_E_LIMIT && response.status == 200)
        return SP_OK; /* there are many */
    return rc ? rc : read_list(&response, &list, err);
}
