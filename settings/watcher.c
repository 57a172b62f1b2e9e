/*
 * The settings thread. A round subscribes if need be, reads the hash whole, and compares version
 * and digest with what is in force, with what was refused and with what waits for its peer. The
 * rules are DESIGN.md 3.
 */
#include "settings/watcher.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

enum {
    POLL_MS = 4000,
    POLL_JITTER_MS = 1000,
    RETRY_MS = 5000,
    BACKOFF_MS = 100,
    BACKOFF_MAX_MS = 5000
};

/* What open() made. Settings that were saved again unchanged share it under two versions. */
struct opened {
    atomic_size_t refs;
    const struct sp_apply_ops *ops;
    void *ctx, *value;
};

struct entry {
    struct sp_snapshot snapshot; /* first: its address is the entry's */
    atomic_size_t refs;
    struct opened *opened;
};

/* Tells two states of the hash apart. An empty digest is none. */
struct mark {
    int64_t version;
    char digest[65];
};

struct sp_watcher {
    pthread_t thread;
    const struct sp_apply_ops *ops;
    void *ctx;
    char *prefix;
    int wake_fd, status_fd;

    pthread_mutex_t lock; /* guards current, status, stop, poked, resolve and doubted */
    struct entry *current;
    struct sp_settings_status status;
    bool stop, poked, resolve, doubted;

    /* The thread's own. */
    struct sp_redis *poller, *subscriber;
    bool subscribed;
    bool away, deaf, missing;       /* logged already */
    bool resolve_pending;           /* asked for while Redis was away */
    bool proven;                    /* the one in force has passed a check */
    int64_t checked;                /* monotonic ms; when a check last ended */
    struct sp_settings_status view; /* becomes status by publish() */
    struct mark in_force, refused, waiting;
    unsigned failures_in_a_row;     /* of Redis */
    int64_t next_round, next_retry; /* monotonic ms; next_retry SP_NEVER: nothing waits */
};

static void opened_unref(struct opened *o)
{
    if (atomic_fetch_sub(&o->refs, 1) > 1)
        return;
    o->ops->close(o->ctx, o->value);
    free(o);
}
SP_AUTO(struct opened *, opened_unref)

/* Takes the value on success only. */
static struct opened *opened_new(const struct sp_watcher *w, void *value)
{
    struct opened *o = calloc(1, sizeof *o);

    if (!o)
        return NULL;
    *o = (struct opened){.refs = 1, .ops = w->ops, .ctx = w->ctx, .value = value};
    return o;
}

/* Adds a reference to o. */
static struct entry *entry_new(struct opened *o, const struct sp_snapshot *snapshot)
{
    struct entry *e = calloc(1, sizeof *e);

    if (!e)
        return NULL;
    atomic_fetch_add(&o->refs, 1);
    *e = (struct entry){.snapshot = *snapshot, .refs = 1, .opened = o};
    e->snapshot.value = o->value;
    return e;
}

void sp_snapshot_unref(struct sp_snapshot *snapshot)
{
    struct entry *e = (struct entry *)snapshot;

    if (!e || atomic_fetch_sub(&e->refs, 1) > 1)
        return;
    opened_unref(e->opened);
    free(e);
}

static bool same(const struct mark *a, const struct mark *b)
{
    return a->version == b->version && !strcmp(a->digest, b->digest);
}

static bool is_transient(enum sp_code rc)
{
    return rc == SP_E_UNAVAILABLE || rc == SP_E_BUSY || rc == SP_E_TIMEOUT || rc == SP_E_NOMEM;
}

static bool same_status(const struct sp_settings_status *a, const struct sp_settings_status *b)
{
    return a->state == b->state && a->redis_up == b->redis_up && a->provider_up == b->provider_up &&
           a->throttled == b->throttled && a->version == b->version &&
           a->error_version == b->error_version && a->changes == b->changes &&
           a->failures == b->failures && !strcmp(a->provider, b->provider) &&
           !strcmp(a->message, b->message);
}

/* Shows the thread's own view and puts e in force, which may be what is there already. */
static void publish(struct sp_watcher *w, struct entry *e)
{
    pthread_mutex_lock(&w->lock);
    struct entry *old = w->current;
    bool changed = old != e || !same_status(&w->status, &w->view);
    w->doubted = w->doubted && old == e; /* it was about the old one */
    w->current = e;
    w->status = w->view;
    pthread_mutex_unlock(&w->lock);

    if (old && old != e)
        sp_snapshot_unref(&old->snapshot);
    if (changed)
        (void)eventfd_write(w->status_fd, 1);
}

