/* Members stand in the order of the contract's tables. */
#include "queue/reply.h"

#include <inttypes.h>
#include <string.h>

#include "base/json_out.h"
#include "base/text.h"
#include "queue/reply_parts.h"

/* Of a reply that does not fit: a program may leave any number of files that are refused. */
#define REFUSED_SHOWN 32

#define TOO_LARGE "reply too large"

static const struct sp_result nothing_ran;

struct writer {
    struct sp_json_out json;
    const struct sp_reply *reply;
    const struct sp_result *result; /* never NULL */
    const struct sp_parts *parts;
    size_t refused_shown;
    bool hollow; /* for measuring: parts are written as if they were empty */
};

/* Texts from outside: names of files, messages that were cut. */
static void put_text(struct writer *w, const char *key, const char *text)
{
    sp_auto(sp_buf_clear) struct sp_buf clean = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    bool replaced;

    if (!text || sp_utf8_valid(text, strlen(text))) {
        sp_json_str(&w->json, key, text);
        return;
    }
    enum sp_code rc = sp_utf8_clean(text, strlen(text), &clean, &replaced);
    if (rc) {
        w->json.rc = w->json.rc ? w->json.rc : rc;
    } else {
        sp_json_text(&w->json, key, sp_buf_str(&clean), clean.len);
    }
}

static void put_seconds(struct writer *w, const char *key, int64_t ms)
{
    if (ms <= 0) {
        sp_json_null(&w->json, key);
    } else if (ms % 1000 == 0) {
        sp_json_int(&w->json, key, ms / 1000);
    } else {
        sp_json_seconds(&w->json, key, ms * 1000);
    }
}

static void put_names(struct writer *w, const char *key, const char *const *names)
{
    sp_json_array(&w->json, key);
    for (; names && *names; names++)
        sp_json_str(&w->json, NULL, *names);
    sp_json_array_end(&w->json);
}

static void put_stream(struct writer *w, const char *key, enum sp_part_kind kind)
{
    const struct sp_part *part = &w->parts->items[kind];
    struct sp_bytes text = {"", 0};
    if (!w->hollow && part->state == SP_PART_WHOLE) {
        text = part->raw;
    } else if (!w->hollow && part->state == SP_PART_CUT) {
        text = (struct sp_bytes){sp_buf_str(&part->kept), part->kept.len};
    }
    sp_json_text(&w->json, key, text.data, text.len);
}

static void put_part_name(struct writer *w, const char *key, const struct sp_part *part)
{
    static const char *const names[] = {"stdout", "stderr", "result_value"};
    sp_auto(sp_buf_clear) struct sp_buf name = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    if (part->kind != SP_PART_ARTIFACT) {
        sp_json_str(&w->json, key, names[part->kind]);
        return;
    }
    enum sp_code rc = sp_buf_addf(&name, "artifacts/%s", part->name);
    if (rc) {
        w->json.rc = w->json.rc ? w->json.rc : rc;
    } else {
        put_text(w, key, sp_buf_str(&name));
    }
}

static void put_artifacts(struct writer *w)
{
    sp_json_array(&w->json, "artifacts");
    for (size_t i = 0; i < w->result->n_artifacts; i++) {
        const struct sp_artifact *artifact = &w->result->artifacts[i];
        const struct sp_part *part = &w->parts->items[SP_PART_ARTIFACT + i];
        if (part->state == SP_PART_CUT)
            continue;
        sp_json_object(&w->json, NULL);
        put_text(w, "name", artifact->name);
        if (part->state == SP_PART_WHOLE)
            sp_json_base64(&w->json, "content_b64", artifact->data, w->hollow ? 0 : artifact->len);
        sp_json_str(&w->json, "mime_type", artifact->mime_type);
        sp_json_int(&w->json, "size", (int64_t)artifact->len);
        sp_json_object_end(&w->json);
    }
    sp_json_array_end(&w->json);
}

static void put_refusal(struct writer *w, const char *name, int64_t size, const char *reason)
{
    sp_json_object(&w->json, NULL);
    put_text(w, "name", name);
    sp_json_int(&w->json, "size", size);
    put_text(w, "reason", reason);
    sp_json_object_end(&w->json);
}

static void put_rejected(struct writer *w)
{
    sp_json_array(&w->json, "artifacts_rejected");
    for (size_t i = 0; i < w->refused_shown; i++) {
        const struct sp_artifact_refused *refused = &w->result->refused[i];
        put_refusal(w, refused->name, refused->size, refused->reason);
    }
    for (size_t i = SP_PART_ARTIFACT; i < w->parts->n; i++) {
        const struct sp_part *part = &w->parts->items[i];
        if (part->state == SP_PART_CUT)
            put_refusal(w, part->name, (int64_t)part->raw.len, TOO_LARGE);
    }
    sp_json_array_end(&w->json);
}

