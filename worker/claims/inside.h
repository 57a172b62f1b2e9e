/* What the files of this folder share. Callers see worker/claims/claims.h only. */
#pragma once

#include <pthread.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "worker/claims/pipe.h"
#include "worker/claims/scripts.h"
#include "worker/claims/value.h"

enum {
    SP_FLUSH_MS = 5, /* what is to be written waits so long for more */
    SP_MS_SIZE = 24,
};

/* What is still to be written about a claim. */
enum sp_closing {
    SP_CLOSING_NONE,
    SP_CLOSING_DELIVERED, /* the only one that leaves it open */
    SP_CLOSING_RELEASED,
    SP_CLOSING_COMMITTED,
    SP_CLOSING_FORGOTTEN,
};

/* A call for a claim whose holder does not wait. */
struct sp_claim_soon {
    struct sp_pipe_call call; /* first */
    struct sp_claims *claims;
    struct sp_claim_entry *entry;
    void (*taken)(void *ctx, struct sp_claim *claim);
    void (*stored)(void *ctx, bool done);
    void *ctx;
    bool remembered;
};

/* A claim with its private part. The first half is its holder's until the claim is delivered or
 * closed, then the claims thread's, which frees it. */
struct sp_claim_entry {
    struct sp_claim seen; /* first: what the holder sees */
    char *key;
    const char *record; /* behind the key, in the same allocation */
    char digest[SP_DIGEST_SIZE];
    struct sp_buf stem;     /* of the claim as Redis has it */
    struct sp_buf expected; /* and its whole line */
    struct sp_buf head;     /* the line of the reply that is being stored */
    bool at_most_once;
    bool unheard;               /* Redis may have set it: its answer was lost */
    bool finished;              /* the reply is stored */
    bool remembered;            /* and answers later records too */
    char blob[SP_BLOB_ID_SIZE]; /* "": none */
    struct sp_claim_soon soon;
    redisReply *kept;  /* holds seen.stored.bytes */
    char *kept_worker; /* is seen.stored.worker */

    /* Guarded by the lock of struct sp_claims. */
    TAILQ_ENTRY(sp_claim_entry) among_open, in_line;
    enum { SP_LINE_NONE, SP_LINE_DELIVERED, SP_LINE_CLOSINGS, SP_LINE_FLYING } line;
    enum sp_closing closing, writing; /* the latter while it flies */
    int64_t due;                      /* in the line of delivered ones */
    int64_t renew_at;                 /* among the open ones */
};

TAILQ_HEAD(sp_claim_line, sp_claim_entry);

struct sp_claims {
    char *prefix, *worker_id, *alive_key;
    int64_t liveness_ms, results_ttl_ms, claim_ttl_ms, max_attempts;
    pthread_t thread;
    struct sp_scripts scripts;
    char incarnation[SP_INCARNATION_SIZE];
    bool pause;
    int wake_fd;

    /* The thread's. */
    bool told_away, told_degraded, was_up;
    int64_t renew_at, flushed_at, back_at;
    struct sp_pipe pipe;

    pthread_mutex_t lock; /* guards all below */
    struct sp_pipe_calls asked;
    int64_t stop_at, away_since, judge_from; /* monotonic; before judge_from nobody is found dead */
    const struct sp_claim_entry *suspect;    /* the one that runs */
    /* Claims in order: held; delivered, but not committed; to be written; what could not be. */
    struct sp_claim_line open, delivered, closings, failed;
    size_t n_open, n_delivered;
    size_t n_waiting, n_closings; /* in `closings`; not yet written in all */
    struct sp_claims_status totals;
    char reason[160];
    bool up, stopping;
    bool sleeping; /* the thread wants to be woken for a call, */
    bool resting;  /* and for a claim that is delivered or closed */
    bool urgent;   /* a closing must go before the next call */
};

/* entry.c. NULL without memory. */
struct sp_claim_entry *sp_claim_entry_new(const struct sp_claims *claims,
                                          const struct sp_claim_request *request, bool by_record);
