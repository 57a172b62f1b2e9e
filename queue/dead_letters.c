/* librdkafka's simple consumer reads the queue, because it needs no group and so no rights on one.
 */
#include "queue/dead_letters.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "queue/receipt.h"

enum { POLL_MS = 100, DESTROY_MS = 1000 };

struct sp_dead_letters {
    const struct sp_queue_property *kafka;
    size_t n_kafka;
    rd_kafka_t *consumer, *producer; /* the latter is made when needed */
    rd_kafka_topic_t *topic;
    const char *name; /* the topic's */
    rd_kafka_queue_t *incoming;
    int32_t n_partitions, n_ended;
};

static const struct sp_queue_property reader_needs[] = {
    {"client.id", "sandpiper-dlq"},        {"group.id", NULL},
    {"group.instance.id", NULL},           {"auto.offset.reset", "earliest"},
    {"enable.partition.eof", "true"},      {"statistics.interval.ms", "0"},
    {"allow.auto.create.topics", "false"}, {"log_level", "0"},
};

static const struct sp_queue_property writer_needs[] = {
    {"client.id", "sandpiper-dlq"},
    {"linger.ms", "0"},
    {"statistics.interval.ms", "0"},
    {"log_level", "0"},
};

static enum sp_code open_handle(const struct sp_dead_letters *letters, rd_kafka_type_t type,
                                const struct sp_queue_property *needs, size_t n, rd_kafka_t **out,
                                struct sp_error *err)
{
    sp_auto(rd_kafka_conf_destroy) rd_kafka_conf_t *conf = sp_kafka_conf(type);
    enum sp_code rc = sp_kafka_pass(conf, letters->kafka, letters->n_kafka, err);
    if (!rc)
        rc = sp_kafka_set_all(conf, needs, n, err);
    if (rc)
        return rc;
    if (type == RD_KAFKA_PRODUCER)
        rd_kafka_conf_set_dr_msg_cb(conf, sp_receipt_report);
    rc = sp_kafka_open(type, conf, out, err);
    if (!rc)
        conf = NULL;
    return rc;
}

static enum sp_code open_reader(struct sp_dead_letters *letters, const char *topic,
                                struct sp_error *err)
{
    enum sp_code rc = open_handle(letters, RD_KAFKA_CONSUMER, reader_needs, SP_COUNT(reader_needs),
                                  &letters->consumer, err);
    if (rc)
        return rc;
    letters->incoming = rd_kafka_queue_new(letters->consumer);
    letters->topic = rd_kafka_topic_new(letters->consumer, topic, NULL);
    if (!letters->topic) {
        return sp_error_set(err, SP_E_INVALID, "topic \"%.80s\": %s", topic,
                            rd_kafka_err2str(rd_kafka_last_error()));
    }
    letters->name = rd_kafka_topic_name(letters->topic);
    return SP_OK;
}

enum sp_code sp_dead_letters_open(const struct sp_queue_property *kafka, size_t n_kafka,
                                  const char *topic, struct sp_dead_letters **out,
                                  struct sp_error *err)
{
    struct sp_dead_letters *letters = calloc(1, sizeof(*letters));
    if (!letters)
        return sp_error_set(err, SP_E_NOMEM, "no memory");
    letters->kafka = kafka;
    letters->n_kafka = n_kafka;
    enum sp_code rc = open_reader(letters, topic, err);
    if (rc) {
        sp_dead_letters_close(letters);
        return rc;
    }
    *out = letters;
    return SP_OK;
}

void sp_dead_letters_close(struct sp_dead_letters *letters)
{
    if (!letters)
        return;
    for (int32_t p = 0; p < letters->n_partitions; p++)
        (void)rd_kafka_consume_stop(letters->topic, p);
    if (letters->incoming)
        rd_kafka_queue_destroy(letters->incoming);
    if (letters->topic)
        rd_kafka_topic_destroy(letters->topic);
    if (letters->consumer)
        sp_kafka_destroy(letters->consumer, DESTROY_MS);
    if (letters->producer)
        sp_kafka_destroy(letters->producer, DESTROY_MS);
    free(letters);
}

/* ---- reading ---- */

