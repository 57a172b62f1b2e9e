/* The value of a program's main: the private channel's document, the marker line, the echo. */
#include "providers/protocol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_slice.h"
#include "base/text.h"
#include "wrapper_texts.h" /* made by the build */

/* The longest raw text of a warning in the result document. */
enum { WARNING_MAX = 4096 };
#define TIME_MAX_US (1000000LL * 86400) /* nobody waits for a day */

static const struct sp_json_value json_null = {.raw = {"null", 4}, .type = SP_JSON_NULL};

static const struct sp_wrapper wrappers[] = {
    [SP_PYTHON] = {python_text, sizeof(python_text) - 1, "sandpiper_run.py", "main.py"},
    [SP_JAVASCRIPT] = {javascript_text, sizeof(javascript_text) - 1, "sandpiper_run.cjs",
                       "main.js"},
};

const struct sp_wrapper *sp_wrapper(enum sp_language language)
{
    return &wrappers[language];
}

static enum sp_code set_value(struct sp_result *result, struct sp_bytes raw)
{
    char *copy = sp_memdup(raw.data, raw.len);
    if (!copy)
        return SP_E_NOMEM;
    free(result->result_value);
    result->result_value = copy;
    result->result_value_len = raw.len;
    result->result_present = true;
    return SP_OK;
}

enum sp_code sp_protocol_keep_value(struct sp_result *result, const struct sp_json_value *value)
{
    if (value->depth <= SP_VALUE_DEPTH_MAX)
        return set_value(result, value->raw);
    sp_result_warn(result, "the value is nested deeper than %d levels, null stands in its place",
                   SP_VALUE_DEPTH_MAX);
    return set_value(result, json_null.raw);
}

/* The members of the result document. */
enum { PRESENT, VALUE, WARNING, LIMIT, EXIT, TIME, N_MEMBERS };
static const char *const member_names[] = {
    [PRESENT] = "present", [VALUE] = "value", [WARNING] = "warning",
    [LIMIT] = "limit",     [EXIT] = "exit",   [TIME] = "us"};

struct document {
    struct sp_json_value member[N_MEMBERS];
    bool has[N_MEMBERS];
};

static enum sp_code read_members(const struct sp_json_value *root, struct document *doc,
                                 struct sp_error *err)
{
    struct sp_json_iter it = sp_json_iter(root);
    struct sp_json_value value;
    struct sp_bytes key;

    while (sp_json_iter_next(&it, &key, &value)) {
        size_t i = 0;
        while (i < N_MEMBERS && !sp_json_key_is(key, member_names[i]))
            i++;
        if (i == N_MEMBERS || doc->has[i])
            return sp_error_set(err, SP_E_INVALID, "result document: unknown or repeated member");
        doc->member[i] = value;
        doc->has[i] = true;
    }
    return SP_OK;
}

static bool is_true(const struct sp_json_value *value)
{
    return value->type == SP_JSON_BOOL && value->raw.data[0] == 't';
}

/* A member that may be left out has this type. */
static bool is_type(const struct document *doc, int member, enum sp_json_type type)
{
    return !doc->has[member] || doc->member[member].type == type;
}

static bool is_sound(const struct document *doc)
{
    const struct sp_json_value *limit = &doc->member[LIMIT], *warning = &doc->member[WARNING];
    bool present = doc->has[PRESENT] && is_true(&doc->member[PRESENT]);

    return is_type(doc, PRESENT, SP_JSON_BOOL) && present == doc->has[VALUE] &&
           is_type(doc, WARNING, SP_JSON_STRING) && warning->raw.len <= WARNING_MAX &&
           (!doc->has[LIMIT] || sp_json_text_is(limit, "memory"));
}

/* 0 to max; anything else gives `other`. */
static int64_t number_of(const struct sp_json_value *value, int64_t max, int64_t other)
{
    (void)sp_json_i64(value, 0, max, &other);
    return other;
}

static enum sp_code take_document(const struct document *doc, struct sp_result *result)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(WARNING_MAX);
    enum sp_code rc = SP_OK;

    if (doc->has[VALUE])
        rc = sp_protocol_keep_value(result, &doc->member[VALUE]);
    if (!rc && doc->has[WARNING])
        rc = sp_json_unescape(&doc->member[WARNING], &text);
    if (rc)
        return rc;
    if (text.len > 0)
        sp_result_warn(result, "%s", sp_buf_str(&text));
    if (doc->has[EXIT])
        result->exit_code = (int)number_of(&doc->member[EXIT], 255, -1);
    if (doc->has[TIME])
        result->execution_us = number_of(&doc->member[TIME], TIME_MAX_US, 0);
    if (doc->has[LIMIT]) {
        result->outcome = SP_OUTCOME_LIMIT;
        result->limit = "memory";
    }
    return SP_OK;
}

