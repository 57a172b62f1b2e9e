/*
 * One Redis connection that several threads use at once: what they ask for while an answer is under
 * way goes out together behind it. After a failure it answers "unavailable" at once for a second,
 * so that an outage costs one caller the time-out and not all of them.
 */
#pragma once

#include "settings/redis.h"

struct sp_redis_link;

/* Takes redis on SP_OK. */
SP_MUST_CHECK enum sp_code sp_redis_link_new(struct sp_redis *redis, struct sp_redis_link **out,
                                             struct sp_error *err);
void sp_redis_link_free(struct sp_redis_link *link);
/* As sp_redis_argv(), from any thread. len NULL: the arguments are text. Blocks: 2 s, and as long
 * behind another caller. */
SP_MUST_CHECK enum sp_code sp_redis_link_argv(struct sp_redis_link *link, int argc,
                                              const char **argv, const size_t *len,
                                              redisReply **out, struct sp_error *err);
