/* One record becomes a request and an envelope. What can be read is read also behind a fault, so
 * that the rejection can be addressed, correlated and echoed; the first fault is the one told. */
#include "queue/message.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "queue/cloud_event.h"
#include "queue/json_read.h"
#include "queue/request_json.h"
#include "queue/trace.h"

static const struct sp_json_value absent;

struct reader {
    const struct sp_record *record;
    const struct sp_limits *limits;
    const struct sp_topics *topics;
    struct sp_message *out;
    bool id_chosen;
};

static void refuse(struct reader *r, enum sp_verdict verdict, enum sp_sb sb,
                   const struct sp_error *why)
{
    if (r->out->verdict != SP_VERDICT_RUN)
        return;
    r->out->verdict = verdict;
    r->out->sb = sb;
    r->out->why = *why;
    r->out->why.code = SP_E_INVALID;
}

/* The request id: several sources. The first one that is there is chosen, and only its fault
 * counts; a reply then carries the next valid one. */

static const char *id_fault(const char *text, size_t len)
{
    if (len == 0 || len > SP_REQUEST_ID_MAX)
        return "expected 1 to 128 bytes";
    if (!sp_utf8_valid(text, len))
        return "not UTF-8 text";
    return sp_utf8_has_control(text, len) ? "control characters are not allowed" : NULL;
}

static void refuse_id(struct reader *r, const struct sp_error *why)
{
    if (!r->id_chosen)
        refuse(r, SP_VERDICT_REJECT, SP_SB012_BAD_REQUEST, why);
    r->id_chosen = true;
}

static enum sp_code offer_id(struct reader *r, const char *field, const char *text, size_t len)
{
    struct sp_error why = {0};
    const char *fault = id_fault(text, len);
    if (fault) {
        sp_error_set(&why, SP_E_INVALID, "%s: %s", field, fault);
        refuse_id(r, &why);
        return SP_OK;
    }
    r->id_chosen = true;
    r->out->req.id = sp_memdup(text, len);
    return r->out->req.id ? SP_OK : SP_E_NOMEM;
}

static enum sp_code offer_json_id(struct reader *r, const char *field,
                                  const struct sp_json_value *value)
{
    if (r->out->req.id || value->type == SP_JSON_NULL)
        return SP_OK;
    struct sp_error why = {0};
    sp_auto(sp_buf_clear) struct sp_buf text = {0};
    enum sp_code rc = sp_json_read_text(field, value, SP_REQUEST_ID_MAX, &text, &why);
    if (rc == SP_E_NOMEM)
        return rc;
    if (!rc)
        return offer_id(r, field, text.data, text.len);
    refuse_id(r, &why);
    return SP_OK;
}

static enum sp_code offer_header_id(struct reader *r, const char *name)
{
    const struct sp_header *header = sp_record_header(r->record, name);
    if (r->out->req.id || !header || !header->value)
        return SP_OK;
    return offer_id(r, name, header->value, header->len);
}

static enum sp_code offer_offset(struct reader *r)
{
    if (r->out->req.id)
        return SP_OK;
    const struct sp_record *record = r->record;
    if (asprintf(&r->out->req.id, "%s-%" PRId32 "-%" PRId64, record->topic, record->partition,
                 record->offset) < 0) {
        r->out->req.id = NULL;
        return SP_E_NOMEM;
    }
    return SP_OK;
}

static enum sp_code choose_id(struct reader *r, const struct sp_json_value *request_id,
                              const struct sp_json_value *event_id)
{
    enum sp_code rc = offer_json_id(r, "request_id", request_id);
    if (!rc)
        rc = offer_header_id(r, "sandpiper_request_id");
    if (!rc)
        rc = offer_json_id(r, "id", event_id);
    if (!rc)
        rc = offer_header_id(r, "ce_id");
    return rc ? rc : offer_offset(r);
}

/* Where the reply goes. */

static enum sp_code read_reply_to(struct reader *r, const struct sp_json_value *value,
                                  struct sp_buf *text)
{
    if (value->type == SP_JSON_NULL)
        return SP_OK;
    struct sp_error why = {0};
    enum sp_code rc = sp_json_read_text("reply_to", value, SP_BUF_UNBOUNDED, text, &why);
    if (rc == SP_E_NOMEM)
        return rc;
    if (rc)
        refuse(r, SP_VERDICT_REJECT, SP_SB012_BAD_REQUEST, &why);
    if (rc || text->len == 0)
        return SP_OK;
    r->out->req.reply_to = sp_memdup(text->data, text->len);
    return r->out->req.reply_to ? SP_OK : SP_E_NOMEM;
}

/* A denied topic loses its partition, too: the default topic has others. */
static bool is_allowed(struct reader *r, const char *field, struct sp_bytes topic)
{
    struct sp_error why = {0};
    enum sp_code rc = sp_topic_reply_allowed(r->topics, topic.data, topic.len, &why);
    if (!rc)
        return true;
    sp_error_wrap(&why, rc, "%s", field);
    refuse(r, SP_VERDICT_REJECT, SP_SB007_POLICY, &why);
    r->out->env.reply_partition = -1;
    return false;
}

static enum sp_code choose_topic(struct reader *r, const struct sp_json_value *reply_to)
{
    sp_auto(sp_buf_clear) struct sp_buf text = {0};
    enum sp_code rc = read_reply_to(r, reply_to, &text);
    if (rc)
        return rc;

