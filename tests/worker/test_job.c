#include "worker/job.h"

#include <string.h>

#include "base/text.h"
#include "tests/support.h"
#include "tests/worker/fixture.h"

enum { HOLD_MS = 300000 };

static struct sp_run no_limits(void)
{
    return (struct sp_run){
        .setup_deadline = SP_NEVER, .deadline = SP_NEVER, .timeout_ms = 2500, .cancel_fd = -1};
}

Test(job, a_good_request_runs_and_its_queue_time_counts_from_the_record)
{
    sp_auto(job_drop) struct sp_job *job = job_of("{\"code\":\"x\"}", 1000);

    enum sp_fate fate = sp_job_admit(job, false, 1250);

    cr_expect(eq(int, fate, SP_FATE_RUN));
    cr_expect(eq(i64, job->answer.queue_us, 250000));
}

Test(job, a_queue_time_is_never_negative)
{
    sp_auto(job_drop) struct sp_job *job = job_of("{\"code\":\"x\"}", 5000);

    sp_job_admit(job, false, 1000);

    cr_expect(eq(i64, job->answer.queue_us, 0));
}

static const struct {
    const char *value;
    enum sp_fate fate;
    enum sp_sb sb;
    enum sp_status status;
    const char *message;
} claims[] = {
    {"{\"code\":\"x\",\"deadline_ms\":2001}", SP_FATE_RUN, SP_SB_NONE, SP_STATUS_OK, ""},
    {"{\"code\":\"x\",\"deadline_ms\":2000}", SP_FATE_ANSWER, SP_SB010_EXPIRED, SP_STATUS_EXPIRED,
     "deadline_ms passed before the start"},
    {"{\"code\":\"x\",\"deadline_ms\":0}", SP_FATE_RUN, SP_SB_NONE, SP_STATUS_OK, ""},
    {"{\"code\":\"x\",\"queue_ttl\":\"1001ms\"}", SP_FATE_RUN, SP_SB_NONE, SP_STATUS_OK, ""},
    {"{\"code\":\"x\",\"queue_ttl\":1}", SP_FATE_ANSWER, SP_SB010_EXPIRED, SP_STATUS_EXPIRED,
     "queue_ttl passed before the start"},
    {"{\"code\":\"x\",\"queue_ttl\":0}", SP_FATE_RUN, SP_SB_NONE, SP_STATUS_OK, ""},
};

SP_TABLE_TEST(job, a_start_after_its_limit_is_expired, claims, row)
{
    sp_auto(job_drop) struct sp_job *job = job_of(row->value, 1000);

    enum sp_fate fate = sp_job_admit(job, false, 2000);

    cr_expect(eq(int, fate, row->fate), "%s", row->value);
    cr_expect(eq(int, job->answer.sb, row->sb), "%s", row->value);
    cr_expect(eq(int, job->answer.status, row->status), "%s", row->value);
    cr_expect(eq(str, job->answer.message, (char *)row->message), "%s", row->value);
}

Test(job, a_reply_that_is_too_large_is_written_again_with_half_the_limit)
{
    sp_auto(job_drop) struct sp_job *job = job_of("{\"code\":\"x\"}", 1000);
    size_t limit = job->reply_limit;
    job->answer.status = SP_STATUS_OK;
    job->reply = sp_strdup("reply");
    job->stored = true;

    sp_job_shrink_reply(job);

    cr_expect(eq(sz, job->reply_limit, limit / 2));
    cr_expect(eq(ptr, job->reply, NULL));
    cr_expect(not(job->stored));
    cr_expect(eq(int, job->answer.status, SP_STATUS_OK));
    for (int i = 0; i < 100; i++)
        sp_job_shrink_reply(job);
    cr_expect(gt(sz, job->reply_limit, 0));
}

Test(job, what_is_asked_for_again_counts_its_deliveries_anew)
{
    sp_auto(job_drop) struct sp_job *job = job_of("{\"code\":\"x\"}", 1000);
    job->answered = job->sending = job->stored = true; /* and came back as too large */
    job->deliveries = 1;

    sp_job_reopen(job);

    cr_expect(not(job->answered || job->sending || job->stored));
}

