#include "providers/e2b/call.h"

#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "providers/e2b/process_event.h"
#include "providers/pause.h"

enum {
    CONNECT_MS = 10000,
    TRIES = 4, /* as the official clients */
    BACKOFF_MS = 100,
    BACKOFF_MAX_MS = 10000,
    ERROR_BYTES = 64 << 10,
    MESSAGE_SHOWN = 110, /* it may quote a whole command line */
    WORD_SHOWN = 40,
};

/* One sending. */
struct sending {
    const struct sp_e2b_call *call;
    struct sp_http_response *out;
};

static bool is_good(const struct sp_e2b_call *call, const struct sp_http_response *out)
{
    return out->status / 100 == 2 && (!call->type || strcmp(out->content_type, call->type) == 0);
}

/* The body of a refusal is kept, in place of being taken for the stream that was asked for. */
static enum sp_code sort_body(void *ctx, const char *data, size_t len, struct sp_error *err)
{
    struct sending *s = ctx;
    size_t room = ERROR_BYTES - s->out->body.len;

    if (is_good(s->call, s->out))
        return s->call->request.on_body(s->call->request.on_body_ctx, data, len, err);
    return sp_buf_add(&s->out->body, data, len < room ? len : room)
               ? sp_error_set(err, SP_E_NOMEM, "out of memory")
               : SP_OK;
}

/* ---- refusals ---- */

static const struct {
    int status;
    enum sp_code code;
} statuses[] = {
    {401, SP_E_DENIED},      {403, SP_E_DENIED},      {409, SP_E_UNAVAILABLE},
    {429, SP_E_BUSY},        {499, SP_E_UNAVAILABLE}, {502, SP_E_UNAVAILABLE},
    {503, SP_E_UNAVAILABLE}, {504, SP_E_UNAVAILABLE},
};

/* What the control plane says beside a 500, too. */
static const char *const no_room[] = {"sandbox_capacity_unavailable", "sandbox_placement_timeout",
                                      "sandbox_no_compatible_node"};

static enum sp_code code_of_status(int status)
{
    for (size_t i = 0; i < SP_COUNT(statuses); i++) {
        if (statuses[i].status == status)
            return statuses[i].code;
    }
    return SP_E_INVALID;
}

static bool means_no_room(const char *word)
{
    for (size_t i = 0; i < SP_COUNT(no_room); i++) {
        if (strcmp(word, no_room[i]) == 0)
            return true;
    }
    return false;
}

/* What a body says; its texts are the body's. */
struct complaint {
    int status;
    const char *word; /* Connect's, or the control plane's error_code; "" for none */
    const char *message;
    bool connect;  /* by envd's Connect */
    bool by_proxy; /* the sandbox has not seen the request */
};

