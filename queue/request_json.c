/* One reader per field; each gets a value that is not null and gives SP_E_INVALID or SP_E_LIMIT for
 * a wrong one. */
#include "queue/request_json.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "queue/files.h"
#include "queue/json_read.h"

/* Longer times than ten years, and later deadlines than the year 9999, are as good as these. */
#define LONGEST_MS ((int64_t)10 * 365 * 24 * 3600 * 1000)
#define LATEST_MS INT64_C(253402300799999)
#define WORD_BYTES 128 /* of a text that is one of few words */

struct reader {
    const struct sp_limits *limits;
    struct sp_request *req;
    struct sp_error *err;
};

static enum sp_code expected(const struct reader *r, const char *field, const char *what)
{
    return sp_error_set(r->err, SP_E_INVALID, "%s: expected %s", field, what);
}

static enum sp_code no_memory(const struct reader *r, const char *field)
{
    return sp_error_set(r->err, SP_E_NOMEM, "%s: out of memory", field);
}

/* rc: of reading it into *code. */
static enum sp_code keep_code(const struct reader *r, const char *field, enum sp_code rc,
                              struct sp_buf *code)
{
    if (rc == SP_E_LIMIT) {
        return sp_error_set(r->err, rc, "%s: longer than limits.code_bytes (%" PRId64 " bytes)",
                            field, r->limits->code_bytes);
    }
    if (rc)
        return rc;
    if (r->req->code)
        return sp_error_set(r->err, SP_E_INVALID, "%s: given beside code; send one of them", field);
    if (code->len == 0)
        return sp_error_set(r->err, SP_E_INVALID, "%s: empty", field);
    if (!sp_utf8_valid(code->data, code->len))
        return sp_error_set(r->err, SP_E_INVALID, "%s: not UTF-8 text", field);
    r->req->code = sp_buf_take(code, &r->req->code_len);
    return r->req->code ? SP_OK : no_memory(r, field);
}

static enum sp_code read_code(const struct reader *r, const char *field,
                              const struct sp_json_value *value)
{
    sp_auto(sp_buf_clear) struct sp_buf code = {0};
    enum sp_code rc = sp_json_read_text(field, value, (size_t)r->limits->code_bytes, &code, r->err);
    return keep_code(r, field, rc, &code);
}

static enum sp_code read_code_b64(const struct reader *r, const char *field,
                                  const struct sp_json_value *value)
{
    sp_auto(sp_buf_clear) struct sp_buf code = {0};
    enum sp_code rc =
        sp_json_read_base64(field, value, (size_t)r->limits->code_bytes, &code, r->err);
    return keep_code(r, field, rc, &code);
}

/* A short text without NUL; SP_E_LIMIT counts as an unknown word. */
static enum sp_code read_word(const struct reader *r, const char *field,
                              const struct sp_json_value *value, struct sp_buf *word)
{
    enum sp_code rc = sp_json_read_text(field, value, WORD_BYTES, word, r->err);
    if (!rc && strlen(word->data) != word->len)
        return SP_E_LIMIT;
    return rc;
}

static enum sp_code read_language(const struct reader *r, const char *field,
                                  const struct sp_json_value *value)
{
    sp_auto(sp_buf_clear) struct sp_buf word = {0};
    enum sp_code rc = read_word(r, field, value, &word);
    if (rc == SP_E_LIMIT || (!rc && !sp_language_parse(word.data, &r->req->language)))
        return sp_error_set(r->err, SP_E_INVALID, "%s: unknown; send python or javascript", field);
    return rc;
}

/* Seconds to milliseconds; less than one counts as one, since 0 means none. Behind a number of a
 * scanned object stands a comma, a bracket or a blank, so strtod() ends there. */
static bool number_ms(const struct sp_json_value *number, int64_t *out_ms)
{
    double seconds = strtod(number->raw.data, NULL);
    if (seconds < 0)
        return false;
    double ms = round(seconds * 1000);
    *out_ms = ms < (double)LONGEST_MS ? (int64_t)ms : LONGEST_MS;
    if (*out_ms == 0 && seconds > 0)
        *out_ms = 1;
    return true;
}