/* Where a process of ours ends, the document does not say how. */
static enum sp_code read_document(const char *doc, size_t len, bool with_end,
                                  struct sp_result *result, struct sp_error *err)
{
    struct sp_json_value root;
    struct document members = {0};

    enum sp_code rc = sp_json_scan(doc, len, &root, err);
    if (rc)
        return sp_error_wrap(err, rc, "result document");
    if (root.type != SP_JSON_OBJECT)
        return sp_error_set(err, SP_E_INVALID, "result document: not an object");
    rc = read_members(&root, &members, err);
    if (rc)
        return rc;
    if (!is_sound(&members) || members.has[EXIT] != with_end || members.has[TIME] != with_end)
        return sp_error_set(err, SP_E_INVALID, "result document: members of wrong type or place");
    rc = take_document(&members, result);
    return rc ? sp_error_set(err, rc, "result document: out of memory") : SP_OK;
}

enum sp_code sp_protocol_read(const char *doc, size_t len, struct sp_result *result,
                              struct sp_error *err)
{
    return len > 0 ? read_document(doc, len, false, result, err) : SP_OK;
}

enum sp_code sp_protocol_read_end(const char *doc, size_t len, struct sp_result *result,
                                  struct sp_error *err)
{
    return read_document(doc, len, true, result, err);
}

/* One pass over the lines of stdout, which closes the gaps of the lines that it takes out. */
struct scan {
    struct sp_result *result;
    const char *own; /* this run's marker; NULL: there is none */
    struct sp_buf json;
    struct sp_buf best; /* the value so far, raw */
    struct sp_buf warning;
    bool best_is_own;
};

static void scan_clear(struct scan *scan)
{
    sp_buf_clear(&scan->json);
    sp_buf_clear(&scan->best);
    sp_buf_clear(&scan->warning);
}
SP_AUTO_CLEAR(struct scan, scan_clear)

/* Our own text was printed there: its warning is the run's. The last one stands, since a program
 * can print such lines without end. */
static enum sp_code take_warning(struct scan *scan, const struct sp_json_value *root)
{
    struct sp_json_value warning;

    if (!sp_json_get(root, "warning", &warning) || warning.type != SP_JSON_STRING)
        return SP_OK;
    sp_buf_reset(&scan->warning);
    enum sp_code rc = sp_json_unescape(&warning, &scan->warning);
    if (rc != SP_E_LIMIT)
        return rc;
    sp_buf_reset(&scan->warning);
    return SP_OK;
}

/* SP_E_INVALID: not base64 of a JSON object. A marker without a value leaves *value untouched. */
static enum sp_code decode_payload(struct scan *scan, struct sp_bytes payload, bool own,
                                   struct sp_json_value *value)
{
    struct sp_json_value root, present;

    if (payload.len == 0)
        return SP_E_INVALID;
    sp_buf_reset(&scan->json);
    enum sp_code rc = sp_base64_decode(payload.data, payload.len, &scan->json);
    if (!rc)
        rc = sp_json_scan(sp_buf_str(&scan->json), scan->json.len, &root, NULL);
    if (rc)
        return rc;
    if (root.type != SP_JSON_OBJECT)
        return SP_E_INVALID;
    if (sp_json_get(&root, "present", &present) && is_true(&present) &&
        !sp_json_get(&root, "value", value))
        *value = json_null;
    return own ? take_warning(scan, &root) : SP_OK;
}

/* The last value wins, but never over one with this run's own marker. */
static enum sp_code keep_best(struct scan *scan, const struct sp_json_value *value, bool own)
{
    if (value->raw.len == 0 || (scan->best_is_own && !own))
        return SP_OK;
    scan->best_is_own = own;
    sp_buf_reset(&scan->best);
    return sp_buf_add(&scan->best, value->raw.data, value->raw.len);
}

static size_t prefix_len(struct sp_bytes line, const char *prefix)
{
    size_t len = prefix ? strlen(prefix) : 0;
    return line.len >= len && memcmp(line.data, prefix ? prefix : "", len) == 0 ? len : 0;
}

/* *taken: the line is a marker that could be read. *own: it is this run's. */
static enum sp_code take_line(struct scan *scan, struct sp_bytes line, bool *taken, bool *own)
{
    struct sp_json_value value = {0};
    size_t len = prefix_len(line, scan->own);

