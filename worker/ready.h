/*
 * Jobs that an executor may take, first in, first out. Bounded by its caller: the intake reads no
 * further records while sp_ready_room() is 0; a job that comes back (held, to be sent again)
 * always finds a place, since the window of the queue bounds those.
 *
 * A job goes on its way in steps, with others between them. No more are begun than there are slots,
 * so that each that has been begun finds an executor; the steps that follow go before new jobs.
 */
#pragma once

#include "worker/job_list.h"

struct sp_ready;

/* capacity: of new jobs; slots: those that may be under way. NULL without memory. */
struct sp_ready *sp_ready_new(size_t capacity, size_t slots);
/* No thread uses it any more; jobs still inside stay their owner's. */
void sp_ready_free(struct sp_ready *ready);

/* A new job. Thread: any. Does not block. */
void sp_ready_push(struct sp_ready *ready, struct sp_job *job);
/* A job whose next step can be made. Thread: any. Does not block. */
void sp_ready_push_next(struct sp_ready *ready, struct sp_job *job);
/* A job that was taken as a new one needs its slot no more. Thread: any. */
void sp_ready_free_slot(struct sp_ready *ready);
/*
 * Who takes jobs in a loop says so once, and then each time that it may be long about a job and
 * that it is back: as long as a few others are at hand, nobody is woken, because steps that are
 * short cost less than a wake-up. Thread: any.
 */
void sp_ready_join(struct sp_ready *ready);
void sp_ready_go_away(struct sp_ready *ready);
void sp_ready_come_back(struct sp_ready *ready);
/*
 * The next job; waits for one. A new one has a slot until sp_ready_free_slot(). NULL once closed.
 * *room: the intake was told that there is no room and there is some now, so it wants to be woken.
 * Thread: any.
 */
struct sp_job *sp_ready_take(struct sp_ready *ready, bool *room);
/* Takes out the new jobs that are wanted, which is asked under the queue's lock. Thread: any. */
struct sp_job_list sp_ready_withdraw(struct sp_ready *ready, sp_job_wanted_fn wanted, void *ctx);
/* How many new jobs have room. After a 0, one sp_ready_take() reports room. Thread: intake. */
size_t sp_ready_room(struct sp_ready *ready);
/* Thread: any. */
size_t sp_ready_len(const struct sp_ready *ready);
/* Every sp_ready_take(), waiting or later, returns NULL. */
void sp_ready_close(struct sp_ready *ready);