static enum sp_code read_duration(const struct reader *r, const char *field,
                                  const struct sp_json_value *value, int64_t *out_ms)
{
    bool good = false;
    if (value->type == SP_JSON_NUMBER) {
        good = number_ms(value, out_ms);
    } else if (value->type == SP_JSON_STRING) {
        sp_auto(sp_buf_clear) struct sp_buf word = {0};
        enum sp_code rc = read_word(r, field, value, &word);
        if (rc && rc != SP_E_LIMIT)
            return rc;
        good = !rc && (word.len == 0 || sp_parse_duration_ms(word.data, out_ms));
    }
    return good ? SP_OK
                : expected(r, field, "seconds, not negative, or a text as 30s, 1m30s or 500ms");
}

static enum sp_code read_timeout(const struct reader *r, const char *field,
                                 const struct sp_json_value *value)
{
    return read_duration(r, field, value, &r->req->timeout_ms);
}

static enum sp_code read_queue_ttl(const struct reader *r, const char *field,
                                   const struct sp_json_value *value)
{
    return read_duration(r, field, value, &r->req->queue_ttl_ms);
}

static enum sp_code read_arguments(const struct reader *r, const char *field,
                                   const struct sp_json_value *value)
{
    if (value->type != SP_JSON_OBJECT)
        return expected(r, field, "an object");
    if (value->depth > SP_ARGUMENTS_DEPTH_MAX) {
        return sp_error_set(r->err, SP_E_INVALID, "%s: nested deeper than %d levels", field,
                            SP_ARGUMENTS_DEPTH_MAX);
    }
    r->req->arguments = sp_memdup(value->raw.data, value->raw.len);
    r->req->arguments_len = value->raw.len;
    return r->req->arguments ? SP_OK : no_memory(r, field);
}

static enum sp_code read_files(const struct reader *r, const char *field,
                               const struct sp_json_value *value)
{
    (void)field; /* the texts name the file, too */
    return sp_files_read(value, r->limits->files_bytes, r->req, r->err);
}

static enum sp_code read_deadline(const struct reader *r, const char *field,
                                  const struct sp_json_value *value)
{
    double ms = value->type == SP_JSON_NUMBER ? strtod(value->raw.data, NULL) : -1;
    if (ms < 0 || ms != floor(ms))
        return expected(r, field, "milliseconds since the epoch, a whole number");
    r->req->deadline_ms = ms < (double)LATEST_MS ? (int64_t)ms : LATEST_MS;
    return SP_OK;
}

static enum sp_code read_delivery(const struct reader *r, const char *field,
                                  const struct sp_json_value *value)
{
    static const char *const words[] = {
        [SP_AT_LEAST_ONCE] = "at_least_once",
        [SP_AT_MOST_ONCE] = "at_most_once",
    };
    sp_auto(sp_buf_clear) struct sp_buf word = {0};
    enum sp_code rc = read_word(r, field, value, &word);
    for (size_t i = 0; i < SP_COUNT(words) && !rc; i++) {
        if (strcmp(words[i], word.data) == 0) {
            r->req->delivery = (enum sp_delivery)i;
            return SP_OK;
        }
    }
    return rc && rc != SP_E_LIMIT ? rc : expected(r, field, "at_least_once or at_most_once");
}

/* Leaves *flag as it is when the option is absent. */
static enum sp_code read_flag(const struct reader *r, const char *field, const char *name,
                              const struct sp_json_value *options, unsigned *flag)
{
    struct sp_json_value value = {0};
    sp_json_get(options, name, &value);
    if (value.type == SP_JSON_NULL)
        return SP_OK;
    if (value.type != SP_JSON_BOOL)
        return sp_error_set(r->err, SP_E_INVALID, "%s.%s: expected true or false", field, name);
    *flag = value.raw.data[0] == 't' ? SP_YES : SP_NO;
    return SP_OK;
}

