/* Sandboxes that are made ahead of their runs: how many, for how long, and that none is left. */
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include "providers/warm_pool.h"
#include "tests/support.h"

enum { LONG_MS = 60000 };

/* What the pool makes: numbers from 1. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int made[SP_WARM_KINDS], ending, ended, failures, hangs, attempts;
    int meet; /* so many are ended at a time, or none */
    struct sp_warm_pool *pool;
} stage = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* The first `failures` attempts fail, the first `hangs` after them wait for the end. */
static enum sp_code make(void *ctx, int kind, const struct sp_run *run, void **out,
                         struct sp_error *err)
{
    enum sp_code rc = SP_OK;
    (void)ctx;

    pthread_mutex_lock(&stage.lock);
    int attempt = stage.attempts++;
    if (attempt < stage.failures)
        rc = sp_error_set(err, SP_E_UNAVAILABLE, "away");
    bool hang = !rc && attempt < stage.failures + stage.hangs;
    if (!rc && !hang) {
        int *item = malloc(sizeof(*item));
        *item = 100 * kind + ++stage.made[kind];
        *out = item;
    }
    pthread_cond_broadcast(&stage.changed);
    pthread_mutex_unlock(&stage.lock);
    if (hang) {
        poll(&(struct pollfd){.fd = run->cancel_fd, .events = POLLIN}, 1, LONG_MS);
        rc = SP_E_CANCELLED;
    }
    return rc;
}

static void end(void *ctx, void *item, const struct sp_run *run)
{
    (void)ctx, (void)run;
    free(item);
    pthread_mutex_lock(&stage.lock);
    stage.ending++;
    pthread_cond_broadcast(&stage.changed);
    while (stage.ending < stage.meet)
        pthread_cond_wait(&stage.changed, &stage.lock);
    stage.ended++;
    pthread_cond_broadcast(&stage.changed);
    pthread_mutex_unlock(&stage.lock);
}

static const struct sp_warm_ops ops = {.make = make, .end = end};

static void set_pool(int64_t size, int64_t max_age_ms)
{
    const struct sp_warm_options options = {
        .ops = &ops, .provider = "test", .size = size, .max_age_ms = max_age_ms};
    cr_assert(eq(int, sp_warm_pool_new(&options, &stage.pool, NULL), SP_OK));
}

/* CTest's time-out stands behind it. */
static void wait_for(const int *count, int n)
{
    pthread_mutex_lock(&stage.lock);
    while (*count < n)
        pthread_cond_wait(&stage.changed, &stage.lock);
    pthread_mutex_unlock(&stage.lock);
}

static int take(int kind)
{
    int *item = sp_warm_pool_take(stage.pool, kind);
    int number = item ? *item : 0;
    free(item);
    return number;
}

/* What was made is put into the pool a moment later. */
static int take_soon(int kind)
{
    int number;
    while ((number = take(kind)) == 0)
        ;
    return number;
}

static int made(int kind)
{
    pthread_mutex_lock(&stage.lock);
    int n = stage.made[kind];
    pthread_mutex_unlock(&stage.lock);
    return n;
}

Test(warm_pool, nothing_is_made_before_a_run_asks)
{
    set_pool(3, LONG_MS);

    sp_warm_pool_free(stage.pool);

    cr_expect(eq(int, stage.attempts, 0));
}

Test(warm_pool, the_first_run_finds_none_the_next_ones_do)
{
    set_pool(1, LONG_MS);

    cr_expect(eq(int, take(0), 0));
    wait_for(&stage.made[0], 1);
    cr_expect(eq(int, take_soon(0), 1));
    wait_for(&stage.made[0], 2);
    cr_expect(eq(int, take_soon(0), 2));

    sp_warm_pool_free(stage.pool);
}

Test(warm_pool, no_more_are_made_than_it_holds_and_each_kind_has_its_own)
{
    set_pool(2, LONG_MS);

    cr_expect(eq(int, take(1), 0));
    wait_for(&stage.made[1], 2);
    sp_warm_pool_free(stage.pool);

    cr_expect(eq(int, stage.made[1], 2));
    cr_expect(eq(int, stage.made[0], 0));
    cr_expect(eq(int, stage.ended, 2));
}

Test(warm_pool, without_a_size_it_is_empty)
{
    set_pool(0, LONG_MS);

    cr_expect(eq(int, take(0), 0));
    sp_warm_pool_free(stage.pool);

    cr_expect(eq(int, stage.attempts, 0));
}

Test(warm_pool, what_grows_too_old_is_ended_and_replaced)
{
    set_pool(1, 30);

    cr_expect(eq(int, take(0), 0));
    wait_for(&stage.ended, 2);
    wait_for(&stage.made[0], 3);

    sp_warm_pool_free(stage.pool);
    cr_expect(eq(int, stage.ended, made(0)));
}

Test(warm_pool, what_could_not_be_made_is_tried_again)
{
    stage.failures = 1;
    set_pool(1, LONG_MS);

    cr_expect(eq(int, take(0), 0));
    wait_for(&stage.made[0], 1);

    sp_warm_pool_free(stage.pool);
    cr_expect(eq(int, stage.attempts, 2));
}

Test(warm_pool, the_end_does_not_wait_for_one_that_is_being_made)
{
    stage.hangs = 1;
    set_pool(1, LONG_MS);

    cr_expect(eq(int, take(0), 0));
    wait_for(&stage.attempts, 1);
    int64_t start = sp_mono_ms();
    sp_warm_pool_free(stage.pool);

    cr_expect(sp_mono_ms() - start < LONG_MS / 2);
    cr_expect(eq(int, stage.ended, 0));
}

Test(warm_pool, several_are_ended_at_a_time)
{
    stage.meet = 3;
    set_pool(3, LONG_MS);

    cr_expect(eq(int, take(0), 0));
    wait_for(&stage.made[0], 3);
    sp_warm_pool_free(stage.pool);

    cr_expect(eq(int, stage.ended, 3));
}

Test(warm_pool, no_pool_is_fine)
{
    sp_warm_pool_free(NULL);
}
