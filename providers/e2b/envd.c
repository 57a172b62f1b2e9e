#include "providers/e2b/envd.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_out.h"
#include "base/text.h"

enum { CALL_MS = 60000, LOOK_MS = 5000, ANSWER_BYTES = 256 << 10, BOUNDARY_BYTES = 16 };
#define OLD_USER "user"

void sp_envd_headers(const struct sp_envd *envd, const char *const *more,
                     const char *out[SP_ENVD_HEADERS])
{
    size_t n = 0;

    for (; n < envd->port->n_headers; n++)
        out[n] = envd->port->headers[n];
    while (*more)
        out[n++] = *more++;
    if (envd->old)
        out[n++] = "Authorization: Basic dXNlcjo="; /* "user:", which proves nothing */
    out[n] = NULL;
}

/* What all calls share. The address is freed here; NULL: there was no memory for it. */
static enum sp_code send_call(const struct sp_envd *envd, const struct sp_e2b_call *with,
                              char *taken, const struct sp_e2b_limits *limits,
                              struct sp_http_response *out, struct sp_error *err)
{
    sp_auto(sp_free_str) char *url = taken;
    struct sp_e2b_call call = *with;

    if (!url)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    call.sandbox = true;
    call.request.url = url;
    call.request.deadline = sp_deadline_min(limits->deadline, sp_deadline_in(CALL_MS));
    call.request.cancel_fd = limits->cancel_fd;
    return sp_e2b_do(envd->http, &call, out, err);
}

/* The buffer keeps its ceiling. */
static void hand_over(struct sp_http_response *response, struct sp_buf *out)
{
    size_t max = out->max;

    sp_buf_clear(out);
    *out = response->body;
    out->max = max;
    response->body = SP_BUF_INIT(0);
}

/* NULL without memory. */
static char *plain_url(const struct sp_envd *envd, const char *path)
{
    char *url = NULL;
    return asprintf(&url, "%s%s", envd->port->base, path) < 0 ? NULL : url;
}

/* ---- files ---- */

/* path: NULL for none. NULL without memory. */
static char *files_url(const struct sp_envd *envd, const char *path)
{
    sp_auto(sp_buf_clear) struct sp_buf url = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    bool any = path || envd->old;

    if (sp_buf_addf(&url, "%s/files%s", envd->port->base, any ? "?" : "") ||
        (envd->old && sp_buf_adds(&url, "username=" OLD_USER)) ||
        (path && sp_buf_adds(&url, envd->old ? "&path=" : "path=")) ||
        (path && sp_url_encode(path, "/", &url)))
        return NULL;
    return sp_buf_take(&url, NULL);
}

/* Whether every reader of forms takes this name for the same: they differ about all that would have
 * to be escaped. */
static bool is_plain(const char *path)
{
    for (; *path; path++) {
        if (!isalnum((unsigned char)*path) && !strchr("-._/ ", *path))
            return false;
    }
    return true;
}

static enum sp_code add_part(struct sp_buf *body, const char *boundary,
                             const struct sp_envd_file *file)
{
    enum sp_code rc = sp_buf_addf(body,
                                  "--%s\r\nContent-Disposition: form-data; name=\"file\"; "
                                  "filename=\"%s\"\r\nContent-Type: application/octet-stream"
                                  "\r\n\r\n",
                                  boundary, is_plain(file->path) ? file->path : "file");
    if (!rc && file->data.len > 0)
        rc = sp_buf_add(body, file->data.data, file->data.len);
    return rc ? rc : sp_buf_adds(body, "\r\n");
}

static enum sp_code make_form(const struct sp_envd_file *files, size_t n, const char *boundary,
                              struct sp_buf *body)
{
    enum sp_code rc = SP_OK;

    for (size_t i = 0; i < n && !rc; i++)
        rc = add_part(body, boundary, &files[i]);
    return rc ? rc : sp_buf_addf(body, "--%s--\r\n", boundary);
}

/* The content type says text, whatever it is. */
static enum sp_code read_path(const struct sp_buf *body, char **out, struct sp_error *err)
{
    json_auto_t *root = json_loadb(sp_buf_str(body), body->len, 0, NULL);
    const char *path = json_string_value(json_object_get(json_array_get(root, 0), "path"));

    if (!path || *path != '/')
        return sp_error_set(err, SP_E_INVALID, "upload: the answer names no file");
    *out = sp_strdup(path);
    return *out ? SP_OK : sp_error_set(err, SP_E_NOMEM, "out of memory");
}

