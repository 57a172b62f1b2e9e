/* One row for each verdict of a claim. */
#include "worker/admit.h"

#include <stdio.h>

#include "base/clock.h"

static bool is_cancelled(const struct sp_admission *with, const struct sp_job *job)
{
    return job->verdict == SP_VERDICT_RUN && sp_cancels_has(with->cancels, job->req.id);
}

/* A record that cannot run, or whose id is made from its offset, is compared with itself only.
 * SP_E_NOMEM. */
static enum sp_code request_of(const struct sp_job *job, struct sp_claim_request *out)
{
    const struct sp_record *record = job->record;
    bool runs = job->verdict == SP_VERDICT_RUN;
    *out = (struct sp_claim_request){
        .id = runs && job->own_id ? job->req.id : NULL,
        .topic = record->topic,
        .partition = record->partition,
        .offset = record->offset,
        .timestamp_ms = record->timestamp_ms,
        .at_most_once = job->req.delivery == SP_AT_MOST_ONCE,
        .replay = job->replay,
        .nothing_runs = !runs,
    };
    return out->id ? sp_request_digest(&job->req, out->digest) : SP_OK;
}

static enum sp_fate admit(const struct sp_admission *with, struct sp_job *job)
{
    return sp_job_admit(job, is_cancelled(with, job), sp_wall_ms());
}

static bool may_wait(const struct sp_admission *with, const struct sp_job *job)
{
    return !is_cancelled(with, job) && !sp_job_expired(job, sp_wall_ms());
}

/* One that may wait no longer is answered: by itself where the first record of its id decides, and
 * while another suspect runs, since it does not run any more. */
static enum sp_claim_verdict take(const struct sp_admission *with, struct sp_job *job)
{
    struct sp_claim_request request;
    if (request_of(job, &request))
        return SP_CLAIM_HOLD;
    enum sp_claim_verdict verdict = sp_claims_take(with->claims, &request, &job->claim);
    bool waits = verdict == SP_CLAIM_WAIT || verdict == SP_CLAIM_PARK;
    if (!waits || may_wait(with, job))
        return verdict;
    if (verdict == SP_CLAIM_WAIT)
        request.id = NULL;
    request.nothing_runs = true;
    return sp_claims_take(with->claims, &request, &job->claim);
}

/* Workers died while they ran it. Only what might have run again is of interest as a dead letter.
 */
static enum sp_fate give_up(struct sp_job *job)
{
    char message[sizeof job->answer.message];
    bool once = job->req.delivery == SP_AT_MOST_ONCE;
    snprintf(message, sizeof message, "the worker died while running it, %lld time%s%s",
             (long long)job->claim->died, job->claim->died == 1 ? "" : "s",
             once ? ", and delivery is at_most_once" : "");
    enum sp_fate fate = sp_job_refuse(job, SP_SB014_CRASHED, message);
    if (!once)
        job->dead_letter = job->answer.message;
    return fate;
}

/* A repeat of give_up() that another worker began. */
static enum sp_fate republish(struct sp_job *job)
{
    const struct sp_stored_reply *stored = &job->claim->stored;
    job->republished = true;
    job->answer.status = stored->status;
    if (stored->status == SP_STATUS_ERROR && stored->remembered &&
        job->req.delivery != SP_AT_MOST_ONCE)
        job->dead_letter = "workers died while running it";
    return SP_FATE_ANSWER;
}

static enum sp_fate without_redis(const struct sp_admission *with, struct sp_job *job)
{
    if (!may_wait(with, job))
        return admit(with, job);
    return sp_job_unavailable(job, SP_SB009_UNAVAILABLE, "Redis is away, so it cannot be claimed",
                              with->hold_ms);
}

bool sp_admit_soon(const struct sp_admission *with, struct sp_job *job,
                   void (*taken)(void *ctx, struct sp_claim *claim))
{
    struct sp_claim_request request;
    return !request_of(job, &request) && sp_claims_take_soon(with->claims, &request, taken, job);
}

enum sp_fate sp_admit(const struct sp_admission *with, struct sp_job *job)
{
    if (!sp_record_is_ours(job->record))
        return SP_FATE_HAND_BACK;
    if (job->claim)
        return admit(with, job);
    switch (take(with, job)) {
    case SP_CLAIM_RUN:
        return admit(with, job);
    case SP_CLAIM_REPUBLISH:
        return republish(job);
    case SP_CLAIM_SKIP:
        return SP_FATE_SKIP;
    case SP_CLAIM_DIED:
        return give_up(job);
    case SP_CLAIM_CONFLICT:
        return sp_job_refuse(job, SP_SB007_POLICY,
                             "request_id: it belongs to a request with other content");
    case SP_CLAIM_HOLD:
        return without_redis(with, job);
    case SP_CLAIM_PARK:
    case SP_CLAIM_WAIT:
        break;
    }
    return SP_FATE_PARK;
}