    *taken = false;
    *own = len > 0;
    if (len == 0)
        len = prefix_len(line, SP_MARKER);
    if (len == 0)
        return SP_OK;
    enum sp_code rc =
        decode_payload(scan, (struct sp_bytes){line.data + len, line.len - len}, *own, &value);
    if (rc == SP_E_INVALID)
        return SP_OK;
    *taken = true;
    return rc ? rc : keep_best(scan, &value, *own);
}

static enum sp_code scan_lines(struct scan *scan, struct sp_stream *out)
{
    size_t to = 0, at = 0;
    while (at < out->len) {
        bool taken, own;
        const char *lf = memchr(out->text + at, '\n', out->len - at);
        size_t len = lf ? (size_t)(lf - (out->text + at)) : out->len - at;
        size_t with_lf = len + (lf != NULL);
        enum sp_code rc = take_line(scan, (struct sp_bytes){out->text + at, len}, &taken, &own);
        if (rc)
            return rc;
        if (!taken) {
            memmove(out->text + to, out->text + at, with_lf);
            to += with_lf;
        } else if (own && to > 0 && out->text[to - 1] == '\n') {
            to--; /* our marker starts with a newline of its own */
        }
        at += with_lf;
    }
    if (to < out->len)
        out->text[to] = '\0';
    out->len = to;
    return SP_OK;
}

void sp_marker_own(char out[SP_MARKER_MAX], const char *suffix)
{
    snprintf(out, SP_MARKER_MAX, "__RAGFLOW_RESULT_%.*s__:", SP_MARKER_SUFFIX_MAX, suffix);
}

enum sp_code sp_protocol_take_marker(struct sp_result *result, const char *suffix)
{
    char own[SP_MARKER_MAX];
    sp_auto(scan_clear) struct scan scan = {.result = result,
                                            .json = SP_BUF_INIT(SP_BUF_UNBOUNDED),
                                            .best = SP_BUF_INIT(SP_BUF_UNBOUNDED),
                                            .warning = SP_BUF_INIT(WARNING_MAX)};
    struct sp_json_value value;

    if (suffix) {
        sp_marker_own(own, suffix);
        scan.own = own;
    }
    enum sp_code rc = scan_lines(&scan, &result->out);
    if (!rc && scan.warning.len > 0)
        sp_result_warn(result, "%s", sp_buf_str(&scan.warning));
    if (rc || result->result_present || scan.best.len == 0)
        return rc;
    rc = sp_json_scan(sp_buf_str(&scan.best), scan.best.len, &value, NULL);
    return rc ? rc : sp_protocol_keep_value(result, &value);
}

/* The value without the blanks between its tokens. */
static enum sp_code add_compact(struct sp_buf *out, const char *raw, size_t len)
{
    enum sp_code rc = sp_buf_reserve(out, len);
    bool in_string = false;

    for (size_t i = 0; i < len && !rc; i++) {
        if (!in_string && strchr(" \t\r\n", raw[i]))
            continue;
        if (raw[i] == '"')
            in_string = !in_string;
        rc = sp_buf_addc(out, raw[i]);
        if (!rc && in_string && raw[i] == '\\' && i + 1 < len)
            rc = sp_buf_addc(out, raw[++i]);
    }
    return rc;
}

/* stdout as it is, then the value on a line of its own. */
static enum sp_code add_echo(struct sp_buf *text, const struct sp_stream *out,
                             const struct sp_json_value *value)
{
    enum sp_code rc = out->len > 0 ? sp_buf_add(text, out->text, out->len) : SP_OK;

    if (!rc && out->len > 0 && out->text[out->len - 1] != '\n')
        rc = sp_buf_addc(text, '\n');
    if (!rc) {
        rc = value->type == SP_JSON_STRING ? sp_json_unescape(value, text)
                                           : add_compact(text, value->raw.data, value->raw.len);
    }
    return rc ? rc : sp_buf_addc(text, '\n');
}

enum sp_code sp_protocol_echo_value(struct sp_result *result)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_value value;
    size_t len = 0;

    if (!result->result_present)
        return SP_OK;
    enum sp_code rc = sp_json_scan(result->result_value, result->result_value_len, &value, NULL);
    if (!rc)
        rc = add_echo(&text, &result->out, &value);
    if (rc)
        return rc;
    char *joined = sp_buf_take(&text, &len);
    if (!joined)
        return SP_E_NOMEM;
    free(result->out.text);
    result->out.text = joined;
    result->out.len = len;
    return SP_OK;
}