static const char *text_of(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* A whole number in `code` stands over the status of HTTP. */
static struct complaint read_complaint(const struct sp_http_response *response, json_t *body)
{
    json_t *code = json_object_get(body, "code");
    struct complaint c = {.status = response->status,
                          .word = text_of(body, "error_code"),
                          .message = text_of(body, "message"),
                          .connect = json_is_string(code),
                          .by_proxy = json_object_get(body, "sandboxId") != NULL};

    if (!*c.message)
        c.message = text_of(body, "error");
    if (c.connect)
        c.word = json_string_value(code);
    if (json_is_integer(code) && json_integer_value(code) >= 400 && json_integer_value(code) < 600)
        c.status = (int)json_integer_value(code);
    return c;
}

static enum sp_code meaning_of(const struct sp_e2b_call *call, const struct complaint *c)
{
    enum sp_code rc = c->connect               ? sp_connect_code(c->word)
                      : means_no_room(c->word) ? SP_E_UNAVAILABLE
                                               : code_of_status(c->status);
    return rc == SP_E_DENIED && call->sandbox ? SP_E_INVALID : rc;
}

/* A call that was broken off by somebody else may have been taken up all the same. */
static bool is_unbegun(const struct complaint *c)
{
    if (c->by_proxy)
        return true;
    if (c->connect)
        return sp_connect_refused(c->word);
    return c->status / 100 == 4 && c->status != 408 && c->status != 499;
}

/* A header "...-Key: value" or "...-Token: value". */
static const char *secret_of(const char *header)
{
    size_t name = strcspn(header, ":");
    bool secret = (name > 4 && strncasecmp(header + name - 4, "-Key", 4) == 0) ||
                  (name > 6 && strncasecmp(header + name - 6, "-Token", 6) == 0);

    return secret ? header + name + 2 : NULL;
}

/* Whether the peer repeats a secret that it was given. */
static bool tells_secret(const struct sp_e2b_call *call, const char *text)
{
    for (const char *const *header = call->request.headers; *header; header++) {
        const char *secret = secret_of(*header);
        if (secret && strstr(text, secret))
            return true;
    }
    return false;
}

static enum sp_code refuse(const struct sp_e2b_call *call, struct sp_http_response *out,
                           struct sp_error *err)
{
    const struct sp_buf *body = &out->body;
    /* A tree takes a hundred times the bytes of many small values. */
    json_auto_t *root = body->len <= ERROR_BYTES
                            ? json_loadb(sp_buf_str(body), body->len, JSON_ALLOW_NUL, NULL)
                            : NULL;
    struct complaint c = read_complaint(out, root);
    size_t shown;

    enum sp_code rc = meaning_of(call, &c);
    if (is_unbegun(&c))
        out->sent = SP_STARTED_NO;
    if (out->status / 100 == 2) {
        return sp_error_set(err, SP_E_INVALID, "%s: HTTP %d with content of another type",
                            call->what, out->status);
    }
    bool quiet = call->to_log || tells_secret(call, c.message) || tells_secret(call, c.word);
    shown = quiet ? 0 : sp_utf8_floor(c.message, strnlen(c.message, MESSAGE_SHOWN));
    size_t word = quiet ? 0 : sp_utf8_floor(c.word, strnlen(c.word, WORD_SHOWN));
    return sp_error_set(err, rc, "%s: HTTP %d%s%.*s%s%.*s%s%s%s", call->what, out->status,
                        word > 0 ? " " : "", (int)word, c.word, shown > 0 ? ": " : "", (int)shown,
                        c.message, *out->request_id ? " (request " : "", out->request_id,
                        *out->request_id ? ")" : "");
}

/* ---- sending ---- */

static enum sp_code send_once(struct sp_http *http, const struct sp_e2b_call *call,
                              struct sp_http_response *out, struct sp_error *err)
{
    struct sending s = {.call = call, .out = out};
    struct sp_http_request request = call->request;

    request.connect_deadline = sp_deadline_min(request.deadline, sp_deadline_in(CONNECT_MS));
    if (request.on_body) {
        request.on_body = sort_body;
        request.on_body_ctx = &s;
    }
    enum sp_code rc = sp_http_do(http, &request, out, err);
    sp_log(SP_DEBUG, "e2b_call", sp_s("call", call->what), sp_s("code", sp_code_name(rc)),
           sp_i("status", out->status), sp_s("request_id", out->request_id));
    if (rc == SP_E_LIMIT && !is_good(call, out))
        rc = SP_OK; /* somebody's long page: its status is enough */
    if (rc)
        return sp_error_wrap(err, rc, "%s", call->what);
    return is_good(call, out) ? SP_OK : refuse(call, out, err);
}

static bool may_repeat(const struct sp_e2b_call *call, enum sp_code rc,
                       const struct sp_http_response *last)
{
    if (last->status == 0)
        return rc == SP_E_UNAVAILABLE && last->sent == SP_STARTED_NO;
    if (rc == SP_OK || last->should_retry == 0 || call->request.on_body)
        return false;
    if (last->status == 429)
        return call->repeat || last->retry_after_ms >= 0;
    return call->repeat &&
           (last->should_retry == 1 || (last->status >= 502 && last->status <= 504));
}

enum sp_code sp_e2b_do(struct sp_http *http, const struct sp_e2b_call *call,
                       struct sp_http_response *out, struct sp_error *err)
{
    enum sp_started sent = SP_STARTED_NO;

    for (int tries = 1;; tries++) {
        enum sp_code rc = send_once(http, call, out, err);
        if (out->sent != SP_STARTED_NO)
            sent = out->sent; /* an earlier sending may have done it */
        out->sent = sent;
        if (tries == TRIES || !may_repeat(call, rc, out))
            return rc;
        int64_t until = sp_deadline_in(out->retry_after_ms >= 0
                                           ? out->retry_after_ms
                                           : sp_backoff_ms(tries, BACKOFF_MS, BACKOFF_MAX_MS));
        if (until >= call->request.deadline)
            return rc;
        if (call->doubled && sent != SP_STARTED_NO)
            *call->doubled = true;
        if (sp_pause_until(until, call->request.cancel_fd))
            return sp_error_set(err, SP_E_CANCELLED, "cancelled");
        sp_http_response_clear(out);
    }
}
