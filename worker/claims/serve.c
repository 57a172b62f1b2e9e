/*
 * The claims thread: it owns the connection, renews the liveness key, sends what executors ask and
 * what is to be closed, and tells of outages. An answer that says that Redis cannot work (out of
 * memory, loading, scripts gone) ends the connection like a broken one, so that there is one way
 * back: connect, see that everything works, go on.
 *
 * What costs time with many executors is system calls and wake-ups, not bytes. So the thread is
 * woken for a call only when nothing is on its way; else it finds the call when the answers come,
 * and sends all that have gathered at once.
 */
#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "worker/claims/inside.h"

enum {
    RETRY_MS = 250,      /* between attempts to connect */
    REDIS_MAJOR_MIN = 7, /* SET with both NX and GET */
};

/* False: Redis is away. */
bool sp_claims_submit(struct sp_claims *claims, struct sp_pipe_call *call)
{
    pthread_mutex_lock(&claims->lock);
    bool up = claims->up;
    bool wake = up && claims->sleeping;
    if (up)
        sp_pipe_calls_add(&claims->asked, call);
    if (wake)
        claims->sleeping = false;
    pthread_mutex_unlock(&claims->lock);
    if (wake)
        (void)eventfd_write(claims->wake_fd, 1);
    return up;
}

/* A call whose sender waits. */
struct waiting {
    struct sp_pipe_call call; /* first */
    sem_t answered;
};

static void wake_sender(struct sp_pipe_call *call)
{
    sem_post(&((struct waiting *)call)->answered);
}

enum sp_code sp_claims_wait(struct sp_claims *claims, struct sp_pipe_call *call, bool *unheard,
                            redisReply **out)
{
    struct waiting w = {.call = *call};
    w.call.answered = wake_sender;
    w.call.rc = SP_E_UNAVAILABLE;
    sem_init(&w.answered, 0, 0);
    bool asked = sp_claims_submit(claims, &w.call);
    while (asked && sem_wait(&w.answered) < 0 && errno == EINTR)
        continue;
    sem_destroy(&w.answered);
    if (unheard)
        *unheard = asked && w.call.rc == SP_E_UNAVAILABLE;
    *out = SP_TAKE(w.call.reply);
    sp_pipe_call_clear(&w.call);
    return w.call.rc;
}

enum sp_code sp_claims_ask(struct sp_claims *claims, int argc, const char **argv, const size_t *len,
                           redisReply **out)
{
    struct sp_pipe_call call = {.next = NULL};
    enum sp_code rc = sp_pipe_call_format(&call, argc, argv, len);
    return rc ? rc : sp_claims_wait(claims, &call, NULL, out);
}

/* Redis's answer to INFO: the number behind a name. */
static int64_t info_number(const char *info, const char *name)
{
    const char *at = strstr(info, name);
    return at ? strtoll(at + strlen(name), NULL, 10) : 0;
}

static enum sp_code look_at_server(struct sp_claims *claims, int64_t *uptime_ms,
                                   struct sp_error *err)
{
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    enum sp_code rc = sp_redis_command(claims->pipe.redis, &reply, err, "INFO server");
    if (rc)
        return rc;
    const char *info = reply->str ? reply->str : "";
    int64_t major = info_number(info, "redis_version:");
    *uptime_ms = 1000 * info_number(info, "uptime_in_seconds:");
    if (major >= REDIS_MAJOR_MIN)
        return SP_OK;
    return sp_error_set(err, SP_E_UNSUPPORTED, "redis %s: version %lld is too old; 7.0 is needed",
                        sp_redis_name(claims->pipe.redis), (long long)major);
}

static enum sp_code set_alive(struct sp_claims *claims, struct sp_error *err)
{
    redisReply *reply = NULL;
    enum sp_code rc =
        sp_redis_command(claims->pipe.redis, &reply, err, "SET %s %s PX %lld", claims->alive_key,
                         claims->worker_id, (long long)claims->liveness_ms);
    if (!rc)
        freeReplyObject(reply);
    return rc;
}

/* Connects and sees that all we need works: writing, above all. */
static enum sp_code connect_redis(struct sp_claims *claims, int64_t *uptime_ms,
                                  struct sp_error *err)
{
    struct sp_redis *redis = claims->pipe.redis;
    enum sp_code rc = sp_redis_connect(redis, &claims->pipe.ctx, err);
    if (!rc)
        rc = look_at_server(claims, uptime_ms, err);
    if (!rc)
        rc = set_alive(claims, err);
    if (!rc)
        rc = sp_scripts_load(redis, err);
    if (rc)
        sp_pipe_close(&claims->pipe);
    return rc;
}

