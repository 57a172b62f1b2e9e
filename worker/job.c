/* The decisions about one job: CONTRACT.md 3.1, each table of it as a table here. */
#include "worker/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

#define TEARDOWN_MS 10000 /* CONTRACT.md 3.4: fetching and destroying */
#define REPLY_MIN_BYTES 1024

/* What an error of a provider means, by whether the program may have started. */
static const struct {
    enum sp_sb not_started, started;
} meaning[] = {
    [SP_OK] = {SP_SB_NONE, SP_SB_NONE},
    [SP_E_INVALID] = {SP_SB004_INSTANCE, SP_SB004_INSTANCE},
    [SP_E_UNAVAILABLE] = {SP_SB009_UNAVAILABLE, SP_SB003_CONNECTION},
    [SP_E_BUSY] = {SP_SB008_RATE_LIMITED, SP_SB003_CONNECTION},
    [SP_E_UNSUPPORTED] = {SP_SB007_POLICY, SP_SB004_INSTANCE},
    [SP_E_TIMEOUT] = {SP_SB004_INSTANCE, SP_SB005_TIMEOUT},
    [SP_E_DENIED] = {SP_SB002_BAD_CONFIGURATION, SP_SB002_BAD_CONFIGURATION},
    [SP_E_LIMIT] = {SP_SB004_INSTANCE, SP_SB006_LIMIT},
    [SP_E_NOMEM] = {SP_SB013_INTERNAL, SP_SB013_INTERNAL},
    [SP_E_CANCELLED] = {SP_SB011_CANCELLED, SP_SB011_CANCELLED},
    [SP_E_INTERNAL] = {SP_SB013_INTERNAL, SP_SB013_INTERNAL},
};

enum sp_code sp_job_new(struct sp_record *record, const struct sp_limits *limits,
                        const struct sp_topics *topics, struct sp_job **out, struct sp_error *err)
{
    struct sp_job *job = calloc(1, sizeof *job);
    if (!job)
        return sp_error_set(err, SP_E_NOMEM, "no memory for a job");
    struct sp_message message = {0};
    enum sp_code rc = sp_message_read(record, limits, topics, &message, err);
    job->req = message.req;
    job->env = message.env;
    job->own_id = message.own_id;
    job->replay = message.replay;
    job->verdict = message.verdict;
    job->refused = message.sb;
    if (!rc && job->verdict != SP_VERDICT_RUN) {
        job->refusal = sp_strdup(message.why.msg);
        if (!job->refusal)
            rc = sp_error_set(err, SP_E_NOMEM, "out of memory for a request");
    }
    if (rc) {
        sp_job_free(job);
        return rc;
    }
    if (job->verdict == SP_VERDICT_UNPARSEABLE)
        job->dead_letter = job->refusal;
    job->record = record;
    job->arrived_wall_ms = sp_wall_ms();
    job->reply_limit = (size_t)limits->reply_bytes;
    *out = job;
    return SP_OK;
}

void sp_job_free(struct sp_job *job)
{
    sp_request_clear(&job->req);
    sp_envelope_clear(&job->env);
    sp_result_clear(&job->result);
    free(job->refusal);
    free(job->reply);
    free(job->found);
    free(job);
}

enum sp_fate sp_job_refuse(struct sp_job *job, enum sp_sb sb, const char *message)
{
    job->answer.status = sp_sb_row(sb)->status;
    job->answer.sb = sb;
    snprintf(job->answer.message, sizeof job->answer.message, "%s", message);
    return SP_FATE_ANSWER;
}

static void drop_reply(struct sp_job *job)
{
    free(SP_TAKE(job->reply));
    job->stored = false;
}

void sp_job_shrink_reply(struct sp_job *job)
{
    drop_reply(job);
    if (job->reply_limit > REPLY_MIN_BYTES)
        job->reply_limit /= 2;
    if (!job->republished)
        return;
    job->republished = false;
    (void)sp_job_refuse(job, SP_SB013_INTERNAL, "the stored reply is too large for Kafka");
}