    const struct sp_header *header = sp_record_header(r->record, "kafka_replyTopic");
    bool by_header = header && header->value && header->len > 0;
    struct sp_bytes topic = {text.data, text.len};
    if (by_header)
        topic = (struct sp_bytes){header->value, header->len};
    if (topic.len == 0 || !is_allowed(r, by_header ? "kafka_replyTopic" : "reply_to", topic))
        topic = (struct sp_bytes){r->topics->reply, strlen(r->topics->reply)};
    r->out->env.reply_topic = sp_memdup(topic.data, topic.len);
    return r->out->env.reply_topic ? SP_OK : SP_E_NOMEM;
}

static void read_partition(struct reader *r)
{
    const struct sp_header *header = sp_record_header(r->record, "kafka_replyPartition");
    if (!header || !header->value)
        return;
    uint32_t number = UINT32_MAX;
    if (header->len == sizeof(number)) {
        const unsigned char *b = (const unsigned char *)header->value;
        number = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    }
    r->out->env.partition_unusable = number > INT32_MAX;
    r->out->env.reply_partition = number > INT32_MAX ? -1 : (int32_t)number;
}

static void read_trace(struct reader *r)
{
    const struct sp_header *parent = sp_record_header(r->record, "traceparent");
    const struct sp_header *state = sp_record_header(r->record, "tracestate");
    if (!parent || !parent->value ||
        !sp_trace_continue(parent->value, parent->len, r->out->env.traceparent))
        return;
    if (state && state->value && sp_tracestate_valid(state->value, state->len))
        r->out->env.tracestate = state;
}

static bool is_replay(const struct sp_record *record)
{
    const struct sp_header *header = sp_record_header(record, SP_HEADER_REPLAY_COUNT);
    char text[24];
    int64_t count = 0;
    if (!header || !header->value || header->len >= sizeof(text))
        return false;
    memcpy(text, header->value, header->len);
    text[header->len] = '\0';
    return sp_parse_i64(text, 1, INT64_MAX, &count);
}

/* The value. */

static enum sp_code settle(struct reader *r, const struct sp_request_address *address,
                           const struct sp_json_value *event_id)
{
    enum sp_code rc = choose_id(r, &address->request_id, event_id);
    return rc ? rc : choose_topic(r, &address->reply_to);
}

static enum sp_code read_request(struct reader *r, const struct sp_json_value *object,
                                 const struct sp_json_value *event_id)
{
    struct sp_request_address address;
    struct sp_error why = {0};
    enum sp_code rc = sp_request_json_read(object, r->limits, &r->out->req, &address, &why);
    if (rc == SP_E_NOMEM)
        return rc;
    if (rc)
        refuse(r, SP_VERDICT_REJECT, SP_SB012_BAD_REQUEST, &why);
    return settle(r, &address, event_id);
}

/* The id is settled although there is nothing to run. */
static enum sp_code read_nothing(struct reader *r, enum sp_verdict verdict,
                                 const struct sp_json_value *event_id, const struct sp_error *why)
{
    static const struct sp_request_address nowhere;
    refuse(r, verdict, SP_SB012_BAD_REQUEST, why);
    return settle(r, &nowhere, event_id);
}

static enum sp_code read_event(struct reader *r, const struct sp_json_value *envelope)
{
    sp_auto(sp_event_clear) struct sp_event event = {0};
    struct sp_error why = {0};
    enum sp_code rc = sp_event_open(envelope, &event, &why);
    if (rc == SP_E_NOMEM)
        return rc;
    return rc ? read_nothing(r, SP_VERDICT_REJECT, &event.id, &why)
              : read_request(r, &event.data, &event.id);
}

static enum sp_code read_value(struct reader *r, bool structured)
{
    struct sp_json_value value = {0};
    struct sp_error why = {0};
    enum sp_code rc = SP_E_INVALID;
    if (!r->record->value) {
        sp_error_set(&why, rc, "missing (a tombstone)");
    } else {
        rc = sp_json_scan(r->record->value, r->record->value_len, &value, &why);
    }
    if (rc == SP_E_NOMEM)
        return rc;
    if (!rc && value.type != SP_JSON_OBJECT)
        rc = sp_error_set(&why, SP_E_INVALID, "some other JSON");
    if (rc) {
        sp_error_wrap(&why, rc, "value: expected a JSON object in UTF-8");
        return read_nothing(r, SP_VERDICT_UNPARSEABLE, &absent, &why);
    }
    return structured ? read_event(r, &value) : read_request(r, &value, &absent);
}

enum sp_code sp_message_read(const struct sp_record *record, const struct sp_limits *limits,
                             const struct sp_topics *topics, struct sp_message *out,
                             struct sp_error *err)
{
    struct reader r = {.record = record, .limits = limits, .topics = topics, .out = out};
    enum sp_event_mode mode = sp_event_mode(record);

    *out = (struct sp_message){
        .env = {.reply_partition = -1,
                .correlation = sp_record_header(record, "kafka_correlationId"),
                .cloud_event = mode != SP_EVENT_NONE},
        .replay = is_replay(record),
    };
    read_partition(&r);
    read_trace(&r);
    enum sp_code rc = read_value(&r, mode == SP_EVENT_STRUCTURED);
    out->own_id = r.id_chosen;
    if (!rc)
        return SP_OK;
    sp_message_clear(out);
    return sp_error_set(err, rc, "out of memory for a request");
}

void sp_envelope_clear(struct sp_envelope *env)
{
    free(env->reply_topic);
    *env = (struct sp_envelope){0};
}

void sp_message_clear(struct sp_message *message)
{
    sp_request_clear(&message->req);
    sp_envelope_clear(&message->env);
    *message = (struct sp_message){0};
}
