/* Headers of a reply, and of a DLQ record: those it came with, Spring's kafka_dlt-* and ours. */
#include "queue/headers.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"

static void add(rd_kafka_headers_t *headers, const char *name, const char *text)
{
    (void)rd_kafka_header_add(headers, name, -1, text, -1);
}

static void add_number(rd_kafka_headers_t *headers, const char *name, int64_t number)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRId64, number);
    add(headers, name, text);
}

static void add_copy(rd_kafka_headers_t *headers, const struct sp_header *header)
{
    (void)rd_kafka_header_add(headers, header->name, -1, header->value, (ssize_t)header->len);
}

static void add_int32(rd_kafka_headers_t *headers, const char *name, int32_t number)
{
    uint32_t bytes = htobe32((uint32_t)number);
    (void)rd_kafka_header_add(headers, name, -1, &bytes, sizeof(bytes));
}

static void add_int64(rd_kafka_headers_t *headers, const char *name, int64_t number)
{
    uint64_t bytes = htobe64((uint64_t)number);
    (void)rd_kafka_header_add(headers, name, -1, &bytes, sizeof(bytes));
}

static void add_cloud_event(rd_kafka_headers_t *headers, const struct sp_send *send,
                            const char *worker)
{
    char source[300], now[25];
    (void)snprintf(source, sizeof(source), "/sandpiper/%s", worker);
    sp_wall_iso8601(sp_wall_ms(), now);
    add(headers, "ce_specversion", "1.0");
    add(headers, "ce_type", "dev.sandpiper.execution.result.v1");
    add(headers, "ce_source", source);
    add(headers, "ce_id", send->result_id);
    add(headers, "ce_subject", send->request_id);
    add(headers, "ce_time", now);
}

rd_kafka_headers_t *sp_headers_of_reply(const struct sp_send *send, const char *worker_id)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(16);
    const struct sp_envelope *env = send->env;
    const char *worker = send->worker ? send->worker : worker_id;
    add(headers, "content-type", "application/json");
    add(headers, "sandpiper_status", send->status);
    add(headers, "sandpiper_request_id", send->request_id);
    add(headers, "sandpiper_result_id", send->result_id);
    add(headers, "sandpiper_worker", worker);
    add_number(headers, "sandpiper_attempt", send->attempt);
    if (send->degraded)
        add(headers, "sandpiper_dedupe", "degraded");
    if (env->correlation)
        add_copy(headers, env->correlation);
    if (env->reply_partition >= 0)
        add_int32(headers, SP_HEADER_REPLY_PARTITION, env->reply_partition);
    if (env->partition_unusable)
        add(headers, SP_HEADER_FALLBACK, SP_REASON_PARTITION);
    if (env->traceparent[0])
        add(headers, "traceparent", env->traceparent);
    if (env->traceparent[0] && env->tracestate)
        add_copy(headers, env->tracestate);
    if (env->cloud_event)
        add_cloud_event(headers, send, worker);
    return headers;
}

/* Java's names of TimestampType. */
static const char *timestamp_type(const struct sp_record *record)
{
    if (record->timestamp_ms < 0)
        return "NoTimestampType";
    return record->log_append_time ? "LogAppendTime" : "CreateTime";
}

static void add_spring(rd_kafka_headers_t *headers, const struct sp_dead_letter *letter)
{
    const struct sp_record *record = letter->record;
    add(headers, "kafka_dlt-original-topic", record->topic);
    add_int32(headers, "kafka_dlt-original-partition", record->partition);
    add_int64(headers, "kafka_dlt-original-offset", record->offset);
    add_int64(headers, "kafka_dlt-original-timestamp", record->timestamp_ms);
    add(headers, "kafka_dlt-original-timestamp-type", timestamp_type(record));
    add(headers, "kafka_dlt-original-consumer-group", letter->group);
    add(headers, "kafka_dlt-exception-fqcn", "dev.sandpiper.DeadLetter");
    add(headers, "kafka_dlt-exception-message", letter->reason);
}

rd_kafka_headers_t *sp_headers_of_dead_letter(const struct sp_dead_letter *letter)
{
    const struct sp_record *record = letter->record;
    rd_kafka_headers_t *headers = rd_kafka_headers_new(record->n_headers + 12);
    for (size_t i = 0; i < record->n_headers; i++)
        add_copy(headers, &record->headers[i]);
    add_spring(headers, letter);
    add(headers, "sandpiper_dlq_reason", letter->reason);
    add_number(headers, "sandpiper_dlq_attempts", letter->attempts);
    add(headers, "sandpiper_dlq_worker", letter->worker_id);
    add_number(headers, "sandpiper_dlq_first_seen_ms", letter->first_seen_ms);
    return headers;
}
