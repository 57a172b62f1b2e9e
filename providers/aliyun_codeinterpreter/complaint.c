#include "providers/aliyun_codeinterpreter/complaint.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

enum { CODE_MAX = 64, WORDS_MAX = 100 };

/* One line each; "" where the answer does not say it. */
struct complaint {
    char code[CODE_MAX], words[WORDS_MAX], request_id[96];
};

/* Cut, and without what is not fit for a line. */
static void copy_line(char *out, size_t size, const char *text, size_t len)
{
    sp_auto(sp_buf_clear) struct sp_buf clean = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    if (sp_utf8_clean(text, len, &clean, NULL))
        return; /* without memory nothing is quoted */
    len = sp_utf8_floor(sp_buf_str(&clean), clean.len < size ? clean.len : size - 1);
    memcpy(out, sp_buf_str(&clean), len);
    out[len] = '\0';
    for (char *at = out; at < out + len; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7F)
            *at = ' ';
    }
}

/* The first of two spellings. A code may be a number. */
static void copy_member(const struct sp_json_value *object, const char *lower, const char *upper,
                        char *out, size_t size)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_value value;

    if (!sp_json_get(object, lower, &value) && !sp_json_get(object, upper, &value))
        return;
    if (value.type == SP_JSON_NUMBER) {
        copy_line(out, size, value.raw.data, value.raw.len);
    } else if (value.type == SP_JSON_STRING && !sp_json_unescape(&value, &text)) {
        copy_line(out, size, sp_buf_str(&text), text.len);
    }
}

static void read_object(const struct sp_json_value *root, struct complaint *out)
{
    struct sp_json_value holder;

    if (!sp_json_get(root, "error", &holder) || holder.type != SP_JSON_OBJECT)
        holder = *root;
    copy_member(&holder, "code", "Code", out->code, sizeof(out->code));
    copy_member(&holder, "message", "Message", out->words, sizeof(out->words));
    copy_member(root, "requestId", "RequestId", out->request_id, sizeof(out->request_id));
}

/* A page of a gateway's says nothing worth showing; plain text may. */
static void read_body(const struct sp_http_response *http, struct complaint *out)
{
    struct sp_json_value root;
    const struct sp_buf *body = &http->body;
    bool is_json = !sp_json_scan(sp_buf_str(body), body->len, &root, NULL);

    if (is_json && root.type == SP_JSON_OBJECT) {
        read_object(&root, out);
    } else if (!is_json && body->len > 0 && body->data[0] != '<') {
        copy_line(out->words, sizeof(out->words), body->data, body->len);
    }
}

/* The first row that fits; NULL and 0 fit everything. */
static const struct {
    const char *code; /* part of it */
    int status;
    enum sp_code rc;
} meanings[] = {
    {"Throttling", 0, SP_E_BUSY},
    {NULL, 429, SP_E_BUSY},
    {"InvalidAccessKeyId", 0, SP_E_DENIED}, /* also with 404 */
    {"SignatureDoesNotMatch", 0, SP_E_DENIED},
    {"IncompleteSignature", 0, SP_E_DENIED},
    {"InvalidTimeStamp", 0, SP_E_DENIED},
    {"SecurityToken", 0, SP_E_DENIED},
    {NULL, 401, SP_E_DENIED},
    {NULL, 403, SP_E_DENIED},
    {NULL, 502, SP_E_UNAVAILABLE},
    {NULL, 503, SP_E_UNAVAILABLE},
    {NULL, 504, SP_E_UNAVAILABLE},
    {NULL, 0, SP_E_INVALID},
};

static enum sp_code meaning_of(const struct sp_http_response *http, const char *code)
{
    size_t i = 0;
    if (http->throttled && http->status / 100 == 4)
        return SP_E_BUSY;
    while ((meanings[i].status && meanings[i].status != http->status) ||
           (meanings[i].code && !strcasestr(code, meanings[i].code)))
        i++;
    return meanings[i].rc;
}

/* The shape of a time-out is not documented. The words of a refusal may speak of the setting. */
static bool means_time(int status, const struct complaint *c)
{
    return status == 408 || status == 504 || strcasestr(c->code, "timeout") ||
           (status / 100 == 5 &&
            (strcasestr(c->words, "timeout") || strcasestr(c->words, "timed out")));
}

static void set_flags(struct sp_agentrun_answer *answer, enum sp_code rc, const struct complaint *c)
{
    int status = answer->http.status;

    /* Never a key: that is SP_E_DENIED. */
    answer->gone =
        rc == SP_E_INVALID && (status == 404 || strcasestr(c->words, "sandbox not found"));
    answer->exists = status == 409 || strcasestr(c->words, "already exist");
    answer->timed_out = means_time(status, c);
}

static enum sp_code report(const struct sp_agentrun_call *call,
                           const struct sp_agentrun_answer *answer, enum sp_code rc,
                           const struct complaint *c, struct sp_error *err)
{
    /* A gateway tells what it had expected a signature to be, and of what. */
    bool quoted = *c->words && !call->to_log && rc != SP_E_DENIED;
    const char *id = answer->http.request_id;

    return sp_error_set(err, rc, "AgentRun does not %s: HTTP %d%s%s%s%s%s%s%s", call->what,
                        answer->http.status, *c->code ? " " : "", c->code, *id ? " (request " : "",
                        id, *id ? ")" : "", quoted ? ": " : "", quoted ? c->words : "");
}

/* A good status may come with a code that is another one than "SUCCESS". */
enum sp_code sp_complaint_read(const struct sp_agentrun_call *call,
                               struct sp_agentrun_answer *answer, struct sp_error *err)
{
    struct complaint c = {0};
    bool is_good = answer->http.status / 100 == 2;

    if (is_good && call->is_file)
        return SP_OK;
    read_body(&answer->http, &c);
    if (*c.request_id)
        memcpy(answer->http.request_id, c.request_id, sizeof(c.request_id));
    if (is_good && (!*c.code || strcmp(c.code, "SUCCESS") == 0))
        return SP_OK;
    memcpy(answer->code, c.code, sizeof(c.code));
    enum sp_code rc = meaning_of(&answer->http, c.code);
    set_flags(answer, rc, &c);
    return report(call, answer, rc, &c, err);
}
