/*
 * worker.order = key: jobs of one topic with the same record key run one after the other, in the
 * order of their records; jobs without a key, and all jobs under `none`, do not wait. Thread:
 * intake.
 */
#pragma once

#include "worker/job_list.h"

struct sp_order;

/* NULL without memory. */
struct sp_order *sp_order_new(void);
void sp_order_free(struct sp_order *order);
/* A new job. True: it may go; false: it waits, and sp_order_leave() of the one before it gives it
 * back. A NULL order lets everything go. */
bool sp_order_enter(struct sp_order *order, struct sp_job *job);
/* Takes out the waiting jobs that are wanted: they need not wait any more. sp_order_leave() of one
 * of them is nothing. */
struct sp_job_list sp_order_withdraw(struct sp_order *order, sp_job_wanted_fn wanted, void *ctx);
/* The job is over. Returns the one that waited behind it and may go now; NULL: none. */
struct sp_job *sp_order_leave(struct sp_order *order, struct sp_job *job);
