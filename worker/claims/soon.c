/*
 * Taking and finishing without waiting, for the usual case: the claim is free, and still ours. All
 * else is told as "no", and the caller asks again the long way, which finds out what there is.
 */
#include <string.h>

#include "worker/claims/inside.h"

static struct sp_claim_soon *begin(struct sp_claims *claims, struct sp_claim_entry *entry,
                                   void (*answered)(struct sp_pipe_call *call), void *ctx)
{
    entry->soon = (struct sp_claim_soon){
        .call = {.answered = answered}, .claims = claims, .entry = entry, .ctx = ctx};
    return &entry->soon;
}

static void set_answered(struct sp_pipe_call *call)
{
    const struct sp_claim_soon soon = *(struct sp_claim_soon *)call;
    bool ours = !call->rc && call->reply->type == REDIS_REPLY_NIL;
    bool unheard = call->rc == SP_E_UNAVAILABLE;
    sp_pipe_call_clear(call);
    if (ours) {
        sp_claims_note(soon.claims, SP_CLAIM_RUN, soon.entry);
    } else if (unheard) {
        sp_claims_give_back(soon.claims, soon.entry);
    } else {
        sp_claim_entry_free(soon.entry);
    }
    soon.taken(soon.ctx, ours ? &soon.entry->seen : NULL);
}

bool sp_claims_take_soon(struct sp_claims *claims, const struct sp_claim_request *request,
                         void (*taken)(void *ctx, struct sp_claim *claim), void *ctx)
{
    struct sp_claim_entry *entry = sp_claim_entry_new(claims, request, !request->id);
    if (!entry)
        return false;
    struct sp_claim_soon *soon = begin(claims, entry, set_answered, ctx);
    soon->taken = taken;
    if (!sp_claim_entry_own(claims, entry, 1, 0) &&
        !sp_claims_format_set(claims, entry, &soon->call) && sp_claims_submit(claims, &soon->call))
        return true;
    sp_pipe_call_clear(&soon->call);
    sp_claim_entry_free(entry);
    return false;
}

static void store_answered(struct sp_pipe_call *call)
{
    const struct sp_claim_soon soon = *(struct sp_claim_soon *)call;
    bool ours = !call->rc && call->reply->integer == 1;
    sp_pipe_call_clear(call);
    if (ours)
        sp_claim_entry_stored(soon.entry, soon.remembered);
    soon.stored(soon.ctx, ours);
}

bool sp_claims_finish_soon(struct sp_claims *claims, struct sp_claim *claim,
                           const struct sp_stored_reply *reply,
                           void (*stored)(void *ctx, bool done), void *ctx)
{
    struct sp_claim_entry *entry = (struct sp_claim_entry *)claim;
    if (claim->degraded || entry->finished)
        return false;
    struct sp_claim_soon *soon = begin(claims, entry, store_answered, ctx);
    soon->stored = stored;
    soon->remembered = reply->remembered;
    sp_claims_end_run(claims, entry);
    if (!sp_claims_format_store(claims, entry, reply, &soon->call) &&
        sp_claims_submit(claims, &soon->call))
        return true;
    sp_pipe_call_clear(&soon->call);
    return false;
}