/* rc is its last check's. */
static void provider_is(struct sp_watcher *w, enum sp_code rc)
{
    w->view.provider_up = !rc;
    w->view.throttled = rc == SP_E_BUSY;
    w->proven = w->proven || !rc;
}

static enum sp_code check(struct sp_watcher *w, void *value, struct sp_error *err)
{
    enum sp_code rc = w->ops->check(w->ctx, value, err);

    w->checked = sp_mono_ms();
    return rc;
}

static void say(struct sp_watcher *w, int64_t version, const char *message)
{
    w->view.error_version = version;
    snprintf(w->view.message, sizeof w->view.message, "%s", message);
}

static void refuse(struct sp_watcher *w, const struct mark *mark, const struct sp_error *err)
{
    w->refused = *mark;
    w->waiting = (struct mark){0};
    w->view.failures++;
    if (!w->current)
        w->view.state = SP_SETTINGS_INVALID;
    say(w, mark->version, err->msg);
    publish(w, w->current);
    sp_log(SP_WARN, "settings_refused", sp_i("version", mark->version), sp_s("reason", err->msg),
           sp_i("in_force", w->view.version));
}

/* What is in force stays so; the new settings are tried again. */
static void hold_back(struct sp_watcher *w, const struct mark *mark, const struct sp_error *err)
{
    bool again = same(&w->waiting, mark);

    w->waiting = *mark;
    w->refused = (struct mark){0};
    say(w, mark->version, err->msg);
    publish(w, w->current);
    if (!again) {
        sp_log(SP_WARN, "settings_waiting", sp_i("version", mark->version),
               sp_s("reason", err->msg), sp_i("in_force", w->view.version));
    }
}

static void put_in_force(struct sp_watcher *w, struct entry *e, const struct mark *mark)
{
    w->in_force = *mark;
    w->refused = w->waiting = (struct mark){0};
    w->view.state = SP_SETTINGS_IN_FORCE;
    w->view.version = mark->version;
    snprintf(w->view.provider, sizeof w->view.provider, "%s", e->snapshot.provider);
    w->view.changes++;
    publish(w, e);
    sp_log(SP_INFO, "settings_applied", sp_i("version", mark->version),
           sp_s("provider", e->snapshot.provider), sp_i("provider_up", w->view.provider_up));
}

/* rc and err are the check's. One that never passed its check protects nothing, so it gives way. */
static void conclude(struct sp_watcher *w, const struct mark *mark, struct opened *o,
                     const struct sp_snapshot *snapshot, enum sp_code rc, struct sp_error *err)
{
    bool old_works = w->current && w->proven;
    struct entry *e = NULL;

    if (rc && !is_transient(rc)) {
        refuse(w, mark, err);
        return;
    }
    if (!rc || !old_works) {
        e = entry_new(o, snapshot);
        if (!e)
            sp_error_set(err, SP_E_NOMEM, "out of memory");
    }
    if (!e) {
        hold_back(w, mark, err);
        return;
    }
    w->proven = false;
    provider_is(w, rc);
    say(w, mark->version, rc ? err->msg : "");
    put_in_force(w, e, mark);
}

static void apply(struct sp_watcher *w, const struct sp_document *doc, const struct mark *mark)
{
    struct sp_snapshot snapshot = {.version = doc->version, .defaulted = !doc->provider_type};
    struct sp_error err = {0};
    void *value = NULL;
    enum sp_code rc = w->ops->open(w->ctx, doc, &value, &snapshot.provider, &err);

    if (rc) {
        (is_transient(rc) ? hold_back : refuse)(w, mark, &err);
        return;
    }
    sp_auto(opened_unref) struct opened *o = opened_new(w, value);
    if (!o) {
        w->ops->close(w->ctx, value);
        sp_error_set(&err, SP_E_NOMEM, "out of memory");
        hold_back(w, mark, &err);
        return;
    }
    rc = check(w, value, &err);
    if (rc != SP_E_CANCELLED)
        conclude(w, mark, o, &snapshot, rc, &err);
}

