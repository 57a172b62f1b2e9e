/* What a claim that is there already means for a record that asks: CONTRACT.md 2.1 as one table,
 * without Redis. */
#pragma once

#include "worker/claims/value.h"

enum sp_claim_owner {
    SP_OWNER_OURS,  /* this incarnation, where nobody holds it any more */
    SP_OWNER_ALIVE, /* somebody has it: a job of ours, or one that lives or cannot be judged yet */
    SP_OWNER_DEAD,
};

struct sp_claim_case {
    struct sp_claim_value found;
    enum sp_claim_owner owner; /* of what was found; matters with C and F */
    bool same_record, same_digest;
    bool at_most_once, replay, nothing_runs; /* of the request */
    int64_t max_attempts;
};

struct sp_claim_decision {
    enum sp_claim_verdict verdict;
    bool take; /* the claim becomes ours, with these: */
    int64_t attempt, died;
    bool under_record; /* the claim to go on with is one by the record's own key */
};

struct sp_claim_decision sp_claim_decide(const struct sp_claim_case *c);
