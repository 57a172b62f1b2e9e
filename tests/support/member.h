/*
 * Members of one group in one thread: a queue each, on the stage's request topic, without a worker
 * around it, so that a test decides when a record is completed. What one is given it keeps until
 * the test completes it. Every function asserts.
 */
#pragma once

#include "queue/queue.h"
#include "tests/support/stage.h"

#define SP_MEMBERS_MAX 4
#define SP_MEMBERS_LIMIT_MS 180000
#define SP_MEMBER_PROPERTIES 8

/* A completion that waits for what becomes of its offset. */
struct sp_ticket_seen {
    int committed, forgotten;
};

struct sp_group_member {
    struct sp_queue *q; /* NULL: not there */
    struct sp_topics topics;
    struct sp_limits limits;
    int64_t window; /* 0: 10000 */
    struct sp_queue_property properties[SP_MEMBER_PROPERTIES];
    size_t n_properties;
    struct sp_record **out; /* given and not completed */
    size_t n_out, given;
};

/* Opens a queue with the properties that are there already; the group's are added. */
void sp_member_open(struct sp_group_member *m, struct sp_stage *s);
void sp_member_property(struct sp_group_member *m, const char *key, const char *value);
/* Serves all members that are open for about that long. */
void sp_members_serve(struct sp_group_member *members, size_t n, int64_t ms);
/* Serves until condition(arg); fails after the limit with `what`. */
void sp_members_until(struct sp_group_member *members, size_t n, bool (*condition)(void *arg),
                      void *arg, const char *what);
/* Completes out[i]; the ticket may be NULL. */
void sp_member_complete(struct sp_group_member *m, size_t i, struct sp_ticket_seen *ticket);
/* How many of its records belong to partitions that it is to keep. */
size_t sp_member_ours(const struct sp_group_member *m);
/* Leaves the group; what is out is freed, what tickets come is noted. */
void sp_member_close(struct sp_group_member *m);
/* The same in a thread, while the others are served: a rebalance under way needs them. m is one of
 * members. */
void sp_members_close_one(struct sp_group_member *members, size_t n, struct sp_group_member *m);
/* Without the list of partitions. */
struct sp_queue_status sp_member_status(struct sp_group_member *m);
/* Partitions that it has. */
size_t sp_member_partitions(struct sp_group_member *m);
