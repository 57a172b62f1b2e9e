#include "providers/self_managed/answer.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_out.h"
#include "base/json_slice.h"
#include "base/text.h"
#include "providers/output.h"
#include "providers/protocol.h"
#include "providers/self_managed/answer_artifacts.h"
#include "providers/self_managed/answer_quote.h"

enum {
    FACT_BYTES_MAX = 512, /* of one member that is passed on in the metadata */
};
#define TIME_USED_MS_MAX 1e12

/* The members of the answer. */
enum {
    STATUS,
    TIME_USED_MS,
    MEMORY_USED_KB,
    DETAIL,
    RESOURCE_LIMIT_TYPE,
    UNAUTHORIZED_ACCESS_TYPE,
    RUNTIME_ERROR_TYPE,
    N_FACTS, /* the metadata of the reply is made of those above */
    EXIT_CODE = N_FACTS,
    STDOUT,
    STDERR,
    ARTIFACTS,
    RESULT,
    N_MEMBERS
};
/* A needed one of another type makes the answer unreadable; any other is as if it were not there.
 */
static const struct {
    const char *name;
    enum sp_json_type type;
    bool needed;
} members[] = {
    [STATUS] = {"status", SP_JSON_STRING, true},
    [TIME_USED_MS] = {"time_used_ms", SP_JSON_NUMBER, false},
    [MEMORY_USED_KB] = {"memory_used_kb", SP_JSON_NUMBER, false},
    [DETAIL] = {"detail", SP_JSON_STRING, false},
    [RESOURCE_LIMIT_TYPE] = {"resource_limit_type", SP_JSON_STRING, false},
    [UNAUTHORIZED_ACCESS_TYPE] = {"unauthorized_access_type", SP_JSON_STRING, false},
    [RUNTIME_ERROR_TYPE] = {"runtime_error_type", SP_JSON_STRING, false},
    [EXIT_CODE] = {"exit_code", SP_JSON_NUMBER, true},
    [STDOUT] = {"stdout", SP_JSON_STRING, true},
    [STDERR] = {"stderr", SP_JSON_STRING, true},
    [ARTIFACTS] = {"artifacts", SP_JSON_ARRAY, false},
    [RESULT] = {"result", SP_JSON_OBJECT, false},
};

static const char *const statuses[] = {
    "success",       "program_error",        "resource_limit_exceeded", "unauthorized_access",
    "runtime_error", "program_runner_error",
};

/* A member that is null counts as absent. */
struct reading {
    const struct sp_service_answer *answer;
    struct sp_json_value member[N_MEMBERS];
    bool has[N_MEMBERS];
    int64_t exit_code;
    double time_used_ms; /* -1: not told */
};

/*
 * What an answer means; the first row that fits holds. Rows without HTTP() are for 200, where
 * status, detail and limit must be these unless they are NULL.
 */
