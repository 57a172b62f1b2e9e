/*
 * Reads reply topics without a consumer group, from positions fixed beforehand, so that no answer
 * is missed and nothing is committed. For queue/client.c alone. Thread: one at a time.
 */
#pragma once

#include "queue/kafka.h"

struct sp_reply_reader {
    rd_kafka_t *rk; /* borrowed */
    rd_kafka_queue_t *incoming;
    struct sp_reply_topic *topics;
    size_t n;
};

/* rk is a consumer, which outlives the reader. */
void sp_reply_reader_init(struct sp_reply_reader *reader, rd_kafka_t *rk);
/*
 * Fixes from where all partitions of a topic are read: since_ms as for sp_client_listen(). What
 * Kafka says where it cannot, until the deadline (monotonic ms).
 */
rd_kafka_resp_err_t sp_reply_reader_add(struct sp_reply_reader *reader, const char *name,
                                        int64_t since_ms, int64_t deadline);
/* The next message or error of any topic, the caller's; NULL: none within timeout_ms. */
rd_kafka_message_t *sp_reply_reader_next(struct sp_reply_reader *reader, int timeout_ms);
/* A zeroed one is fine. */
void sp_reply_reader_clear(struct sp_reply_reader *reader);