/* The same settings under another version: the provider stays open. */
static void renumber(struct sp_watcher *w, const struct mark *mark)
{
    struct sp_snapshot snapshot = w->current->snapshot;

    snapshot.version = mark->version;
    struct entry *e = entry_new(w->current->opened, &snapshot);
    if (!e)
        return; /* the next round tries again */
    if (w->view.provider_up)
        say(w, 0, "");
    put_in_force(w, e, mark);
}

static void missing(struct sp_watcher *w)
{
    w->refused = w->waiting = (struct mark){0};
    if (!w->current) {
        w->view.state = SP_SETTINGS_ABSENT;
        say(w, 0, "");
    } else {
        char text[96];
        snprintf(text, sizeof text, "Redis holds no settings; version %lld stays in force",
                 (long long)w->view.version);
        say(w, 0, text);
    }
    publish(w, w->current);
    if (!w->missing)
        sp_log(SP_WARN, "settings_missing", sp_i("in_force", w->view.version));
    w->missing = true;
}

static void nothing_new(struct sp_watcher *w)
{
    w->refused = w->waiting = (struct mark){0};
    if (w->view.provider_up)
        say(w, 0, "");
    publish(w, w->current);
}

static void compare(struct sp_watcher *w, const struct sp_document *doc, bool due, bool resolve)
{
    struct mark mark = {.version = doc->version};
    bool known = w->current && !strcmp(w->in_force.digest, doc->digest);

    memcpy(mark.digest, doc->digest, sizeof mark.digest);
    if (!doc->present) {
        missing(w);
        return;
    }
    w->missing = false;
    bool failed = same(&mark, &w->refused) || same(&mark, &w->waiting);
    bool again = resolve || (due && same(&mark, &w->waiting));
    if (failed && !again)
        return;
    if (again || !known) {
        apply(w, doc, &mark);
    } else if (same(&mark, &w->in_force)) {
        nothing_new(w);
    } else {
        renumber(w, &mark);
    }
}

/*
 * The one in force has not passed its check yet, or a job found it away. As long as it has never
 * passed one it may turn out to be a failed configuration; later its peer is there when it refuses,
 * and each job gets its own answer from it.
 */
static void check_again(struct sp_watcher *w)
{
    struct sp_error err = {0};
    enum sp_code rc = check(w, w->current->snapshot.value, &err);
    /* Then the message is about that one. */
    bool other = w->refused.digest[0] || w->waiting.digest[0];

    if (rc == SP_E_CANCELLED)
        return;
    if (rc && !is_transient(rc) && w->proven)
        rc = SP_OK;
    if (rc && !is_transient(rc)) {
        struct mark mark = w->in_force;
        w->in_force = (struct mark){0};
        w->view.version = 0;
        w->view.provider[0] = '\0';
        publish(w, NULL);
        refuse(w, &mark, &err);
        return;
    }
    provider_is(w, rc);
    if (!other)
        say(w, w->in_force.version, rc ? err.msg : "");
    publish(w, w->current);
    if (!rc)
        sp_log(SP_INFO, "provider_up", sp_s("provider", w->current->snapshot.provider));
}

/* Half of it is random, so that a fleet does not come back in step. */
static int64_t backoff(unsigned failures)
{
    int64_t ms = BACKOFF_MS;

    for (unsigned i = 1; i < failures && ms < BACKOFF_MAX_MS; i++)
        ms *= 2;
    ms = ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS;
    return ms / 2 + (int64_t)arc4random_uniform((uint32_t)(ms / 2 + 1));
}

static void redis_away(struct sp_watcher *w, const struct sp_error *err)
{
    w->view.redis_up = false;
    if (w->view.state == SP_SETTINGS_UNREAD)
        say(w, 0, err->msg);
    publish(w, w->current);
    if (!w->away)
        sp_log(SP_WARN, "settings_redis_down", sp_s("reason", err->msg));
    w->away = true;
}

