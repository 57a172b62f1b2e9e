/* Admission against claims on a Redis of the test's own. */
#include "worker/admit.h"

#include "tests/worker/claims_rig.h"
#include "tests/worker/fixture.h"

TestSuite(admit, .init = open_rig, .fini = close_rig);

static struct sp_claim_request claim_of(const struct sp_job *job)
{
    struct sp_claim_request request = {.id = job->req.id,
                                       .topic = job->record->topic,
                                       .partition = job->record->partition,
                                       .offset = job->record->offset,
                                       .timestamp_ms = job->record->timestamp_ms};
    cr_assert(zero(int, sp_request_digest(&job->req, request.digest)));
    return request;
}

/* A worker that holds these dies, and another one takes the first of them as a suspect. */
static struct sp_claims *judge_with_suspect(const struct sp_claim_request *held, size_t n,
                                            struct sp_claim **suspect)
{
    struct sp_claims *dead = start("dead"), *judge = start_judge("judge");
    for (size_t i = 0; i < n; i++)
        (void)must_run(dead, &held[i]);
    die(dead);
    *suspect = must_run(judge, &held[0]);
    cr_assert(eq(i64, (*suspect)->died, 1));
    return judge;
}

Test(admit, a_suspect_that_is_cancelled_does_not_wait_for_another_one)
{
    sp_auto(sp_cancels_free) struct sp_cancels *cancels = sp_cancels_new(10);
    sp_auto(job_drop) struct sp_job *job = job_of("{\"code\":\"x\",\"request_id\":\"id\"}", 1000);
    const struct sp_claim_request held[] = {request_of("first", 1), claim_of(job)};
    struct sp_claim *suspect = NULL;
    struct sp_claims *judge = judge_with_suspect(held, SP_COUNT(held), &suspect);
    const struct sp_admission with = {.claims = judge, .cancels = cancels, .hold_ms = LONG_MS};

    cr_expect(eq(int, sp_admit(&with, job), SP_FATE_PARK));
    cr_assert(not(sp_cancels_put(cancels, "id", sp_wall_ms() + LONG_MS, NULL)));
    cr_expect(eq(int, sp_admit(&with, job), SP_FATE_ANSWER));

    cr_expect(eq(int, job->answer.sb, SP_SB011_CANCELLED));
    cr_assert(job->claim != NULL);
    cr_expect(status_of(judge).suspect, "the other one runs on");
    cr_expect(eq(int, finish_with(judge, job->claim, "bytes", SP_STATUS_CANCELLED), SP_OK));
    sp_claims_committed(judge, SP_TAKE(job->claim));
    cr_expect(status_of(judge).suspect);
    sp_claims_release(judge, suspect);
    stop(judge);
}

Test(admit, a_suspect_that_expires_does_not_wait_for_another_one)
{
    sp_auto(sp_cancels_free) struct sp_cancels *cancels = sp_cancels_new(10);
    sp_auto(job_drop) struct sp_job *job =
        job_of("{\"code\":\"x\",\"request_id\":\"id\",\"deadline_ms\":2000}", 1000);
    const struct sp_claim_request held[] = {request_of("first", 1), claim_of(job)};
    struct sp_claim *suspect = NULL;
    struct sp_claims *judge = judge_with_suspect(held, SP_COUNT(held), &suspect);
    const struct sp_admission with = {.claims = judge, .cancels = cancels, .hold_ms = LONG_MS};

    cr_expect(eq(int, sp_admit(&with, job), SP_FATE_ANSWER));

    cr_expect(eq(int, job->answer.sb, SP_SB010_EXPIRED));
    sp_claims_release(judge, SP_TAKE(job->claim));
    sp_claims_release(judge, suspect);
    stop(judge);
}

Test(admit, what_another_worker_runs_is_left_to_it_though_it_is_cancelled)
{
    sp_auto(sp_cancels_free) struct sp_cancels *cancels = sp_cancels_new(10);
    sp_auto(job_drop) struct sp_job *job = job_of("{\"code\":\"x\",\"request_id\":\"id\"}", 1000);
    const struct sp_claim_request request = claim_of(job);
    struct sp_claims *other = start("other"), *ours = start_judge("ours");
    const struct sp_admission with = {.claims = ours, .cancels = cancels, .hold_ms = LONG_MS};
    struct sp_claim *claim = must_run(other, &request);
    cr_assert(not(sp_cancels_put(cancels, "id", sp_wall_ms() + LONG_MS, NULL)));

    cr_expect(eq(int, sp_admit(&with, job), SP_FATE_PARK));

    cr_expect(eq(ptr, job->claim, NULL));
    sp_claims_release(other, claim);
    stop(other);
    stop(ours);
}
