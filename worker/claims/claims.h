/*
 * Claims: who runs a record, and what came of it, kept in Redis so that no reply is lost and no run
 * is repeated needlessly (CONTRACT.md 2.1, DESIGN.md 1). One thread owns one pipelined connection;
 * the calls of all executors go over it together.
 *
 *   take ─► (run) ─► finish ─► [reply to Kafka] ─► delivered ─► [offset committed] ─► committed
 *     └───────┴─► release                              └─► [partition lost] ─► forgotten
 *
 * Redis 7.0 or newer. While it is away, calls say HOLD; after worker.liveness they go on without it
 * (`degraded`) unless redis.outage is pause. What was to be written then is kept and written later.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "settings/redis.h"
#include "worker/digest.h"

#define SP_RESULT_ID_SIZE 33

struct sp_claims_options {
    struct sp_redis *redis; /* taken on SP_OK */
    const char *prefix;     /* redis.prefix; copied, as is worker_id */
    const char *worker_id;  /* no control characters */
    int64_t liveness_ms;    /* worker.liveness */
    int64_t results_ttl_ms; /* results.ttl */
    int64_t claim_ttl_ms;   /* of what nobody renews any more; 0: a day */
    int64_t max_attempts;   /* worker.max_attempts */
    bool pause;             /* redis.outage = pause */
};

struct sp_claims;

/* Does not wait for Redis. SP_E_INVALID (worker_id), SP_E_NOMEM, SP_E_INTERNAL. */
SP_MUST_CHECK enum sp_code sp_claims_start(const struct sp_claims_options *options,
                                           struct sp_claims **out, struct sp_error *err);
/*
 * Writes what is still to be written, gives up the liveness key, so that others need not wait for
 * its end, and ends the thread. Frees the claims that are still open. No other call may be under
 * way or come later. NULL is nothing. Blocks: limit_ms, and while a connection is being made.
 */
void sp_claims_stop(struct sp_claims *claims, int64_t limit_ms);

/* What is asked for; all borrowed for the call. */
struct sp_claim_request {
    const char *id; /* that the record itself holds and that is valid; NULL: the claim goes by the
                       record alone */
    const char *topic;
    int32_t partition;
    int64_t offset, timestamp_ms;
    char digest[SP_DIGEST_SIZE]; /* "" where there is nothing to compare */
    bool at_most_once;
    bool replay;       /* header sandpiper_replay_count >= 1: a new job whatever was before */
    bool nothing_runs; /* the answer is known already: attempts do not count, never DIED */
};

/* A reply as it went, or is to go, to Kafka. */
struct sp_stored_reply {
    const char *bytes;
    size_t len;
    enum sp_status status;
    char result_id[SP_RESULT_ID_SIZE];
    const char *worker; /* that made it */
    int64_t attempt;
    bool remembered; /* ok, failed, timeout and SB014: answers later records of the id too */
};

enum sp_claim_verdict {
    SP_CLAIM_RUN,
    SP_CLAIM_REPUBLISH, /* send claim->stored again; its attachments were renewed */
    SP_CLAIM_SKIP,      /* its reply was delivered: complete the record */
    SP_CLAIM_PARK,      /* another worker has this record: ask again in 0.25 to 1 s */
    SP_CLAIM_WAIT,      /* another record of the id is unfinished: as PARK; where this one may wait
                           no longer, ask once more without an id, and answer it */
    SP_CLAIM_DIED,      /* workers died of it, claim->died times: answer SB014 */
    SP_CLAIM_CONFLICT,  /* the id belongs to other content: answer SB007 */
    SP_CLAIM_HOLD,      /* Redis is away, or there is no memory: ask again soon */
};

/* The part of a claim that its holder may read. */
struct sp_claim {
    int64_t attempt;               /* of this run, from 1; of the last one with DIED */
    int64_t died;                  /* earlier attempts whose worker died */
    bool degraded;                 /* Redis does not know of it: header sandpiper_dedupe */
    struct sp_stored_reply stored; /* with REPUBLISH; belongs to the claim */
};