static void put_value(struct writer *w)
{
    const struct sp_part *value = &w->parts->items[SP_PART_VALUE];
    bool present = w->result->result_present;

    sp_json_bool(&w->json, "result_present", present);
    if (present && value->state == SP_PART_WHOLE) {
        sp_json_raw(&w->json, "result_value", value->raw.data, w->hollow ? 0 : value->raw.len);
    } else {
        sp_json_null(&w->json, "result_value");
    }
    sp_json_str(&w->json, "result_type", present ? "json" : NULL);
}

static void put_warning(struct writer *w)
{
    const struct sp_part *value = &w->parts->items[SP_PART_VALUE];
    const char *const warnings[] = {
        w->result->warning,
        w->reply->provider_defaulted ? "the settings name no provider; self_managed is meant"
                                     : NULL,
        value->state == SP_PART_CUT ? "the value is left out: " TOO_LARGE : NULL,
    };
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    enum sp_code rc = SP_OK;

    for (size_t i = 0; i < SP_COUNT(warnings) && !rc; i++) {
        if (warnings[i])
            rc = sp_buf_addf(&text, "%s%s", text.len > 0 ? "; " : "", warnings[i]);
    }
    if (rc) {
        w->json.rc = w->json.rc ? w->json.rc : rc;
    } else if (text.len > 0) {
        put_text(w, "result_warning", sp_buf_str(&text));
    }
}

static bool is_cut(const struct writer *w, enum sp_part_kind kind)
{
    return w->parts->items[kind].state == SP_PART_CUT;
}

static void put_stream_facts(struct writer *w)
{
    const struct sp_stream *out = &w->result->out, *err = &w->result->err;

    sp_json_bool(&w->json, "stdout_truncated", out->truncated || is_cut(w, SP_PART_STDOUT));
    sp_json_bool(&w->json, "stderr_truncated", err->truncated || is_cut(w, SP_PART_STDERR));
    sp_json_int(&w->json, "stdout_bytes", out->bytes);
    sp_json_int(&w->json, "stderr_bytes", err->bytes);
    sp_json_bool(&w->json, "stdout_invalid_utf8", out->invalid_utf8);
    sp_json_bool(&w->json, "stderr_invalid_utf8", err->invalid_utf8);
}

static void put_isolation(struct writer *w)
{
    if (!w->result->isolation) {
        sp_json_null(&w->json, "isolation");
        return;
    }
    sp_json_object(&w->json, "isolation");
    sp_json_str(&w->json, "level", w->result->isolation);
    put_names(w, "defences", w->result->defences);
    sp_json_object_end(&w->json);
}

static void put_cuts(struct writer *w)
{
    sp_json_array(&w->json, "reply_cut");
    for (size_t i = 0; i < w->parts->n; i++) {
        if (w->parts->items[i].state == SP_PART_CUT)
            put_part_name(w, NULL, &w->parts->items[i]);
    }
    if (w->refused_shown < w->result->n_refused)
        sp_json_str(&w->json, NULL, "artifacts_rejected");
    sp_json_array_end(&w->json);
}

/* RAGFlow's keys, then ours. */
static void put_metadata(struct writer *w)
{
    const struct sp_result *result = w->result;

    sp_json_object(&w->json, "metadata");
    sp_json_str(&w->json, "instance_id", result->instance_id[0] ? result->instance_id : NULL);
    sp_json_str(&w->json, "language", result->language);
    if (result->metadata)
        sp_json_members(&w->json, result->metadata, strlen(result->metadata));
    put_seconds(w, "timeout", result->timeout_ms);
    put_artifacts(w);
    put_value(w);
    put_seconds(w, "timeout_requested", w->reply->req->timeout_ms);
    put_stream_facts(w);
    put_rejected(w);
    put_warning(w);
    put_isolation(w);
    if (result->signal)
        sp_json_int(&w->json, "signal", result->signal);
    put_cuts(w);
    put_names(w, "limits_of_provider", result->limits_of_provider);
    sp_json_object_end(&w->json);
}

static void put_error(struct writer *w)
{
    if (w->reply->sb == SP_SB_NONE) {
        sp_json_null(&w->json, "error");
        return;
    }
    const struct sp_sb_row *row = sp_sb_row(w->reply->sb);
    sp_json_object(&w->json, "error");
    sp_json_str(&w->json, "code", row->code);
    sp_json_str(&w->json, "kind", row->kind);
    put_text(w, "message", w->reply->message ? w->reply->message : row->meaning);
    sp_json_bool(&w->json, "retryable", row->retryable);
    sp_json_object_end(&w->json);
}

