/*
 * The consumer: one queue per assigned partition, so that a partition whose window is full is
 * simply not read (pausing loses and repeats records in librdkafka before 2.4), and commits of what
 * is complete only. Thread: one, save where noted.
 */
#pragma once

#include "queue/kafka.h"
#include "queue/record.h"
#include "queue/waker.h"

struct sp_consumer;

/* All borrowed until sp_consumer_close(). */
struct sp_consumer_options {
    const struct sp_topics *topics;
    int64_t window; /* offsets per partition */
    struct sp_waker *waker;
};

/* Takes conf over, also on failure. SP_E_INVALID: librdkafka refuses a property. */
SP_MUST_CHECK enum sp_code sp_consumer_open(const struct sp_consumer_options *options,
                                            rd_kafka_conf_t *conf, struct sp_consumer **out,
                                            struct sp_error *err);
/* Begins to join the group. SP_E_INVALID: librdkafka refuses a topic. */
SP_MUST_CHECK enum sp_code sp_consumer_subscribe(struct sp_consumer *consumer,
                                                 struct sp_error *err);
/* Runs what is due: rebalances, results of commits, errors, statistics, and a commit at its time.
 */
void sp_consumer_serve(struct sp_consumer *consumer);
/* The next record of a partition with room, the partitions in turn; NULL: none. The caller's. */
struct sp_record *sp_consumer_take(struct sp_consumer *consumer);
/* The record's offset is done, also for when its partition comes back. Does not free the record. */
void sp_consumer_complete(struct sp_consumer *consumer, const struct sp_record *record,
                          void *ticket);
/* The next ticket whose offset is committed, or was lost before. False: none. */
bool sp_consumer_next_ticket(struct sp_consumer *consumer, void **ticket, bool *committed);
/* The record is taken again should it come again. Does not free it. */
void sp_consumer_hand_back(struct sp_consumer *consumer, const struct sp_record *record);
/* Partitions are being taken away. */
bool sp_consumer_is_leaving(const struct sp_consumer *consumer);
/* Fills kafka_up, problem, partitions (out's own, which grow), consumed, commits, commit_errors,
 * rebalances, redeliveries and last_commit_ms. Call it a few times a second: it also looks whether
 * each partition gets on. */
void sp_consumer_status(struct sp_consumer *consumer, struct sp_queue_status *out);
/* Commits, leaves the group (a static member stays until its session ends), gives all tickets back.
 * May leave librdkafka's handle alone, which is logged. Blocks: a few times limit_ms at most. */
void sp_consumer_leave(struct sp_consumer *consumer, int64_t limit_ms);
/* Frees. Call sp_consumer_leave() before. */
void sp_consumer_close(struct sp_consumer *consumer);
