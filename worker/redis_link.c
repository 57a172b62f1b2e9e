#include "worker/redis_link.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"

enum { PAUSE_MS = 1000 };

/* A thread's command. */
struct waiting {
    struct sp_redis_call call;
    pthread_cond_t turn;
    bool done;
};

struct sp_redis_link {
    pthread_mutex_t lock; /* guards what is here and, while nobody is busy, what follows */
    struct sp_redis_call *first, **last; /* each in a struct waiting */
    bool busy;                           /* one of the threads runs the commands of several */
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
    link->last = &link->first;
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

static void run_calls(struct sp_redis_link *link, struct sp_redis_call *first)
{
    bool away = sp_mono_ms() < link->away_until, failed = false;

    if (!away)
        sp_redis_calls(link->redis, first);
    for (struct sp_redis_call *call = first; call; call = call->next) {
        if (away) {
            call->rc = sp_error_set(&call->err, SP_E_UNAVAILABLE, "Redis %s is away",
                                    sp_redis_name(link->redis));
        }
        failed |= !away && call->rc == SP_E_UNAVAILABLE;
    }
    if (failed)
        link->away_until = sp_deadline_in(PAUSE_MS);
}

static void wake(struct sp_redis_call *call, bool done)
{
    struct waiting *w = (struct waiting *)call;

    w->done = done;
    pthread_cond_signal(&w->turn);
}

/* Under the lock, which it gives back meanwhile: runs all that wait. */
static void lead(struct sp_redis_link *link)
{
    struct sp_redis_call *all = link->first;

    link->first = NULL;
    link->last = &link->first;
    link->busy = true;
    pthread_mutex_unlock(&link->lock);
    run_calls(link, all);
    pthread_mutex_lock(&link->lock);
    link->busy = false;
    for (struct sp_redis_call *call = all; call; call = call->next)
        wake(call, true);
    if (link->first)
        wake(link->first, false);
}

enum sp_code sp_redis_link_argv(struct sp_redis_link *link, int argc, const char **argv,
                                const size_t *len, redisReply **out, struct sp_error *err)
{
    struct waiting w = {.call = {.argc = argc, .argv = argv, .len = len}};

    pthread_cond_init(&w.turn, NULL);
    pthread_mutex_lock(&link->lock);
    *link->last = &w.call;
    /* cppcheck-suppress autoVariables ; a leader takes it out before this returns */
    link->last = &w.call.next;
    while (!w.done && link->busy)
        pthread_cond_wait(&w.turn, &link->lock);
    if (!w.done)
        lead(link);
    pthread_mutex_unlock(&link->lock);
    pthread_cond_destroy(&w.turn);
    if (w.call.rc)
        return sp_error_set(err, w.call.rc, "%s", w.call.err.msg);
    *out = w.call.reply;
    return SP_OK;
}
