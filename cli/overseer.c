#include "cli/overseer.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"

#define START_MS 30000

static enum sp_happening read_signal(const struct sp_overseer *s)
{
    struct signalfd_siginfo info;
    if (read(s->signals, &info, sizeof(info)) != sizeof(info))
        return SP_HAPPENED_NOTHING;
    if (info.ssi_signo == SIGCHLD)
        return SP_HAPPENED_CHILD;
    return info.ssi_signo == SIGHUP ? SP_HAPPENED_RELOAD : SP_HAPPENED_STOP;
}

enum sp_happening sp_overseer_next(const struct sp_overseer *s, int fd, int64_t deadline)
{
    struct pollfd fds[] = {{.fd = s->signals, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    while (poll(fds, 2, sp_deadline_left(deadline)) < 0 && errno == EINTR)
        continue;
    if (fds[0].revents)
        return read_signal(s);
    return fds[1].revents ? SP_HAPPENED_READY : SP_HAPPENED_NOTHING;
}

const char *sp_overseer_ended(const struct sp_overseer *s)
{
    int status = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (sp_child_ended(&s->children[i], &status))
            return s->children[i].name;
    }
    return NULL;
}

enum sp_code sp_overseer_read_line(int fd, const char *name, char line[SP_READY_LINE_MAX],
                                   struct sp_error *err)
{
    size_t len = 0;
    ssize_t n = 1;
    while (n > 0 && len < SP_READY_LINE_MAX - 1 && !memchr(line, '\n', len)) {
        n = read(fd, line + len, SP_READY_LINE_MAX - 1 - len);
        len += n > 0 ? (size_t)n : 0;
    }
    line[len] = '\0';
    char *end = strchr(line, '\n');
    if (!end)
        return sp_error_set(err, SP_E_UNAVAILABLE, "%s did not start", name);
    *end = '\0';
    return SP_OK;
}

enum sp_code sp_overseer_start(const struct sp_overseer *s, struct sp_child *child,
                               char line[SP_READY_LINE_MAX], struct sp_error *err)
{
    int fd = -1;
    int64_t deadline = sp_deadline_in(START_MS);
    enum sp_code rc = sp_child_start(child, &fd, err);
    if (rc)
        return rc;
    enum sp_happening what = SP_HAPPENED_RELOAD;
    const char *ended = NULL;
    /* A child that ended closed its pipe as well: its line decides. */
    while (what == SP_HAPPENED_RELOAD || (what == SP_HAPPENED_CHILD && !ended)) {
        what = sp_overseer_next(s, fd, deadline);
        if (what == SP_HAPPENED_CHILD)
            ended = sp_overseer_ended(s);
    }
    if (what == SP_HAPPENED_READY) {
        rc = sp_overseer_read_line(fd, child->name, line, err);
    } else if (what == SP_HAPPENED_STOP) {
        rc = sp_error_set(err, SP_E_CANCELLED, "stopped");
    } else {
        rc = sp_error_set(err, SP_E_UNAVAILABLE, "%s did not start", ended ? ended : child->name);
    }
    close(fd);
    return rc;
}

struct sp_overseer sp_overseer_open(struct sp_child *children, size_t n)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    return (struct sp_overseer){children, n, signalfd(-1, &set, SFD_CLOEXEC)};
}

void sp_overseer_close(struct sp_overseer *s)
{
    close(s->signals);
}
