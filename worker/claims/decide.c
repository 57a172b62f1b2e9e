#include "worker/claims/decide.h"

static struct sp_claim_decision leave(enum sp_claim_verdict verdict)
{
    return (struct sp_claim_decision){.verdict = verdict};
}

static struct sp_claim_decision take_anew(void)
{
    return (struct sp_claim_decision){.verdict = SP_CLAIM_RUN, .take = true, .attempt = 1};
}

/* The next attempt after `died` ones, or the end of them. */
static struct sp_claim_decision take_next(const struct sp_claim_case *c, int64_t died)
{
    struct sp_claim_decision next = {.take = true, .died = died, .attempt = died + 1};
    int64_t limit = c->at_most_once ? 1 : c->max_attempts;
    if (died >= limit && !c->nothing_runs) {
        next.verdict = SP_CLAIM_DIED;
        next.attempt = died;
    }
    return next;
}

static struct sp_claim_decision same_record(const struct sp_claim_case *c)
{
    switch (c->found.state) {
    case SP_CLAIM_CLAIMED:
        if (c->owner == SP_OWNER_ALIVE)
            return leave(SP_CLAIM_PARK);
        return take_next(c, c->owner == SP_OWNER_OURS ? c->found.died : c->found.attempt);
    case SP_CLAIM_RELEASED:
        return take_next(c, c->found.died);
    case SP_CLAIM_FINISHED: /* one that lives delivers it, or dies; the reply must not go twice */
        return leave(c->owner == SP_OWNER_ALIVE ? SP_CLAIM_PARK : SP_CLAIM_REPUBLISH);
    case SP_CLAIM_DELIVERED:
        break;
    }
    return leave(SP_CLAIM_SKIP);
}

static struct sp_claim_decision other_record(const struct sp_claim_case *c)
{
    bool delivered = c->found.state == SP_CLAIM_DELIVERED;
    bool finished = delivered || c->found.state == SP_CLAIM_FINISHED;
    if (c->replay) {
        bool busy = c->found.state == SP_CLAIM_CLAIMED && c->owner != SP_OWNER_DEAD;
        return busy ? leave(SP_CLAIM_WAIT) : take_anew();
    }
    if (finished && !c->found.result.remembered)
        return delivered ? take_anew() : leave(SP_CLAIM_WAIT);
    if (!c->same_digest)
        return (struct sp_claim_decision){.verdict = SP_CLAIM_CONFLICT, .under_record = true};
    if (finished)
        return (struct sp_claim_decision){.verdict = SP_CLAIM_REPUBLISH, .under_record = true};
    return leave(SP_CLAIM_WAIT); /* its own record decides what becomes of it */
}

struct sp_claim_decision sp_claim_decide(const struct sp_claim_case *c)
{
    return c->same_record ? same_record(c) : other_record(c);
}
