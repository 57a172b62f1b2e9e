/* Connections and their session slots. The pool's lock is never held while a connection is used. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "providers/ssh/connect.h"
#include "providers/ssh/pool.h"

enum {
    IDLE_MS = 60000,
    KEEPALIVE_MS = 10000,
    FRESH_MS = 5000,  /* unused for longer: it may have died unseen */
    PROBE_MS = 5000,  /* then it has so long to answer */
    ASKED_MAX = 1000, /* libssh2 keeps every answer to a keep-alive */
};

struct sp_ssh_pool {
    struct sp_ssh_options options;
    char *name;           /* user@host:port */
    pthread_mutex_t lock; /* guards all below */
    struct sp_ssh_conn *conns;
    bool connecting; /* one at a time: sshd drops crowds (MaxStartups) */
    struct sp_ssh_user *waiting;
    uint64_t failures; /* to connect, ever */
    struct sp_error failure;
    bool closing;
    pthread_cond_t changed; /* for the keeper */
    pthread_t keeper;
};

static void take_out(struct sp_ssh_pool *pool, const struct sp_ssh_conn *conn)
{
    struct sp_ssh_conn **at = &pool->conns;

    while (*at != conn)
        at = &(*at)->next;
    *at = conn->next;
}

/* The keeper: closes what nobody has used for a while. */

static int64_t idle_until(const struct sp_ssh_pool *pool, const struct sp_ssh_conn *conn)
{
    return conn->links ? SP_NEVER : conn->idle_since + pool->options.idle_ms;
}

static struct sp_ssh_conn *take_out_idle(struct sp_ssh_pool *pool, int64_t *next)
{
    int64_t now = sp_mono_ms();

    *next = SP_NEVER;
    for (struct sp_ssh_conn *c = pool->conns; c; c = c->next) {
        int64_t until = idle_until(pool, c);

        if (until <= now) {
            take_out(pool, c);
            return c;
        }
        *next = sp_deadline_min(*next, until);
    }
    return NULL;
}

