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

struct sp_ready {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t filled;
    struct sp_job *head, **tail;
    atomic_size_t len; /* changed under the lock, read without it */
    size_t capacity, sleepers;
    bool waking;  /* a sleeper is being woken and has not looked yet */
    bool starved; /* the intake waits for room */
    bool closed;
};

struct sp_ready *sp_ready_new(size_t capacity)
{
    struct sp_ready *ready = calloc(1, sizeof *ready);
    if (!ready)
        return NULL;
    pthread_mutex_init(&ready->lock, NULL);
    pthread_cond_init(&ready->filled, NULL);
    ready->tail = &ready->head;
    ready->capacity = capacity;
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

/* Under the lock: whether the caller is to signal after it let go. */
static bool must_wake(struct sp_ready *ready)
{
    if (!ready->head || ready->sleepers == 0 || ready->waking)
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
    struct sp_job *job = ready->head;
    ready->head = job->next;
    if (!ready->head)
        ready->tail = &ready->head;
    job->next = NULL;
    size_t left = atomic_fetch_sub_explicit(&ready->len, 1, memory_order_relaxed) - 1;
    /* Half empty, so that the intake comes back for more than one record. */
    *room = ready->starved && left <= ready->capacity / 2;
    if (*room)
        ready->starved = false;
    return job;
}

void sp_ready_push(struct sp_ready *ready, struct sp_job *job)
{
    job->next = NULL;
    pthread_mutex_lock(&ready->lock);
    *ready->tail = job;
    ready->tail = &job->next;
    atomic_fetch_add_explicit(&ready->len, 1, memory_order_relaxed);
    unlock_and_wake(ready, must_wake(ready));
}

struct sp_job *sp_ready_take(struct sp_ready *ready, bool *room)
{
    *room = false;
    pthread_mutex_lock(&ready->lock);
    while (!ready->head && !ready->closed) {
        ready->sleepers++;
        pthread_cond_wait(&ready->filled, &ready->lock);
        ready->sleepers--;
        ready->waking = false;
    }
    struct sp_job *job = ready->closed ? NULL : pop(ready, room);
    unlock_and_wake(ready, must_wake(ready));
    return job;
}

struct sp_job *sp_ready_withdraw(struct sp_ready *ready,
                                 bool (*wanted)(void *ctx, const struct sp_job *job), void *ctx)
{
    struct sp_job *out = NULL, **at = &ready->head;
    pthread_mutex_lock(&ready->lock);
    while (*at) {
        struct sp_job *job = *at;
        if (wanted(ctx, job)) {
            *at = job->next;
            job->next = out;
            out = job;
            atomic_fetch_sub_explicit(&ready->len, 1, memory_order_relaxed);
        } else {
            at = &job->next;
        }
    }
    ready->tail = at;
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
