#include "providers/e2b/process_event.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

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

void sp_process_event_clear(struct sp_process_event *event)
{
    sp_buf_clear(&event->data);
}

static enum sp_code malformed(struct sp_error *err)
{
    return sp_error_set(err, SP_E_INVALID, "an event of the process is not as it should be");
}

static enum sp_code read_stream_end(json_t *root, struct sp_process_event *event,
                                    struct sp_error *err)
{
    const char *word = "unknown", *message = "";
    json_t *error = json_object_get(root, "error");

    event->kind = SP_PROCESS_STREAM_END;
    if (!error)
        return SP_OK;
    (void)json_unpack(error, "{s?s, s?s}", "code", &word, "message", &message);
    const struct word *known = find_word(word);
    event->refused = known->refused;
    return sp_error_set(err, known->code, "%s: %.*s", known->word,
                        (int)sp_utf8_floor(message, strnlen(message, MESSAGE_SHOWN)), message);
}

static enum sp_code read_data(json_t *data, struct sp_process_event *event, struct sp_error *err)
{
    json_t *text = json_object_get(data, "stdout");

    event->kind = text ? SP_PROCESS_STDOUT : SP_PROCESS_STDERR;
    if (!text)
        text = json_object_get(data, "stderr");
    if (!text) { /* no bytes at all, or a terminal's */
        event->kind = SP_PROCESS_OTHER;
        return SP_OK;
    }
    event->data = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    if (!json_is_string(text))
        return malformed(err);
    enum sp_code rc =
        sp_base64_decode(json_string_value(text), json_string_length(text), &event->data);
    return rc == SP_E_INVALID ? malformed(err)
           : rc               ? sp_error_set(err, rc, "no memory for output")
                              : SP_OK;
}

/* Members that hold a zero value are left out. */
static enum sp_code read_end(json_t *end, struct sp_process_event *event, struct sp_error *err)
{
    int exited = 0;
    const char *status = "";

    if (json_unpack(end, "{s?i, s?b, s?s}", "exitCode", &event->exit_code, "exited", &exited,
                    "status", &status))
        return malformed(err);
    event->kind = SP_PROCESS_END;
    event->exited = exited;
    snprintf(event->status, sizeof(event->status), "%s", status);
    return SP_OK;
}

static enum sp_code read_event(json_t *event_json, struct sp_process_event *event,
                               struct sp_error *err)
{
    json_t *start = json_object_get(event_json, "start");
    json_t *data = json_object_get(event_json, "data");
    json_t *end = json_object_get(event_json, "end");

    if (start) {
        event->kind = SP_PROCESS_START;
        event->pid = json_integer_value(json_object_get(start, "pid"));
        return SP_OK;
    }
    if (data)
        return read_data(data, event, err);
    return end ? read_end(end, event, err) : SP_OK;
}

enum sp_code sp_process_event_read(const struct sp_connect_frame *frame,
                                   struct sp_process_event *event, struct sp_error *err)
{
    json_auto_t *root = json_loadb(frame->json, frame->len, JSON_ALLOW_NUL, NULL);

    if (!json_is_object(root))
        return malformed(err);
    if (frame->end)
        return read_stream_end(root, event, err);
    return read_event(json_object_get(root, "event"), event, err);
}
