/* From an answer to a record on the reply topic (CONTRACT.md 3 and 4). */
#include "worker/finish.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* Crashes of workers are not counted, so a record's first attempt is its only one. */
enum { ATTEMPT = 1 };

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

static enum sp_code write_reply(const struct sp_finish *finish, const struct sp_job *job,
                                const char *result_id, struct sp_buf *buf)
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
        .attempt = ATTEMPT,
        .queue_time_us = answer->ran ? answer->queue_us : 0,
    };
    memcpy(reply.result_id, result_id, sizeof reply.result_id);
    sp_buf_reset(buf);
    return sp_reply_write(&reply, job->reply_limit, finish->parts, buf);
}

static enum sp_code dead_letter(const struct sp_finish *finish, struct sp_job *job,
                                struct sp_error *err)
{
    if (job->verdict != SP_VERDICT_UNPARSEABLE || job->dead_lettered)
        return SP_OK;
    enum sp_code rc = sp_queue_dead_letter(finish->queue, job->record, job->refusal, 0, job, err);
    job->dead_lettered = rc == SP_OK;
    return rc;
}

enum sp_code sp_finish(const struct sp_finish *finish, struct sp_job *job, struct sp_buf *buf,
                       struct sp_error *err)
{
    enum sp_code rc = dead_letter(finish, job, err);
    if (rc)
        return rc;

    char result_id[2 * RESULT_ID_BYTES + 1];
    make_result_id(result_id);
    rc = write_reply(finish, job, result_id, buf);
    if (rc)
        return sp_error_set(err, rc, "no memory for a reply");
    const struct sp_send send = {
        .record = job->record,
        .env = &job->env,
        .request_id = job->req.id,
        .result_id = result_id,
        .status = sp_status_name(job->answer.status),
        .attempt = ATTEMPT,
        .value = buf->data,
        .len = buf->len,
        .ticket = job,
    };
    return sp_queue_reply(finish->queue, &send, err);
}