void sp_job_reopen(struct sp_job *job)
{
    drop_reply(job);
    job->answered = job->republished = job->sending = false;
    job->result_id[0] = '\0';
    job->dead_letter = job->verdict == SP_VERDICT_UNPARSEABLE ? job->refusal : NULL;
}

/* The wall time from which the record has been waiting. */
static int64_t waiting_since(const struct sp_job *job)
{
    return job->record->timestamp_ms >= 0 ? job->record->timestamp_ms : job->arrived_wall_ms;
}

/* Which limit on the start has passed; NULL: none. */
static const char *expired(const struct sp_job *job, int64_t wall_ms)
{
    if (job->req.deadline_ms > 0 && wall_ms >= job->req.deadline_ms)
        return "deadline_ms passed before the start";
    if (job->req.queue_ttl_ms > 0 && wall_ms - waiting_since(job) >= job->req.queue_ttl_ms)
        return "queue_ttl passed before the start";
    return NULL;
}

bool sp_job_expired(const struct sp_job *job, int64_t wall_ms)
{
    return expired(job, wall_ms) != NULL;
}

enum sp_fate sp_job_admit(struct sp_job *job, bool cancelled, int64_t wall_ms)
{
    if (job->verdict != SP_VERDICT_RUN)
        return sp_job_refuse(job, job->refused, job->refusal);
    if (cancelled)
        return sp_job_refuse(job, SP_SB011_CANCELLED, "cancelled before the start");
    const char *passed = expired(job, wall_ms);
    if (passed)
        return sp_job_refuse(job, SP_SB010_EXPIRED, passed);

    int64_t waited_ms = wall_ms - waiting_since(job);
    job->answer.queue_us = waited_ms > 0 ? waited_ms * 1000 : 0;
    return SP_FATE_RUN;
}

/* The monotonic moment at which the job expires unless it starts; SP_NEVER: it does not. */
static int64_t expiry_of(const struct sp_job *job)
{
    int64_t now_wall = sp_wall_ms(), expiry = SP_NEVER;
    if (job->req.deadline_ms > 0)
        expiry = sp_deadline_in(job->req.deadline_ms - now_wall);
    if (job->req.queue_ttl_ms > 0) {
        expiry = sp_deadline_min(
            expiry, sp_deadline_in(waiting_since(job) + job->req.queue_ttl_ms - now_wall));
    }
    return expiry;
}

struct sp_run sp_job_run(const struct sp_job *job, int64_t setup_timeout_ms, int64_t max_timeout_ms,
                         int cancel_fd)
{
    int64_t deadline = SP_NEVER;
    if (job->req.deadline_ms > 0)
        deadline = sp_deadline_in(job->req.deadline_ms - sp_wall_ms());
    int64_t timeout = job->req.timeout_ms > 0 ? job->req.timeout_ms : SP_TIMEOUT_DEFAULT_MS;
    int64_t setup_deadline = sp_deadline_in(setup_timeout_ms);
    return (struct sp_run){
        .setup_deadline = sp_deadline_min(setup_deadline, expiry_of(job)),
        .queue_deadline = setup_deadline,
        .deadline = deadline,
        .timeout_ms = timeout < max_timeout_ms ? timeout : max_timeout_ms,
        .teardown_ms = TEARDOWN_MS,
        .cancel_fd = cancel_fd,
    };
}

enum sp_fate sp_job_unavailable(struct sp_job *job, enum sp_sb why, const char *reason,
                                int64_t hold_ms)
{
    int64_t now = sp_mono_ms();
    if (job->held_since == 0) {
        int64_t expiry = expiry_of(job);
        job->held_since = now;
        job->hold_until = expiry == SP_NEVER ? sp_deadline_in(hold_ms) : expiry;
    }
    bool own_expiry = job->req.deadline_ms > 0 || job->req.queue_ttl_ms > 0;
    if (own_expiry || now < job->hold_until) /* the claim is what finds an expiry passed */
        return SP_FATE_HOLD;
    char message[sizeof job->answer.message];
    bool met_more = job->found && strcmp(job->found, reason) != 0;
    snprintf(message, sizeof message, "%s: %s%s%s",
             why == SP_SB008_RATE_LIMITED ? "rate limited" : "provider unavailable", reason,
             met_more ? "; this one: " : "", met_more ? job->found : "");
    return sp_job_refuse(job, why, message);
}

