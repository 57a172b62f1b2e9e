/* The end of a job's way through an executor: the reply is written and given to Kafka. */
#pragma once

#include "queue/queue.h"
#include "worker/job.h"

struct sp_finish {
    struct sp_queue *queue;
    const struct sp_part_store *parts; /* NULL: what does not fit is cut */
    const char *worker_id;
};

/*
 * Sends the reply of an answered job, and the record to its DLQ where that is due. SP_OK: the queue
 * has it all, and the job may be gone already. SP_E_NOMEM, SP_E_INTERNAL: call again later; what
 * was sent is not sent twice. buf is scratch space. Blocks: while the producer is full, and 2 s for
 * each part that moves to the store. Thread: executors.
 */
SP_MUST_CHECK enum sp_code sp_finish(const struct sp_finish *finish, struct sp_job *job,
                                     struct sp_buf *buf, struct sp_error *err);
