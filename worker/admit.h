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
 * SP_FATE_RUN with job->claim; SP_FATE_ANSWER with job->answer, or with a stored reply to be sent
 * again (job->republished); _SKIP, _PARK, _HOLD, or _HAND_BACK where the record is not ours any
 * more. Blocks: as sp_claims_take(). Thread: executors.
 */
enum sp_fate sp_admit(const struct sp_admission *with, struct sp_job *job);
