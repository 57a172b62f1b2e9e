/* Waiting with the caller's limits, and for one's turn. */
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "providers/ssh/conn.h"
#include "providers/ssh/user.h"

enum sp_code sp_ssh_poll(int fd, short events, const struct sp_ssh_wait *wait)
{
    struct pollfd fds[] = {
        {.fd = fd, .events = events},
        {.fd = wait->cancel_fd, .events = POLLIN},
    };

    for (;;) {
        if (poll(fds, SP_COUNT(fds), sp_deadline_left(wait->deadline)) > 0 && fds[0].revents)
            return SP_OK;
        enum sp_code rc = sp_ssh_may_wait(wait);
        if (rc)
            return rc;
    }
}

enum sp_code sp_ssh_may_wait(const struct sp_ssh_wait *wait)
{
    struct pollfd cancel = {.fd = wait->cancel_fd, .events = POLLIN};

    if (wait->cancel_fd >= 0 && poll(&cancel, 1, 0) > 0)
        return SP_E_CANCELLED;
    return sp_deadline_left(wait->deadline) == 0 ? SP_E_TIMEOUT : SP_OK;
}

enum sp_code sp_ssh_gave_up(const char *name, const char *what, enum sp_code code,
                            struct sp_error *err)
{
    return sp_error_set(err, code, "%s: %s: %s", name, what,
                        code == SP_E_CANCELLED ? "cancelled" : "not done within the time limit");
}

enum sp_code sp_ssh_say_lost(const struct sp_ssh_conn *conn, const char *what, struct sp_error *err)
{
    return sp_error_set(err, SP_E_UNAVAILABLE, "%s: %s: connection lost: %s", conn->name, what,
                        conn->why);
}

enum sp_code sp_ssh_user_init(struct sp_ssh_user *user, struct sp_error *err)
{
    *user = (struct sp_ssh_user){.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (user->wake_fd < 0)
        return sp_error_errno(err, SP_E_UNAVAILABLE, errno, "ssh: eventfd");
    return SP_OK;
}

void sp_ssh_user_clear(struct sp_ssh_user *user)
{
    if (user->wake_fd >= 0)
        close(user->wake_fd);
    user->wake_fd = -1;
}

/* Until the gate is handed over, or a limit. Called and left with the lock held. */
static enum sp_code queue_up(struct sp_ssh_conn *c, struct sp_ssh_user *user,
                             struct sp_ssh_gate *gate, const struct sp_ssh_wait *wait)
{
    struct pollfd fds[] = {
        {.fd = wait->cancel_fd, .events = POLLIN},
        {.fd = user->wake_fd, .events = POLLIN},
    };
    enum sp_code rc = SP_OK;
    eventfd_t count;

    user->entered = false;
    sp_ssh_append(&gate->queue, user);
    while (!rc && !user->entered && !c->lost) {
        pthread_mutex_unlock(&c->lock);
        poll(fds, SP_COUNT(fds), sp_deadline_left(wait->deadline));
        eventfd_read(user->wake_fd, &count);
        rc = sp_ssh_may_wait(wait);
        pthread_mutex_lock(&c->lock);
    }
    if (user->entered)
        return SP_OK;
    sp_ssh_take_out(&gate->queue, user);
    return rc;
}

enum sp_code sp_ssh_enter(struct sp_ssh_conn *conn, struct sp_ssh_user *user,
                          struct sp_ssh_gate *gate, const char *what,
                          const struct sp_ssh_wait *wait, struct sp_error *err)
{
    enum sp_code rc = SP_OK;

    pthread_mutex_lock(&conn->lock);
    user->entered = !gate->busy;
    gate->busy = true;
    if (!user->entered)
        rc = queue_up(conn, user, gate, wait);
    if (rc)
        sp_ssh_gave_up(conn->name, what, rc, err);
    if (!rc && !user->entered)
        rc = sp_ssh_say_lost(conn, what, err);
    pthread_mutex_unlock(&conn->lock);
    return rc;
}

void sp_ssh_leave(struct sp_ssh_conn *conn, struct sp_ssh_gate *gate)
{
    struct sp_ssh_user *next;

    pthread_mutex_lock(&conn->lock);
    next = gate->queue;
    if (next) {
        gate->queue = next->next;
        next->entered = true;
        sp_ssh_wake(next);
    }
    gate->busy = next != NULL;
    pthread_mutex_unlock(&conn->lock);
}
