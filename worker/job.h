/*
 * One job: a record taken from Kafka, on its way to a terminal reply that Kafka has. The decisions
 * of CONTRACT.md 3.1 are made here and know no thread:
 *
 *   intake ─► ready ─► claim (admit.c) ─► run ─► conclude ─► answer (finish.c) ─► delivered
 *                        └──► hold ──► ready                      complete ◄──────────┘
 */
#pragma once

#include <stdatomic.h>

#include "base/result.h"
#include "providers/provider.h"
#include "queue/message.h"
#include "worker/job_list.h"

/* What is next for a job. */
enum sp_fate {
    SP_FATE_RUN,
    SP_FATE_ANSWER,    /* job->answer stands; it is to be sent */
    SP_FATE_HOLD,      /* later again: nothing started, or the answer could not be sent */
    SP_FATE_PARK,      /* soon again: another run of this id goes first */
    SP_FATE_SKIP,      /* answered by an earlier delivery: only its offset is open */
    SP_FATE_HAND_BACK, /* not ours to answer: uncommitted, without a reply */
    SP_FATE_SENT,      /* the queue has the answer, and with it the job: not to be touched */
};

/* The steps of a job in an executor. Between them it waits for Redis, and no thread for it. */
enum sp_step {
    SP_STEP_BEGIN,
    SP_STEP_RUN,  /* its claim was asked for; job->claim NULL: that is not as simple */
    SP_STEP_SEND, /* its reply was to be stored; job->stored says whether it is */
};

/* The terminal reply, short of the result that goes with it. */
struct sp_job_answer {
    enum sp_status status;
    enum sp_sb sb; /* SP_SB_NONE: no error */
    char message[240];
    const char *provider; /* static; NULL: none was in force */
    int64_t settings_version;
    bool defaulted; /* the settings named no provider type */
    bool ran;       /* job->result goes along */
    int64_t queue_us;
};

struct sp_ready;

/* There are thousands, made and freed on one thread: kept under the 1032 bytes up to which glibc's
 * malloc() has a list of its own for each thread. */
struct sp_job {
    struct sp_job *next;     /* in a struct sp_job_list */
    struct sp_job *prev_all; /* of all jobs in this worker; the intake's, as are next_all and */
    struct sp_job *next_all; /* deliveries */
    struct sp_job *next_key; /* worker/order.c's, as is the next */
    struct sp_job_list followers;
    int deliveries;           /* still to come: the reply's and, for unparseable ones, the DLQ's */
    struct sp_record *record; /* owned until it is completed or abandoned */
    struct sp_request req;
    struct sp_envelope env;
    bool own_id, replay; /* of the message */
    enum sp_verdict verdict;
    enum sp_sb refused; /* with a verdict other than SP_VERDICT_RUN, and why: */
    char *refusal;      /* NULL: none */
    int64_t arrived_wall_ms;

    enum sp_step step;
    struct sp_ready *home;  /* where an executor takes it from */
    struct sp_claim *claim; /* ours to end; NULL: none yet, or answered without Redis */
    bool has_slot;          /* at home */
    atomic_bool cancelled;  /* told while it ran */

    bool answered;
    char result_id[33]; /* of the answer; "" before */
    struct sp_job_answer answer;
    struct sp_result result;
    char *reply; /* written; NULL: not yet, or republished */
    size_t reply_len;
    size_t reply_limit;      /* bytes; halved each time that Kafka finds the reply too large */
    const char *dead_letter; /* why the record goes to the DLQ, too; NULL: it does not */
    bool republished;        /* it is the claim's stored one */
    bool stored;             /* under the claim */
    bool sending, dead_lettered;

    enum sp_fate fate;  /* while among the held: why */
    char *found;        /* what its own try at the provider met; NULL: it is not held for that */
    int64_t held_since; /* monotonic, as are the two below; 0: never held */
    int64_t hold_until; /* the request's own expiry, else worker.hold after held_since */
    int64_t retry_at;
    int tries;
};

/* Takes the record on SP_OK. SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_job_new(struct sp_record *record, const struct sp_limits *limits,
                                      const struct sp_topics *topics, struct sp_job **out,
                                      struct sp_error *err);
/* All but the record, which the queue frees. */
void sp_job_free(struct sp_job *job);

/* May this job, whose claim is ours, run now? SP_FATE_RUN or SP_FATE_ANSWER. */
enum sp_fate sp_job_admit(struct sp_job *job, bool cancelled, int64_t wall_ms);
/* Whether its deadline_ms or queue_ttl has passed. */
bool sp_job_expired(const struct sp_job *job, int64_t wall_ms);
/* The run's limits, from the request and the worker; the provider's own come with its call. */
struct sp_run sp_job_run(const struct sp_job *job, int64_t setup_timeout_ms, int64_t max_timeout_ms,
                         int cancel_fd);
/*
 * What rc, err and job->result of a run mean: SP_FATE_ANSWER with job->answer filled, SP_FATE_HOLD
 * where the peer is away or throttles and nothing started; SP_FATE_HAND_BACK for a run that ended
 * with the worker, unless it may not run again.
 * hold_ms: worker.hold, after which a job without an expiry of its own is answered.
 */
enum sp_fate sp_job_conclude(struct sp_job *job, enum sp_code rc, const struct sp_error *err,
                             const struct sp_run *run, int64_t hold_ms);
/*
 * No provider can take it now: SP_FATE_HOLD, or, when the job has been held for long enough,
 * _ANSWER with `why`, the code of this last reason: SP_SB009_UNAVAILABLE ("provider unavailable:
 * <reason>") or SP_SB008_RATE_LIMITED ("rate limited: <reason>"), and with what it met itself.
 */
enum sp_fate sp_job_unavailable(struct sp_job *job, enum sp_sb why, const char *reason,
                                int64_t hold_ms);
/* Its reply is to be written anew, and smaller. One that was made elsewhere is known as bytes only:
 * SB013 goes in its place. */
void sp_job_shrink_reply(struct sp_job *job);
/* Its answer is void: another worker has the job now, and this one asks again. */
void sp_job_reopen(struct sp_job *job);
/* SP_FATE_ANSWER with this error. */
enum sp_fate sp_job_refuse(struct sp_job *job, enum sp_sb sb, const char *message);
