/*
 * The producer. A message sent is delivered in the end, whatever happens to the broker: delivery
 * reports are the only truth, and what failed is sent again with the same bytes. Only what the
 * broker definitely refuses goes another way (CONTRACT.md 4): a reply to the default topic, a dead
 * letter without its value.
 */
#pragma once

#include "queue/kafka.h"
#include "queue/waker.h"

struct sp_producer;

/* Messages given to librdkafka and not acknowledged, from which on nothing new is begun: a tenth of
 * a second's at the utmost rate. */
#define SP_UNDER_WAY_MAX 8192

/* Borrowed until sp_producer_close(). */
struct sp_producer_options {
    struct sp_waker *waker;
    const char *default_topic; /* of replies */
};

struct sp_parcel {
    enum { SP_PARCEL_REPLY, SP_PARCEL_DEAD_LETTER } kind;
    const char *topic;
    int32_t partition; /* RD_KAFKA_PARTITION_UA: by key; one that does not exist likewise */
    const void *key, *value;
    size_t key_len, value_len;
    rd_kafka_headers_t *headers;
    void *ticket;
};

/* Takes conf over, also on failure. SP_E_INVALID: librdkafka refuses a property. */
SP_MUST_CHECK enum sp_code sp_producer_open(const struct sp_producer_options *options,
                                            rd_kafka_conf_t *conf, struct sp_producer **out,
                                            struct sp_error *err);
/*
 * Copies all but the headers, which it takes over, also on failure. Waits while the buffer is full.
 * SP_E_NOMEM; SP_E_INTERNAL once closed. Thread: any.
 */
SP_MUST_CHECK enum sp_code sp_producer_send(struct sp_producer *producer,
                                            const struct sp_parcel *parcel, struct sp_error *err);
/* Delivery reports, and what is due to be sent again. Thread: consumer. */
void sp_producer_serve(struct sp_producer *producer);
/* The next ticket that is done with: delivered, or refused for its size by the default topic.
 * False: none. Thread: consumer. */
bool sp_producer_next(struct sp_producer *producer, bool *too_large, void **ticket);
/* SP_UNDER_WAY_MAX is reached; only sp_producer_serve() ends that. Thread: consumer. */
bool sp_producer_behind(const struct sp_producer *producer);
/* When sp_producer_serve() has something to send again, monotonic; SP_NEVER. Thread: consumer. */
int64_t sp_producer_due_ms(const struct sp_producer *producer);
/* Fills reply_topic_refused, refused, delivered, fallbacks, dead_letters and producer_queue.
 * Thread: consumer. */
void sp_producer_status(const struct sp_producer *producer, struct sp_queue_status *out);
/* Nobody serves it for now: sp_producer_send() does not wait for room any more, but fails with
 * SP_E_INTERNAL. Thread: any. */
void sp_producer_hurry(struct sp_producer *producer);
/* Takes nothing new any more and waits for deliveries, at most flush_ms. What is not delivered then
 * never is; its offsets are not committed. Thread: consumer, or the one that joined it. */
void sp_producer_flush(struct sp_producer *producer, int64_t flush_ms);
void sp_producer_close(struct sp_producer *producer);