static const struct meaning {
    int64_t code_low, code_high;
    const char *status, *detail, *limit;
    const char *text; /* of the error; of the limit */
    int http_low, http_high;
    enum sp_code rc;
    enum sp_started started;
    enum sp_outcome outcome;
    enum sp_quote quote;
} meanings[] = {
#define HTTP(low, high) .http_low = (low), .http_high = (high)
#define CODE(low, high) .code_low = (low), .code_high = (high)
#define ANY_CODE CODE(INT64_MIN, INT64_MAX)
#define ENDED(how, what)                                                                           \
    .rc = SP_OK, .started = SP_STARTED_YES, .outcome = SP_OUTCOME_##how, .text = (what)
#define FAILED(code, began, what) .rc = SP_E_##code, .started = SP_STARTED_##began, .text = (what)
    {HTTP(401, 401), FAILED(DENIED, NO, "the executor manager refuses the api_token")},
    {HTTP(403, 403), FAILED(DENIED, NO, "access is refused; see api_token")},
    {HTTP(422, 422), FAILED(INVALID, NO, "the executor manager refuses the request"),
     .quote = SP_QUOTE_FIELD},
    {HTTP(429, 429), FAILED(BUSY, NO, "the executor manager limits the rate of runs")},
    {HTTP(503, 503), FAILED(UNAVAILABLE, NO, "the service is not available"),
     .quote = SP_QUOTE_TOKEN},
    {HTTP(502, 502), FAILED(UNAVAILABLE, MAYBE, "a proxy lost the executor manager")},
    {HTTP(504, 504), FAILED(UNAVAILABLE, MAYBE, "a proxy gave up on the executor manager")},
    {HTTP(300, 399), FAILED(INVALID, NO, "endpoint redirects; name the address that it leads to")},
    {HTTP(400, 499), FAILED(INVALID, NO, "refused; is endpoint that of an executor manager?")},
    {HTTP(500, 599), FAILED(INVALID, MAYBE, "the executor manager failed")},
    {HTTP(0, INT_MAX), FAILED(INVALID, MAYBE, "this is no answer of an executor manager")},

    {CODE(-10, -10),
     FAILED(UNAVAILABLE, NO, "no container is available: the pool is busy or lost")},
    {ANY_CODE, .detail = "no_available_container",
     FAILED(UNAVAILABLE, NO, "no container is available: the pool is busy or lost")},
    {CODE(-429, -429), FAILED(BUSY, NO, "the executor manager limits the rate of runs")},
    {CODE(-999, -999), .detail = "Code is unsafe",
     FAILED(UNSUPPORTED, NO, "self_managed: the executor manager refuses the code as unsafe"),
     .quote = SP_QUOTE_FINDINGS},
    {CODE(-999, -999), FAILED(INVALID, MAYBE, "the executor manager met an error of its own")},
    {CODE(-3, -3), FAILED(INVALID, MAYBE, "the executor manager met an internal error")},
    {CODE(-124, -124), ENDED(TIMEOUT, NULL)},
    {CODE(-137, -137), ENDED(LIMIT, "memory")},
    {ANY_CODE, .limit = "time", ENDED(TIMEOUT, NULL)},
    {ANY_CODE, .limit = "memory", ENDED(LIMIT, "memory")},
    {ANY_CODE, .limit = "output", ENDED(LIMIT, "output")},
    {CODE(INT64_MIN, -1), FAILED(INVALID, MAYBE, "the executor manager answers an unknown code")},
    {ANY_CODE, .status = "program_runner_error",
     FAILED(INVALID, MAYBE, "the executor manager could not run the program")},
    {ANY_CODE, ENDED(EXITED, NULL)},
};

/* A member that is this text. */
static bool is_text(const struct reading *r, int member, const char *text)
{
    return r->has[member] && sp_json_text_is(&r->member[member], text);
}

static bool fits(const struct meaning *m, const struct reading *r)
{
    int http = r->answer->http;

    if (http != 200)
        return m->http_low <= http && http <= m->http_high;
    return m->http_high == 0 && m->code_low <= r->exit_code && r->exit_code <= m->code_high &&
           (!m->status || is_text(r, STATUS, m->status)) &&
           (!m->detail || is_text(r, DETAIL, m->detail)) &&
           (!m->limit || is_text(r, RESOURCE_LIMIT_TYPE, m->limit));
}

static const struct meaning *meaning_of(const struct reading *r)
{
    const struct meaning *m = meanings;
    while (!fits(m, r))
        m++;
    return m;
}

static void collect_members(struct reading *r, const struct sp_json_value *root)
{
    struct sp_json_iter it = sp_json_iter(root);
    struct sp_json_value value;
    struct sp_bytes key;

    while (sp_json_iter_next(&it, &key, &value)) {
        for (int i = 0; i < N_MEMBERS; i++) {
            if (!sp_json_key_is(key, members[i].name))
                continue;
            r->member[i] = value;
            r->has[i] =
                value.type != SP_JSON_NULL && (members[i].needed || value.type == members[i].type);
        }
    }
}

static bool has_known_status(const struct reading *r)
{
    size_t i = 0;
    while (i < SP_COUNT(statuses) && !is_text(r, STATUS, statuses[i]))
        i++;
    return i < SP_COUNT(statuses);
}

/* Whether this can be the manager's object. {"status": "ok"} of a stranger is not. */
static bool is_sound(const struct reading *r)
{
    for (int i = 0; i < N_MEMBERS; i++) {
        if (r->has[i] && r->member[i].type != members[i].type)
            return false;
    }
    return r->has[EXIT_CODE] || has_known_status(r) || (!r->has[STATUS] && r->has[STDOUT]);
}

