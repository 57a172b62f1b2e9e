#include "providers/e2b/kernel.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_out.h"
#include "base/text.h"

enum {
    CALL_MS = 60000,
    CLOSE_MS = 1000, /* from the last line to the end of the answer */
    ANSWER_BYTES = 256 << 10,
    HEADERS = SP_E2B_PORT_HEADERS + 1,
};

/* Two texts as an object. */
static enum sp_code write_pair(struct sp_buf *out, const char *key, struct sp_bytes value,
                               const char *second_key, const char *second)
{
    struct sp_json_out json = SP_JSON_OUT(out);

    sp_json_object(&json, NULL);
    sp_json_text(&json, key, value.data, value.len);
    sp_json_str(&json, second_key, second);
    sp_json_object_end(&json);
    return json.rc;
}

static enum sp_code send_call(const struct sp_kernels *kernels, const struct sp_e2b_call *with,
                              const char *path, const struct sp_buf *body,
                              struct sp_http_response *out, struct sp_error *err)
{
    sp_auto(sp_free_str) char *url = NULL;
    const char *headers[HEADERS] = {NULL};
    struct sp_e2b_call call = *with;
    size_t n = 0;

    if (asprintf(&url, "%s%s", kernels->port->base, path) < 0) {
        url = NULL;
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    }
    for (; n < kernels->port->n_headers; n++)
        headers[n] = kernels->port->headers[n];
    headers[n] = "Content-Type: application/json";
    call.request.method = "POST";
    call.request.url = url;
    call.request.headers = headers;
    call.request.body = sp_buf_str(body);
    call.request.body_len = body->len;
    call.sandbox = true;
    enum sp_code rc = sp_e2b_do(kernels->http, &call, out, err);
    if (out->status == 502 && strstr(sp_buf_str(&out->body), "\"port\"")) {
        return sp_error_wrap(err, SP_E_INVALID,
                             "the template has no code interpreter (mode kernel needs one)");
    }
    return rc;
}

enum sp_code sp_kernels_add(const struct sp_kernels *kernels, enum sp_language language,
                            const char *folder, const struct sp_e2b_limits *limits, char **id,
                            struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf body = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_http_response_clear) struct sp_http_response response = {0};
    const struct sp_e2b_call call = {
        .what = "contexts",
        .request = {.max_body = ANSWER_BYTES,
                    .deadline = sp_deadline_min(limits->deadline, sp_deadline_in(CALL_MS)),
                    .cancel_fd = limits->cancel_fd}};
    const struct sp_bytes cwd = {folder, strlen(folder)};

    if (write_pair(&body, "cwd", cwd, "language", sp_language_name(language)))
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    enum sp_code rc = send_call(kernels, &call, "/contexts", &body, &response, err);
    if (rc)
        return rc;
    json_auto_t *root = json_loadb(sp_buf_str(&response.body), response.body.len, 0, NULL);
    const char *name = json_string_value(json_object_get(root, "id"));
    if (!name)
        return sp_error_set(err, SP_E_INVALID, "contexts: the answer names no context");
    *id = sp_strdup(name);
    return *id ? SP_OK : sp_error_set(err, SP_E_NOMEM, "out of memory");
}

/* ---- cells ---- */

struct running {
    struct sp_kernel_output *out;
    int64_t close_by; /* SP_NEVER before the last line */
};

static enum sp_code take_bytes(void *ctx, const char *data, size_t len, struct sp_error *err)
{
    struct running *r = ctx;

    enum sp_code rc = sp_kernel_output_feed(r->out, data, len, err);
    if (r->out->ended && r->close_by == SP_NEVER)
        r->close_by = sp_deadline_in(CLOSE_MS);
    return rc;
}

enum sp_code sp_kernels_run(const struct sp_kernels *kernels, const struct sp_kernel_cell *cell,
                            struct sp_kernel_output *out, enum sp_started *started,
                            struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf body = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_http_response_clear) struct sp_http_response response = {0};
    struct running running = {out, SP_NEVER};
    const struct sp_bytes code = {cell->code, cell->len};
    const struct sp_e2b_call call = {.what = "execute",
                                     .request = {.max_body = cell->max_bytes,
                                                 .on_body = take_bytes,
                                                 .on_body_ctx = &running,
                                                 .deadline = cell->limits.deadline,
                                                 .moving = &running.close_by,
                                                 .cancel_fd = cell->limits.cancel_fd}};

    *started = SP_STARTED_NO;
    if (write_pair(&body, "code", code, "context_id", cell->context))
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    enum sp_code rc = send_call(kernels, &call, "/execute", &body, &response, err);
    *started = out->began ? SP_STARTED_YES : response.sent;
    if (out->ended)
        return SP_OK;
    return rc ? rc
              : sp_error_set(err, SP_E_UNAVAILABLE,
                             "execute: the answer ended before the cell did");
}