/* The liveness keys of others may have gone with our connection, or with Redis: they get time to
 * renew them. A Redis that has been up for long when we first see it has lost none. */
static int64_t grace_ms(const struct sp_claims *claims, int64_t uptime_ms)
{
    if (claims->was_up || uptime_ms < 0)
        return claims->liveness_ms;
    return uptime_ms < claims->liveness_ms ? claims->liveness_ms - uptime_ms : 0;
}

static void come_back(struct sp_claims *claims, int64_t uptime_ms)
{
    int64_t now = sp_mono_ms();
    claims->back_at = now;
    claims->renew_at = now + claims->liveness_ms / 3;
    pthread_mutex_lock(&claims->lock);
    int64_t away_ms = now - claims->away_since;
    size_t kept = claims->n_closings;
    claims->up = true;
    claims->judge_from = now + grace_ms(claims, uptime_ms);
    claims->reason[0] = '\0';
    pthread_mutex_unlock(&claims->lock);
    if (claims->told_away) {
        sp_log(SP_INFO, "claims_back", sp_s("redis", sp_redis_name(claims->pipe.redis)),
               sp_i("away_ms", away_ms), sp_i("to_write", (int64_t)kept));
    }
    claims->was_up = true;
    claims->told_away = claims->told_degraded = false;
}

/* Called for each failure; an outage is told of once, and once more when it makes jobs go on
 * without Redis. */
static void be_away(struct sp_claims *claims, const struct sp_error *err)
{
    struct sp_pipe_calls unsent;
    int64_t now = sp_mono_ms();
    sp_pipe_calls_init(&unsent);
    pthread_mutex_lock(&claims->lock);
    if (claims->up)
        claims->away_since = now;
    claims->up = false;
    (void)snprintf(claims->reason, sizeof claims->reason, "%.159s", err->msg);
    bool degraded = !claims->pause && now - claims->away_since >= claims->liveness_ms;
    sp_pipe_calls_move(&unsent, &claims->asked);
    pthread_mutex_unlock(&claims->lock);
    sp_pipe_close(&claims->pipe);
    sp_pipe_calls_fail(&unsent);
    if (!claims->told_away)
        sp_log(SP_WARN, "claims_away", sp_s("reason", err->msg));
    if (degraded && !claims->told_degraded)
        sp_log(SP_WARN, "claims_degraded", sp_s("reason", err->msg));
    claims->told_away = true;
    claims->told_degraded |= degraded;
}

static void drain_wakeups(const struct sp_claims *claims)
{
    eventfd_t seen = 0;
    (void)eventfd_read(claims->wake_fd, &seen);
}

static void pause_until(struct sp_claims *claims, int64_t at)
{
    struct pollfd wake = {.fd = claims->wake_fd, .events = POLLIN};
    if (poll(&wake, 1, sp_deadline_left(at)) > 0)
        drain_wakeups(claims);
}

/* At once after a connection that worked for a while; one that ends with its first calls must not
 * keep us busy. */
static void try_to_connect(struct sp_claims *claims)
{
    struct sp_error err = {0};
    int64_t uptime_ms = -1;
    pause_until(claims, claims->back_at + RETRY_MS);
    if (!connect_redis(claims, &uptime_ms, &err)) {
        come_back(claims, uptime_ms);
        return;
    }
    be_away(claims, &err);
    pause_until(claims, sp_deadline_in(RETRY_MS));
}

static void free_call(struct sp_pipe_call *call)
{
    sp_pipe_call_clear(call);
    free(call);
}

/* The liveness key again, and claims that are open for long. Without memory: at the next look. */
static void renew(struct sp_claims *claims, int64_t now, struct sp_pipe_calls *out)
{
    char ttl[SP_MS_SIZE];
    const char *argv[] = {"SET", claims->alive_key, claims->worker_id, "PX", ttl};
    const size_t len[] = {3, strlen(claims->alive_key), strlen(claims->worker_id), 2,
                          sp_claims_ms(claims->liveness_ms, ttl)};
    if (now < claims->renew_at)
        return;
    struct sp_pipe_call *call = calloc(1, sizeof *call);
    if (!call || sp_pipe_call_format(call, SP_COUNT(argv), argv, len)) {
        free(call);
        return;
    }
    call->answered = free_call;
    sp_pipe_calls_add(out, call);
    claims->renew_at = now + claims->liveness_ms / 3;
    pthread_mutex_lock(&claims->lock);
    sp_closings_renew(claims, now, out);
    pthread_mutex_unlock(&claims->lock);
}

