/* Headers of what we publish: CONTRACT.md 4; encodings of Spring's: big-endian numbers, UTF-8. */
#pragma once

#include <librdkafka/rdkafka.h>

#include "queue/queue.h"

#define SP_HEADER_REPLY_PARTITION "kafka_replyPartition"
#define SP_HEADER_FALLBACK "sandpiper_reply_fallback"
#define SP_HEADER_DLQ_VALUE "sandpiper_dlq_value"

#define SP_REASON_PARTITION "unusable reply partition"

/* All borrowed for the call. */
struct sp_dead_letter {
    const struct sp_record *record;
    const char *reason, *group, *worker_id;
    int64_t attempts, first_seen_ms;
};

/* The caller's. Never NULL. */
rd_kafka_headers_t *sp_headers_of_reply(const struct sp_send *send, const char *worker_id);
/* The record's own headers first, so that a reader who takes the last of a name sees ours. */
rd_kafka_headers_t *sp_headers_of_dead_letter(const struct sp_dead_letter *letter);
