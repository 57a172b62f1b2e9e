/* The executor threads: each takes a job, claims it, runs it under the settings in force, and
 * answers it. One more looks after the jobs that will not run, so that these do not wait for the
 * others. */
#pragma once

#include <stdatomic.h>

#include "settings/config.h"
#include "settings/watcher.h"
#include "worker/admit.h"
#include "worker/finish.h"
#include "worker/hold.h"
#include "worker/ready.h"

/* What they share with the other parts; all borrowed until sp_executors_free(). */
struct sp_executors_options {
    const struct sp_config *config;
    struct sp_ready *ready, *urgent; /* urgent: what will not run */
    struct sp_hold *hold;
    struct sp_watcher *watcher;
    struct sp_admission admission;
    struct sp_finish finish;
    const atomic_bool *stopping; /* nothing new is begun; what has not begun is handed back */
};

struct sp_executors;

/* Starts worker.concurrency threads and one more. SP_E_NOMEM, SP_E_INTERNAL (no thread to be had).
 */
SP_MUST_CHECK enum sp_code sp_executors_start(const struct sp_executors_options *options,
                                              struct sp_executors **out, struct sp_error *err);
/* Ends the running programs for which `wanted` says so; their jobs are answered `cancelled`.
 * Thread: any. */
void sp_executors_cancel(struct sp_executors *executors, sp_job_wanted_fn wanted, void *ctx);
/* Ends the running programs; their jobs are handed back. For good. Thread: any. */
void sp_executors_end(struct sp_executors *executors);
/* How many jobs are being run. Thread: any. */
size_t sp_executors_running(const struct sp_executors *executors);
/* Waits for the threads, which end once both queues are closed. NULL is nothing. */
void sp_executors_free(struct sp_executors *executors);