/*
 * May this record run? *out is the claim to go on with, NULL for PARK, WAIT and HOLD; it is the
 * caller's until sp_claims_release(), _committed() or _forgotten(). At most one suspect (died > 0)
 * has RUN at a time; the others are told PARK. Thread: any but the consumer's. Blocks: a round
 * trip, a few where the claim is contended, 2 s where Redis hangs.
 */
SP_MUST_CHECK enum sp_claim_verdict sp_claims_take(struct sp_claims *claims,
                                                   const struct sp_claim_request *request,
                                                   struct sp_claim **out);
/*
 * Stores the reply under the claim, before it goes to Kafka. To be called after each verdict but
 * SKIP, also after REPUBLISH (with claim->stored). The run counts as ended from the first call on.
 * SP_OK: go on; claim->degraded says whether it is stored. SP_E_CANCELLED: the claim is somebody
 * else's now or finished already; the reply must not go out: release the claim and ask again as
 * after PARK. SP_E_UNAVAILABLE, SP_E_NOMEM: call again soon. Blocks as sp_claims_take().
 */
SP_MUST_CHECK enum sp_code sp_claims_finish(struct sp_claims *claims, struct sp_claim *claim,
                                            const struct sp_stored_reply *stored,
                                            struct sp_error *err);

/*
 * The same two without waiting, for the usual case. False: not asked; call sp_claims_take() or
 * sp_claims_finish(). Else `taken` or `stored` is called once, on the claims thread, and must be
 * short: with a claim that has RUN and is the first attempt, or with true. NULL and false: it is
 * not as simple, or Redis is away; call the other one. sp_claims_stop() calls those that are left,
 * too. Thread: any.
 */
SP_MUST_CHECK bool sp_claims_take_soon(struct sp_claims *claims,
                                       const struct sp_claim_request *request,
                                       void (*taken)(void *ctx, struct sp_claim *claim), void *ctx);
SP_MUST_CHECK bool sp_claims_finish_soon(struct sp_claims *claims, struct sp_claim *claim,
                                         const struct sp_stored_reply *reply,
                                         void (*stored)(void *ctx, bool done), void *ctx);

/* The following do not block; what they write goes out soon, or when Redis is back. Thread: any;
 * for one claim, one at a time. All but sp_claims_delivered() take the claim; NULL is nothing. */

/* Gives it back as if it had never been taken: hold, hand back, stop, or it is lost. */
void sp_claims_release(struct sp_claims *claims, struct sp_claim *claim);
/* The broker has the reply. Written only where sp_claims_committed() does not follow soon. */
void sp_claims_delivered(struct sp_claims *claims, struct sp_claim *claim);
/* The record's offset is committed: results.ttl begins. */
void sp_claims_committed(struct sp_claims *claims, struct sp_claim *claim);
/* Delivered (or SKIP), but the partition was lost before the commit: another worker will ask. */
void sp_claims_forgotten(struct sp_claims *claims, struct sp_claim *claim);

struct sp_claims_status {
    bool up;          /* Redis answers */
    bool degraded;    /* jobs go on without it */
    int64_t away_ms;  /* 0 while up */
    char reason[160]; /* why it is away; "" while up */
    size_t open;      /* claims held */
    size_t pending;   /* closings to be written */
    bool suspect;     /* one is running */
    /* Totals. */
    int64_t taken, republished, skipped, parked, died, conflicts, held; /* verdicts */
    int64_t lost;           /* finished too late: somebody else's by then */
    int64_t degraded_total; /* claims that Redis did not know of */
    int64_t dropped;        /* closings that were too many to keep */
};

/* Thread: any. */
void sp_claims_status(struct sp_claims *claims, struct sp_claims_status *out);
