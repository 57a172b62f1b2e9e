/* The end of a job's way through an executor: the reply is written, stored under the claim and
 * given to Kafka. */
#pragma once

#include "queue/queue.h"
#include "worker/claims/claims.h"
#include "worker/job.h"

struct sp_finish {
    struct sp_queue *queue;
    struct sp_claims *claims;
    const struct sp_part_store *parts; /* NULL: what does not fit is cut */
    const char *worker_id;
};

/*
 * Writes the reply of an answered job and has it stored, without waiting: `stored` is called once,
 * as by sp_claims_finish_soon(). False: nothing was begun; call sp_finish(). buf is scratch space.
 */
SP_MUST_CHECK bool sp_finish_soon(const struct sp_finish *finish, struct sp_job *job,
                                  struct sp_buf *buf, void (*stored)(void *ctx, bool done));
/*
 * Stores (where that is not done) and sends the reply of an answered job, and the record to its DLQ
 * where that is due: SP_FATE_SENT, and the job may be gone already. SP_FATE_HOLD: call again later;
 * what was sent is not sent twice. SP_FATE_PARK: another worker has the job now, and the answer is
 * void; not where its dead letter is out already: then the reply goes, too. buf is scratch space.
 * Blocks: while the producer is full, 2 s for Redis, and 2 s for each part that moves to the store.
 * Thread: executors.
 */
SP_MUST_CHECK enum sp_fate sp_finish(const struct sp_finish *finish, struct sp_job *job,
                                     struct sp_buf *buf, struct sp_error *err);
