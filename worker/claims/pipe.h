/*
 * A pipelined Redis connection: commands of many threads go out in one write, and their answers
 * come back in order. Used by the claims thread only.
 */
#pragma once

#include <stdbool.h>

#include "settings/redis.h"

/* One command on its way. Its sender owns it, and has it back when `answered` is called. */
struct sp_pipe_call {
    struct sp_pipe_call *next;
    char *command; /* formatted by hiredis */
    size_t len;
    redisReply *reply; /* the answer, which is the sender's; NULL with: */
    enum sp_code
        rc; /* SP_E_UNAVAILABLE: none, and it may have run; SP_E_INVALID: wrong type of key */
    void (*answered)(struct sp_pipe_call *call);
};

/* SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_pipe_call_format(struct sp_pipe_call *call, int argc,
                                               const char **argv, const size_t *len);
/* Frees the command and the answer. */
void sp_pipe_call_clear(struct sp_pipe_call *call);

struct sp_pipe_calls {
    struct sp_pipe_call *head, **tail;
};

void sp_pipe_calls_init(struct sp_pipe_calls *calls);
void sp_pipe_calls_add(struct sp_pipe_calls *calls, struct sp_pipe_call *call);
/* Moves all of `from` behind those in `to`. */
void sp_pipe_calls_move(struct sp_pipe_calls *to, struct sp_pipe_calls *from);
/* Gives every call back without an answer. */
void sp_pipe_calls_fail(struct sp_pipe_calls *calls);

struct sp_pipe {
    struct sp_redis *redis;
    redisContext *ctx;           /* NULL: not connected */
    struct sp_pipe_calls flying; /* sent, not answered */
    int64_t waits_since;         /* when they were sent, or the last answer came */
};

/* Writes them; they are flying then, whatever comes of it. Blocks: 2 s. SP_E_UNAVAILABLE. */
SP_MUST_CHECK enum sp_code sp_pipe_send(struct sp_pipe *pipe, struct sp_pipe_calls *calls,
                                        struct sp_error *err);
/*
 * Reads what has come and gives back the calls that it answers. To be called when the descriptor is
 * readable. SP_E_UNAVAILABLE: the connection broke, or Redis says that it cannot work now.
 */
SP_MUST_CHECK enum sp_code sp_pipe_read(struct sp_pipe *pipe, struct sp_error *err);
/* When the connection is to be given up, because nothing was heard for 2 s; SP_NEVER while nothing
 * flies. A Redis that is slow, but answers, is not given up. */
int64_t sp_pipe_deadline(const struct sp_pipe *pipe);
/* Disconnects; what flies is given back without an answer. */
void sp_pipe_close(struct sp_pipe *pipe);
