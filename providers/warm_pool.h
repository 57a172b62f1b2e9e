/*
 * Sandboxes that are made ahead of their runs, because a service takes its time to make one (the
 * setting pool_size). Each is for one run. They are kept by kind, which is what a provider says it
 * is (a language): so many of each kind that was asked for within the last minutes. Threads of the
 * pool's own make them.
 */
#pragma once

#include "providers/provider.h"

enum { SP_WARM_KINDS = 2 };

/* Both are called from the pool's threads. */
struct sp_warm_ops {
    /* Makes one within run->setup_deadline, or gives up soon after run->cancel_fd is readable. */
    enum sp_code (*make)(void *ctx, int kind, const struct sp_run *run, void **out,
                         struct sp_error *err);
    /* Ends one that grew too old or is left at the end, within run->teardown_ms. */
    void (*end)(void *ctx, void *item, const struct sp_run *run);
};

/* All borrowed, for as long as the pool lives. */
struct sp_warm_options {
    const struct sp_warm_ops *ops;
    void *ctx;
    const char *provider; /* for the log */
    int64_t size;         /* of each kind; 0: the pool is always empty */
    int64_t max_age_ms;   /* of one that waits: the service ends it later than that */
};

struct sp_warm_pool;

/* Starts nothing yet. SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_warm_pool_new(const struct sp_warm_options *options,
                                            struct sp_warm_pool **out, struct sp_error *err);
/* One that is ready, the oldest first, now the caller's; NULL: none is. More are made from now on.
 * Thread: any. */
void *sp_warm_pool_take(struct sp_warm_pool *pool, int kind);
/* Ends all that are left, several at a time, and waits for that: 20 s at most. NULL is fine. */
void sp_warm_pool_free(struct sp_warm_pool *pool);