/* A failure without a code of its own has 1. */
static bool read_exit_code(struct reading *r)
{
    const struct sp_bytes *raw = &r->member[EXIT_CODE].raw;
    bool failed = r->has[STATUS] && !is_text(r, STATUS, "success");
    char text[24] = "";

    r->exit_code = 0;
    if (r->has[EXIT_CODE]) {
        if (raw->len >= sizeof(text))
            return false;
        memcpy(text, raw->data, raw->len);
        if (!sp_parse_i64(text, INT_MIN, INT_MAX, &r->exit_code))
            return false;
    }
    if (r->exit_code == 0 && failed)
        r->exit_code = 1;
    return true;
}

static void read_time(struct reading *r)
{
    r->time_used_ms = -1;
    if (!r->has[TIME_USED_MS])
        return;
    double ms = strtod(r->member[TIME_USED_MS].raw.data, NULL); /* the text goes on: } or comma */
    if (ms >= 0 && ms <= TIME_USED_MS_MAX)
        r->time_used_ms = ms;
}

static enum sp_code not_ours(struct sp_error *err)
{
    return sp_error_set(err, SP_E_INVALID, "HTTP 200, but no answer of an executor manager");
}

static enum sp_code read_members(struct reading *r, struct sp_error *err)
{
    struct sp_json_value root;

    enum sp_code rc = sp_json_scan(r->answer->body.data, r->answer->body.len, &root, NULL);
    if (rc == SP_E_NOMEM)
        return sp_error_set(err, rc, "no memory for the answer");
    if (rc || root.type != SP_JSON_OBJECT)
        return not_ours(err);
    collect_members(r, &root);
    if (!is_sound(r) || !read_exit_code(r))
        return not_ours(err);
    read_time(r);
    return SP_OK;
}

/* Short, in the peer's words where they help. */
static enum sp_code report(const struct reading *r, const struct meaning *m, struct sp_error *err)
{
    char words[SP_QUOTE_MAX] = "", code[32];
    const struct sp_service_answer *a = r->answer;

    if (a->http == 200) {
        snprintf(code, sizeof(code), "exit_code %lld", (long long)r->exit_code);
    } else {
        snprintf(code, sizeof(code), "HTTP %d", a->http);
    }
    if (!a->to_log || m->quote == SP_QUOTE_TOKEN)
        sp_service_answer_quote(m->quote, a->body, words);
    return sp_error_set(err, m->rc, "%s (%s)%s%s", m->text, code, words[0] ? ": " : "", words);
}

static enum sp_code read_stream(const struct reading *r, int member, struct sp_stream *stream)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    enum sp_code rc = r->has[member] ? sp_json_unescape(&r->member[member], &text) : SP_OK;
    if (rc)
        return rc;
    stream->text = sp_buf_take(&text, &stream->len);
    return stream->text ? SP_OK : SP_E_NOMEM;
}

/* The limit of output, which holds for what the program printed and not for its value. */
static enum sp_code bound_stream(const struct reading *r, struct sp_stream *stream)
{
    struct sp_output output;
    struct sp_stream bounded = {0};

    stream->bytes = (int64_t)stream->len;
    if (stream->bytes <= r->answer->limits->output_bytes)
        return SP_OK;
    sp_output_init(&output, r->answer->limits->output_bytes);
    enum sp_code rc = sp_output_add(&output, stream->text, stream->len);
    if (!rc)
        rc = sp_output_finish(&output, &bounded);
    sp_output_clear(&output);
    if (rc)
        return rc;
    free(stream->text);
    *stream = bounded;
    return SP_OK;
}

/* The value that the epilogue printed, else the one that the manager found in the program's own
 * marker line. */
static enum sp_code read_value(const struct reading *r, struct sp_result *out)
{
    struct sp_json_value present, value;

    enum sp_code rc = sp_protocol_take_marker(out, r->answer->suffix);
    if (rc || out->result_present || !r->has[RESULT])
        return rc;
    if (!sp_json_get(&r->member[RESULT], "present", &present) || present.raw.data[0] != 't' ||
        !sp_json_get(&r->member[RESULT], "value", &value))
        return SP_OK;
    return sp_protocol_keep_value(out, &value);
}

/* RAGFlow's keys, as they came. */
static enum sp_code read_facts(const struct reading *r, struct sp_result *out)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_out j = SP_JSON_OUT(&text);

    for (int i = 0; i < N_FACTS; i++) {
        const struct sp_bytes *raw = &r->member[i].raw;
        if (r->has[i] && raw->len <= FACT_BYTES_MAX) {
            sp_json_raw(&j, members[i].name, raw->data, raw->len);
        } else {
            sp_json_null(&j, members[i].name);
        }
    }
    if (j.rc)
        return j.rc;
    out->metadata = sp_buf_take(&text, NULL);
    return out->metadata ? SP_OK : SP_E_NOMEM;
}

