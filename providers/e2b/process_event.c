#include "providers/e2b/process_event.h"

#include <string.h>

#include "base/json_slice.h"
#include "base/text.h"

enum { MESSAGE_SHOWN = 160 }; /* an error may quote the whole command line */

static const struct word {
    const char *word;
    enum sp_code code;
    bool refused; /* nothing was begun */
} words[] = {
    {"aborted", SP_E_UNAVAILABLE, false},       {"already_exists", SP_E_INVALID, true},
    {"canceled", SP_E_UNAVAILABLE, false},      {"data_loss", SP_E_UNAVAILABLE, false},
    {"deadline_exceeded", SP_E_TIMEOUT, false}, {"failed_precondition", SP_E_INVALID, true},
    {"internal", SP_E_INVALID, false},          {"invalid_argument", SP_E_INVALID, true},
    {"not_found", SP_E_INVALID, true},          {"out_of_range", SP_E_INVALID, true},
    {"permission_denied", SP_E_INVALID, true},  {"resource_exhausted", SP_E_BUSY, true},
    {"unauthenticated", SP_E_INVALID, true},    {"unavailable", SP_E_UNAVAILABLE, false},
    {"unimplemented", SP_E_INVALID, true},      {"unknown", SP_E_INVALID, false},
};

static const struct word *find_word(const char *text)
{
    size_t i = 0;

    while (i + 1 < SP_COUNT(words) && strcmp(text, words[i].word) != 0)
        i++; /* the last one stands for what we do not know */
    return &words[i];
}

enum sp_code sp_connect_code(const char *word)
{
    return find_word(word)->code;
}

bool sp_connect_refused(const char *word)
{
    return find_word(word)->refused;
}

void sp_process_event_clear(struct sp_process_event *event)
{
    sp_buf_clear(&event->data);
}

static enum sp_code malformed(struct sp_error *err)
{
    return sp_error_set(err, SP_E_INVALID, "an event of the process is not as it should be");
}

/* Members that hold a zero value are left out; null stands for one, too. */
static bool find(const struct sp_json_value *object, const char *key, struct sp_json_value *out)
{
    return object->type == SP_JSON_OBJECT && sp_json_get(object, key, out) &&
           out->type != SP_JSON_NULL;
}

/* Where the member is no text, *out stays empty. */
static enum sp_code read_text(const struct sp_json_value *object, const char *key,
                              struct sp_buf *out)
{
    struct sp_json_value value;

    *out = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    return find(object, key, &value) && value.type == SP_JSON_STRING ? sp_json_unescape(&value, out)
                                                                     : SP_OK;
}

static enum sp_code no_memory(struct sp_error *err)
{
    return sp_error_set(err, SP_E_NOMEM, "no memory for an event of the process");
}

static enum sp_code read_stream_end(const struct sp_json_value *root,
                                    struct sp_process_event *event, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf word = {.len = 0};
    sp_auto(sp_buf_clear) struct sp_buf message = {.len = 0};
    struct sp_json_value error;

    event->kind = SP_PROCESS_STREAM_END;
    if (!find(root, "error", &error))
        return SP_OK;
    if (read_text(&error, "code", &word) || read_text(&error, "message", &message))
        return no_memory(err);
    const struct word *known = find_word(sp_buf_str(&word));
    const char *text = sp_buf_str(&message);
    event->refused = known->refused;
    return sp_error_set(err, known->code, "%s: %.*s", known->word,
                        (int)sp_utf8_floor(text, strnlen(text, MESSAGE_SHOWN)), text);
}

static enum sp_code read_data(const struct sp_json_value *data, struct sp_process_event *event,
                              struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_value value;

    if (find(data, "stdout", &value)) {
        event->kind = SP_PROCESS_STDOUT;
    } else if (find(data, "stderr", &value)) {
        event->kind = SP_PROCESS_STDERR;
    } else { /* no bytes at all, or a terminal's */
        return SP_OK;
    }
    event->data = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    if (value.type != SP_JSON_STRING)
        return malformed(err);
    struct sp_bytes base64 = {value.raw.data + 1, value.raw.len - 2};
    if (memchr(base64.data, '\\', base64.len)) { /* some write a slash as two */
        if (sp_json_unescape(&value, &text))
            return no_memory(err);
        base64 = (struct sp_bytes){sp_buf_str(&text), text.len};
    }
    enum sp_code rc = sp_base64_decode(base64.data, base64.len, &event->data);
    return rc == SP_E_INVALID ? malformed(err) : rc ? no_memory(err) : SP_OK;
}

static bool read_exit_code(const struct sp_json_value *end, int *out)
{
    struct sp_json_value value;
    int64_t code = 0;

    if (!find(end, "exitCode", &value))
        return true;
    if (!sp_json_i64(&value, INT32_MIN, INT32_MAX, &code))
        return false;
    *out = (int)code;
    return true;
}

static enum sp_code read_end(const struct sp_json_value *end, struct sp_process_event *event,
                             struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf status = {.len = 0};
    struct sp_json_value exited;
    bool known = find(end, "exited", &exited);

    if (end->type != SP_JSON_OBJECT || (known && exited.type != SP_JSON_BOOL) ||
        !read_exit_code(end, &event->exit_code))
        return malformed(err);
    if (read_text(end, "status", &status))
        return no_memory(err);
    const char *text = sp_buf_str(&status);
    event->kind = SP_PROCESS_END;
    event->exited = known && *exited.raw.data == 't';
    size_t len = sp_utf8_floor(text, strnlen(text, sizeof(event->status) - 1));
    memcpy(event->status, text, len);
    event->status[len] = '\0';
    return SP_OK;
}

static enum sp_code read_event(const struct sp_json_value *json, struct sp_process_event *event,
                               struct sp_error *err)
{
    struct sp_json_value one;

    if (find(json, "start", &one)) {
        event->kind = SP_PROCESS_START;
        return SP_OK;
    }
    if (find(json, "data", &one))
        return read_data(&one, event, err);
    return find(json, "end", &one) ? read_end(&one, event, err) : SP_OK;
}

/* Scanned in place: a tree of many small values takes a hundred times their bytes. */
enum sp_code sp_process_event_read(const struct sp_connect_frame *frame,
                                   struct sp_process_event *event, struct sp_error *err)
{
    struct sp_json_value root, json;

    event->kind = SP_PROCESS_OTHER;
    enum sp_code rc = sp_json_scan(frame->json, frame->len, &root, NULL);
    if (rc == SP_E_NOMEM)
        return no_memory(err);
    if (rc || root.type != SP_JSON_OBJECT)
        return malformed(err);
    if (frame->end)
        return read_stream_end(&root, event, err);
    return find(&root, "event", &json) ? read_event(&json, event, err) : SP_OK;
}
