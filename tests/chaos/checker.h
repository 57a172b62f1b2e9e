/*
 * What a ledger proves, in numbers. Pure: it looks at nothing but the events.
 *
 * A run is one execution of an id. It was cut when its worker was killed or frozen while the job
 * was in hand (begun, and not ended at least CHECKER_SETTLE_US before, the time to store the
 * reply), when it was cancelled by a stop past the drain time, or when its claim was lost with
 * Redis's data (begun before Redis came back). A further run of the id right after a cut one is
 * what the promise allows; any other is unexplained.
 */
#pragma once

#include "tests/chaos/ledger.h"

#define CHECKER_SETTLE_US 200000

/* One row each: name in C, name as printed. */
#define CHECKER_NUMBERS(N)                                                                         \
    N(JOBS, "jobs")               /* requests sent */                                              \
    N(LOST, "lost")               /* of them without a reply */                                    \
    N(STRAY, "stray")             /* ids with a run or a reply that nobody sent */                 \
    N(WRONG, "wrong")             /* ids with a reply of another status than wanted */             \
    N(RUNS, "runs")               /* executions */                                                 \
    N(RERUN, "re-run")            /* of them beyond one per id */                                  \
    N(CUT, "cut")                 /* runs cut, see above */                                        \
    N(UNEXPLAINED, "unexplained") /* re-runs after a run that was not cut */                       \
    N(AT_ONCE, "at-once")         /* re-runs that began while such a run was still going on */     \
    N(DOUBLED, "doubled")         /* replies beyond one per id */                                  \
    N(DIFFERENT, "different")     /* of them with other bytes or another result id */              \
    N(REORDERED, "reordered")     /* jobs begun before an earlier one of their key had ended */    \
    N(ATTEMPTS, "attempts")       /* the highest in a reply */                                     \
    N(DLQ, "dlq")                 /* dead letters */                                               \
    N(RECOVERY_MS, "recovery_ms") /* longest from a heal to the next reply */                      \
    N(TAKEOVER_MS, "takeover_ms") /* longest from a kill or freeze to the next run of a cut job */

enum checker_number {
#define CHECKER_ENUM(name, text) CHECKER_##name,
    CHECKER_NUMBERS(CHECKER_ENUM)
#undef CHECKER_ENUM
        CHECKER_COUNT
};

struct checker_numbers {
    int64_t of[CHECKER_COUNT];
};

/* As printed. */
const char *checker_name(enum checker_number number);
/* Sorts the ledger's events. False: no memory. */
bool checker_count(struct ledger *ledger, struct checker_numbers *out);
/* Executions of one id. */
int64_t checker_runs_of(const struct ledger *ledger, const char *id);
