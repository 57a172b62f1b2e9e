#include "cli/letter.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "queue/dead_letters.h"
#include "queue/message.h"

void sp_letter_name(const struct sp_record *letter, char out[SP_LETTER_NAME])
{
    (void)snprintf(out, SP_LETTER_NAME, "%s/%d/%lld", letter->topic, (int)letter->partition,
                   (long long)letter->offset);
}

char *sp_letter_request_id(const struct sp_session *session, const struct sp_record *letter)
{
    const struct sp_dead_letter_facts facts = sp_dead_letter_read(letter);
    sp_auto(sp_message_clear) struct sp_message message = {0};
    struct sp_record original = *letter;
    if (facts.topic && facts.offset >= 0) { /* for an id that was made of them */
        original.topic = facts.topic;
        original.partition = facts.partition;
        original.offset = facts.offset;
    }
    if (sp_message_read(&original, &session->config->limits, &session->topics, &message, NULL))
        return NULL;
    return SP_TAKE(message.req.id);
}

/* Bytes as text, whatever they are. */
static json_t *text_json(const char *data, size_t len)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    if (!data || sp_utf8_clean(data, len, &text, NULL))
        return json_null();
    return json_stringn(sp_buf_str(&text), text.len);
}

/* Of a header, which may be anybody's: one line that a terminal can show. */
static json_t *line_json(const char *text)
{
    sp_auto(sp_buf_clear) struct sp_buf line = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    if (!text || sp_utf8_clean(text, strlen(text), &line, NULL))
        return json_null();
    unsigned char *bytes = (unsigned char *)line.data;
    for (size_t i = 0; i < line.len; i++) {
        if (bytes[i] < ' ' || bytes[i] == 0x7f)
            bytes[i] = '?';
        if (bytes[i] == 0xc2 && bytes[i + 1] < 0xa0) /* a C1 control character */
            bytes[i] = bytes[i + 1] = '?';
    }
    return json_stringn(sp_buf_str(&line), line.len);
}

json_t *sp_letter_facts(const struct sp_session *session, const struct sp_record *letter)
{
    const struct sp_dead_letter_facts facts = sp_dead_letter_read(letter);
    sp_auto(sp_free_str) char *id = sp_letter_request_id(session, letter);
    char name[SP_LETTER_NAME];
    sp_letter_name(letter, name);
    return json_pack("{s:s, s:s*, s:o, s:o, s:i, s:I, s:I, s:I, s:I, s:o, s:b}", "position", name,
                     "request_id", id, "reason", line_json(facts.reason), "topic",
                     line_json(facts.topic), "partition", (int)facts.partition, "offset",
                     (json_int_t)facts.offset, "attempts", (json_int_t)facts.attempts,
                     "first_seen_ms", (json_int_t)facts.first_seen_ms, "replays",
                     (json_int_t)facts.replays, "worker", line_json(facts.worker), "value_dropped",
                     (int)facts.value_dropped);
}

static bool is_number(const char *name)
{
    static const char *const numbers[] = {"kafka_dlt-original-partition",
                                          "kafka_dlt-original-offset",
                                          "kafka_dlt-original-timestamp", "kafka_replyPartition"};
    for (size_t i = 0; i < SP_COUNT(numbers); i++) {
        if (strcmp(numbers[i], name) == 0)
            return true;
    }
    return false;
}

/* Numbers of Spring's are bytes, big-endian; other bytes that are no text stand in hex. */
static json_t *header_json(const struct sp_header *header)
{
    sp_auto(sp_buf_clear) struct sp_buf hex = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    if (!header->value)
        return json_null();
    if (is_number(header->name) && header->len <= sizeof(int64_t))
        return json_integer((json_int_t)sp_dead_letter_number(header));
    if (sp_utf8_valid(header->value, header->len))
        return json_stringn(header->value, header->len);
    for (size_t i = 0; i < header->len; i++)
        (void)sp_buf_addf(&hex, "%02x", (unsigned char)header->value[i]);
    return json_string(sp_buf_str(&hex));
}

static json_t *headers_json(const struct sp_record *letter)
{
    json_t *headers = json_array();
    for (size_t i = 0; i < letter->n_headers; i++) {
        (void)json_array_append_new(headers,
                                    json_pack("{s:s, s:o}", "name", letter->headers[i].name,
                                              "value", header_json(&letter->headers[i])));
    }
    return headers;
}

void sp_letter_add_content(json_t *facts, const struct sp_record *letter, bool value)
{
    (void)json_object_set_new(facts, "key", text_json(letter->key, letter->key_len));
    (void)json_object_set_new(facts, "headers", headers_json(letter));
    if (value)
        (void)json_object_set_new(facts, "value", text_json(letter->value, letter->value_len));
    (void)json_object_set_new(facts, "value_bytes", json_integer((json_int_t)letter->value_len));
}
