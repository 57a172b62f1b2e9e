/* Whether a job may run: its claim, its cancellation, its limits on the start (CONTRACT.md 2.1). */
#pragma once

#include "worker/cancels.h"
#include "worker/claims/claims.h"
#include "worker/job.h"

/* All borrowed. */
struct sp_admission {
    struct sp_claims *claims;
    struct sp_cancels *cancels;
    int64_t hold_ms; /* worker.hold */
};

/*
 * Asks for the job's claim without waiting: `taken` is called once, as by sp_claims_take_soon().
 * False: nothing was asked for; call sp_admit(). Thread: executors.
 */
SP_MUST_CHECK bool sp_admit_soon(const struct sp_admission *with, struct sp_job *job,
                                 void (*taken)(void *ctx, struct sp_claim *claim));
/*
 * Goes on where that gave a claim (job->claim), and else asks for one, and waits: SP_FATE_RUN with
 * job->claim; SP_FATE_ANSWER with job->answer, or with a stored reply to be sent
 * again (job->republished); _SKIP, _PARK, _HOLD, or _HAND_BACK where the record is not ours any
 * more. Blocks: as sp_claims_take(). Thread: executors.
 */
enum sp_fate sp_admit(const struct sp_admission *with, struct sp_job *job);
