#include "providers/self_managed/program.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_out.h"
#include "epilogue_texts.h" /* made by the build */
#include "providers/protocol.h"

enum { NUMBER_MAX = 300 }; /* characters; Python's limit is 4300 digits, a double's 309 */

static const struct {
    const char *name, *epilogue;
} languages[] = {
    [SP_PYTHON] = {"python", python_text},
    [SP_JAVASCRIPT] = {"nodejs", javascript_text},
};

const char *sp_program_language(enum sp_language language)
{
    return languages[language].name;
}

/* The text with each placeholder that comes first replaced. */
static enum sp_code add_epilogue(struct sp_buf *out, const char *text, const char *suffix,
                                 bool strict)
{
    const char *const words[][2] = {{"RUNID", suffix}, {"STRICT", strict ? "true" : "false"}};
    enum sp_code rc = SP_OK;

    while (*text && !rc) {
        const char *next = NULL;
        size_t word = 0;
        for (size_t i = 0; i < SP_COUNT(words); i++) {
            const char *found = strstr(text, words[i][0]);
            if (found && (!next || found < next)) {
                next = found;
                word = i;
            }
        }
        if (!next)
            return sp_buf_adds(out, text);
        rc = sp_buf_add(out, text, (size_t)(next - text));
        if (!rc)
            rc = sp_buf_adds(out, words[word][1]);
        text = next + strlen(words[word][0]);
    }
    return rc;
}

/* The manager's check takes a byte-order mark for a wrong character. */
static struct sp_bytes without_mark(const char *code, size_t len)
{
    size_t mark = len >= 3 && memcmp(code, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    return (struct sp_bytes){code + mark, len - mark};
}

/* Where the number or the string at `at` ends; *fits: the manager, in Python, can carry it. It
 * fails on the escape of a lone surrogate, and on more digits than its limit. */
static const char *skip_string(const char *at, const char *end, bool *fits)
{
    for (at++; at < end && *at != '"'; at++) {
        if (*at != '\\')
            continue;
        at++;
        if (end - at > 2 && at[0] == 'u' && (at[1] == 'd' || at[1] == 'D') && at[2] >= '8')
            *fits = false; /* half of a pair, or alone */
    }
    return at + 1;
}

static const char *skip_number(const char *at, bool *fits)
{
    size_t len = strspn(at, "+-.0123456789eE");
    *fits = *fits && len <= NUMBER_MAX && isfinite(strtod(at, NULL));
    return at + len;
}

/* text: a JSON object, NUL-terminated. */
static bool fits_manager(const char *text, size_t len)
{
    const char *at = text, *end = text + len;
    bool fits = true;

    while (fits && at < end) {
        if (*at == '"') {
            at = skip_string(at, end, &fits);
        } else if (*at == '-' || (*at >= '0' && *at <= '9')) {
            at = skip_number(at, &fits);
        } else {
            at++;
        }
    }
    return fits;
}

static void add_arguments(struct sp_json_out *j, const struct sp_request *req, const char *suffix)
{
    char key[SP_MARKER_SUFFIX_MAX + 16];

    if (!req->arguments || fits_manager(req->arguments, req->arguments_len)) {
        sp_json_raw(j, "arguments", req->arguments ? req->arguments : "{}",
                    req->arguments ? req->arguments_len : 2);
        return;
    }
    snprintf(key, sizeof(key), "_sandpiper_%.*s", SP_MARKER_SUFFIX_MAX, suffix);
    sp_json_object(j, "arguments");
    sp_json_text(j, key, req->arguments, req->arguments_len);
    sp_json_object_end(j);
}

enum sp_code sp_program_body(const struct sp_request *req, const char *suffix, struct sp_buf *out,
                             struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf code = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_bytes program = without_mark(req->code, req->code_len);
    struct sp_json_out j = SP_JSON_OUT(out);

    enum sp_code rc = sp_buf_add(&code, program.data, program.len);
    if (!rc)
        rc = add_epilogue(&code, languages[req->language].epilogue, suffix, req->strict_result);
    if (!rc) {
        sp_json_object(&j, NULL);
        sp_json_base64(&j, "code_b64", sp_buf_str(&code), code.len);
        sp_json_str(&j, "language", languages[req->language].name);
        add_arguments(&j, req, suffix);
        sp_json_object_end(&j);
        rc = j.rc;
    }
    return rc ? sp_error_set(err, rc, "no memory for the request's body") : SP_OK;
}
