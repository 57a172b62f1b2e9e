#include "worker/redis_link.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"

enum { PAUSE_MS = 1000 };

struct sp_redis_link {
    pthread_mutex_t lock; /* guards the connection, so it is held while a command runs */
    struct sp_redis *redis;
    int64_t away_until; /* monotonic */
};

enum sp_code sp_redis_link_new(struct sp_redis *redis, struct sp_redis_link **out,
                               struct sp_error *err)
{
    struct sp_redis_link *link = calloc(1, sizeof *link);
    if (!link)
        return sp_error_set(err, SP_E_NOMEM, "no memory for a connection to Redis");
    pthread_mutex_init(&link->lock, NULL);
    link->redis = redis;
    *out = link;
    return SP_OK;
}

void sp_redis_link_free(struct sp_redis_link *link)
{
    if (!link)
        return;
    sp_redis_free(link->redis);
    pthread_mutex_destroy(&link->lock);
    free(link);
}

enum sp_code sp_redis_link_argv(struct sp_redis_link *link, int argc, const char **argv,
                                const size_t *len, redisReply **out, struct sp_error *err)
{
    enum sp_code rc = SP_OK;
    pthread_mutex_lock(&link->lock);
    if (sp_mono_ms() < link->away_until) {
        rc = sp_error_set(err, SP_E_UNAVAILABLE, "Redis %s is away", sp_redis_name(link->redis));
    } else {
        rc = sp_redis_argv(link->redis, argc, argv, len, out, err);
    }
    if (rc == SP_E_UNAVAILABLE && sp_mono_ms() >= link->away_until)
        link->away_until = sp_deadline_in(PAUSE_MS);
    pthread_mutex_unlock(&link->lock);
    return rc;
}
