#include "providers/warm_pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"

enum {
    MAKERS_MAX = 4,
    SETUP_MS = 60000,
    TEARDOWN_MS = 10000,
    CLOSE_MS = 10000,
    WANTED_MS = 600000, /* after the last run of its kind, nothing is made any more */
    RETRY_MIN_MS = 1000,
    RETRY_MAX_MS = 60000,
};

struct item {
    void *item;
    int64_t until; /* then it is too old */
    struct item *next;
};

struct kind {
    struct item *oldest, **newest; /* newest: the link that the next one is put into */
    int64_t ready, making;
    int64_t wanted_until; /* 0: it was never asked for */
    int64_t retry_at, retry_ms;
};

struct sp_warm_pool {
    struct sp_warm_options with;
    int stop_fd;          /* readable once the pool is to end */
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    bool stopping;
    int64_t close_deadline; /* of what is left then */
    struct kind kinds[SP_WARM_KINDS];
    pthread_t makers[MAKERS_MAX];
    size_t n_makers;
};

static bool start_locks(struct sp_warm_pool *pool)
{
    pthread_condattr_t attributes;

    if (pthread_condattr_init(&attributes))
        return false;
    bool ok = !pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) &&
              !pthread_cond_init(&pool->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    if (ok && pthread_mutex_init(&pool->lock, NULL)) {
        pthread_cond_destroy(&pool->changed);
        ok = false;
    }
    return ok;
}

enum sp_code sp_warm_pool_new(const struct sp_warm_options *options, struct sp_warm_pool **out,
                              struct sp_error *err)
{
    struct sp_warm_pool *pool = calloc(1, sizeof *pool);
    int stop_fd = pool ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;

    if (stop_fd < 0 || !start_locks(pool)) {
        if (stop_fd >= 0)
            close(stop_fd);
        free(pool);
        return sp_error_set(err, SP_E_NOMEM, "no memory for a pool of sandboxes");
    }
    pool->with = *options;
    pool->stop_fd = stop_fd;
    for (int i = 0; i < SP_WARM_KINDS; i++)
        pool->kinds[i].newest = &pool->kinds[i].oldest;
    *out = pool;
    return SP_OK;
}

/* ---- under the lock ---- */

static struct item *pop(struct kind *kind)
{
    struct item *first = kind->oldest;

    if (!first)
        return NULL;
    kind->oldest = first->next;
    if (!kind->oldest)
        kind->newest = &kind->oldest;
    kind->ready--;
    return first;
}

static void push(struct kind *kind, struct item *item)
{
    *kind->newest = item;
    kind->newest = &item->next;
    kind->ready++;
}

static bool is_short(const struct sp_warm_pool *pool, const struct kind *kind, int64_t now)
{
    return now < kind->wanted_until && now >= kind->retry_at &&
           kind->ready + kind->making < pool->with.size;
}

/* What there is to do; SP_WARM_KINDS: nothing. *old: one to end, else a kind to make one of. */
static int find_work(struct sp_warm_pool *pool, int64_t now, struct item **old)
{
    int i = 0;

    for (; i < SP_WARM_KINDS; i++) {
        if (pool->kinds[i].oldest && now >= pool->kinds[i].oldest->until) {
            *old = pop(&pool->kinds[i]);
            return i;
        }
    }
    for (i = 0; i < SP_WARM_KINDS && !is_short(pool, &pool->kinds[i], now); i++)
        ;
    return i;
}

/* When time alone makes work: one grows too old, or a failed attempt may be repeated. */
static int64_t next_moment(const struct sp_warm_pool *pool, int64_t now)
{
    int64_t next = SP_NEVER;

    for (int i = 0; i < SP_WARM_KINDS; i++) {
        const struct kind *kind = &pool->kinds[i];
        if (kind->oldest)
            next = sp_deadline_min(next, kind->oldest->until);
        if (kind->retry_at > now && kind->wanted_until > now)
            next = sp_deadline_min(next, kind->retry_at);
    }
    return next;
}

static void wait_for_work(struct sp_warm_pool *pool, int64_t until)
{
    struct timespec at = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};

    if (until == SP_NEVER) {
        pthread_cond_wait(&pool->changed, &pool->lock);
    } else {
        pthread_cond_timedwait(&pool->changed, &pool->lock, &at);
    }
}

/* ---- makers ---- */

static struct sp_run run_of(const struct sp_warm_pool *pool)
{
    return (struct sp_run){.setup_deadline = sp_deadline_in(SETUP_MS),
                           .deadline = SP_NEVER,
                           .teardown_ms = TEARDOWN_MS,
                           .cancel_fd = pool->stop_fd};
}