Test(job, a_stored_reply_that_is_too_large_becomes_an_error_of_our_own)
{
    sp_auto(job_drop) struct sp_job *job = job_of("{\"code\":\"x\"}", 1000);
    job->answered = job->republished = job->stored = true;
    job->answer.status = SP_STATUS_OK;

    sp_job_shrink_reply(job);

    cr_expect(job->answered);
    cr_expect(not(job->republished || job->stored));
    cr_expect(eq(int, job->answer.status, SP_STATUS_ERROR));
    cr_expect(eq(int, job->answer.sb, SP_SB013_INTERNAL));
}

Test(job, a_bad_request_is_answered_rejected_with_the_field_named)
{
    sp_auto(job_drop) struct sp_job *job = job_of("{\"language\":\"cobol\",\"code\":\"x\"}", 1000);

    enum sp_fate fate = sp_job_admit(job, false, 1000);

    cr_expect(eq(int, fate, SP_FATE_ANSWER));
    cr_expect(eq(int, job->answer.status, SP_STATUS_REJECTED));
    cr_expect(eq(int, job->answer.sb, SP_SB012_BAD_REQUEST));
    cr_expect(eq(int, strncmp(job->answer.message, "language", 8), 0));
    cr_expect(eq(ptr, (void *)(uintptr_t)job->dead_letter, NULL));
}

Test(job, an_unparseable_record_goes_to_the_dlq_too)
{
    sp_auto(job_drop) struct sp_job *job = job_of("no json", 1000);

    enum sp_fate fate = sp_job_admit(job, false, 1000);

    cr_expect(eq(int, fate, SP_FATE_ANSWER));
    cr_expect(eq(int, job->answer.sb, SP_SB012_BAD_REQUEST));
    cr_expect(job->dead_letter != NULL);
}

Test(job, a_cancelled_one_does_not_start)
{
    sp_auto(job_drop) struct sp_job *job = job_of("{\"code\":\"x\"}", 1000);
    sp_auto(job_drop) struct sp_job *bad = job_of("{\"code\":7}", 1000);

    cr_expect(eq(int, sp_job_admit(job, true, 1000), SP_FATE_ANSWER));
    cr_expect(eq(int, job->answer.status, SP_STATUS_CANCELLED));
    cr_expect(eq(int, sp_job_admit(bad, true, 1000), SP_FATE_ANSWER));
    cr_expect(eq(int, bad->answer.status, SP_STATUS_REJECTED), "its id is nobody's");
}

/* Who ended the run, and what it may be told. */
static const struct {
    const char *value;
    bool cancelled;
    enum sp_started started;
    enum sp_fate fate;
    enum sp_sb sb;
} ended[] = {
    {"{\"code\":\"x\"}", true, SP_STARTED_YES, SP_FATE_ANSWER, SP_SB011_CANCELLED},
    {"{\"code\":\"x\"}", true, SP_STARTED_NO, SP_FATE_ANSWER, SP_SB011_CANCELLED},
    {"{\"code\":\"x\"}", false, SP_STARTED_YES, SP_FATE_HAND_BACK, SP_SB_NONE},
    {"{\"code\":\"x\",\"delivery\":\"at_most_once\"}", false, SP_STARTED_YES, SP_FATE_ANSWER,
     SP_SB014_CRASHED},
    {"{\"code\":\"x\",\"delivery\":\"at_most_once\"}", false, SP_STARTED_NO, SP_FATE_HAND_BACK,
     SP_SB_NONE},
};

SP_TABLE_TEST(job, a_run_that_was_ended_is_answered_or_run_again_elsewhere, ended, row)
{
    sp_auto(job_drop) struct sp_job *job = job_of(row->value, 1000);
    struct sp_run run = no_limits();
    const struct sp_error err = {.code = SP_E_CANCELLED};
    job->cancelled = row->cancelled;
    job->result.started = row->started;

    enum sp_fate fate = sp_job_conclude(job, SP_E_CANCELLED, &err, &run, HOLD_MS);

    cr_expect(eq(int, fate, row->fate), "%s", row->value);
    cr_expect(eq(int, job->answer.sb, row->sb), "%s", row->value);
}

static const struct {
    const char *value;
    int64_t timeout_ms;
} timeouts[] = {
    {"{\"code\":\"x\"}", 30000},
    {"{\"code\":\"x\",\"timeout\":0}", 30000},
    {"{\"code\":\"x\",\"timeout\":2.5}", 2500},
    {"{\"code\":\"x\",\"timeout\":\"10m\"}", 60000},
};

