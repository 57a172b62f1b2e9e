/*
 * Kafka for those who ask: sends one request and reads reply topics until its answer is there. It
 * reads without a consumer group, from positions fixed before the request is sent, so no answer is
 * missed and nothing is committed. Thread: one at a time.
 */
#pragma once

#include "queue/queue.h"

struct sp_client;

#define SP_CORRELATION_BYTES 16
#define SP_CLIENT_END INT64_MIN /* as since_ms: from now on */

/*
 * kafka: librdkafka's properties, borrowed until sp_client_close(); they win over our defaults,
 * save that group.id is left out. SP_E_INVALID: bootstrap.servers is missing. Does no I/O.
 */
SP_MUST_CHECK enum sp_code sp_client_open(const struct sp_queue_property *kafka, size_t n_kafka,
                                          struct sp_client **out, struct sp_error *err);
void sp_client_close(struct sp_client *client);
SP_AUTO(struct sp_client *, sp_client_close)

/*
 * Fixes from where all partitions of a topic are read: from their present ends, or from the records
 * written at since_ms (wall clock) and later. May be called for several topics. SP_E_UNAVAILABLE:
 * Kafka does not answer; SP_E_INVALID: there is no such topic, or librdkafka refuses a property,
 * which is named; SP_E_DENIED. The text says what to do. Blocks: timeout_ms.
 */
SP_MUST_CHECK enum sp_code sp_client_listen(struct sp_client *client, const char *topic,
                                            int64_t since_ms, int64_t timeout_ms,
                                            struct sp_error *err);

/* All borrowed for the call. */
struct sp_client_request {
    const char *topic;
    const char *key; /* NULL: none */
    const void *value;
    size_t len;
    const unsigned char *correlation; /* SP_CORRELATION_BYTES */
};
/* Sends and waits for the broker's acknowledgement. Codes as above; SP_E_LIMIT: the broker refused
 * the size. Blocks: timeout_ms. */
SP_MUST_CHECK enum sp_code sp_client_send(struct sp_client *client,
                                          const struct sp_client_request *request,
                                          int64_t timeout_ms, int32_t *partition, int64_t *offset,
                                          struct sp_error *err);

/*
 * The first reply with this correlation id or, where that is NULL, with this request id. The caller
 * frees *value (NUL-terminated). SP_E_TIMEOUT: none yet; call again. SP_E_DENIED: a topic may not
 * be read. Call sp_client_listen() first. Blocks: timeout_ms.
 */
SP_MUST_CHECK enum sp_code sp_client_wait(struct sp_client *client, const char *request_id,
                                          const unsigned char *correlation, int64_t timeout_ms,
                                          char **value, size_t *len, struct sp_error *err);
