/*
 * Partitions that come and go. What is assigned starts at its committed offset, with what others
 * left complete above it. What is to go away is given up late: nothing of it is begun any more
 * (sp_record_is_ours()), while jobs that are about to end have a second to do so and be committed;
 * then come the last commit and the un-assignment, which librdkafka waits for. Jobs that go on
 * after that publish and are done by their claims. Both protocols of groups. Thread: the
 * consumer's.
 */
#pragma once

#include "queue/commit.h"

struct sp_rebalance {
    struct sp_assignment *assignment;
    struct sp_commits *commits;
    rd_kafka_topic_partition_list_t *leaving; /* NULL: none is pending */
    int64_t until_ms;                         /* pending at the latest */
    bool closing;                             /* nothing is waited for any more */
    int64_t count;                            /* callbacks; 0: never was one */
    bool closed;      /* librdkafka waits for no answer but one that is owed */
    bool owed;        /* what it takes away because of the close */
    bool cooperative; /* the protocol at the close */
};

/* What librdkafka's callback of that name has to do. */
void sp_rebalance_on(struct sp_rebalance *rebalance, rd_kafka_resp_err_t event,
                     rd_kafka_topic_partition_list_t *list);
/* Ends what is pending once nothing of it is out, or its time is over. */
void sp_rebalance_serve(struct sp_rebalance *rebalance);
/* Ends what is pending now, and from now on everything at once. */
void sp_rebalance_close(struct sp_rebalance *rebalance);
/* Right before librdkafka closes the group. It forgets what it asked before and drops an answer to
 * it at times, for which its functions then wait for ever. */
void sp_rebalance_closed(struct sp_rebalance *rebalance);