SP_TABLE_TEST(job, the_time_of_a_run_is_the_smaller_of_request_and_worker, timeouts, row)
{
    sp_auto(job_drop) struct sp_job *job = job_of(row->value, 1000);

    struct sp_run run = sp_job_run(job, 5000, 60000, -1);

    cr_expect(eq(i64, run.timeout_ms, row->timeout_ms), "%s", row->value);
    cr_expect(eq(i64, run.deadline, SP_NEVER));
    cr_expect(le(i64, run.setup_deadline, sp_mono_ms() + 5000));
}

Test(job, the_deadline_caps_the_preparation_too)
{
    sp_auto(job_drop) struct sp_job *job = job_of("{\"code\":\"x\"}", 1000);
    job->req.deadline_ms = sp_wall_ms() + 1000;

    struct sp_run run = sp_job_run(job, 60000, 60000, -1);

    cr_expect(le(i64, run.deadline, sp_mono_ms() + 1000));
    cr_expect(le(i64, run.setup_deadline, run.deadline));
}

Test(job, a_queue_ttl_caps_the_preparation_and_not_the_run)
{
    sp_auto(job_drop) struct sp_job *job =
        job_of("{\"code\":\"x\",\"queue_ttl\":2}", sp_wall_ms() - 1000);

    struct sp_run run = sp_job_run(job, 60000, 60000, -1);

    cr_expect(le(i64, run.setup_deadline, sp_mono_ms() + 1000));
    cr_expect(lt(i64, sp_mono_ms() + 50000, run.queue_deadline));
    cr_expect(eq(i64, run.deadline, SP_NEVER));
}

static const struct {
    enum sp_outcome outcome;
    int exit_code;
    const char *limit;
    enum sp_fate fate;
    enum sp_status status;
    enum sp_sb sb;
    const char *message;
    int exit_after;
} outcomes[] = {
    {SP_OUTCOME_EXITED, 0, NULL, SP_FATE_ANSWER, SP_STATUS_OK, SP_SB_NONE, "", 0},
    {SP_OUTCOME_EXITED, 3, NULL, SP_FATE_ANSWER, SP_STATUS_FAILED, SP_SB_NONE, "", 3},
    {SP_OUTCOME_EXITED, -9, NULL, SP_FATE_ANSWER, SP_STATUS_FAILED, SP_SB_NONE, "", -9},
    {SP_OUTCOME_LIMIT, -9, "memory", SP_FATE_ANSWER, SP_STATUS_FAILED, SP_SB006_LIMIT,
     "a resource limit ended the program: memory", -9},
    {SP_OUTCOME_TIMEOUT, -9, NULL, SP_FATE_ANSWER, SP_STATUS_TIMEOUT, SP_SB005_TIMEOUT,
     "Execution timed out after 2.5 seconds", -1},
    {SP_OUTCOME_CANCELLED, -9, NULL, SP_FATE_HAND_BACK, SP_STATUS_OK, SP_SB_NONE, "", -1},
};

SP_TABLE_TEST(job, the_end_of_a_program_becomes_a_status, outcomes, row)
{
    sp_auto(job_drop) struct sp_job *job = job_of("{\"code\":\"x\"}", 1000);
    struct sp_run run = no_limits();
    job->result = (struct sp_result){.started = SP_STARTED_YES,
                                     .outcome = row->outcome,
                                     .exit_code = row->exit_code,
                                     .limit = row->limit};

    enum sp_fate fate = sp_job_conclude(job, SP_OK, &(struct sp_error){0}, &run, HOLD_MS);

    cr_expect(eq(int, fate, row->fate));
    cr_expect(eq(int, job->answer.status, row->status));
    cr_expect(eq(int, job->answer.sb, row->sb));
    cr_expect(eq(str, job->answer.message, (char *)row->message));
    cr_expect(eq(int, job->result.exit_code, row->exit_after));
    cr_expect(job->answer.ran);
}