static void put_attachments(struct writer *w)
{
    sp_json_array(&w->json, "attachments");
    for (size_t i = 0; i < w->parts->n; i++) {
        const struct sp_part *part = &w->parts->items[i];
        if (part->state != SP_PART_MOVED)
            continue;
        sp_json_object(&w->json, NULL);
        put_part_name(w, "part", part);
        sp_json_str(&w->json, "ref", part->ref);
        sp_json_int(&w->json, "size", (int64_t)part->raw.len);
        sp_json_str(&w->json, "sha256", part->sha256);
        sp_json_object_end(&w->json);
    }
    sp_json_array_end(&w->json);
}

/* Only these two mean that a program ended by itself. */
static int exit_code(const struct writer *w)
{
    bool ended = w->reply->status == SP_STATUS_OK || w->reply->status == SP_STATUS_FAILED;
    return ended && w->reply->result ? w->result->exit_code : -1;
}

static void put_result(struct writer *w)
{
    const struct sp_reply *reply = w->reply;
    bool ran = w->result->started != SP_STARTED_NO;

    put_text(w, "request_id", reply->req->id);
    sp_json_str(&w->json, "result_id", reply->result_id);
    sp_json_str(&w->json, "status", sp_status_name(reply->status));
    put_stream(w, "stdout", SP_PART_STDOUT);
    put_stream(w, "stderr", SP_PART_STDERR);
    sp_json_int(&w->json, "exit_code", exit_code(w));
    sp_json_seconds(&w->json, "execution_time", ran ? w->result->execution_us : 0);
}

static void put_circumstances(struct writer *w)
{
    const struct sp_reply *reply = w->reply;
    const struct sp_request *req = reply->req;
    bool started = w->result->started != SP_STARTED_NO && reply->queue_time_us > 0;

    sp_json_str(&w->json, "provider", reply->provider);
    if (reply->settings_version) {
        sp_json_int(&w->json, "settings_version", reply->settings_version);
    } else {
        sp_json_null(&w->json, "settings_version");
    }
    sp_json_str(&w->json, "worker", reply->worker);
    sp_json_int(&w->json, "attempt", reply->attempt);
    sp_json_seconds(&w->json, "queue_time", started ? reply->queue_time_us : 0);
    if (req->metadata) {
        sp_json_raw(&w->json, "echo", req->metadata, req->metadata_len);
    } else {
        sp_json_null(&w->json, "echo");
    }
}

static enum sp_code write_reply(struct writer *w, struct sp_buf *out)
{
    w->json = SP_JSON_OUT(out);
    sp_json_object(&w->json, NULL);
    put_result(w);
    put_metadata(w);
    put_error(w);
    put_circumstances(w);
    put_attachments(w);
    sp_json_object_end(&w->json);
    return w->json.rc;
}

/* Size of the reply as it would be now. */
static enum sp_code measure(struct writer *w, size_t *size)
{
    sp_auto(sp_buf_clear) struct sp_buf frame = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    w->hollow = true;
    enum sp_code rc = write_reply(w, &frame);
    w->hollow = false;
    *size = frame.len + sp_parts_encoded(w->parts);
    return rc;
}

static enum sp_code make_fit(struct writer *w, struct sp_parts *parts, size_t limit)
{
    if (w->refused_shown > REFUSED_SHOWN)
        w->refused_shown = REFUSED_SHOWN;
    for (;;) {
        size_t size;
        enum sp_code rc = measure(w, &size);
        if (rc || size <= limit || !sp_parts_shrink(parts, size - limit))
            return rc;
    }
}

enum sp_code sp_reply_write(const struct sp_reply *reply, size_t limit_bytes,
                            const struct sp_part_store *store, struct sp_buf *out)
{
    const struct sp_result *result = reply->result ? reply->result : &nothing_ran;
    sp_auto(sp_parts_clear) struct sp_parts parts = {0};
    size_t before = out->len;

    enum sp_code rc = sp_parts_init(&parts, result, store);
    if (rc)
        return rc;
    struct writer w = {
        .reply = reply, .result = result, .parts = &parts, .refused_shown = result->n_refused};
    if (sp_parts_encoded(&parts) <= limit_bytes) {
        rc = write_reply(&w, out);
        if (rc || out->len - before <= limit_bytes)
            return rc;
        out->len = before;
    }
    rc = make_fit(&w, &parts, limit_bytes);
    return rc ? rc : write_reply(&w, out);
}
