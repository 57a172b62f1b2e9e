#include "providers/ssh/conn.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "providers/ssh/user.h"

enum {
    OUT_BYTES_MAX = 64 << 20, /* the windows of all channels are below it */
    /* libssh2 1.10 frees a refused SFTP channel in a loop of its own: slow it down, then end it. */
    DRY_FREE = 400,
    DRY_MS = 10,
    DRY_MAX = DRY_FREE + 200,
    FREE_TRIES = 1000,
};

static void lose(struct sp_ssh_conn *c, const char *reason)
{
    if (c->lost)
        return;
    snprintf(c->why, sizeof c->why, "%s", reason);
    c->lost = true;
    sp_ssh_wake_all(c->waiting);
    sp_ssh_wake_all(c->requests.queue);
    sp_ssh_wake_all(c->files.queue);
}

/* The socket's side. */

static size_t unsent(const struct sp_ssh_conn *c)
{
    return c->out.len - c->out_at;
}

static void send_waiting(struct sp_ssh_conn *c)
{
    while (unsent(c) > 0) {
        ssize_t n = send(c->fd, c->out.data + c->out_at, unsent(c), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR)
                lose(c, strerrordesc_np(errno));
            return;
        }
        c->out_at += (size_t)n;
    }
    sp_buf_reset(&c->out);
    c->out_at = 0;
}

/* Takes all of it, always. To a lost connection libssh2 may talk on, so that what had arrived can
 * still be read; only when it is being freed must every call fail. */
static ssize_t on_send(libssh2_socket_t fd, const void *data, size_t len, int flags,
                       void **abstract)
{
    struct sp_ssh_conn *c = *abstract;

    (void)fd;
    (void)flags;
    if (c->closing)
        return -EPIPE;
    c->sent += len;
    if (c->lost)
        return (ssize_t)len;
    if (sp_buf_add(&c->out, data, len))
        lose(c, "too much is waiting to be sent");
    send_waiting(c);
    return (ssize_t)len;
}

static ssize_t nothing_there(struct sp_ssh_conn *c)
{
    struct pollfd pfd = {.fd = c->fd, .events = POLLIN};

    if (++c->dry > DRY_MAX) {
        lose(c, "no answer to a request");
        return -ECONNRESET;
    }
    if (c->dry > DRY_FREE && !c->lost)
        poll(&pfd, 1, DRY_MS);
    return -EAGAIN;
}