static enum sp_code read_artifacts(const struct reading *r, struct sp_result *out)
{
    const struct sp_artifact_rules rules = sp_artifact_rules_of(r->answer->limits);

    return r->has[ARTIFACTS] ? sp_service_answer_artifacts(&r->member[ARTIFACTS], &rules, out)
                             : SP_OK;
}

static enum sp_code read_output(const struct reading *r, struct sp_result *out)
{
    enum sp_code rc = read_stream(r, STDOUT, &out->out);
    if (!rc)
        rc = read_stream(r, STDERR, &out->err);
    if (!rc)
        rc = read_value(r, out);
    if (!rc)
        rc = bound_stream(r, &out->out);
    if (!rc)
        rc = bound_stream(r, &out->err);
    if (!rc)
        rc = read_artifacts(r, out);
    return rc ? rc : read_facts(r, out);
}

/* A program that took longer than it might, although the manager let it. */
static bool is_late(const struct reading *r)
{
    return r->answer->timeout_ms > 0 && r->time_used_ms > (double)r->answer->timeout_ms;
}

static void conclude(const struct reading *r, const struct meaning *m, struct sp_result *out)
{
    out->outcome = m->outcome;
    if (m->outcome == SP_OUTCOME_LIMIT)
        out->limit = m->text;
    if (m->outcome == SP_OUTCOME_TIMEOUT && !is_late(r)) {
        sp_result_warn(out, "the executor manager ended the program at its own limit, "
                            "SANDBOX_TIMEOUT");
    }
    if (m->outcome == SP_OUTCOME_EXITED && is_late(r))
        out->outcome = SP_OUTCOME_TIMEOUT;
    bool by_itself = r->exit_code >= 0 && out->outcome != SP_OUTCOME_TIMEOUT;
    out->exit_code = by_itself ? (int)r->exit_code : -1;
    if (r->time_used_ms >= 0)
        out->execution_us = (int64_t)(r->time_used_ms * 1000);
}

/* The manager's check parses Python before it runs, and calls a syntax error unsafe. To the user it
 * is an error of the program's, as it is everywhere else. *taken: it was one. */
static enum sp_code take_syntax_error(const struct reading *r, struct sp_result *out, bool *taken)
{
    static const char sign[] = "Line -1: Parsing Error: ";
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    enum sp_code rc = r->has[STDERR] ? sp_json_unescape(&r->member[STDERR], &text) : SP_OK;
    *taken = !rc && strncmp(sp_buf_str(&text), sign, sizeof(sign) - 1) == 0;
    if (!*taken)
        return rc;
    if (asprintf(&out->err.text, "SyntaxError: %s\n", sp_buf_str(&text) + sizeof(sign) - 1) < 0) {
        out->err.text = NULL;
        return SP_E_NOMEM;
    }
    out->err.len = strlen(out->err.text);
    out->started = SP_STARTED_YES;
    out->exit_code = 1;
    rc = bound_stream(r, &out->err);
    return rc ? rc : read_facts(r, out);
}

static enum sp_code apply(const struct reading *r, const struct meaning *m, struct sp_result *out,
                          struct sp_error *err)
{
    bool is_syntax_error = false;
    enum sp_code rc = SP_OK;

    if (m->quote == SP_QUOTE_FINDINGS)
        rc = take_syntax_error(r, out, &is_syntax_error);
    if (!rc && m->started != SP_STARTED_NO && r->answer->http == 200)
        rc = read_output(r, out);
    if (rc)
        return sp_error_set(err, rc, "no memory for the answer");
    if (is_syntax_error)
        return SP_OK;
    out->started = m->started;
    if (m->rc)
        return report(r, m, err);
    conclude(r, m, out);
    return SP_OK;
}

enum sp_code sp_service_answer_read(const struct sp_service_answer *answer, struct sp_result *out,
                                    struct sp_error *err)
{
    struct reading r = {.answer = answer, .time_used_ms = -1};

    enum sp_code rc = answer->http == 200 ? read_members(&r, err) : SP_OK;
    if (rc) {
        out->started = SP_STARTED_MAYBE;
        return rc;
    }
    return apply(&r, meaning_of(&r), out, err);
}
