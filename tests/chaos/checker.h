/*
 * What a ledger proves, in numbers. Pure: it looks at nothing but the events.
 *
 * A run is one execution of an id. It was cut when its worker was killed or frozen before it ended,
 * or when it was cancelled, by a stop past the drain time. A further run of the id right after it
 * is what the promise allows; also after one that ended in the last CHECKER_SETTLE_US before the
 * worker was killed or frozen, whose reply may not have been stored, and after one whose claim was
 * lost with Redis's data, as it began before Redis came back. Any other is unexplained.
 */
#pragma once

#include "tests/chaos/ledger.h"

#define CHECKER_SETTLE_US 1000000

/*
 * One row each: name in C, name as printed, whether any but 0 is a fault where a case says nothing
 * else. The last ones are measured by the driver, and 0 here.
 */
#define CHECKER_NUMBERS(N)                                                                         \
    N(JOBS, "jobs", false)               /* requests sent */                                       \
    N(LOST, "lost", true)                /* of them without a reply */                             \
    N(STRAY, "stray", true)              /* ids with a run or a reply that nobody sent */          \
    N(WRONG, "wrong", true)              /* ids with a reply of another status than wanted */      \
    N(RUNS, "runs", false)               /* executions */                                          \
    N(RERUN, "re-run", true)             /* of them beyond one per id */                           \
    N(CUT, "cut", false)                 /* runs cut, see above */                                 \
    N(IN_HAND, "in-hand", false)         /* executors of the workers killed or frozen */           \
    N(UNEXPLAINED, "unexplained", true)  /* re-runs after a run that was not cut */                \
    N(AT_ONCE, "at-once", true)          /* of them while the earlier run was going on */          \
    N(DOUBLED, "doubled", true)          /* replies beyond one per id */                           \
    N(DIFFERENT, "different", true)      /* of them with other bytes or another result id */       \
    N(DEGRADED, "degraded", true)        /* replies that promise no dedupe */                      \
    N(REORDERED, "reordered", true)      /* jobs begun before an earlier of their key had ended */ \
    N(ATTEMPTS, "attempts", false)       /* the highest in a reply */                              \
    N(DLQ, "dlq", true)                  /* dead letters */                                        \
    N(RECOVERY_MS, "recovery_ms", false) /* longest from a heal to the next reply */               \
    N(TAKEOVER_MS, "takeover_ms", false) /* longest from a cut to the next run of its job */       \
    N(UNCOMMITTED, "uncommitted", true)  /* 1: an offset was not, though all is replied */         \
    N(UNCLEAR, "unclear", true)          /* errors that do not name their reason */                \
    N(SLOWEST_MS, "slowest_ms", false)   /* what the case is about took so long at most */         \
    N(P99_PERCENT, "p99_percent", false) /* the case's 99th percentile, of that without a fault */

enum checker_number {
#define CHECKER_ENUM(name, text, is_fault) CHECKER_##name,
    CHECKER_NUMBERS(CHECKER_ENUM)
#undef CHECKER_ENUM
        CHECKER_COUNT
};

struct checker_numbers {
    int64_t of[CHECKER_COUNT];
};

/* As printed. */
const char *checker_name(enum checker_number number);
bool checker_is_fault(enum checker_number number);
/* Sorts the ledger's events. False: no memory. */
bool checker_count(struct ledger *ledger, struct checker_numbers *out);
/* Executions of one id; NULL: of all. */
int64_t checker_runs_of(const struct ledger *ledger, const char *id);