static enum sp_code describe(const struct sp_dead_letters *letters, rd_kafka_resp_err_t error,
                             struct sp_error *err)
{
    switch ((int)error) {
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        return sp_error_set(err, SP_E_INVALID,
                            "topic %s: there is none; queue.dlq_topic and queue.request_topics say "
                            "which it is",
                            letters->name);
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        return sp_error_set(err, SP_E_DENIED, "topic %s: Kafka does not let us use it",
                            letters->name);
    default:
        return sp_error_set(err, SP_E_UNAVAILABLE, "topic %s: %s", letters->name,
                            rd_kafka_err2str(error));
    }
}

static enum sp_code start_reading(struct sp_dead_letters *letters, int64_t deadline,
                                  struct sp_error *err)
{
    int32_t n = 0;
    rd_kafka_resp_err_t error =
        sp_kafka_await_partitions(letters->consumer, letters->topic, deadline, &n);
    if (error)
        return describe(letters, error, err);
    for (; letters->n_partitions < n; letters->n_partitions++) {
        if (rd_kafka_consume_start_queue(letters->topic, letters->n_partitions,
                                         RD_KAFKA_OFFSET_BEGINNING, letters->incoming))
            return describe(letters, rd_kafka_last_error(), err);
    }
    return SP_OK;
}

static struct sp_record *copy(const struct sp_dead_letters *letters,
                              const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers = NULL;
    rd_kafka_timestamp_type_t type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    size_t n = rd_kafka_message_headers(message, &headers) ? 0 : rd_kafka_header_cnt(headers);
    struct sp_header *list = sp_kafka_must(calloc(n + 1, sizeof(*list)));
    for (size_t i = 0; i < n; i++) {
        const void *value = NULL;
        (void)rd_kafka_header_get_all(headers, i, &list[i].name, &value, &list[i].len);
        list[i].value = value;
    }
    const struct sp_record view = {
        .topic = letters->name,
        .partition = message->partition,
        .offset = message->offset,
        .timestamp_ms = rd_kafka_message_timestamp(message, &type),
        .log_append_time = type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME,
        .key = message->key,
        .key_len = message->key_len,
        .value = message->payload,
        .value_len = message->len,
        .headers = list,
        .n_headers = n,
    };
    struct sp_record *record = sp_kafka_must(sp_record_copy(&view));
    free(list);
    return record;
}

enum sp_code sp_dead_letters_next(struct sp_dead_letters *letters, int64_t timeout_ms,
                                  struct sp_record **out, struct sp_error *err)
{
    int64_t deadline = sp_deadline_in(timeout_ms);
    enum sp_code rc = letters->n_partitions ? SP_OK : start_reading(letters, deadline, err);
    *out = NULL;
    while (!rc && !*out && letters->n_ended < letters->n_partitions) {
        (void)rd_kafka_poll(letters->consumer, 0);
        rd_kafka_message_t *message = rd_kafka_consume_queue(letters->incoming, POLL_MS);
        if (!message) {
            if (sp_deadline_left(deadline) > 0)
                continue;
            return sp_error_set(err, SP_E_UNAVAILABLE, "topic %s: Kafka does not answer",
                                letters->name);
        }
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            (void)rd_kafka_consume_stop(letters->topic, message->partition);
            letters->n_ended++;
        } else if (message->err) {
            rc = describe(letters, message->err, err);
        } else {
            *out = copy(letters, message);
        }
        rd_kafka_message_destroy(message);
    }
    return rc;
}

/* ---- what a dead letter says ---- */

static const char *text_of(const struct sp_record *letter, const char *name)
{
    const struct sp_header *header = sp_record_header(letter, name);
    return header ? header->value : NULL; /* NUL-terminated in the copy */
}

static int64_t number_of(const struct sp_record *letter, const char *name, int64_t otherwise)
{
    const char *text = text_of(letter, name);
    int64_t number = otherwise;
    if (text)
        (void)sp_parse_i64(text, 0, INT64_MAX, &number);
    return number;
}

int64_t sp_dead_letter_number(const struct sp_header *header)
{
    uint64_t number = 0;
    for (size_t i = 0; i < header->len; i++)
        number = number << 8 | (unsigned char)header->value[i];
    return (int64_t)number;
}

static int64_t big_endian_of(const struct sp_record *letter, const char *name, size_t size)
{
    const struct sp_header *header = sp_record_header(letter, name);
    return header && header->value && header->len == size ? sp_dead_letter_number(header) : -1;
}

