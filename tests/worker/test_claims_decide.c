/* Every row of what a claim that is there means for a record that asks (CONTRACT.md 2.1). */
#include "worker/claims/decide.h"

#include <stdio.h>

#include "tests/support.h"

enum { C = SP_CLAIM_CLAIMED, R = SP_CLAIM_RELEASED, F = SP_CLAIM_FINISHED, D = SP_CLAIM_DELIVERED };
enum { OURS = SP_OWNER_OURS, ALIVE = SP_OWNER_ALIVE, DEAD = SP_OWNER_DEAD };
enum { MAX_ATTEMPTS = 3 };

struct row {
    int state, owner, attempt, died;
    bool remembered;                         /* of F and D */
    bool other_digest;                       /* of another record */
    bool at_most_once, replay, nothing_runs; /* of the request */
    enum sp_claim_verdict verdict;
    int takes; /* the attempt; 0: the claim stays as it is */
    int new_died;
    bool under_record;
};

static const struct row same[] = {
    /* claimed */
    {.state = C, .owner = OURS, .attempt = 1, .verdict = SP_CLAIM_RUN, .takes = 1},
    {.state = C,
     .owner = OURS,
     .attempt = 2,
     .died = 1,
     .verdict = SP_CLAIM_RUN,
     .takes = 2,
     .new_died = 1},
    {.state = C,
     .owner = OURS,
     .attempt = 3,
     .died = 3,
     .verdict = SP_CLAIM_DIED,
     .takes = 3,
     .new_died = 3},
    {.state = C, .owner = ALIVE, .attempt = 1, .verdict = SP_CLAIM_PARK},
    {.state = C, .owner = ALIVE, .attempt = 9, .nothing_runs = true, .verdict = SP_CLAIM_PARK},
    {.state = C, .owner = DEAD, .attempt = 1, .verdict = SP_CLAIM_RUN, .takes = 2, .new_died = 1},
    {.state = C,
     .owner = DEAD,
     .attempt = 2,
     .died = 1,
     .verdict = SP_CLAIM_RUN,
     .takes = 3,
     .new_died = 2},
    {.state = C,
     .owner = DEAD,
     .attempt = 3,
     .died = 2,
     .verdict = SP_CLAIM_DIED,
     .takes = 3,
     .new_died = 3},
    {.state = C,
     .owner = DEAD,
     .attempt = 3,
     .died = 3,
     .verdict = SP_CLAIM_DIED,
     .takes = 3,
     .new_died = 3},
    {.state = C,
     .owner = DEAD,
     .attempt = 3,
     .died = 2,
     .nothing_runs = true,
     .verdict = SP_CLAIM_RUN,
     .takes = 4,
     .new_died = 3},
    {.state = C,
     .owner = DEAD,
     .attempt = 1,
     .at_most_once = true,
     .verdict = SP_CLAIM_DIED,
     .takes = 1,
     .new_died = 1},
    {.state = C,
     .owner = OURS,
     .attempt = 1,
     .at_most_once = true,
     .verdict = SP_CLAIM_RUN,
     .takes = 1},
    {.state = C,
     .owner = DEAD,
     .attempt = 1,
     .replay = true,
     .verdict = SP_CLAIM_RUN,
     .takes = 2,
     .new_died = 1},
    /* released */
    {.state = R, .attempt = 1, .died = 1, .verdict = SP_CLAIM_RUN, .takes = 2, .new_died = 1},
    {.state = R, .attempt = 2, .died = 2, .verdict = SP_CLAIM_RUN, .takes = 3, .new_died = 2},
    {.state = R, .attempt = 3, .died = 3, .verdict = SP_CLAIM_DIED, .takes = 3, .new_died = 3},
    {.state = R,
     .attempt = 1,
     .died = 1,
     .at_most_once = true,
     .verdict = SP_CLAIM_DIED,
     .takes = 1,
     .new_died = 1},
    /* finished: one that lives delivers it */
    {.state = F, .owner = OURS, .attempt = 1, .verdict = SP_CLAIM_REPUBLISH},
    {.state = F, .owner = DEAD, .attempt = 1, .verdict = SP_CLAIM_REPUBLISH},
    {.state = F, .owner = DEAD, .attempt = 1, .remembered = true, .verdict = SP_CLAIM_REPUBLISH},
    {.state = F, .owner = ALIVE, .attempt = 1, .remembered = true, .verdict = SP_CLAIM_PARK},
    /* delivered */
    {.state = D, .owner = DEAD, .attempt = 1, .verdict = SP_CLAIM_SKIP},
    {.state = D, .owner = ALIVE, .attempt = 1, .remembered = true, .verdict = SP_CLAIM_SKIP},
};