/* What is to be sent, in the order in which it was asked for: a release before the call that takes
 * the claim again. */
static void collect(struct sp_claims *claims, int64_t now, struct sp_pipe_calls *out)
{
    struct sp_claim_line line = TAILQ_HEAD_INITIALIZER(line);
    struct sp_pipe_calls asked;
    sp_pipe_calls_init(&asked);
    renew(claims, now, out);
    pthread_mutex_lock(&claims->lock);
    sp_closings_collect(claims, now, &line);
    sp_pipe_calls_move(&asked, &claims->asked);
    claims->sleeping = !claims->pipe.flying.head && !asked.head && !out->head && TAILQ_EMPTY(&line);
    pthread_mutex_unlock(&claims->lock);
    sp_closings_call(claims, &line, out);
    sp_pipe_calls_move(out, &asked);
}

static int64_t next_look(struct sp_claims *claims, int64_t now)
{
    int64_t at = sp_deadline_min(claims->renew_at, sp_pipe_deadline(&claims->pipe));
    pthread_mutex_lock(&claims->lock);
    claims->resting = claims->n_delivered + claims->n_closings == 0;
    if (!claims->resting)
        at = sp_deadline_min(at, now + SP_FLUSH_MS);
    pthread_mutex_unlock(&claims->lock);
    return at;
}

static enum sp_code serve(struct sp_claims *claims, struct sp_error *err)
{
    struct sp_pipe *pipe = &claims->pipe;
    struct sp_pipe_calls out;
    int64_t now = sp_mono_ms();
    sp_pipe_calls_init(&out);
    collect(claims, now, &out);
    enum sp_code rc = out.head ? sp_pipe_send(pipe, &out, err) : SP_OK;
    if (rc)
        return rc;
    struct pollfd fds[] = {{.fd = pipe->ctx->fd, .events = POLLIN},
                           {.fd = claims->wake_fd, .events = POLLIN}};
    (void)poll(fds, SP_COUNT(fds), sp_deadline_left(next_look(claims, now)));
    if (fds[1].revents)
        drain_wakeups(claims);
    if (fds[0].revents)
        return sp_pipe_read(pipe, err);
    if (sp_mono_ms() >= sp_pipe_deadline(pipe)) {
        return sp_error_set(err, SP_E_UNAVAILABLE, "redis %s: no answer in time",
                            sp_redis_name(pipe->redis));
    }
    return SP_OK;
}

/* After sp_claims_stop(): nothing is left to be written, or the time for it has passed. */
static bool is_over(struct sp_claims *claims)
{
    pthread_mutex_lock(&claims->lock);
    bool left = claims->n_closings + claims->n_delivered > 0;
    bool over = claims->stopping && (!left || sp_mono_ms() >= claims->stop_at);
    pthread_mutex_unlock(&claims->lock);
    return over;
}

/* Nobody needs to wait for the end of our liveness key, nor for an answer. */
static void leave(struct sp_claims *claims)
{
    struct sp_pipe_calls unsent;
    redisReply *reply = NULL;
    sp_pipe_calls_init(&unsent);
    pthread_mutex_lock(&claims->lock);
    claims->up = false;
    sp_pipe_calls_move(&unsent, &claims->asked);
    pthread_mutex_unlock(&claims->lock);
    sp_pipe_calls_fail(&unsent);
    if (claims->pipe.ctx && !claims->pipe.flying.head &&
        !sp_redis_command(claims->pipe.redis, &reply, NULL, "DEL %s", claims->alive_key))
        freeReplyObject(reply);
    sp_pipe_close(&claims->pipe);
}

void *sp_claims_main(void *of)
{
    struct sp_claims *claims = of;
    while (!is_over(claims)) {
        struct sp_error err = {0};
        if (!claims->pipe.ctx) {
            try_to_connect(claims);
        } else if (serve(claims, &err)) {
            be_away(claims, &err);
        }
    }
    leave(claims);
    return NULL;
}