static enum sp_fate timed_out(struct sp_job *job, const struct sp_run *run)
{
    char message[sizeof job->answer.message];
    int64_t timeout = job->result.timeout_ms > 0 ? job->result.timeout_ms : run->timeout_ms;
    job->result.exit_code = -1;
    if (sp_mono_ms() >= run->deadline)
        return sp_job_refuse(job, SP_SB005_TIMEOUT, "deadline_ms passed during the run");
    snprintf(message, sizeof message, "Execution timed out after %g seconds",
             (double)timeout / 1000);
    return sp_job_refuse(job, SP_SB005_TIMEOUT, message);
}

/* By an administrator, or because the worker stops: then another one runs it, if that is allowed.
 */
static enum sp_fate cancelled(struct sp_job *job, bool started)
{
    job->result.exit_code = -1;
    job->answer.ran = started;
    if (atomic_load(&job->cancelled)) {
        return sp_job_refuse(job, SP_SB011_CANCELLED,
                             started ? "cancelled while running" : "cancelled before the start");
    }
    if (!started || job->req.delivery != SP_AT_MOST_ONCE)
        return SP_FATE_HAND_BACK;
    return sp_job_refuse(job, SP_SB014_CRASHED,
                         "the worker was stopped while it ran, and delivery is at_most_once");
}

static enum sp_fate conclude_error(struct sp_job *job, enum sp_code rc, const struct sp_error *err,
                                   const struct sp_run *run, int64_t hold_ms)
{
    bool started = job->result.started != SP_STARTED_NO;
    enum sp_sb sb = started ? meaning[rc].started : meaning[rc].not_started;
    job->result.exit_code = -1;
    job->answer.ran = started;
    if (sb == SP_SB011_CANCELLED)
        return cancelled(job, started);
    if (sb == SP_SB005_TIMEOUT)
        return timed_out(job, run);
    if (started)
        return sp_job_refuse(job, sb, err->msg);

    /* The run's deadline counts on another clock, which may be ahead by part of a millisecond. */
    const char *passed = rc == SP_E_TIMEOUT ? expired(job, sp_wall_ms() + 1) : NULL;
    if (passed)
        return sp_job_refuse(job, SP_SB010_EXPIRED, passed);
    bool held = sb == SP_SB008_RATE_LIMITED || sb == SP_SB009_UNAVAILABLE;
    if (!held)
        return sp_job_refuse(job, sb, err->msg);
    free(job->found);
    job->found = sp_strdup(err->msg);
    return sp_job_unavailable(job, sb, err->msg, hold_ms);
}

enum sp_fate sp_job_conclude(struct sp_job *job, enum sp_code rc, const struct sp_error *err,
                             const struct sp_run *run, int64_t hold_ms)
{
    if (rc)
        return conclude_error(job, rc, err, run, hold_ms);

    char message[sizeof job->answer.message];
    job->answer.ran = true;
    switch (job->result.outcome) {
    case SP_OUTCOME_CANCELLED:
        return cancelled(job, true);
    case SP_OUTCOME_TIMEOUT:
        return timed_out(job, run);
    case SP_OUTCOME_LIMIT:
        snprintf(message, sizeof message, "a resource limit ended the program: %s",
                 job->result.limit ? job->result.limit : "unknown");
        return sp_job_refuse(job, SP_SB006_LIMIT, message);
    case SP_OUTCOME_EXITED:
        break;
    }
    job->answer.status = job->result.exit_code == 0 ? SP_STATUS_OK : SP_STATUS_FAILED;
    return SP_FATE_ANSWER;
}
