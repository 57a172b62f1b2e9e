/* The partitions that this member reads now, and what it remembers of those that it lost. Thread:
 * the consumer's. */
#pragma once

#include "queue/partition.h"

struct sp_assignment {
    rd_kafka_t *rk;
    int64_t window; /* offsets per partition */
    struct sp_waker *waker;
    struct sp_tickets tickets;
    struct sp_partition **partitions;
    size_t n;
    struct sp_history *history;
};

/* NULL: not assigned. */
struct sp_partition *sp_assignment_find(const struct sp_assignment *assignment, const char *topic,
                                        int32_t number);
/* One that comes back keeps its tracker, and the records that are out. */
struct sp_partition *sp_assignment_add(struct sp_assignment *assignment, const char *topic,
                                       int32_t number);
/* It is remembered for as long as its tracker knows of something. */
void sp_assignment_remove(struct sp_assignment *assignment, struct sp_partition *partition);
/*
 * The offsets of partitions[place] went back to `offset` within an assignment: the log was cut off
 * or the topic made anew. What is out still gets its reply, but its offsets mean nothing any more.
 */
struct sp_partition *sp_assignment_restart(struct sp_assignment *assignment, size_t place,
                                           int64_t offset);
/* Notes that an offset was read. False: it was read before, in whatever assignment. */
bool sp_assignment_read(const struct sp_partition *partition, int64_t offset);
/* Frees what is remembered. Every partition must have been removed. */
void sp_assignment_clear(struct sp_assignment *assignment);