static ssize_t on_recv(libssh2_socket_t fd, void *data, size_t len, int flags, void **abstract)
{
    struct sp_ssh_conn *c = *abstract;
    ssize_t n;

    if (c->closing)
        return -ECONNRESET;
    if (c->lost)
        return nothing_there(c);
    n = recv(fd, data, len, flags | MSG_DONTWAIT);
    if (n > 0) {
        c->received += (uint64_t)n;
        c->heard = sp_mono_ms();
        c->asked = 0;
        return n;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        lose(c, n == 0 ? "the server closed it" : strerrordesc_np(errno));
    return nothing_there(c);
}

/* Steps. */

/* Errors of one channel or request; after any other the session is of no more use. */
static bool survives(int result)
{
    static const int harmless[] = {
        LIBSSH2_ERROR_CHANNEL_FAILURE,  LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED,
        LIBSSH2_ERROR_CHANNEL_CLOSED,   LIBSSH2_ERROR_CHANNEL_EOF_SENT,
        LIBSSH2_ERROR_SFTP_PROTOCOL,    LIBSSH2_ERROR_AUTHENTICATION_FAILED,
        LIBSSH2_ERROR_PASSWORD_EXPIRED, LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED,
        LIBSSH2_ERROR_METHOD_NONE,      LIBSSH2_ERROR_FILE,
        LIBSSH2_ERROR_KEX_FAILURE,      LIBSSH2_ERROR_KEYFILE_AUTH_FAILED,
        LIBSSH2_ERROR_BUFFER_TOO_SMALL,
    };

    for (size_t i = 0; i < SP_COUNT(harmless); i++) {
        if (result == harmless[i])
            return true;
    }
    return result >= 0 || result == LIBSSH2_ERROR_EAGAIN;
}

/* Closed, or closed as far as it can be: true. */
static bool try_close(struct sp_ssh_leftover *l)
{
    if (l->handle && libssh2_sftp_close_handle(l->handle) == LIBSSH2_ERROR_EAGAIN)
        return false;
    l->handle = NULL;
    if (l->sftp && libssh2_sftp_shutdown(l->sftp) == LIBSSH2_ERROR_EAGAIN)
        return false;
    l->sftp = NULL;
    return !l->channel || libssh2_channel_free(l->channel) != LIBSSH2_ERROR_EAGAIN;
}

static void close_leftovers(struct sp_ssh_conn *c)
{
    struct sp_ssh_leftover **at = &c->leftovers;

    while (*at) {
        struct sp_ssh_leftover *l = *at;

        if (try_close(l)) {
            *at = l->next;
            free(l);
            c->n_leftovers--;
        } else {
            at = &l->next;
        }
    }
}

/* After any error but a few the session is of no more use. */
static int step_once(struct sp_ssh_conn *c, sp_ssh_step_fn step, void *ctx)
{
    char *text = NULL;

    c->dry = 0;
    int result = step(c, ctx);
    if (survives(result))
        return result;
    libssh2_session_last_error(c->session, &text, NULL, 0);
    lose(c, text ? text : "protocol error");
    return LIBSSH2_ERROR_EAGAIN;
}

/* The steps of those who wait: to wake them all for every packet would cost more than the rest. */
static void take_steps_of_others(struct sp_ssh_conn *c)
{
    struct sp_ssh_user **at = &c->waiting;

    while (*at) {
        struct sp_ssh_user *user = *at;

        user->result = step_once(c, user->step, user->ctx);
        user->done = user->result != LIBSSH2_ERROR_EAGAIN;
        if (user->done) {
            *at = user->next;
            sp_ssh_wake(user);
        } else {
            at = &user->next;
        }
    }
}

/* After anything that may have read: packets of others may have come. */
static void share(struct sp_ssh_conn *c, uint64_t received_before)
{
    while (c->received != received_before) {
        received_before = c->received;
        close_leftovers(c);
        take_steps_of_others(c);
    }
    if (c->driver && !c->driver_sends && unsent(c) > 0)
        sp_ssh_wake(c->driver);
}

static int take_step(struct sp_ssh_conn *c, sp_ssh_step_fn step, void *ctx)
{
    uint64_t before = c->received;
    int result = step_once(c, step, ctx);

    share(c, before);
    return result;
}

void sp_ssh_discard(struct sp_ssh_conn *conn, struct sp_ssh_leftover leftover)
{
    pthread_mutex_lock(&conn->lock);
    uint64_t before = conn->received;
    conn->dry = 0;
    if (!try_close(&leftover)) {
        struct sp_ssh_leftover *kept = malloc(sizeof *kept);

        if (kept) {
            leftover.next = conn->leftovers;
            *kept = leftover;
            conn->leftovers = kept;
            conn->n_leftovers++;
        } else {
            lose(conn, "out of memory");
        }
    }
    share(conn, before);
    pthread_mutex_unlock(&conn->lock);
}

/* Waiting. */

static int64_t next_care(const struct sp_ssh_conn *c)
{
    return c->asked ? c->asked + 2 * c->keepalive_ms : c->heard + c->keepalive_ms;
}

/* The driver's duties, after it has polled. */
static void look_after(struct sp_ssh_conn *c, short events)
{
    uint64_t before = c->received;

    send_waiting(c);
    if ((events & POLLIN) || sp_mono_ms() < next_care(c))
        return;
    if (c->asked) {
        lose(c, "the server does not answer");
        return;
    }
    c->asked = sp_mono_ms();
    c->n_asked++;
    c->dry = 0;
    libssh2_keepalive_send(c->session, NULL);
    share(c, before); /* in the middle of new keys it reads, too */
}

/* Until the socket has something, another thread has done the user's step, or a limit is near.
 * Called and left with the lock held. */
static void park(struct sp_ssh_conn *c, struct sp_ssh_user *user, const struct sp_ssh_wait *wait)
{
    bool drives = !c->driver;
    bool sends = unsent(c) > 0;
    struct pollfd fds[] = {
        {.fd = wait->cancel_fd, .events = POLLIN},
        {.fd = user->wake_fd, .events = POLLIN},
        {.fd = drives ? c->fd : -1, .events = (short)(sends ? POLLIN | POLLOUT : POLLIN)},
    };
    int64_t until = drives ? sp_deadline_min(wait->deadline, next_care(c)) : wait->deadline;
    eventfd_t count;

    if (drives) {
        c->driver = user;
        c->driver_sends = sends;
    }
    sp_ssh_append(&c->waiting, user);
    pthread_mutex_unlock(&c->lock);
    poll(fds, SP_COUNT(fds), sp_deadline_left(until));
    eventfd_read(user->wake_fd, &count);
    pthread_mutex_lock(&c->lock);
    sp_ssh_take_out(&c->waiting, user);
    if (drives) {
        c->driver = NULL;
        look_after(c, fds[2].revents);
    }
}

enum sp_code sp_ssh_run(struct sp_ssh_conn *conn, struct sp_ssh_user *user, const char *what,
                        sp_ssh_step_fn step, void *ctx, const struct sp_ssh_wait *wait, int *result,
                        struct sp_error *err)
{
    enum sp_code rc;
    uint64_t before;

    pthread_mutex_lock(&conn->lock);
    for (;;) {
        rc = sp_ssh_may_wait(wait);
        if (rc) {
            sp_ssh_gave_up(conn->name, what, rc, err);
            break;
        }
        before = conn->received;
        *result = take_step(conn, step, ctx);
        if (*result != LIBSSH2_ERROR_EAGAIN)
            break;
        if (conn->lost) {
            rc = sp_ssh_say_lost(conn, what, err);
            break;
        }
        /* What came after the step had looked may be for it. */
        if (conn->received != before)
            continue;
        user->step = step;
        user->ctx = ctx;
        user->done = false;
        park(conn, user, wait);
        if (user->done) {
            *result = user->result;
            break;
        }
    }
    if (!conn->driver && conn->waiting)
        sp_ssh_wake(conn->waiting); /* it drives from here on */
    pthread_mutex_unlock(&conn->lock);
    return rc;
}

void sp_ssh_give_up(struct sp_ssh_conn *conn, const char *reason)
{
    pthread_mutex_lock(&conn->lock);
    lose(conn, reason);
    pthread_mutex_unlock(&conn->lock);
}

bool sp_ssh_is_stuck(struct sp_ssh_conn *conn)
{
    pthread_mutex_lock(&conn->lock);
    send_waiting(conn);
    bool stuck = unsent(conn) > 0;
    pthread_mutex_unlock(&conn->lock);
    return stuck;
}

static void set_callbacks(LIBSSH2_SESSION *session)
{
#if LIBSSH2_VERSION_NUM >= 0x010b01
    libssh2_session_callback_set2(session, LIBSSH2_CALLBACK_SEND, (libssh2_cb_generic *)on_send);
    libssh2_session_callback_set2(session, LIBSSH2_CALLBACK_RECV, (libssh2_cb_generic *)on_recv);
#else
    libssh2_session_callback_set(session, LIBSSH2_CALLBACK_SEND, (void *)on_send);
    libssh2_session_callback_set(session, LIBSSH2_CALLBACK_RECV, (void *)on_recv);
#endif
}

enum sp_code sp_ssh_conn_new(int fd, const char *name, int64_t keepalive_ms,
                             struct sp_ssh_conn **out, struct sp_error *err)
{
    struct sp_ssh_conn *c = calloc(1, sizeof *c);
    LIBSSH2_SESSION *session = c ? libssh2_session_init_ex(NULL, NULL, NULL, c) : NULL;

    if (!session) {
        free(c);
        close(fd);
        return sp_error_set(err, SP_E_NOMEM, "%s: out of memory", name);
    }
    c->name = name;
    c->fd = fd;
    c->session = session;
    c->out.max = OUT_BYTES_MAX;
    c->keepalive_ms = keepalive_ms;
    c->heard = sp_mono_ms();
    pthread_mutex_init(&c->lock, NULL);
    libssh2_session_set_blocking(session, 0);
    set_callbacks(session);
    *out = c;
    return SP_OK;
}

void sp_ssh_conn_free(struct sp_ssh_conn *conn)
{
    if (!conn)
        return;
    if (!conn->lost)
        libssh2_session_disconnect(conn->session, "done");
    conn->closing = true; /* from here on every step ends at once */
    if (!conn->shaken)    /* given up in its middle, it leaves its keys behind */
        libssh2_session_handshake(conn->session, conn->fd);
    close_leftovers(conn);
    if (conn->sftp)
        libssh2_sftp_shutdown(conn->sftp);
    for (int i = 0; i < FREE_TRIES && libssh2_session_free(conn->session); i++)
        continue;
    close(conn->fd);
    sp_buf_clear(&conn->out);
    free(conn->given_up_command);
    pthread_mutex_destroy(&conn->lock);
    free(conn);
}
