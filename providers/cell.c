#include "providers/cell.h"

#include <stdio.h>
#include <string.h>

#include "base/json_out.h"
#include "base/json_slice.h"
#include "base/text.h"
#include "wrapper_texts.h" /* made by the build */

enum { SUFFIX_BYTES = 16, SUFFIX_HEX = 2 * SUFFIX_BYTES + 1 };

/* The line of code: text and job, each as base64, and what stands around them. */
static const struct {
    const char *text;
    size_t len;
    const char *before, *between, *after;
} drivers[] = {
    [SP_PYTHON] = {python_cell_text, sizeof(python_cell_text) - 1,
                   "exec(compile(__import__('base64').b64decode('",
                   "'), 'sandpiper_cell.py', 'exec'), {'SPACE': globals(), 'JOB': '",
                   "', '__builtins__': dict(vars(__import__('builtins')))})\n"},
    [SP_JAVASCRIPT] = {javascript_cell_text, sizeof(javascript_cell_text) - 1,
                       "(0, eval)('(async (require, __filename, JOB) => {' + Buffer.from('",
                       "', 'base64').toString() + '})\\n//# sourceURL=sandpiper_cell.cjs')"
                       "(require, 'sandpiper_cell.cjs', '",
                       "')\n"},
};

static void put_files(struct sp_json_out *json, const struct sp_request *req)
{
    sp_json_array(json, "files");
    for (size_t i = 0; i < req->n_files; i++) {
        sp_json_array(json, NULL);
        sp_json_str(json, NULL, req->files[i].name);
        sp_json_base64(json, NULL, req->files[i].data, req->files[i].len);
        sp_json_array_end(json);
    }
    sp_json_array_end(json);
}

static enum sp_code write_job(const struct sp_cell *cell, const struct sp_request *req,
                              struct sp_buf *out)
{
    struct sp_json_out json = SP_JSON_OUT(out);
    sp_json_object(&json, NULL);
    sp_json_base64(&json, "code", req->code, req->code_len);
    sp_json_base64(&json, "arguments", req->arguments, req->arguments_len);
    sp_json_str(&json, "marker", cell->marker);
    sp_json_bool(&json, "strict", req->strict_result);
    put_files(&json, req);
    sp_json_object_end(&json);
    return json.rc;
}

static enum sp_code write_line(enum sp_language language, const struct sp_buf *job,
                               struct sp_buf *out)
{
    enum sp_code rc = sp_buf_adds(out, drivers[language].before);
    if (!rc)
        rc = sp_base64_encode(drivers[language].text, drivers[language].len, out);
    if (!rc)
        rc = sp_buf_adds(out, drivers[language].between);
    if (!rc)
        rc = sp_base64_encode(job->data, job->len, out);
    return rc ? rc : sp_buf_adds(out, drivers[language].after);
}

enum sp_code sp_cell_write(struct sp_cell *cell, const struct sp_request *req, struct sp_buf *out,
                           struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf job = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    char suffix[SUFFIX_HEX];

    sp_random_hex(suffix, SUFFIX_BYTES);
    sp_marker_own(cell->marker, suffix);
    enum sp_code rc = write_job(cell, req, &job);
    if (!rc)
        rc = write_line(req->language, &job, out);
    return rc ? sp_error_set(err, rc, "cannot write the code to send: %s", sp_code_name(rc))
              : SP_OK;
}

/* The last line that begins with the marker; false: there is none. */
static bool find_line(const struct sp_cell *cell, const struct sp_buf *out, size_t *from,
                      size_t *to)
{
    size_t len = strlen(cell->marker);
    for (size_t at = out->len; at-- > 0;) {
        if ((at > 0 && out->data[at - 1] != '\n') || out->len - at < len ||
            memcmp(out->data + at, cell->marker, len) != 0)
            continue;
        const char *end = memchr(out->data + at, '\n', out->len - at);
        *from = at;
        *to = end ? (size_t)(end - out->data) : out->len;
        return true;
    }
    return false;
}

/* The line, its end, and the newline that the driver put before it. */
static void cut_line(struct sp_buf *out, size_t from, size_t to)
{
    if (to < out->len)
        to++;
    if (from > 0)
        from--;
    memmove(out->data + from, out->data + to, out->len - to);
    out->len -= to - from;
    out->data[out->len] = '\0';
}

enum sp_code sp_cell_read(const struct sp_cell *cell, struct sp_buf *out, struct sp_result *result,
                          bool *ended, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf doc = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    size_t from = 0, to = 0;

    *ended = out->len > 0 && find_line(cell, out, &from, &to);
    if (!*ended)
        return SP_OK;
    size_t skip = from + strlen(cell->marker);
    enum sp_code rc = sp_base64_decode(out->data + skip, to - skip, &doc);
    if (rc == SP_E_INVALID)
        return sp_error_set(err, rc, "result document: not base64");
    if (rc)
        return sp_error_set(err, rc, "result document: %s", sp_code_name(rc));
    cut_line(out, from, to);
    return sp_protocol_read_end(sp_buf_str(&doc), doc.len, result, err);
}