static void *keep(void *arg)
{
    struct sp_ssh_pool *pool = arg;

    pthread_mutex_lock(&pool->lock);
    while (!pool->closing) {
        int64_t next;
        struct sp_ssh_conn *idle = take_out_idle(pool, &next);

        if (idle) {
            pthread_mutex_unlock(&pool->lock);
            sp_ssh_conn_free(idle);
            pthread_mutex_lock(&pool->lock);
        } else if (next == SP_NEVER) {
            pthread_cond_wait(&pool->changed, &pool->lock);
        } else {
            struct timespec at = {.tv_sec = next / 1000, .tv_nsec = next % 1000 * 1000000};
            pthread_cond_timedwait(&pool->changed, &pool->lock, &at);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Getting a place. */

static struct sp_ssh_conn *find_room(struct sp_ssh_pool *pool)
{
    for (struct sp_ssh_conn *c = pool->conns; c; c = c->next) {
        if (!c->retired && !c->lost && c->n_asked < ASKED_MAX &&
            c->links + c->n_leftovers < c->max_links)
            return c;
    }
    return NULL;
}

static void wake_waiting(struct sp_ssh_pool *pool)
{
    for (struct sp_ssh_user *u = pool->waiting; u; u = u->next)
        eventfd_write(u->wake_fd, 1);
}

/* What one attempt to connect found holds for all who wait for it, unless the limit of the one who
 * tried ended it. Called and left with the lock held. */
static enum sp_code connect_more(struct sp_ssh_pool *pool, struct sp_ssh_link *link,
                                 const struct sp_ssh_wait *wait, struct sp_error *err)
{
    struct sp_error why = {0};
    struct sp_ssh_conn *conn = NULL;

    pool->connecting = true;
    pthread_mutex_unlock(&pool->lock);
    enum sp_code rc = sp_ssh_connect(&pool->options, pool->name, &link->user, wait, &conn, &why);
    pthread_mutex_lock(&pool->lock);
    pool->connecting = false;
    if (!rc) {
        conn->links = 1;
        conn->max_links = (int)pool->options.max_sessions - 1;
        conn->next = pool->conns;
        pool->conns = conn;
        link->conn = conn;
    } else if (rc != SP_E_TIMEOUT && rc != SP_E_CANCELLED) {
        pool->failures++;
        pool->failure = why;
    }
    wake_waiting(pool);
    return rc ? sp_error_set(err, rc, "%s", why.msg) : SP_OK;
}

/* Until something changes. Called and left with the lock held. */
static enum sp_code await_change(struct sp_ssh_pool *pool, struct sp_ssh_user *user,
                                 const struct sp_ssh_wait *wait, struct sp_error *err)
{
    uint64_t failures = pool->failures;
    struct sp_ssh_user **at = &pool->waiting;
    eventfd_t count;

    user->next = pool->waiting;
    pool->waiting = user;
    pthread_mutex_unlock(&pool->lock);
    enum sp_code rc = sp_ssh_poll(user->wake_fd, POLLIN, wait);
    eventfd_read(user->wake_fd, &count);
    pthread_mutex_lock(&pool->lock);
    while (*at != user)
        at = &(*at)->next;
    *at = user->next;
    if (rc)
        return sp_ssh_gave_up(pool->name, "connection", rc, err);
    if (pool->failures == failures)
        return SP_OK;
    return sp_error_set(err, pool->failure.code, "%s", pool->failure.msg);
}

/* A place on a connection; *made: on a new one. */
static enum sp_code reserve(struct sp_ssh_pool *pool, struct sp_ssh_link *link,
                            const struct sp_ssh_wait *wait, bool *made, struct sp_error *err)
{
    enum sp_code rc = SP_OK;

    *made = false;
    link->conn = NULL;
    pthread_mutex_lock(&pool->lock);
    while (!rc && !link->conn) {
        link->conn = find_room(pool);
        if (link->conn) {
            link->conn->links++;
        } else if (!pool->connecting) {
            *made = true;
            rc = connect_more(pool, link, wait, err);
        } else {
            rc = await_change(pool, &link->user, wait, err);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return rc;
}

static void release(struct sp_ssh_link *link)
{
    struct sp_ssh_pool *pool = link->pool;
    struct sp_ssh_conn *conn = SP_TAKE(link->conn);
    bool stuck = sp_ssh_is_stuck(conn); /* then nobody would send the rest, perhaps a close */
    bool useless = false;

    pthread_mutex_lock(&pool->lock);
    if (--conn->links == 0) {
        conn->idle_since = sp_mono_ms();
        useless = stuck || conn->retired || conn->lost || conn->n_asked >= ASKED_MAX;
        pthread_cond_signal(&pool->changed);
    }
    if (useless)
        take_out(pool, conn);
    wake_waiting(pool);
    pthread_mutex_unlock(&pool->lock);
    if (useless)
        sp_ssh_conn_free(conn);
}

/* The server has fewer sessions than max_sessions says. False: it does not even have one. */
static bool take_fewer(struct sp_ssh_link *link)
{
    pthread_mutex_lock(&link->pool->lock);
    bool some = --link->conn->max_links > 0 && link->conn->links > 1;
    link->conn->retired = !some;
    pthread_mutex_unlock(&link->pool->lock);
    return some;
}

/* Opening the channel shows whether the connection is alive and has room. SP_E_BUSY: it has none
 * beside its other links. */
static enum sp_code try_link(struct sp_ssh_link *link, const struct sp_ssh_wait *wait, bool made,
                             struct sp_error *err)
{
    struct sp_ssh_conn *conn = link->conn;
    struct sp_ssh_wait limits = *wait;

    pthread_mutex_lock(&link->pool->lock);
    bool stale = !made && conn->links == 1 && sp_mono_ms() - conn->idle_since > FRESH_MS;
    pthread_mutex_unlock(&link->pool->lock);
    if (stale)
        limits.deadline = sp_deadline_min(wait->deadline, sp_deadline_in(PROBE_MS));

    enum sp_code rc = sp_ssh_open_channel(link, &limits, err);
    if (rc == SP_E_BUSY && !take_fewer(link))
        rc = sp_error_wrap(err, SP_E_UNAVAILABLE, "first session");
    if (rc == SP_E_TIMEOUT && sp_deadline_left(wait->deadline) != 0) {
        sp_ssh_give_up(conn, "it died while unused");
        rc = sp_ssh_say_lost(conn, "session", err);
    }
    return rc;
}

enum sp_code sp_ssh_take(struct sp_ssh_pool *pool, const struct sp_ssh_wait *wait,
                         struct sp_ssh_link **out, struct sp_error *err)
{
    sp_auto(sp_ssh_give) struct sp_ssh_link *link = calloc(1, sizeof *link);
    bool made = false;

    if (!link)
        return sp_error_set(err, SP_E_NOMEM, "%s: out of memory", pool->name);
    link->pool = pool;
    enum sp_code rc = sp_ssh_user_init(&link->user, err);
    while (!rc) {
        rc = reserve(pool, link, wait, &made, err);
        if (rc)
            break;
        rc = try_link(link, wait, made, err);
        if (!rc) {
            *out = SP_TAKE(link);
            return SP_OK;
        }
        /* Each try takes a place out of the pool, so this ends with a connection of our own. */
        if (rc == SP_E_BUSY || (rc == SP_E_UNAVAILABLE && !made))
            rc = SP_OK;
        release(link);
    }
    return rc;
}

void sp_ssh_give(struct sp_ssh_link *link)
{
    if (!link)
        return;
    sp_ssh_close(link);
    if (link->conn)
        release(link);
    sp_ssh_user_clear(&link->user);
    free(link);
}

bool sp_ssh_lost(struct sp_ssh_link *link)
{
    return link->conn->lost;
}

static enum sp_code start_keeper(struct sp_ssh_pool *pool, struct sp_error *err)
{
    pthread_condattr_t attributes;

    pthread_mutex_init(&pool->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    int failure = pthread_create(&pool->keeper, NULL, keep, pool);
    if (!failure)
        return SP_OK;
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->lock);
    return sp_error_errno(err, SP_E_UNAVAILABLE, failure, "%s: thread", pool->name);
}

/* An IPv6 address in brackets, as in a URL. */
static char *make_name(const struct sp_ssh_options *o)
{
    bool v6 = strchr(o->host, ':');
    char *name;

    if (asprintf(&name, "%s@%s%s%s:%lld", o->username, v6 ? "[" : "", o->host, v6 ? "]" : "",
                 (long long)o->port) < 0)
        return NULL;
    return name;
}

enum sp_code sp_ssh_pool_new(const struct sp_ssh_options *options, struct sp_ssh_pool **out,
                             struct sp_error *err)
{
    struct sp_ssh_pool *pool = calloc(1, sizeof *pool);
    char *name = make_name(options);

    if (!pool || !name) {
        free(pool);
        free(name);
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    }
    pool->options = *options;
    pool->options.idle_ms = options->idle_ms ?: IDLE_MS;
    pool->options.keepalive_ms = options->keepalive_ms ?: KEEPALIVE_MS;
    pool->name = name;
    enum sp_code rc = start_keeper(pool, err);
    if (rc) {
        free(pool);
        free(name);
        return rc;
    }
    *out = pool;
    return SP_OK;
}

void sp_ssh_pool_free(struct sp_ssh_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    pthread_cond_signal(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    pthread_join(pool->keeper, NULL);
    while (pool->conns) {
        struct sp_ssh_conn *next = pool->conns->next;

        sp_ssh_conn_free(pool->conns);
        pool->conns = next;
    }
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->lock);
    free(pool->name);
    free(pool);
}