/* One form. path: NULL where each part names its own. */
static enum sp_code put_form(const struct sp_envd *envd, const struct sp_envd_file *files, size_t n,
                             const char *path, const struct sp_e2b_limits *limits, char **first,
                             struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf body = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_http_response_clear) struct sp_http_response response = {0};
    char boundary[2 * BOUNDARY_BYTES + 1], type[96];
    const char *const more[] = {type, NULL};
    const char *headers[SP_ENVD_HEADERS];
    const struct sp_envd plain = {envd->http, envd->port, false}; /* the user is in the query */

    sp_random_hex(boundary, BOUNDARY_BYTES);
    snprintf(type, sizeof(type), "Content-Type: multipart/form-data; boundary=%s", boundary);
    sp_envd_headers(&plain, more, headers);
    if (make_form(files, n, boundary, &body))
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    const struct sp_e2b_call call = {.what = "upload",
                                     .request = {.method = "POST",
                                                 .headers = headers,
                                                 .body = sp_buf_str(&body),
                                                 .body_len = body.len,
                                                 .max_body = ANSWER_BYTES},
                                     .repeat = true};
    enum sp_code rc = send_call(envd, &call, files_url(envd, path), limits, &response, err);
    return rc || !first ? rc : read_path(&response.body, first, err);
}

enum sp_code sp_envd_put(const struct sp_envd *envd, const struct sp_envd_file *files, size_t n,
                         const struct sp_e2b_limits *limits, char **first, struct sp_error *err)
{
    for (size_t at = 0; at < n;) {
        size_t together = 0;
        while (at + together < n && is_plain(files[at + together].path))
            together++;
        size_t here = together > 0 ? together : 1;
        enum sp_code rc = put_form(envd, files + at, here, together > 0 ? NULL : files[at].path,
                                   limits, at == 0 ? first : NULL, err);
        if (rc)
            return rc;
        at += here;
    }
    return SP_OK;
}

enum sp_code sp_envd_get(const struct sp_envd *envd, const char *path,
                         const struct sp_e2b_limits *limits, struct sp_buf *out, bool *missing,
                         struct sp_error *err)
{
    sp_auto(sp_http_response_clear) struct sp_http_response response = {0};
    const struct sp_e2b_call call = {
        .what = "download",
        .request = {.method = "GET", .headers = envd->port->headers, .max_body = out->max},
        .repeat = true};

    enum sp_code rc = send_call(envd, &call, files_url(envd, path), limits, &response, err);
    if (missing)
        *missing = response.status == 404;
    if (rc && missing && *missing)
        return SP_OK;
    if (!rc)
        hand_over(&response, out);
    return rc;
}

/* ---- folders ---- */

/* Tells who wants to know it. */
static bool is_found(bool *out, bool found)
{
    if (out)
        *out = found;
    return out && found;
}

enum sp_code sp_envd_ask(const struct sp_envd *envd, const struct sp_envd_question *question,
                         const struct sp_e2b_limits *limits, struct sp_buf *out,
                         struct sp_error *err)
{
    static const char *const more[] = {"Content-Type: application/json",
                                       "Connect-Protocol-Version: 1", NULL};
    sp_auto(sp_buf_clear) struct sp_buf body = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_http_response_clear) struct sp_http_response response = {0};
    struct sp_json_out json = SP_JSON_OUT(&body);
    const char *headers[SP_ENVD_HEADERS];
    char path[96];

    sp_json_object(&json, NULL);
    sp_json_str(&json, "path", question->path);
    sp_json_object_end(&json);
    if (json.rc)
        return sp_error_set(err, json.rc, "out of memory");
    snprintf(path, sizeof(path), "/filesystem.Filesystem/%s", question->method);
    sp_envd_headers(envd, more, headers);
    const struct sp_e2b_call call = {.what = question->method,
                                     .request = {.method = "POST",
                                                 .headers = headers,
                                                 .body = sp_buf_str(&body),
                                                 .body_len = body.len,
                                                 .max_body = question->max_body},
                                     .type = "application/json",
                                     .repeat = true};
    enum sp_code rc = send_call(envd, &call, plain_url(envd, path), limits, &response, err);
    if (is_found(question->missing, response.status == 404) ||
        is_found(question->exists, rc == SP_E_INVALID && response.status == 409))
        return SP_OK;
    if (!rc)
        hand_over(&response, out);
    return rc;
}

enum sp_envd_state sp_envd_look(const struct sp_envd *envd, const struct sp_e2b_limits *limits)
{
    sp_auto(sp_http_response_clear) struct sp_http_response response = {0};
    const struct sp_e2b_limits soon = {sp_deadline_min(limits->deadline, sp_deadline_in(LOOK_MS)),
                                       limits->cancel_fd};
    const struct sp_e2b_call call = {
        .what = "health",
        .request = {.method = "GET", .headers = envd->port->headers, .max_body = ANSWER_BYTES}};

    (void)send_call(envd, &call, plain_url(envd, "/health"), &soon, &response, NULL);
    if (response.status / 100 == 2)
        return SP_ENVD_ALIVE;
    return response.status == 502 ? SP_ENVD_GONE : SP_ENVD_UNKNOWN;
}
