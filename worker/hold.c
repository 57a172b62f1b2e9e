/* Held jobs: one list, looked through when its earliest member is due, and not more often than
 * LOOK_MS. */
#include "worker/hold.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "worker/cancels.h"
#include "worker/job.h"

enum {
    BACKOFF_MIN_MS = 200,
    BACKOFF_MAX_MS = 5000,
    PARK_MIN_MS = 250,
    PARK_MAX_MS = 1000,
    LOOK_MS = 20,
};

struct sp_hold {
    struct sp_cancels *cancels;
    pthread_mutex_t lock; /* guards all below */
    struct sp_job_list jobs;
    atomic_size_t len; /* changed under the lock, read without it */
    int64_t due_at;    /* of the earliest; SP_NEVER when empty */
    int64_t looked_at;
};

struct sp_hold *sp_hold_new(struct sp_cancels *cancels)
{
    struct sp_hold *hold = calloc(1, sizeof *hold);
    if (!hold)
        return NULL;
    hold->cancels = cancels;
    pthread_mutex_init(&hold->lock, NULL);
    hold->due_at = SP_NEVER;
    return hold;
}

void sp_hold_free(struct sp_hold *hold)
{
    if (!hold)
        return;
    pthread_mutex_destroy(&hold->lock);
    free(hold);
}

static int64_t backoff_ms(int tries)
{
    int64_t ceiling = BACKOFF_MIN_MS;
    for (int i = 0; i < tries && ceiling < BACKOFF_MAX_MS; i++)
        ceiling *= 2;
    if (ceiling > BACKOFF_MAX_MS)
        ceiling = BACKOFF_MAX_MS;
    return 1 + arc4random_uniform((uint32_t)ceiling);
}

/* An answered job has no expiry any more. */
static int64_t until(const struct sp_job *job)
{
    return job->answered || job->held_since == 0 ? SP_NEVER : job->hold_until;
}

/* It may wait; the others go through here to the intake only. */
static bool may_wait(const struct sp_job *job)
{
    return job->fate == SP_FATE_HOLD || job->fate == SP_FATE_PARK;
}

static int64_t pause_ms(struct sp_job *job)
{
    if (job->fate == SP_FATE_PARK)
        return PARK_MIN_MS + arc4random_uniform(PARK_MAX_MS - PARK_MIN_MS);
    return backoff_ms(job->tries++);
}

static bool is_cancelled(const struct sp_hold *hold, const struct sp_job *job)
{
    return hold->cancels && !job->answered && sp_cancels_has(hold->cancels, job->req.id);
}

/* Under the lock. */
static void set_due(struct sp_hold *hold, struct sp_job *job, int64_t at)
{
    job->retry_at = at;
    hold->due_at = sp_deadline_min(hold->due_at, at);
    if (at == 0 && job->fate != SP_FATE_PARK) /* that one waits for others, cancelled or not */
        hold->looked_at = 0;
}

void sp_hold_put(struct sp_hold *hold, struct sp_job *job)
{
    int64_t retry_at = may_wait(job) ? sp_deadline_in(pause_ms(job)) : 0;

    pthread_mutex_lock(&hold->lock);
    sp_jobs_add(&hold->jobs, job);
    atomic_fetch_add_explicit(&hold->len, 1, memory_order_relaxed);
    /* Asked under the lock: a cancellation that comes later finds the job here. */
    set_due(hold, job, is_cancelled(hold, job) ? 0 : sp_deadline_min(retry_at, until(job)));
    pthread_mutex_unlock(&hold->lock);
}

void sp_hold_cancel(struct sp_hold *hold)
{
    pthread_mutex_lock(&hold->lock);
    for (struct sp_job *job = hold->jobs.first; job; job = job->next) {
        if (is_cancelled(hold, job))
            set_due(hold, job, 0);
    }
    pthread_mutex_unlock(&hold->lock);
}

void sp_hold_retry(struct sp_hold *hold)
{
    pthread_mutex_lock(&hold->lock);
    for (struct sp_job *job = hold->jobs.first; job; job = job->next)
        job->retry_at = 0;
    hold->due_at = hold->jobs.first ? 0 : SP_NEVER;
    hold->looked_at = 0;
    pthread_mutex_unlock(&hold->lock);
}

/* One look at all of them. */
struct look {
    struct sp_hold *hold;
    int64_t now;
    size_t room;
};

/* Those that run no more need no executor that is free for long. */
static bool may_leave(struct look *look, const struct sp_job *job)
{
    if (job->retry_at > look->now)
        return false;
    if (!may_wait(job) || job->answered || is_cancelled(look->hold, job) || until(job) <= look->now)
        return true;
    if (look->room == 0)
        return false;
    look->room--;
    return true;
}

static bool leaves(void *ctx, const struct sp_job *job)
{
    struct look *look = ctx;
    bool now = may_leave(look, job);
    if (!now)
        look->hold->due_at = sp_deadline_min(look->hold->due_at, job->retry_at);
    return now;
}

/* Under the lock. */
static struct sp_job_list take_out(struct sp_hold *hold, sp_job_wanted_fn wanted, void *ctx)
{
    struct sp_job_list out = {0};
    size_t n = sp_jobs_move(&hold->jobs, wanted, ctx, &out);
    atomic_fetch_sub_explicit(&hold->len, n, memory_order_relaxed);
    return out;
}

struct sp_job_list sp_hold_withdraw(struct sp_hold *hold, sp_job_wanted_fn wanted, void *ctx)
{
    pthread_mutex_lock(&hold->lock);
    struct sp_job_list out = take_out(hold, wanted, ctx);
    pthread_mutex_unlock(&hold->lock);
    return out;
}

struct sp_job_list sp_hold_take(struct sp_hold *hold, size_t room)
{
    struct sp_job_list due = {0};
    if (sp_hold_len(hold) == 0)
        return due;
    struct look look = {hold, sp_mono_ms(), room};
    pthread_mutex_lock(&hold->lock);
    if (hold->due_at <= look.now && look.now - hold->looked_at >= LOOK_MS) {
        hold->due_at = SP_NEVER;
        hold->looked_at = look.now;
        due = take_out(hold, leaves, &look);
    }
    pthread_mutex_unlock(&hold->lock);
    return due;
}

size_t sp_hold_len(const struct sp_hold *hold)
{
    return atomic_load_explicit(&hold->len, memory_order_relaxed);
}
