/*
 * Jobs that wait for another try: their provider is away, no settings have been read yet, or their
 * answer could not be sent. Also how executors give back what they will not answer. Bounded by the
 * queue's window.
 */
#pragma once

#include "worker/job_list.h"

struct sp_cancels;
struct sp_hold;

/* cancels is borrowed; NULL: nothing is ever cancelled. NULL without memory. */
struct sp_hold *sp_hold_new(struct sp_cancels *cancels);
void sp_hold_free(struct sp_hold *hold);

/*
 * Puts a job aside; job->fate says why. A held one is due again after a random part of 0.2 s, which
 * doubles with each try up to 5 s, or at its hold_until; a parked one after 0.25 to 1 s; a
 * cancelled one, and one that only goes back to the intake, at once. Thread: any.
 */
void sp_hold_put(struct sp_hold *hold, struct sp_job *job);
/* Those whose id is cancelled are due now. Thread: any. */
void sp_hold_cancel(struct sp_hold *hold);
/* All of them are due now: the settings or the provider's state changed. Thread: any. */
void sp_hold_retry(struct sp_hold *hold);
/* Takes out those that are wanted, due or not; that is asked under the lock. Thread: intake. */
struct sp_job_list sp_hold_withdraw(struct sp_hold *hold, sp_job_wanted_fn wanted, void *ctx);
/* Takes out those that are due; at most `room` of those that may wait longer. Thread: intake. Costs
 * nothing while nothing is due. */
struct sp_job_list sp_hold_take(struct sp_hold *hold, size_t room);
/* Thread: any. */
size_t sp_hold_len(const struct sp_hold *hold);