static const struct {
    enum sp_code rc;
    enum sp_started started;
    enum sp_fate fate;
    enum sp_sb sb;
} errors[] = {
    {SP_E_INVALID, SP_STARTED_NO, SP_FATE_ANSWER, SP_SB004_INSTANCE},
    {SP_E_UNAVAILABLE, SP_STARTED_NO, SP_FATE_HOLD, SP_SB_NONE},
    {SP_E_UNAVAILABLE, SP_STARTED_MAYBE, SP_FATE_ANSWER, SP_SB003_CONNECTION},
    {SP_E_UNAVAILABLE, SP_STARTED_YES, SP_FATE_ANSWER, SP_SB003_CONNECTION},
    {SP_E_BUSY, SP_STARTED_NO, SP_FATE_HOLD, SP_SB_NONE},
    {SP_E_BUSY, SP_STARTED_MAYBE, SP_FATE_ANSWER, SP_SB003_CONNECTION},
    {SP_E_UNSUPPORTED, SP_STARTED_NO, SP_FATE_ANSWER, SP_SB007_POLICY},
    {SP_E_UNSUPPORTED, SP_STARTED_YES, SP_FATE_ANSWER, SP_SB004_INSTANCE},
    {SP_E_TIMEOUT, SP_STARTED_NO, SP_FATE_ANSWER, SP_SB004_INSTANCE},
    {SP_E_TIMEOUT, SP_STARTED_MAYBE, SP_FATE_ANSWER, SP_SB005_TIMEOUT},
    {SP_E_DENIED, SP_STARTED_NO, SP_FATE_ANSWER, SP_SB002_BAD_CONFIGURATION},
    {SP_E_LIMIT, SP_STARTED_NO, SP_FATE_ANSWER, SP_SB004_INSTANCE},
    {SP_E_LIMIT, SP_STARTED_YES, SP_FATE_ANSWER, SP_SB006_LIMIT},
    {SP_E_NOMEM, SP_STARTED_NO, SP_FATE_ANSWER, SP_SB013_INTERNAL},
    {SP_E_INTERNAL, SP_STARTED_YES, SP_FATE_ANSWER, SP_SB013_INTERNAL},
    {SP_E_CANCELLED, SP_STARTED_NO, SP_FATE_HAND_BACK, SP_SB_NONE},
    {SP_E_CANCELLED, SP_STARTED_YES, SP_FATE_HAND_BACK, SP_SB_NONE},
};

SP_TABLE_TEST(job, an_error_of_a_provider_becomes_its_code, errors, row)
{
    sp_auto(job_drop) struct sp_job *job = job_of("{\"code\":\"x\"}", 1000);
    struct sp_run run = no_limits();
    struct sp_error err = {.code = row->rc, .msg = "why"};
    job->result.started = row->started;

    enum sp_fate fate = sp_job_conclude(job, row->rc, &err, &run, HOLD_MS);

    cr_expect(eq(int, fate, row->fate), "for %s", sp_code_name(row->rc));
    cr_expect(eq(int, job->answer.sb, row->sb), "for %s", sp_code_name(row->rc));
    if (row->sb)
        cr_expect(eq(int, job->answer.status, sp_sb_row(row->sb)->status));
    cr_expect(eq(int, job->answer.ran, row->started != SP_STARTED_NO));
    cr_expect(eq(int, job->result.exit_code, -1));
}

Test(job, preparation_that_outlasts_the_deadline_is_expired)
{
    sp_auto(job_drop) struct sp_job *job = job_of("{\"code\":\"x\",\"deadline_ms\":5}", 1000);
    struct sp_run run = no_limits();

    enum sp_fate fate = sp_job_conclude(job, SP_E_TIMEOUT, &(struct sp_error){0}, &run, HOLD_MS);

    cr_expect(eq(int, fate, SP_FATE_ANSWER));
    cr_expect(eq(int, job->answer.sb, SP_SB010_EXPIRED));
}

Test(job, the_two_clocks_may_differ_by_a_millisecond)
{
    sp_auto(job_drop) struct sp_job *job = job_of("{\"code\":\"x\"}", 1000);
    struct sp_run run = no_limits();
    job->req.deadline_ms = sp_wall_ms() + 1;

    sp_job_conclude(job, SP_E_TIMEOUT, &(struct sp_error){0}, &run, HOLD_MS);

    cr_expect(eq(int, job->answer.sb, SP_SB010_EXPIRED));
}