static const struct row other[] = {
    /* unfinished: its own record decides */
    {.state = C, .owner = OURS, .attempt = 1, .verdict = SP_CLAIM_WAIT},
    {.state = C, .owner = ALIVE, .attempt = 1, .verdict = SP_CLAIM_WAIT},
    {.state = C, .owner = DEAD, .attempt = 1, .verdict = SP_CLAIM_WAIT},
    {.state = R, .attempt = 1, .died = 1, .verdict = SP_CLAIM_WAIT},
    {.state = C,
     .owner = DEAD,
     .attempt = 1,
     .other_digest = true,
     .verdict = SP_CLAIM_CONFLICT,
     .under_record = true},
    {.state = C,
     .owner = OURS,
     .attempt = 1,
     .other_digest = true,
     .verdict = SP_CLAIM_CONFLICT,
     .under_record = true},
    {.state = R,
     .attempt = 1,
     .died = 1,
     .other_digest = true,
     .verdict = SP_CLAIM_CONFLICT,
     .under_record = true},
    /* finished and remembered: the same bytes, even before they are delivered */
    {.state = F,
     .owner = ALIVE,
     .attempt = 1,
     .remembered = true,
     .verdict = SP_CLAIM_REPUBLISH,
     .under_record = true},
    {.state = D,
     .owner = DEAD,
     .attempt = 1,
     .remembered = true,
     .verdict = SP_CLAIM_REPUBLISH,
     .under_record = true},
    {.state = F,
     .owner = ALIVE,
     .attempt = 1,
     .remembered = true,
     .other_digest = true,
     .verdict = SP_CLAIM_CONFLICT,
     .under_record = true},
    {.state = D,
     .owner = DEAD,
     .attempt = 1,
     .remembered = true,
     .other_digest = true,
     .verdict = SP_CLAIM_CONFLICT,
     .under_record = true},
    /* not remembered: free once it is delivered */
    {.state = F, .owner = DEAD, .attempt = 1, .verdict = SP_CLAIM_WAIT},
    {.state = F, .owner = DEAD, .attempt = 1, .other_digest = true, .verdict = SP_CLAIM_WAIT},
    {.state = D, .owner = DEAD, .attempt = 1, .verdict = SP_CLAIM_RUN, .takes = 1},
    {.state = D,
     .owner = DEAD,
     .attempt = 2,
     .died = 1,
     .other_digest = true,
     .verdict = SP_CLAIM_RUN,
     .takes = 1},
    /* a replay is a new job */
    {.state = C, .owner = OURS, .attempt = 1, .replay = true, .verdict = SP_CLAIM_WAIT},
    {.state = C, .owner = ALIVE, .attempt = 1, .replay = true, .verdict = SP_CLAIM_WAIT},
    {.state = C,
     .owner = DEAD,
     .attempt = 3,
     .died = 2,
     .replay = true,
     .verdict = SP_CLAIM_RUN,
     .takes = 1},
    {.state = R, .attempt = 3, .died = 3, .replay = true, .verdict = SP_CLAIM_RUN, .takes = 1},
    {.state = F,
     .owner = DEAD,
     .attempt = 1,
     .remembered = true,
     .replay = true,
     .verdict = SP_CLAIM_RUN,
     .takes = 1},
    {.state = D,
     .owner = DEAD,
     .attempt = 3,
     .died = 3,
     .remembered = true,
     .replay = true,
     .other_digest = true,
     .verdict = SP_CLAIM_RUN,
     .takes = 1},
};

static void check(const struct row *row, bool same_record)
{
    struct sp_claim_case c = {
        .found = {.state = (enum sp_claim_state)row->state,
                  .attempt = row->attempt,
                  .died = row->died,
                  .result = {.remembered = row->remembered}},
        .owner = (enum sp_claim_owner)row->owner,
        .same_record = same_record,
        .same_digest = !row->other_digest,
        .at_most_once = row->at_most_once,
        .replay = row->replay,
        .nothing_runs = row->nothing_runs,
        .max_attempts = MAX_ATTEMPTS,
    };
    char label[64];
    snprintf(label, sizeof label, "%c owner %d attempt %d died %d", row->state, row->owner,
             row->attempt, row->died);

    struct sp_claim_decision d = sp_claim_decide(&c);

    cr_expect(eq(int, d.verdict, row->verdict), "%s", label);
    cr_expect(eq(int, d.take, row->takes > 0), "%s", label);
    cr_expect(eq(i64, d.attempt, row->takes), "%s", label);
    cr_expect(eq(i64, d.died, row->new_died), "%s", label);
    cr_expect(eq(int, d.under_record, row->under_record), "%s", label);
}

SP_TABLE_TEST(claims_decide, the_same_record_again, same, row)
{
    check(row, true);
}

SP_TABLE_TEST(claims_decide, another_record_of_the_id, other, row)
{
    check(row, false);
}
