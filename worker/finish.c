/* From an answer to a record on the reply topic (CONTRACT.md 2.1, 3 and 4). */
#include "worker/finish.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum { RESULT_ID_BYTES = 16 };

/* Random bytes come for many ids at once: a system call for each is a good part of what a reply
 * costs. */
static void make_result_id(char *out)
{
    static _Thread_local unsigned char pool[32 * RESULT_ID_BYTES];
    static _Thread_local size_t left;
    if (left == 0) {
        arc4random_buf(pool, sizeof pool);
        left = sizeof pool;
    }
    left -= RESULT_ID_BYTES;
    sp_hex(pool + left, RESULT_ID_BYTES, out);
}

static int64_t attempt_of(const struct sp_job *job)
{
    return job->claim ? job->claim->attempt : 1;
}

static enum sp_code write_reply(const struct sp_finish *finish, const struct sp_job *job,
                                struct sp_buf *buf)
{
    const struct sp_job_answer *answer = &job->answer;
    struct sp_reply reply = {
        .req = &job->req,
        .status = answer->status,
        .sb = answer->sb,
        .message = answer->message,
        .result = answer->ran ? &job->result : NULL,
        .provider = answer->provider,
        .settings_version = answer->settings_version,
        .provider_defaulted = answer->defaulted,
        .worker = finish->worker_id,
        .attempt = attempt_of(job),
        .queue_time_us = answer->ran ? answer->queue_us : 0,
    };
    memcpy(reply.result_id, job->result_id, sizeof reply.result_id);
    sp_buf_reset(buf);
    return sp_reply_write(&reply, job->reply_limit, finish->parts, buf);
}

/* CONTRACT.md 2.1: what later records of the id are answered with. */
static bool is_remembered(const struct sp_job_answer *answer)
{
    return answer->status == SP_STATUS_OK || answer->status == SP_STATUS_FAILED ||
           answer->status == SP_STATUS_TIMEOUT || answer->sb == SP_SB014_CRASHED;
}

static enum sp_code write_once(const struct sp_finish *finish, struct sp_job *job,
                               struct sp_buf *buf)
{
    if (job->reply)
        return SP_OK;
    if (!job->result_id[0])
        make_result_id(job->result_id);
    enum sp_code rc = write_reply(finish, job, buf);
    if (rc)
        return rc;
    job->reply = sp_memdup(buf->data, buf->len);
    job->reply_len = buf->len;
    return job->reply ? SP_OK : SP_E_NOMEM;
}

/* The reply as it is stored and sent; borrows from the job. */
static enum sp_code prepare(const struct sp_finish *finish, struct sp_job *job, struct sp_buf *buf,
                            struct sp_stored_reply *out)
{
    if (job->republished) {
        *out = job->claim->stored;
        return SP_OK;
    }
    enum sp_code rc = write_once(finish, job, buf);
    if (rc)
        return rc;
    *out = (struct sp_stored_reply){
        .bytes = job->reply,
        .len = job->reply_len,
        .status = job->answer.status,
        .worker = finish->worker_id,
        .attempt = attempt_of(job),
        .remembered = is_remembered(&job->answer),
    };
    memcpy(out->result_id, job->result_id, sizeof out->result_id);
    return SP_OK;
}

static enum sp_code dead_letter(const struct sp_finish *finish, struct sp_job *job,
                                struct sp_error *err)
{
    if (!job->dead_letter || job->dead_lettered)
        return SP_OK;
    bool ran = job->verdict == SP_VERDICT_RUN && job->claim;
    int64_t attempts = ran ? job->claim->died : 0; /* a worker that dies with another ran nothing */
    enum sp_code rc =
        sp_queue_dead_letter(finish->queue, job->record, job->dead_letter, attempts, job, err);
    job->dead_lettered = rc == SP_OK;
    return rc;
}

static enum sp_code send(const struct sp_finish *finish, struct sp_job *job,
                         const struct sp_stored_reply *reply, struct sp_error *err)
{
    if (!job->sending) /* else one of them may have come already */
        job->deliveries = job->dead_letter ? 2 : 1;
    job->sending = true;
    enum sp_code rc = dead_letter(finish, job, err);
    if (rc)
        return rc;
    const struct sp_send send = {
        .record = job->record,
        .env = &job->env,
        .request_id = job->req.id,
        .result_id = reply->result_id,
        .status = sp_status_name(reply->status),
        .worker = reply->worker,
        .attempt = reply->attempt,
        .degraded = !job->claim || job->claim->degraded,
        .value = reply->bytes,
        .len = reply->len,
        .ticket = job,
    };
    return sp_queue_reply(finish->queue, &send, err);
}

/* The bytes are not the job's while they are sent: it may be gone then. */
static enum sp_code send_and_forget(const struct sp_finish *finish, struct sp_job *job,
                                    const struct sp_stored_reply *reply, struct sp_error *err)
{
    char *bytes = SP_TAKE(job->reply);
    enum sp_code rc = send(finish, job, reply, err);
    if (rc) {
        job->reply = bytes;
    } else {
        free(bytes);
    }
    return rc;
}

bool sp_finish_soon(const struct sp_finish *finish, struct sp_job *job, struct sp_buf *buf,
                    void (*stored)(void *ctx, bool done))
{
    struct sp_stored_reply reply = {0};
    if (!job->claim || job->republished || prepare(finish, job, buf, &reply))
        return false;
    return sp_claims_finish_soon(finish->claims, job->claim, &reply, stored, job);
}

enum sp_fate sp_finish(const struct sp_finish *finish, struct sp_job *job, struct sp_buf *buf,
                       struct sp_error *err)
{
    struct sp_stored_reply reply = {0};
    enum sp_code rc = prepare(finish, job, buf, &reply);
    if (rc)
        sp_error_set(err, rc, "no memory for a reply");
    if (!rc && job->claim && !job->stored)
        rc = sp_claims_finish(finish->claims, job->claim, &reply, err);
    if (rc == SP_E_CANCELLED && !job->dead_lettered)
        return SP_FATE_PARK;
    if (rc == SP_E_CANCELLED) /* the job must be there when its dead letter's delivery is told */
        rc = SP_OK;
    job->stored = !rc;
    if (!rc)
        rc = send_and_forget(finish, job, &reply, err);
    return rc ? SP_FATE_HOLD : SP_FATE_SENT;
}