struct sp_dead_letter_facts sp_dead_letter_read(const struct sp_record *letter)
{
    return (struct sp_dead_letter_facts){
        .topic = text_of(letter, "kafka_dlt-original-topic"),
        .reason = text_of(letter, "sandpiper_dlq_reason"),
        .worker = text_of(letter, "sandpiper_dlq_worker"),
        .partition = (int32_t)big_endian_of(letter, "kafka_dlt-original-partition", 4),
        .offset = big_endian_of(letter, "kafka_dlt-original-offset", 8),
        .timestamp_ms = big_endian_of(letter, "kafka_dlt-original-timestamp", 8),
        .attempts = number_of(letter, "sandpiper_dlq_attempts", -1),
        .first_seen_ms = number_of(letter, "sandpiper_dlq_first_seen_ms", -1),
        .replays = number_of(letter, SP_HEADER_REPLAY_COUNT, 0),
        .value_dropped = !letter->value && text_of(letter, "sandpiper_dlq_value"),
    };
}

/* ---- sending again ---- */

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Of the DLQ; the others are those it came with once. */
static bool is_added(const char *name)
{
    return has_prefix(name, "kafka_dlt-") || has_prefix(name, "sandpiper_dlq_") ||
           strcmp(name, SP_HEADER_REPLAY_COUNT) == 0;
}

static rd_kafka_headers_t *headers_of(const struct sp_record *letter)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(letter->n_headers + 1);
    char count[24];
    for (size_t i = 0; i < letter->n_headers; i++) {
        const struct sp_header *header = &letter->headers[i];
        if (is_added(header->name))
            continue;
        (void)rd_kafka_header_add(headers, header->name, -1, header->value, (ssize_t)header->len);
    }
    (void)snprintf(count, sizeof(count), "%" PRId64, sp_dead_letter_read(letter).replays + 1);
    (void)rd_kafka_header_add(headers, SP_HEADER_REPLAY_COUNT, -1, count, -1);
    return headers;
}

static rd_kafka_resp_err_t produce(struct sp_dead_letters *letters, const struct sp_record *letter,
                                   const char *topic, struct sp_receipt *receipt)
{
    rd_kafka_headers_t *headers = headers_of(letter);
    /* librdkafka takes void pointers; RD_KAFKA_MSG_F_COPY leaves what they point to alone. */
    rd_kafka_resp_err_t error = rd_kafka_producev(
        letters->producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_KEY((void *)(uintptr_t)letter->key, letter->key_len),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)letter->value, letter->value_len),
        RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(receipt), RD_KAFKA_V_END);
    if (error)
        rd_kafka_headers_destroy(headers);
    return error;
}

static enum sp_code describe_send(const char *topic, rd_kafka_resp_err_t error,
                                  struct sp_error *err)
{
    enum sp_code rc = SP_E_UNAVAILABLE;
    if (error == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
        rc = SP_E_LIMIT;
    if (error == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        rc = SP_E_DENIED;
    if (error == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
        error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        rc = SP_E_INVALID;
    if (sp_receipt_is_late(error)) {
        return sp_error_set(err, rc,
                            "topic %s: Kafka does not answer; the record may get there "
                            "nevertheless",
                            topic);
    }
    return sp_error_set(err, rc, "topic %s: %s", topic, rd_kafka_err2str(error));
}

enum sp_code sp_dead_letter_replay(struct sp_dead_letters *letters, const struct sp_record *letter,
                                   const char *topic, int64_t timeout_ms, int64_t *offset,
                                   struct sp_error *err)
{
    struct sp_receipt receipt = {0};
    if (sp_dead_letter_read(letter).value_dropped) {
        return sp_error_set(err, SP_E_INVALID,
                            "its value was too large for the DLQ and was dropped; the original is "
                            "in the request topic as long as Kafka keeps it");
    }
    enum sp_code rc = letters->producer
                          ? SP_OK
                          : open_handle(letters, RD_KAFKA_PRODUCER, writer_needs,
                                        SP_COUNT(writer_needs), &letters->producer, err);
    if (rc)
        return rc;
    rd_kafka_resp_err_t error = produce(letters, letter, topic, &receipt);
    if (error)
        return describe_send(topic, error, err);
    sp_receipt_await(letters->producer, &receipt, sp_deadline_in(timeout_ms));
    if (receipt.error)
        return describe_send(topic, receipt.error, err);
    *offset = receipt.offset;
    return SP_OK;
}
