#include "worker/claims/pipe.h"

#include <string.h>

#include "base/clock.h"

enum { SILENCE_MS = 2000 };

enum sp_code sp_pipe_call_format(struct sp_pipe_call *call, int argc, const char **argv,
                                 const size_t *len)
{
    long long size = redisFormatCommandArgv(&call->command, argc, argv, len);
    if (size < 0)
        return SP_E_NOMEM;
    call->len = (size_t)size;
    return SP_OK;
}

void sp_pipe_call_clear(struct sp_pipe_call *call)
{
    redisFreeCommand(SP_TAKE(call->command));
    freeReplyObject(SP_TAKE(call->reply));
}

void sp_pipe_calls_init(struct sp_pipe_calls *calls)
{
    calls->head = NULL;
    calls->tail = &calls->head;
}

void sp_pipe_calls_add(struct sp_pipe_calls *calls, struct sp_pipe_call *call)
{
    call->next = NULL;
    *calls->tail = call;
    calls->tail = &call->next;
}

void sp_pipe_calls_move(struct sp_pipe_calls *to, struct sp_pipe_calls *from)
{
    if (!from->head)
        return;
    *to->tail = from->head;
    to->tail = from->tail;
    sp_pipe_calls_init(from);
}

static struct sp_pipe_call *take_first(struct sp_pipe_calls *calls)
{
    struct sp_pipe_call *call = calls->head;
    calls->head = call->next;
    if (!calls->head)
        calls->tail = &calls->head;
    return call;
}

void sp_pipe_calls_fail(struct sp_pipe_calls *calls)
{
    while (calls->head) {
        struct sp_pipe_call *call = take_first(calls);
        call->rc = SP_E_UNAVAILABLE;
        call->answered(call);
    }
}

enum sp_code sp_pipe_send(struct sp_pipe *pipe, struct sp_pipe_calls *calls, struct sp_error *err)
{
    int done = 0, rc = REDIS_OK;
    for (const struct sp_pipe_call *call = calls->head; call && rc == REDIS_OK; call = call->next)
        rc = redisAppendFormattedCommand(pipe->ctx, call->command, call->len);
    if (!pipe->flying.head)
        pipe->waits_since = sp_mono_ms();
    sp_pipe_calls_move(&pipe->flying, calls);
    while (rc == REDIS_OK && !done)
        rc = redisBufferWrite(pipe->ctx, &done);
    return rc == REDIS_OK ? SP_OK : sp_redis_accept(pipe->redis, NULL, NULL, err);
}

static bool is_wrong_type(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "WRONGTYPE", 9) == 0;
}

/* A key of another type is the call's own trouble; every other error is the connection's. */
static enum sp_code give_answer(struct sp_pipe *pipe, redisReply *reply, struct sp_error *err)
{
    struct sp_pipe_call *call = take_first(&pipe->flying);
    bool wrong_type = is_wrong_type(reply);
    enum sp_code rc = sp_redis_accept(pipe->redis, reply, &call->reply, err);
    if (rc)
        rc = wrong_type ? SP_E_INVALID : SP_E_UNAVAILABLE;
    call->rc = rc;
    call->answered(call);
    return wrong_type ? SP_OK : rc;
}

enum sp_code sp_pipe_read(struct sp_pipe *pipe, struct sp_error *err)
{
    if (redisBufferRead(pipe->ctx) != REDIS_OK)
        return sp_redis_accept(pipe->redis, NULL, NULL, err);
    pipe->waits_since = sp_mono_ms();
    for (;;) {
        void *reply = NULL;
        int status = redisReaderGetReply(pipe->ctx->reader, &reply);
        if (status == REDIS_OK && !reply)
            return SP_OK;
        if (status != REDIS_OK || !pipe->flying.head) {
            freeReplyObject(reply);
            return sp_error_set(err, SP_E_UNAVAILABLE, "redis %s: what it sends is no answer",
                                sp_redis_name(pipe->redis));
        }
        enum sp_code rc = give_answer(pipe, reply, err);
        if (rc)
            return rc;
    }
}

int64_t sp_pipe_deadline(const struct sp_pipe *pipe)
{
    return pipe->flying.head ? pipe->waits_since + SILENCE_MS : SP_NEVER;
}

void sp_pipe_close(struct sp_pipe *pipe)
{
    sp_redis_disconnect(pipe->redis);
    pipe->ctx = NULL;
    sp_pipe_calls_fail(&pipe->flying);
}
