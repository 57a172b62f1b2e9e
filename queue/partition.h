/*
 * One partition, assigned or lost with work under way. Its queue is cut off from the consumer's own
 * one before the assignment starts, and read by itself. When it comes back (a session that a slow
 * broker let pass, a member that came and went) its records come a second time: what is out or
 * complete here is not taken again. Thread: the consumer's, save sp_partition_unref() and
 * sp_partition_is_ours() (queue/record.h).
 */
#pragma once

#include <librdkafka/rdkafka.h>

#include "queue/queue.h"
#include "queue/tracker.h"
#include "queue/waker.h"

struct sp_partition {
    atomic_int refs;
    atomic_bool leaving; /* or lost: nothing of it is begun any more */
    atomic_bool ready;   /* its queue may hold something */
    struct sp_waker *waker;
    /* The consumer's thread only. */
    rd_kafka_queue_t *queue; /* NULL: not assigned */
    struct sp_tracker tracker;
    int64_t committed; /* or where reading began; -1 before that */
    int64_t lag;       /* -1: unknown */
    int64_t changes;   /* records taken and completed */
    /* What `changes` was at the last commit, and when that was sent. */
    int64_t sent_changes, sent_ms;
    /* What sp_partition_look() saw. */
    int64_t seen_changes, progress_ms, head, head_ms, blocked_head;
    struct sp_history *history; /* queue/assignment.c's */
    int32_t number;
    char topic[];
};

/* With one reference. Never NULL. */
struct sp_partition *sp_partition_new(const char *topic, int32_t number, int64_t window,
                                      struct sp_tickets *tickets, struct sp_waker *waker);
/* Before the assignment starts: records that came earlier would be in the consumer's own queue. */
void sp_partition_attach(struct sp_partition *partition, rd_kafka_t *rk);
/* The tickets of what is not committed are given back. */
void sp_partition_detach(struct sp_partition *partition);
/* Takes the queue over from one whose offsets mean nothing any more. */
void sp_partition_replace(struct sp_partition *partition, struct sp_partition *old);
/* Others committed this offset, and reading begins there. */
void sp_partition_begin(struct sp_partition *partition, int64_t offset);

/* Whether a record may be read: what comes a second time needs no room in the window. A new one
 * that comes in its place passes the window by one. */
bool sp_partition_may_read(struct sp_partition *partition);
/* A message or an error, the caller's; NULL: nothing for now, the waker will tell of more. */
rd_kafka_message_t *sp_partition_read(struct sp_partition *partition);

enum sp_arrival {
    SP_ARRIVAL_TAKEN,
    SP_ARRIVAL_KNOWN,     /* it is out or complete here already */
    SP_ARRIVAL_WENT_BACK, /* the log was cut off or the topic made anew: nothing was changed */
};
enum sp_arrival sp_partition_arrive(struct sp_partition *partition, int64_t offset,
                                    int64_t timestamp);

/* A few times a second: whether it gets on, and whether its first open record blocks it. */
void sp_partition_look(struct sp_partition *partition, int64_t now_ms);
void sp_partition_status(const struct sp_partition *partition, struct sp_partition_status *out);