static void redis_back(struct sp_watcher *w)
{
    if (w->away)
        sp_log(SP_INFO, "settings_redis_up", sp_s("redis", sp_redis_name(w->poller)));
    w->away = false;
    w->view.redis_up = true;
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

/* Reads the hash and acts on it; false where Redis is away. */
static bool look(struct sp_watcher *w, bool due, bool resolve)
{
    sp_auto(sp_document_clear) struct sp_document doc = {0};
    struct sp_error err = {0};
    enum sp_code rc = sp_store_read(w->poller, w->prefix, &doc, &err);

    if (rc && rc != SP_E_INVALID) {
        redis_away(w, &err);
        return false;
    }
    redis_back(w);
    if (!rc) {
        compare(w, &doc, due, resolve);
        return true;
    }
    /* The key is no hash. All such states look alike. */
    struct mark mark = {.digest = "-"};
    if (!same(&mark, &w->refused))
        refuse(w, &mark, &err);
    return true;
}

static void schedule(struct sp_watcher *w, bool good, bool was_stable, bool due)
{
    bool waits = w->waiting.digest[0] || (w->current && !w->view.provider_up);
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
static void do_round(struct sp_watcher *w, bool due, bool resolve)
{
    bool was_stable = w->subscribed;

    subscribe(w);
    if (due && w->current && !w->view.provider_up)
        check_again(w);
    resolve = resolve || w->resolve_pending;
    bool good = look(w, due, resolve);
    w->resolve_pending = resolve && !good;
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

/* A job found the one in force away. */
static void begin_doubt(struct sp_watcher *w)
{
    if (!w->view.provider_up)
        return;
    w->view.provider_up = false;
    if (!w->view.message[0])
        say(w, w->in_force.version, "a job found it unavailable");
    publish(w, w->current);
    w->next_retry = w->checked + RETRY_MS;
    sp_log(SP_WARN, "provider_down", sp_s("provider", w->current->snapshot.provider));
}

/* What other threads asked for since the last call; false: to stop. */
static bool take_orders(struct sp_watcher *w, bool *poked, bool *resolve)
{
    eventfd_t count;

    (void)eventfd_read(w->wake_fd, &count);
    pthread_mutex_lock(&w->lock);
    bool stop = w->stop, doubted = w->doubted;
    *poked = w->poked;
    *resolve = w->resolve;
    w->poked = w->resolve = w->doubted = false;
    pthread_mutex_unlock(&w->lock);
    if (doubted)
        begin_doubt(w);
    return !stop;
}

static void *run(void *arg)
{
    struct sp_watcher *w = arg;
    bool poked, resolve;

    while (take_orders(w, &poked, &resolve)) {
        int64_t now = sp_mono_ms();
        bool due = poked || now >= w->next_retry;
        if (due || now >= w->next_round) {
            do_round(w, due, resolve);
        } else {
            wait_for_news(w);
        }
    }
    return NULL;
}

static void destroy(struct sp_watcher *w)
{
    if (w->current)
        sp_snapshot_unref(&w->current->snapshot);
    if (w->wake_fd >= 0)
        close(w->wake_fd);
    if (w->status_fd >= 0)
        close(w->status_fd);
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
    w->ops = ops;
    w->ctx = ctx;
    w->poller = redis_a;
    w->subscriber = redis_b;
    w->next_retry = SP_NEVER;
    w->prefix = sp_strdup(prefix);
    w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    w->status_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool ready = w->prefix && w->wake_fd >= 0 && w->status_fd >= 0;
    int rc = ready ? start_thread(w) : errno;
    if (!ready || rc) {
        destroy(w);
        return sp_error_errno(err, SP_E_NOMEM, rc, "cannot start the settings thread");
    }
    *out = w;
    return SP_OK;
}

static void order(struct sp_watcher *w, bool stop, bool resolve)
{
    pthread_mutex_lock(&w->lock);
    w->poked = true;
    w->stop = w->stop || stop;
    w->resolve = w->resolve || resolve;
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

void sp_watcher_doubt(struct sp_watcher *w, const struct sp_snapshot *snapshot)
{
    pthread_mutex_lock(&w->lock);
    bool news = w->current && &w->current->snapshot == snapshot && w->status.provider_up;
    w->doubted = w->doubted || news;
    pthread_mutex_unlock(&w->lock);
    if (news)
        (void)eventfd_write(w->wake_fd, 1);
}

struct sp_snapshot *sp_watcher_get(struct sp_watcher *w)
{
    pthread_mutex_lock(&w->lock);
    struct entry *e = w->current;
    if (e)
        atomic_fetch_add(&e->refs, 1);
    pthread_mutex_unlock(&w->lock);
    return e ? &e->snapshot : NULL;
}

void sp_watcher_status(struct sp_watcher *w, struct sp_settings_status *out)
{
    pthread_mutex_lock(&w->lock);
    *out = w->status;
    pthread_mutex_unlock(&w->lock);
}

int sp_watcher_fd(struct sp_watcher *w)
{
    return w->status_fd;
}