Test(job, a_deadline_during_the_run_is_named)
{
    sp_auto(job_drop) struct sp_job *job = job_of("{\"code\":\"x\"}", 1000);
    struct sp_run run = no_limits();
    run.deadline = sp_mono_ms() - 1;
    job->result.outcome = SP_OUTCOME_TIMEOUT;
    job->result.started = SP_STARTED_YES;

    sp_job_conclude(job, SP_OK, &(struct sp_error){0}, &run, HOLD_MS);

    cr_expect(eq(str, job->answer.message, "deadline_ms passed during the run"));
}

Test(job, what_the_provider_lacks_is_named_in_the_rejection)
{
    sp_auto(job_drop) struct sp_job *job = job_of("{\"code\":\"x\"}", 1000);
    struct sp_run run = no_limits();
    struct sp_error err = {.code = SP_E_UNSUPPORTED, .msg = "self_managed takes no files"};

    sp_job_conclude(job, SP_E_UNSUPPORTED, &err, &run, HOLD_MS);

    cr_expect(eq(int, job->answer.status, SP_STATUS_REJECTED));
    cr_expect(eq(str, job->answer.message, "self_managed takes no files"));
}

/* What was the last reason for holding a job is what it is answered with. */
static const struct {
    enum sp_code first, last;
    enum sp_sb sb;
    const char *message;
} held[] = {
    {SP_E_UNAVAILABLE, SP_E_UNAVAILABLE, SP_SB009_UNAVAILABLE, "provider unavailable: why"},
    {SP_E_UNAVAILABLE, SP_E_BUSY, SP_SB008_RATE_LIMITED, "rate limited: why"},
    {SP_E_BUSY, SP_E_UNAVAILABLE, SP_SB009_UNAVAILABLE, "provider unavailable: why"},
    {SP_E_BUSY, SP_E_BUSY, SP_SB008_RATE_LIMITED, "rate limited: why"},
};

SP_TABLE_TEST(job, a_job_without_an_expiry_is_answered_after_worker_hold, held, row)
{
    sp_auto(job_drop) struct sp_job *job = job_of("{\"code\":\"x\"}", 1000);
    struct sp_run run = no_limits();
    const struct sp_error err = {.msg = "why"};

    enum sp_fate first = sp_job_conclude(job, row->first, &err, &run, HOLD_MS);
    job->hold_until = sp_mono_ms();
    enum sp_fate last = sp_job_conclude(job, row->last, &err, &run, HOLD_MS);

    cr_expect(eq(int, first, SP_FATE_HOLD));
    cr_expect(eq(int, last, SP_FATE_ANSWER));
    cr_expect(eq(int, job->answer.sb, row->sb));
    cr_expect(eq(int, job->answer.status, SP_STATUS_ERROR));
    cr_expect(eq(str, job->answer.message, (char *)row->message));
    cr_expect(not(job->answer.ran));
}

/* Others hold it back later on, but only its own try knows what is the matter. */
Test(job, a_job_that_was_held_is_answered_with_what_it_met_itself)
{
    sp_auto(job_drop) struct sp_job *job = job_of("{\"code\":\"x\"}", 1000);
    struct sp_run run = no_limits();
    const struct sp_error err = {.msg = "no space"};

    enum sp_fate first = sp_job_conclude(job, SP_E_UNAVAILABLE, &err, &run, HOLD_MS);
    job->hold_until = sp_mono_ms();
    enum sp_fate last = sp_job_unavailable(job, SP_SB009_UNAVAILABLE, "its check failed", HOLD_MS);

    cr_expect(eq(int, first, SP_FATE_HOLD));
    cr_expect(eq(int, last, SP_FATE_ANSWER));
    cr_expect(eq(str, job->answer.message,
                 (char *)"provider unavailable: its check failed; this one: no space"));
}

Test(job, a_job_with_an_expiry_is_held_until_it_and_no_longer)
{
    sp_auto(job_drop) struct sp_job *job =
        job_of("{\"code\":\"x\",\"queue_ttl\":60}", sp_wall_ms());

    enum sp_fate fate = sp_job_unavailable(job, SP_SB008_RATE_LIMITED, "throttled", 1);

    cr_expect(eq(int, fate, SP_FATE_HOLD));
    cr_expect(gt(i64, job->hold_until, sp_mono_ms() + 50000));
    cr_expect(le(i64, job->hold_until, sp_mono_ms() + 60000));
}
