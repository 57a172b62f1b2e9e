/* Taking and finishing without waiting, for a caller that waits for what the claims thread tells.
 */
#pragma once

#include <errno.h>
#include <semaphore.h>

#include "worker/claims/claims.h"

struct told {
    sem_t sem;
    struct sp_claim *claim;
    bool stored;
};

static inline void on_taken(void *ctx, struct sp_claim *claim)
{
    struct told *told = ctx;
    told->claim = claim;
    sem_post(&told->sem);
}

static inline void on_stored(void *ctx, bool stored)
{
    struct told *told = ctx;
    told->stored = stored;
    sem_post(&told->sem);
}

static inline void wait_until_told(struct told *told)
{
    while (sem_wait(&told->sem) < 0 && errno == EINTR)
        continue;
}

/* False: nothing was asked for. *claim NULL: it is not as simple. */
static inline bool take_soon(struct sp_claims *claims, const struct sp_claim_request *request,
                             struct sp_claim **claim)
{
    struct told told = {.claim = NULL};
    sem_init(&told.sem, 0, 0);
    bool asked = sp_claims_take_soon(claims, request, on_taken, &told);
    if (asked)
        wait_until_told(&told);
    sem_destroy(&told.sem);
    *claim = told.claim;
    return asked;
}

/* Whether it is stored. */
static inline bool store_soon(struct sp_claims *claims, struct sp_claim *claim,
                              const struct sp_stored_reply *reply)
{
    struct told told = {.stored = false};
    sem_init(&told.sem, 0, 0);
    if (sp_claims_finish_soon(claims, claim, reply, on_stored, &told))
        wait_until_told(&told);
    sem_destroy(&told.sem);
    return told.stored;
}
