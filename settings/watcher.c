/*
 * The settings thread. A round subscribes if need be, reads the hash whole, and has it judged
 * (settings/judge.h).
 */
#include "settings/judge.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

enum {
    POLL_MS = 3000, /* with the jitter 5 s at most, on a busy machine, too */
    POLL_JITTER_MS = 1000,
    RETRY_MS = 5000,
    BACKOFF_MS = 100,
    BACKOFF_MAX_MS = 5000
};

struct sp_watcher {
    pthread_t thread;
    char *prefix;
    int wake_fd;
    struct sp_in_force in_force;
    struct sp_judge *judge;

    pthread_mutex_t lock; /* guards the next two lines */
    bool stop, poked, resolve_asked;
    struct sp_document offered; /* by the control topic */

    /* The thread's own. */
    struct sp_redis *poller, *subscriber;
    bool subscribed;
    bool deaf;                      /* logged already */
    bool resolve;                   /* asked for, and nothing has been judged since */
    unsigned failures_in_a_row;     /* of Redis */
    int64_t next_round, next_retry; /* monotonic ms; next_retry SP_NEVER: nothing waits */
};

/* Half of it is random, so that a fleet does not come back in step. */
static int64_t backoff(unsigned failures)
{
    int64_t ms = BACKOFF_MS;

    for (unsigned i = 1; i < failures && ms < BACKOFF_MAX_MS; i++)
        ms *= 2;
    ms = ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS;
    return ms / 2 + (int64_t)arc4random_uniform((uint32_t)(ms / 2 + 1));
}

static void subscribe(struct sp_watcher *w)
{
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    struct sp_error err = {0};

    if (w->subscribed)
        return;
    w->subscribed =
        !sp_redis_command(w->subscriber, &reply, &err, "SUBSCRIBE %s:settings:changed", w->prefix);
    if (!w->subscribed && !w->deaf)
        sp_log(SP_WARN, "settings_not_subscribed", sp_s("reason", err.msg));
    w->deaf = !w->subscribed;
}

static void unsubscribe(struct sp_watcher *w)
{
    sp_redis_disconnect(w->subscriber);
    w->subscribed = false;
}

static void judge(struct sp_watcher *w, const struct sp_document *doc, bool due)
{
    bool resolve = w->resolve;

    w->resolve = false;
    sp_judge_compare(w->judge, doc, due, resolve);
}

/* Redis has not been readable since the start: then what the control topic offers will do. */
static void look_at_offer(struct sp_watcher *w, bool due)
{
    sp_auto(sp_document_clear) struct sp_document doc = {0};

    pthread_mutex_lock(&w->lock);
    bool offered = w->offered.present && !sp_document_copy(&w->offered, &doc, NULL);
    pthread_mutex_unlock(&w->lock);
    if (offered)
        judge(w, &doc, due);
}

/* Reads the hash and acts on it; false where Redis is away. */
static bool look(struct sp_watcher *w, bool due)
{
    sp_auto(sp_document_clear) struct sp_document doc = {0};
    struct sp_error err = {0};
    enum sp_code rc = sp_store_read(w->poller, w->prefix, &doc, &err);

    if (rc && rc != SP_E_INVALID) {
        sp_judge_redis_away(w->judge, &err);
        if (!sp_judge_has_read(w->judge))
            look_at_offer(w, due);
        return false;
    }
    sp_judge_redis_back(w->judge, sp_redis_name(w->poller));
    if (rc) {
        sp_judge_no_hash(w->judge, &err);
    } else {
        judge(w, &doc, due);
    }
    return true;
}

static void schedule(struct sp_watcher *w, bool good, bool was_stable, bool due)
{
    bool waits = sp_judge_waits(w->judge) || sp_judge_is_down(w->judge);
    int64_t now = sp_mono_ms();

    if (!good) {
        w->failures_in_a_row++;
    } else if (was_stable) {
        w->failures_in_a_row = 0;
    }
    w->next_round = now + (good ? POLL_MS + (int64_t)arc4random_uniform(POLL_JITTER_MS)
                                : backoff(w->failures_in_a_row));
    if (!waits) {
        w->next_retry = SP_NEVER;
    } else if (due || w->next_retry == SP_NEVER) {
        w->next_retry = now + RETRY_MS;
    }
}

/* Subscribes before it reads, so that no change falls between the two. */
static void do_round(struct sp_watcher *w, bool due)
{
    bool was_stable = w->subscribed;

    subscribe(w);
    if (due && sp_judge_is_down(w->judge))
        sp_judge_check_again(w->judge);
    bool good = look(w, due);
    schedule(w, good, was_stable, due);
}

/* What the hints say does not matter: any is a reason to look. */
static void read_hints(struct sp_watcher *w)
{
    redisContext *c = NULL;
    void *reply = NULL;
    bool lost = sp_redis_connect(w->subscriber, &c, NULL) || redisBufferRead(c) != REDIS_OK;

    while (!lost && !(lost = redisGetReplyFromReader(c, &reply) != REDIS_OK) && reply) {
        freeReplyObject(reply);
        w->next_round = 0;
    }
    if (lost) {
        unsubscribe(w);
        w->failures_in_a_row++;
        w->next_round =
            sp_deadline_min(w->next_round, sp_deadline_in(backoff(w->failures_in_a_row)));
    }
}

