/*
 * Kafka for the worker: a consumer with one queue per partition, an idempotent producer whose
 * delivery reports are the only truth, and the watermark of completed offsets. One thread, the
 * consumer thread, calls sp_queue_next() in a loop and owns all of it; the functions marked "any"
 * may be called beside it. Traps of librdkafka: shared reference kafka 3.
 */
#pragma once

#include "base/limits.h"
#include "queue/message.h"
#include "queue/reply.h"
#include "queue/topic.h"

struct sp_queue;

struct sp_queue_property {
    const char *key, *value;
};

/* All borrowed until sp_queue_close(). */
struct sp_queue_options {
    const struct sp_queue_property *kafka; /* librdkafka's names; they win over our defaults */
    size_t n_kafka;
    const struct sp_topics *topics;
    const struct sp_limits *limits;
    int64_t window;       /* offsets per partition */
    int64_t window_bytes; /* of all records taken and not complete */
    const char *worker_id;
    const char *version; /* of Sandpiper; brokers see it as client.software.version */
};

/* SP_E_INVALID: a property that librdkafka refuses, named. Connects in the background. */
SP_MUST_CHECK enum sp_code sp_queue_open(const struct sp_queue_options *options,
                                         struct sp_queue **out, struct sp_error *err);

enum sp_queue_event {
    SP_QUEUE_IDLE,      /* timeout_ms passed, or sp_queue_wake() */
    SP_QUEUE_RECORD,    /* *record is the caller's now */
    SP_QUEUE_DELIVERED, /* everything sent under *ticket is in Kafka */
    SP_QUEUE_TOO_LARGE, /* the broker refused the reply of *ticket for its size: send a smaller one
                         */
    SP_QUEUE_COMMITTED, /* the offset that was completed with *ticket is committed */
    SP_QUEUE_FORGOTTEN, /* its partition was lost before that, or it is not known: the record may
                           come again, here or elsewhere */
};

/*
 * The next thing that happened. Records are given only while want_records; everything else always.
 * Commits the watermark five times a second. Thread: consumer. Blocks: timeout_ms at most, 0 polls.
 */
enum sp_queue_event sp_queue_next(struct sp_queue *q, bool want_records, int64_t timeout_ms,
                                  struct sp_record **record, void **ticket);
/* Makes sp_queue_next() return. Thread: any. */
void sp_queue_wake(struct sp_queue *q);

struct sp_send {
    const struct sp_record *record; /* of the request; alive until SP_QUEUE_DELIVERED */
    const struct sp_envelope *env;
    const char *request_id, *result_id, *status;
    const char *worker; /* that `sandpiper_worker` names: the first one; NULL: this one */
    int64_t attempt;
    bool degraded; /* the claim could not be recorded: header sandpiper_dedupe */
    const void *value;
    size_t len;
    void *ticket; /* comes back with SP_QUEUE_DELIVERED; SP_QUEUE_TOO_LARGE */
};
/*
 * Publishes a reply: address, partition, key, headers and fall-back as in CONTRACT.md 4, repeated
 * until Kafka has it. Waits while the producer's buffer is full. The value is copied. SP_E_NOMEM,
 * or SP_E_INTERNAL once closed. Thread: any.
 */
SP_MUST_CHECK enum sp_code sp_queue_reply(struct sp_queue *q, const struct sp_send *send,
                                          struct sp_error *err);
/* Publishes a record to its DLQ, as received, with Spring's headers and ours. A delivery of its
 * own, under `ticket`. */
SP_MUST_CHECK enum sp_code sp_queue_dead_letter(struct sp_queue *q, const struct sp_record *record,
                                                const char *reason, int64_t attempts, void *ticket,
                                                struct sp_error *err);
/*
 * The record's offset is done; it is freed. Where its partition was taken away that counts as soon
 * as it comes back, and the record is not given again then. A ticket that is not NULL comes back
 * once, as SP_QUEUE_COMMITTED or SP_QUEUE_FORGOTTEN: the latest after sp_queue_leave(). Thread:
 * consumer.
 */
void sp_queue_complete(struct sp_queue *q, struct sp_record *record, void *ticket);
/*
 * The record is handed back: freed, its offset stays open. Kafka sends it again only where its
 * partition moves; while that is ours (sp_record_is_ours()) only one who stops hands back. Thread:
 * consumer.
 */
void sp_queue_abandon(struct sp_queue *q, struct sp_record *record);
/* Partitions are being taken away, and the group waits for their records (sp_record_is_ours()) for
 * a second at most: what has not begun is to be handed back now. Where nobody waits for them any
 * more (the group has given them to others, or it ends) they go without this. When it begins,
 * sp_queue_next() returns at once. Thread: consumer. */
bool sp_queue_is_leaving(const struct sp_queue *q);

/* From now on no record is given any more; what Kafka sent ahead stays uncommitted. Thread: any. */
void sp_queue_stop_intake(struct sp_queue *q);

/* sp_queue_next() is not called for now: a reply does not wait for room any more (SP_E_INTERNAL).
 * Thread: any. */
void sp_queue_hurry(struct sp_queue *q);

struct sp_partition_status {
    char name[264];           /* "<topic>-<n>" */
    int64_t lag;              /* records behind the watermark; -1: unknown */
    int64_t watermark, taken; /* next offset to commit; records out */
    int64_t window_used;      /* offsets from the watermark to the last one taken */
    int64_t done;             /* records in the window that are complete */
    int64_t head_offset;      /* of the first one that is not; -1: there is none */
    int64_t head_since_ms;    /* monotonic; when it came to be that */
    bool blocked; /* the window is full of completed records behind the head: logged once */
    int64_t last_progress_ms; /* monotonic: a record was taken or completed, or there was none */
};
/* A consistent copy for health and metrics. Thread: any. The caller frees partitions. */
struct sp_queue_status {
    bool kafka_up;            /* some broker is connected */
    bool reply_topic_refused; /* the default topic or the DLQ is refused by the broker: offsets are
                                 held */
    char refused[300];        /* which and why */
    char problem[300];        /* what keeps request topics from being read, "" for nothing known */
    struct sp_partition_status *partitions;
    size_t n_partitions;
    int64_t records, bytes; /* taken and not complete */
    int64_t consumed, delivered, fallbacks, dead_letters, commits, commit_errors, rebalances,
        redeliveries;
    int64_t producer_queue; /* messages not yet acknowledged */
    int64_t last_commit_ms; /* monotonic; 0: never */
};
void sp_queue_status(struct sp_queue *q, struct sp_queue_status *out);

/*
 * The end of its work: flushes the producer (at most flush_ms), commits synchronously, leaves the
 * group. What came of it is still to be asked for: sp_queue_next() gives what was delivered,
 * committed and forgotten without waiting, then SP_QUEUE_IDLE, and sp_queue_complete() may be
 * called meanwhile. No other thread may call any more. Thread: consumer, or the one that joined it.
 * Blocks: flush_ms, and in a bad case some 20 s more.
 */
void sp_queue_leave(struct sp_queue *q, int64_t flush_ms);
/* sp_queue_leave(), where that was not called, then frees. Every record must be back, or be freed
 * with sp_record_free(); what was not asked for never comes. */
void sp_queue_close(struct sp_queue *q, int64_t flush_ms);