static enum sp_code read_options(const struct reader *r, const char *field,
                                 const struct sp_json_value *value)
{
    unsigned in_stdout = SP_UNSET, strict = SP_UNSET;
    if (value->type != SP_JSON_OBJECT)
        return expected(r, field, "an object");
    enum sp_code rc = read_flag(r, field, "result_in_stdout", value, &in_stdout);
    if (!rc)
        rc = read_flag(r, field, "strict_result", value, &strict);
    if (rc)
        return rc;
    r->req->result_in_stdout = in_stdout;
    r->req->strict_result = strict == SP_YES;
    return SP_OK;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Drops white space outside strings, and nothing else. */
static enum sp_code compact(struct sp_bytes raw, struct sp_buf *out)
{
    const char *end = raw.data + raw.len;
    bool quoted = false;
    enum sp_code rc = SP_OK;
    for (const char *at = raw.data; at < end && !rc; at++) {
        if (*at == '\\') {
            rc = sp_buf_add(out, at, 2);
            at++;
        } else if (quoted || !is_blank(*at)) {
            quoted ^= *at == '"';
            rc = sp_buf_addc(out, *at);
        }
    }
    return rc;
}

static enum sp_code read_metadata(const struct reader *r, const char *field,
                                  const struct sp_json_value *value)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_METADATA_MAX);
    enum sp_code rc = compact(value->raw, &text);
    if (rc == SP_E_LIMIT) {
        return sp_error_set(r->err, rc, "%s: more than %d bytes as compact JSON", field,
                            SP_METADATA_MAX);
    }
    r->req->metadata = rc ? NULL : sp_buf_take(&text, &r->req->metadata_len);
    return r->req->metadata ? SP_OK : no_memory(r, field);
}

enum { REQUEST_ID, REPLY_TO, FIRST_READ_HERE };

static const struct {
    const char *name;
    enum sp_code (*read)(const struct reader *r, const char *field,
                         const struct sp_json_value *value);
} fields[] = {
    [REQUEST_ID] = {"request_id", NULL},
    [REPLY_TO] = {"reply_to", NULL},
    [FIRST_READ_HERE] = {"code", read_code},
    {"code_b64", read_code_b64},
    {"language", read_language},
    {"timeout", read_timeout},
    {"arguments", read_arguments},
    {"files", read_files},
    {"deadline_ms", read_deadline},
    {"queue_ttl", read_queue_ttl},
    {"delivery", read_delivery},
    {"options", read_options},
    {"metadata", read_metadata},
};

/* Gives SP_E_NOMEM, which ends the reading. */
static enum sp_code read_all(const struct sp_limits *limits, const struct sp_member *members,
                             struct sp_request *req, struct sp_error *first)
{
    for (size_t i = FIRST_READ_HERE; i < SP_COUNT(fields); i++) {
        struct sp_error why = {0};
        const struct reader r = {.limits = limits, .req = req, .err = &why};
        if (members[i].value.type == SP_JSON_NULL)
            continue;
        enum sp_code rc = fields[i].read(&r, fields[i].name, &members[i].value);
        if (rc == SP_E_NOMEM || (rc && !first->code))
            *first = why;
        if (rc == SP_E_NOMEM)
            return rc;
    }
    return SP_OK;
}

enum sp_code sp_request_json_read(const struct sp_json_value *object,
                                  const struct sp_limits *limits, struct sp_request *req,
                                  struct sp_request_address *address, struct sp_error *err)
{
    struct sp_member members[SP_COUNT(fields)] = {0};
    struct sp_error first = {0};
    for (size_t i = 0; i < SP_COUNT(fields); i++)
        members[i].name = fields[i].name;

    enum sp_code rc = sp_json_read_members(object, members, SP_COUNT(fields), &first);
    if (!rc || rc == SP_E_INVALID)
        rc = read_all(limits, members, req, &first);
    if (!rc && !first.code && !req->code)
        sp_error_set(&first, SP_E_INVALID, "code: missing; send code or code_b64");
    address->request_id = members[REQUEST_ID].value;
    address->reply_to = members[REPLY_TO].value;
    if (first.code && err)
        *err = first;
    if (rc)
        return rc;
    return first.code ? SP_E_INVALID : SP_OK;
}