static void wait_for_news(struct sp_watcher *w)
{
    redisContext *c = NULL;
    bool hears = w->subscribed && !sp_redis_connect(w->subscriber, &c, NULL);
    struct pollfd fds[] = {
        {.fd = w->wake_fd, .events = POLLIN},
        {.fd = hears ? c->fd : -1, .events = POLLIN},
    };

    if (poll(fds, SP_COUNT(fds), sp_deadline_left(sp_deadline_min(w->next_round, w->next_retry))) >
            0 &&
        fds[1].revents)
        read_hints(w);
}

/* What other threads asked for since the last call; false: to stop. */
static bool take_orders(struct sp_watcher *w, bool *poked)
{
    eventfd_t count;

    (void)eventfd_read(w->wake_fd, &count);
    pthread_mutex_lock(&w->lock);
    bool stop = w->stop;
    *poked = w->poked;
    w->resolve = w->resolve || w->resolve_asked;
    w->poked = w->resolve_asked = false;
    pthread_mutex_unlock(&w->lock);
    int64_t checked = sp_judge_take_doubt(w->judge);
    if (checked != SP_NEVER)
        w->next_retry = checked + RETRY_MS;
    return !stop;
}

static void *run(void *arg)
{
    struct sp_watcher *w = arg;
    bool poked;

    while (take_orders(w, &poked)) {
        int64_t now = sp_mono_ms();
        bool due = poked || now >= w->next_retry;
        if (due || now >= w->next_round) {
            do_round(w, due);
        } else {
            wait_for_news(w);
        }
    }
    return NULL;
}

static void destroy(struct sp_watcher *w)
{
    sp_judge_free(w->judge);
    sp_in_force_clear(&w->in_force);
    if (w->wake_fd >= 0)
        close(w->wake_fd);
    sp_document_clear(&w->offered);
    pthread_mutex_destroy(&w->lock);
    free(w->prefix);
    free(w);
}

/* Signals are main's. */
static int start_thread(struct sp_watcher *w)
{
    sigset_t all, old;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&w->thread, NULL, run, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

enum sp_code sp_watcher_start(struct sp_redis *redis_a, struct sp_redis *redis_b,
                              const char *prefix, const struct sp_apply_ops *ops, void *ctx,
                              struct sp_watcher **out, struct sp_error *err)
{
    struct sp_watcher *w = calloc(1, sizeof *w);

    if (!w)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    pthread_mutex_init(&w->lock, NULL);
    w->poller = redis_a;
    w->subscriber = redis_b;
    w->next_retry = SP_NEVER;
    w->prefix = sp_strdup(prefix);
    w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int failed = w->prefix && w->wake_fd >= 0 ? 0 : errno;
    enum sp_code rc = sp_in_force_init(&w->in_force, err);
    if (!rc)
        rc = sp_judge_new(ops, ctx, &w->in_force, &w->judge, err);
    if (!rc && !failed)
        failed = start_thread(w);
    if (!rc && failed)
        rc = sp_error_errno(err, SP_E_NOMEM, failed, "cannot start the settings thread");
    if (rc) {
        destroy(w);
        return rc;
    }
    *out = w;
    return SP_OK;
}

static void order(struct sp_watcher *w, bool stop, bool resolve)
{
    pthread_mutex_lock(&w->lock);
    w->poked = true;
    w->stop = w->stop || stop;
    w->resolve_asked = w->resolve_asked || resolve;
    pthread_mutex_unlock(&w->lock);
    (void)eventfd_write(w->wake_fd, 1);
}

void sp_watcher_stop(struct sp_watcher *w)
{
    if (!w)
        return;
    order(w, true, false);
    pthread_join(w->thread, NULL);
    sp_redis_free(w->poller);
    sp_redis_free(w->subscriber);
    destroy(w);
}

void sp_watcher_poke(struct sp_watcher *w, bool resolve_again)
{
    order(w, false, resolve_again);
}

void sp_watcher_offer(struct sp_watcher *w, struct sp_document *doc)
{
    pthread_mutex_lock(&w->lock);
    struct sp_document old = w->offered;
    w->offered = *doc;
    pthread_mutex_unlock(&w->lock);
    *doc = (struct sp_document){0};
    sp_document_clear(&old);
    order(w, false, false);
}

bool sp_watcher_document(struct sp_watcher *w, struct sp_document *out)
{
    return sp_in_force_document(&w->in_force, out);
}

void sp_watcher_control(struct sp_watcher *w, int64_t offset, const char *message)
{
    sp_in_force_control(&w->in_force, offset, message);
}

void sp_watcher_doubt(struct sp_watcher *w, const struct sp_snapshot *snapshot)
{
    if (sp_in_force_doubt(&w->in_force, snapshot))
        (void)eventfd_write(w->wake_fd, 1);
}

struct sp_snapshot *sp_watcher_get(struct sp_watcher *w)
{
    return sp_in_force_get(&w->in_force);
}

void sp_watcher_status(struct sp_watcher *w, struct sp_settings_status *out)
{
    sp_in_force_status(&w->in_force, out);
}

int sp_watcher_fd(struct sp_watcher *w)
{
    return w->in_force.fd;
}