void sp_claim_entry_free(struct sp_claim_entry *entry);
SP_AUTO(struct sp_claim_entry *, sp_claim_entry_free)
/* Appends the state and the stem. SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_claim_entry_line(const struct sp_claim_entry *entry,
                                               enum sp_claim_state state, struct sp_buf *out);
/* Makes stem and expected line those of our own claim. SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_claim_entry_own(const struct sp_claims *claims,
                                              struct sp_claim_entry *entry, int64_t attempt,
                                              int64_t died);
/* Drops what an earlier try found. */
void sp_claim_entry_forget(struct sp_claim_entry *entry);
/* Its reply is in Redis. */
void sp_claim_entry_stored(struct sp_claim_entry *entry, bool remembered);
/* As they were found, with the reply where there is one. SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_claim_entry_found(struct sp_claim_entry *entry,
                                                const struct sp_claim_value *found);
/* "<prefix>:<kind>:<id>"; NULL without memory. */
char *sp_claims_key(const struct sp_claims *claims, const char *kind, const char *id);
/* Milliseconds as commands have them; out holds SP_MS_SIZE. Its length. */
size_t sp_claims_ms(int64_t ms, char *out);

/* take.c. Counts a verdict, and its claim, which is open from now on; NULL: none. */
void sp_claims_note(struct sp_claims *claims, enum sp_claim_verdict verdict,
                    struct sp_claim_entry *entry);
/* Gives back one that Redis may have set, though nobody heard of it: others would wait for us. */
void sp_claims_give_back(struct sp_claims *claims, struct sp_claim_entry *entry);
/* The command that sets our claim if there is none, and else gets what is there. SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_claims_format_set(const struct sp_claims *claims,
                                                const struct sp_claim_entry *entry,
                                                struct sp_pipe_call *call);

/* finish.c. The command that stores a reply; the answer is 1 where it is stored now, and then
 * sp_claim_entry_stored() is due. SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_claims_format_store(struct sp_claims *claims,
                                                  struct sp_claim_entry *entry,
                                                  const struct sp_stored_reply *stored,
                                                  struct sp_pipe_call *call);
/* The program of this claim does not run any more. */
void sp_claims_end_run(struct sp_claims *claims, const struct sp_claim_entry *entry);

/* claims.c. Whether jobs go on without Redis by now. */
bool sp_claims_goes_on_without(struct sp_claims *claims, bool at_most_once);

/*
 * serve.c. One command and its answer. SP_E_UNAVAILABLE: Redis is away, and it may have run.
 * SP_E_INVALID: the key has another type. SP_E_NOMEM. Blocks: 2 s. Thread: any but the claims
 * thread.
 */
SP_MUST_CHECK enum sp_code sp_claims_ask(struct sp_claims *claims, int argc, const char **argv,
                                         const size_t *len, redisReply **out);
/* The same in two steps: a call that is formatted, and its answer. *out is the sender's. *unheard,
 * where that is not NULL, is set when it was on its way and no answer came. */
SP_MUST_CHECK enum sp_code sp_claims_wait(struct sp_claims *claims, struct sp_pipe_call *call,
                                          bool *unheard, redisReply **out);
/* A formatted call on its way; `answered` is called then. False: Redis is away. Thread: any. */
bool sp_claims_submit(struct sp_claims *claims, struct sp_pipe_call *call);
/* The thread's body; `of` is the struct sp_claims. */
void *sp_claims_main(void *of);

/* parts.c. Renews what a reply that is repeated refers to. Blocks: a round trip for each. */
void sp_claims_renew_parts(struct sp_claims *claims, const struct sp_stored_reply *stored);

/* closing.c. Under the lock: frees the place of the suspect, if it is this one's. */
void sp_claims_end_suspect(struct sp_claims *claims, const struct sp_claim_entry *entry);
/* Under the lock: moves what is to be written now to `line`. Thread: claims, as for the others. */
void sp_closings_collect(struct sp_claims *claims, int64_t now, struct sp_claim_line *line);
/* Makes calls of them, which free what is closed or bring it back. Not under the lock. */
void sp_closings_call(struct sp_claims *claims, struct sp_claim_line *line,
                      struct sp_pipe_calls *out);
/* Under the lock: adds a call for claims that have been open for long, so that they live on. */
void sp_closings_renew(struct sp_claims *claims, int64_t now, struct sp_pipe_calls *out);
