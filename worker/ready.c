/*
 * The ready queue. What costs time here is waking sleepers, not the lock: a producer that signals
 * for every job spends most of its time in the kernel. So one wake-up at most is under way at a
 * time, and who was woken wakes the next one if there is more to do.
 */
#include "worker/ready.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "worker/job.h"

enum { AT_HAND = 2 };

struct sp_ready {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t filled;
    struct sp_job_list fresh, next; /* new jobs; those whose next step can be made */
    atomic_size_t len;              /* of new jobs; changed under the lock, read without it */
    size_t slots;                   /* free ones */
    size_t capacity;
    int hands, sleepers, away; /* who takes jobs; of them asleep; and long about one */
    bool waking;               /* a sleeper is being woken and has not looked yet */
    bool starved;              /* the intake waits for room */
    bool closed;
};

struct sp_ready *sp_ready_new(size_t capacity, size_t slots)
{
    struct sp_ready *ready = calloc(1, sizeof *ready);
    if (!ready)
        return NULL;
    pthread_mutex_init(&ready->lock, NULL);
    pthread_cond_init(&ready->filled, NULL);
    ready->capacity = capacity;
    ready->slots = slots;
    return ready;
}

void sp_ready_free(struct sp_ready *ready)
{
    if (!ready)
        return;
    pthread_cond_destroy(&ready->filled);
    pthread_mutex_destroy(&ready->lock);
    free(ready);
}

static bool has_work(const struct sp_ready *ready)
{
    return ready->next.first || (ready->fresh.first && ready->slots > 0);
}

/* Under the lock: whether the caller is to signal after it let go. */
static bool must_wake(struct sp_ready *ready)
{
    bool at_hand = ready->hands - ready->sleepers - ready->away >= AT_HAND;
    if (at_hand || ready->sleepers == 0 || ready->waking || !has_work(ready))
        return false;
    ready->waking = true;
    return true;
}

static void unlock_and_wake(struct sp_ready *ready, bool wake)
{
    pthread_mutex_unlock(&ready->lock);
    if (wake)
        pthread_cond_signal(&ready->filled);
}

static struct sp_job *pop(struct sp_ready *ready, bool *room)
{
    if (ready->next.first)
        return sp_jobs_take(&ready->next);
    struct sp_job *job = sp_jobs_take(&ready->fresh);
    job->has_slot = true;
    ready->slots--;
    size_t left = atomic_fetch_sub_explicit(&ready->len, 1, memory_order_relaxed) - 1;
    /* Half empty, so that the intake comes back for more than one record. */
    *room = ready->starved && left <= ready->capacity / 2;
    if (*room)
        ready->starved = false;
    return job;
}

void sp_ready_push(struct sp_ready *ready, struct sp_job *job)
{
    pthread_mutex_lock(&ready->lock);
    sp_jobs_add(&ready->fresh, job);
    atomic_fetch_add_explicit(&ready->len, 1, memory_order_relaxed);
    unlock_and_wake(ready, must_wake(ready));
}

void sp_ready_push_next(struct sp_ready *ready, struct sp_job *job)
{
    pthread_mutex_lock(&ready->lock);
    sp_jobs_add(&ready->next, job);
    unlock_and_wake(ready, must_wake(ready));
}

void sp_ready_join(struct sp_ready *ready)
{
    pthread_mutex_lock(&ready->lock);
    ready->hands++;
    pthread_mutex_unlock(&ready->lock);
}

void sp_ready_go_away(struct sp_ready *ready)
{
    pthread_mutex_lock(&ready->lock);
    ready->away++;
    unlock_and_wake(ready, must_wake(ready));
}

void sp_ready_come_back(struct sp_ready *ready)
{
    pthread_mutex_lock(&ready->lock);
    ready->away--;
    pthread_mutex_unlock(&ready->lock);
}

void sp_ready_free_slot(struct sp_ready *ready)
{
    pthread_mutex_lock(&ready->lock);
    ready->slots++;
    unlock_and_wake(ready, must_wake(ready));
}

struct sp_job *sp_ready_take(struct sp_ready *ready, bool *room)
{
    *room = false;
    pthread_mutex_lock(&ready->lock);
    while (!has_work(ready) && !ready->closed) {
        ready->sleepers++;
        pthread_cond_wait(&ready->filled, &ready->lock);
        ready->sleepers--;
        ready->waking = false;
    }
    struct sp_job *job = ready->closed ? NULL : pop(ready, room);
    unlock_and_wake(ready, must_wake(ready));
    return job;
}

struct sp_job_list sp_ready_withdraw(struct sp_ready *ready, sp_job_wanted_fn wanted, void *ctx)
{
    struct sp_job_list out = {0};
    pthread_mutex_lock(&ready->lock);
    size_t n = sp_jobs_move(&ready->fresh, wanted, ctx, &out);
    atomic_fetch_sub_explicit(&ready->len, n, memory_order_relaxed);
    pthread_mutex_unlock(&ready->lock);
    return out;
}

size_t sp_ready_len(const struct sp_ready *ready)
{
    return atomic_load_explicit(&ready->len, memory_order_relaxed);
}

static size_t room_left(const struct sp_ready *ready)
{
    size_t len = sp_ready_len(ready);
    return len < ready->capacity ? ready->capacity - len : 0;
}

size_t sp_ready_room(struct sp_ready *ready)
{
    size_t room = room_left(ready);
    if (room > 0)
        return room;
    pthread_mutex_lock(&ready->lock);
    room = room_left(ready);
    ready->starved = room == 0;
    pthread_mutex_unlock(&ready->lock);
    return room;
}

void sp_ready_close(struct sp_ready *ready)
{
    pthread_mutex_lock(&ready->lock);
    ready->closed = true;
    pthread_mutex_unlock(&ready->lock);
    pthread_cond_broadcast(&ready->filled);
}