static void end_item(struct sp_warm_pool *pool, struct item *item, int64_t ms)
{
    struct sp_run run = run_of(pool);

    run.teardown_ms = ms;
    pool->with.ops->end(pool->with.ctx, item->item, &run);
    free(item);
}

static struct item *make_item(struct sp_warm_pool *pool, int kind)
{
    struct item *item = calloc(1, sizeof *item);
    struct sp_error err = {0};
    const struct sp_run run = run_of(pool);

    if (!item)
        return NULL;
    enum sp_code rc = pool->with.ops->make(pool->with.ctx, kind, &run, &item->item, &err);
    if (rc) {
        if (rc != SP_E_CANCELLED) {
            sp_log(SP_WARN, "pool_not_filled", sp_s("provider", pool->with.provider),
                   sp_s("code", sp_code_name(rc)));
        }
        free(item);
        return NULL;
    }
    item->until = sp_deadline_in(pool->with.max_age_ms);
    return item;
}

/* Failures are repeated more and more seldom. */
static void note_made(struct kind *kind, struct item *item)
{
    kind->making--;
    if (item) {
        push(kind, item);
        kind->retry_ms = 0;
        return;
    }
    kind->retry_ms = kind->retry_ms > 0 ? 2 * kind->retry_ms : RETRY_MIN_MS;
    if (kind->retry_ms > RETRY_MAX_MS)
        kind->retry_ms = RETRY_MAX_MS;
    kind->retry_at = sp_deadline_in(kind->retry_ms);
}

/* Takes and gives the lock back for as long as the service is spoken to. */
static void work(struct sp_warm_pool *pool, int i, struct item *old)
{
    struct kind *kind = &pool->kinds[i];
    struct item *made = NULL;

    kind->making += !old;
    pthread_mutex_unlock(&pool->lock);
    if (old) {
        end_item(pool, old, TEARDOWN_MS);
    } else {
        made = make_item(pool, i);
    }
    pthread_mutex_lock(&pool->lock);
    if (!old)
        note_made(kind, made);
    pthread_cond_broadcast(&pool->changed); /* another may wait for the next moment of before */
}

/* Takes and gives the lock back as work() does, so that the makers share it. */
static void end_all(struct sp_warm_pool *pool)
{
    for (int i = 0; i < SP_WARM_KINDS; i++) {
        struct item *item;
        while ((item = pop(&pool->kinds[i])) != NULL) {
            pthread_mutex_unlock(&pool->lock);
            end_item(pool, item, sp_deadline_left(pool->close_deadline));
            pthread_mutex_lock(&pool->lock);
        }
    }
}

static void *serve(void *arg)
{
    struct sp_warm_pool *pool = arg;

    pthread_mutex_lock(&pool->lock);
    while (!pool->stopping) {
        struct item *old = NULL;
        int64_t now = sp_mono_ms();
        int i = find_work(pool, now, &old);
        if (i < SP_WARM_KINDS) {
            work(pool, i, old);
        } else {
            wait_for_work(pool, next_moment(pool, now));
        }
    }
    end_all(pool);
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Under the lock. With fewer threads, or none, there are fewer sandboxes ahead. */
static void start_makers(struct sp_warm_pool *pool)
{
    size_t n = pool->with.size < MAKERS_MAX ? (size_t)pool->with.size : MAKERS_MAX;

    while (pool->n_makers < n && !pthread_create(&pool->makers[pool->n_makers], NULL, serve, pool))
        pool->n_makers++;
}

void *sp_warm_pool_take(struct sp_warm_pool *pool, int kind)
{
    void *item = NULL;

    if (pool->with.size == 0)
        return NULL;
    pthread_mutex_lock(&pool->lock);
    int64_t now = sp_mono_ms();
    struct kind *k = &pool->kinds[kind];
    k->wanted_until = now + WANTED_MS;
    struct item *first = k->oldest && now < k->oldest->until ? pop(k) : NULL;
    start_makers(pool);
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    if (first)
        item = first->item;
    free(first);
    return item;
}

void sp_warm_pool_free(struct sp_warm_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pool->close_deadline = sp_deadline_in(CLOSE_MS);
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    (void)eventfd_write(pool->stop_fd, 1);
    for (size_t i = 0; i < pool->n_makers; i++)
        pthread_join(pool->makers[i], NULL);
    close(pool->stop_fd);
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
