/* One blocking Redis connection on hiredis, with names of hosts in its errors and passwords in
 * none. */
#pragma once

#include <hiredis/hiredis.h>

#include "base/error.h"
#include "settings/config.h"

SP_AUTO(redisReply *, freeReplyObject)
SP_AUTO(redisContext *, redisFree)

struct sp_redis; /* an address with credentials, and a connection that is made when needed */

/* SP_E_INVALID with what is wrong, never with the url itself. */
SP_MUST_CHECK enum sp_code sp_redis_check_url(const char *url, struct sp_error *err);

/* SP_E_INVALID: url or host is wrong, or rediss:// on a hiredis without TLS. Does no I/O. */
SP_MUST_CHECK enum sp_code sp_redis_new(const struct sp_config *config, struct sp_redis **out,
                                        struct sp_error *err);
void sp_redis_free(struct sp_redis *redis);
SP_AUTO(struct sp_redis *, sp_redis_free)

/*
 * Connects if need be (AUTH, SELECT) and runs one command, each waiting 2 s at most.
 * SP_E_UNAVAILABLE: no connection, a time-out, LOADING, NOSCRIPT, or out of memory; SP_E_DENIED:
 * credentials or ACL refused; SP_E_INVALID: any other error answer. After a broken connection the
 * next call connects anew. Thread: one at a time.
 */
SP_MUST_CHECK enum sp_code sp_redis_command(struct sp_redis *redis, redisReply **out,
                                            struct sp_error *err, const char *fmt, ...);
SP_MUST_CHECK enum sp_code sp_redis_argv(struct sp_redis *redis, int argc, const char **argv,
                                         const size_t *len, redisReply **out, struct sp_error *err);

/* A command as sp_redis_argv() takes it, and what became of it: reply, the caller's, on SP_OK. */
struct sp_redis_call {
    struct sp_redis_call *next;
    int argc;
    const char **argv;
    const size_t *len;
    redisReply *reply;
    enum sp_code rc;
    struct sp_error err;
};
/* Runs all of the list, in its order and in one round trip; each as sp_redis_argv() would. */
void sp_redis_calls(struct sp_redis *redis, struct sp_redis_call *first);
/* The connected context, for subscriptions; connects if need be. Borrowed. */
SP_MUST_CHECK enum sp_code sp_redis_connect(struct sp_redis *redis, redisContext **out,
                                            struct sp_error *err);
/*
 * What an answer that was read from the borrowed context means: codes as above. Takes the reply: to
 * *out on SP_OK, else it is freed. NULL: reading or writing failed; the connection is closed then,
 * and the context with it.
 */
SP_MUST_CHECK enum sp_code sp_redis_accept(struct sp_redis *redis, redisReply *reply,
                                           redisReply **out, struct sp_error *err);
void sp_redis_disconnect(struct sp_redis *redis);
/* "127.0.0.1:6379/0" or "/path/redis.sock/0". */
const char *sp_redis_name(const struct sp_redis *redis);
/* Rises with each new connection; tells whether commands share one. */
uint64_t sp_redis_generation(const struct sp_redis *redis);
