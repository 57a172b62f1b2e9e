/*
 * The consumer thread: the only one that asks the queue for events. It makes jobs of records,
 * completes those whose reply is in Kafka, and looks after the held ones. It owns the list of all
 * jobs of this worker.
 */
#pragma once

#include <stdatomic.h>

#include "settings/watcher.h"
#include "worker/cancels.h"
#include "worker/claims/claims.h"
#include "worker/control.h"
#include "worker/executor.h"
#include "worker/hold.h"
#include "worker/metrics.h"
#include "worker/order.h"
#include "worker/ready.h"

/* All borrowed until sp_intake_free(). */
struct sp_intake_options {
    struct sp_queue *queue;
    struct sp_watcher *watcher;
    struct sp_ready *ready, *urgent; /* urgent: what will not run */
    struct sp_hold *hold;
    struct sp_claims *claims;
    struct sp_cancels *cancels;
    atomic_bool *cancelled; /* set, and the queue woken, when a cancellation came */
    struct sp_control *control;
    struct sp_executors *executors;
    struct sp_order *order; /* NULL: worker.order is none */
    struct sp_metrics *metrics;
    const struct sp_limits *limits;
    const struct sp_topics *topics;
    const atomic_bool *stopping; /* take nothing new; the thread ends once every job is back */
};

struct sp_intake;

SP_MUST_CHECK enum sp_code sp_intake_start(const struct sp_intake_options *options,
                                           struct sp_intake **out, struct sp_error *err);
/* After stopping was set: waits until every job is back, at most until deadline. False: some are
 * still out. Thread: main. */
bool sp_intake_wait(struct sp_intake *intake, int64_t deadline);
/* Ends the thread, whatever is out. */
void sp_intake_join(struct sp_intake *intake);
/* After sp_intake_join(): leaves the consumer group, and tells the claims what was committed.
 * Blocks: as sp_queue_leave(). */
void sp_intake_leave(struct sp_intake *intake, int64_t flush_ms);
/* Frees the jobs that never came back; nobody may use them any more, the queue is closed. */
void sp_intake_free(struct sp_intake *intake);
