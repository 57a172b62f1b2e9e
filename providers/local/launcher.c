#include "providers/local/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "providers/local/fd.h"
#include "providers/local/guardian_image.h"

#ifndef MFD_EXEC /* Linux 6.3 */
#define MFD_EXEC 0x0010U
#endif

enum {
    END_MS = 3000,
    SPAWN_FD = 16, /* above the descriptors that the guardian is given */
    IMAGE_FD = GUARDIAN_SOCKET + 1,
};

struct sp_launcher {
    pthread_mutex_t lock; /* guards all below; held for calls that do not block */
    int socket;           /* -1: no guardian */
    pid_t pid;
    uint64_t runs;
};

/* A memory file with the guardian's program in it. */
static enum sp_code image_open(int *out, struct sp_error *err)
{
    sp_auto(sp_fd_close) int fd = memfd_create("sandpiper-guardian", MFD_CLOEXEC | MFD_EXEC);
    const char *at = sp_guardian_image;

    if (fd < 0 && errno == EINVAL) /* before Linux 6.3 all of them may be executed */
        fd = memfd_create("sandpiper-guardian", MFD_CLOEXEC);
    if (fd < 0) {
        return sp_error_errno(err, sp_fd_code(errno), errno,
                              "guardian: a memory file (sysctl vm.memfd_noexec must be 0 or 1)");
    }
    while (at < sp_guardian_image_end) {
        ssize_t n = write(fd, at, (size_t)(sp_guardian_image_end - at));

        if (n < 0)
            return sp_error_errno(err, sp_fd_code(errno), errno, "guardian: write");
        at += n;
    }
    *out = fcntl(fd, F_DUPFD_CLOEXEC, SPAWN_FD);
    if (*out < 0)
        return sp_error_errno(err, sp_fd_code(errno), errno, "guardian: descriptor");
    return SP_OK;
}

static int spawn_actions(posix_spawn_file_actions_t *actions, int image, int socket)
{
    int rc = 0;

    for (int fd = 0; fd <= 2 && !rc; fd++)
        rc = posix_spawn_file_actions_addopen(actions, fd, "/dev/null", O_RDWR, 0);
    if (!rc)
        rc = posix_spawn_file_actions_adddup2(actions, socket, GUARDIAN_SOCKET);
    if (!rc)
        rc = posix_spawn_file_actions_adddup2(actions, image, IMAGE_FD);
    if (!rc)
        rc = posix_spawn_file_actions_addclosefrom_np(actions, IMAGE_FD + 1);
    return rc;
}

/* A session of its own: what a terminal or a supervisor sends to the worker's group does not reach
 * the guardian. */
static int spawn_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, all;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setsigdefault(attributes, &all);
    return posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
                                                    POSIX_SPAWN_SETSIGDEF);
}

static int spawn_image(int image, int socket, pid_t *pid)
{
    static const char name[] = "sandpiper-guardian";
    char *const args[] = {(char *)(uintptr_t)name, NULL}, *const env[] = {NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    char path[32];
    int rc = posix_spawn_file_actions_init(&actions);

    if (rc)
        return rc;
    rc = posix_spawnattr_init(&attributes);
    if (!rc) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", (int)IMAGE_FD);
        rc = spawn_actions(&actions, image, socket);
        if (!rc)
            rc = spawn_attributes(&attributes);
        if (!rc)
            rc = posix_spawn(pid, path, &actions, &attributes, args, env);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

static enum sp_code spawn_guardian(struct sp_launcher *l, struct sp_error *err)
{
    sp_auto(sp_fd_close) int image = -1, mine = -1, theirs = -1, low = -1;
    enum sp_code rc = image_open(&image, err);
    int failed;

    if (rc)
        return rc;
    rc = sp_fd_sockets(SOCK_SEQPACKET, &mine, &low, err);
    if (rc)
        return rc;
    theirs = fcntl(low, F_DUPFD_CLOEXEC, SPAWN_FD);
    if (theirs < 0)
        return sp_error_errno(err, sp_fd_code(errno), errno, "guardian: descriptor");
    failed = spawn_image(image, theirs, &l->pid);
    if (failed)
        return sp_error_errno(err, sp_fd_code(failed), failed, "guardian: start");
    l->socket = SP_FD_TAKE(mine);
    return SP_OK;
}

/* The old guardian, dead or not, is gone afterwards. */
static enum sp_code respawn_guardian(struct sp_launcher *l, struct sp_error *err)
{
    if (l->socket >= 0) {
        sp_log(SP_WARN, "guardian_lost", sp_i("pid", l->pid));
        close(SP_FD_TAKE(l->socket));
        kill(l->pid, SIGKILL);
        waitpid(l->pid, NULL, 0);
    }
    return spawn_guardian(l, err);
}

static enum sp_code send_once(struct sp_launcher *l, const struct sp_buf *message, const int *fds,
                              size_t n_fds, bool *gone, struct sp_error *err)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * GUARDIAN_FDS)] = {0};
    struct iovec part = {.iov_base = message->data, .iov_len = message->len};
    struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};

    if (n_fds > 0) {
        struct cmsghdr *c = (struct cmsghdr *)(void *)control;

        head.msg_control = control;
        head.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
    }
    kill(l->pid, SIGCONT); /* a program of the same user may have stopped it */
    if (sendmsg(l->socket, &head, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
        return SP_OK;
    *gone = errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN;
    return sp_error_errno(err, SP_E_UNAVAILABLE, errno, "guardian: request");
}

/* Sends to the guardian, or to a new one where it is gone. Call with the lock held. */
static enum sp_code send_request(struct sp_launcher *l, const struct sp_buf *message,
                                 const int *fds, size_t n_fds, struct sp_error *err)
{
    bool gone = l->socket < 0;
    enum sp_code rc = SP_E_UNAVAILABLE;

    if (!gone)
        rc = send_once(l, message, fds, n_fds, &gone, err);
    if (!gone)
        return rc;
    rc = respawn_guardian(l, err);
    if (rc)
        return rc;
    return send_once(l, message, fds, n_fds, &gone, err);
}

enum sp_code sp_launcher_open(struct sp_launcher **out, struct sp_error *err)
{
    struct sp_launcher *l = calloc(1, sizeof *l);
    enum sp_code rc;

    if (!l)
        return sp_error_set(err, SP_E_NOMEM, "guardian: out of memory");
    pthread_mutex_init(&l->lock, NULL);
    l->socket = -1;
    rc = spawn_guardian(l, err);
    if (rc) {
        sp_launcher_close(l);
        return rc;
    }
    *out = l;
    return SP_OK;
}

void sp_launcher_close(struct sp_launcher *l)
{
    if (!l)
        return;
    if (l->socket >= 0) {
        struct pollfd end = {.fd = l->socket};

        /* It closes its side when its last process is gone. */
        shutdown(l->socket, SHUT_WR);
        kill(l->pid, SIGCONT);
        if (poll(&end, 1, END_MS) <= 0)
            kill(l->pid, SIGKILL);
        waitpid(l->pid, NULL, 0);
        close(l->socket);
    }
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static enum sp_code add_texts(struct sp_buf *message, const char *const *texts, uint32_t *n)
{
    enum sp_code rc = SP_OK;

    for (*n = 0; texts[*n] && !rc; ++*n)
        rc = sp_buf_add(message, texts[*n], strlen(texts[*n]) + 1);
    return rc;
}

static enum sp_code write_start(const struct sp_launch *launch, struct sp_buf *message,
                                struct sp_error *err)
{
    struct guardian_request request = {.kind = GUARDIAN_START};
    enum sp_code rc = sp_buf_add(message, &request, sizeof request);

    memcpy(request.limits, launch->limits, sizeof request.limits);
    if (!rc)
        rc = add_texts(message, launch->args, &request.n_args);
    if (!rc)
        rc = add_texts(message, launch->env, &request.n_env);
    if (rc)
        return sp_error_set(err, rc, "guardian: arguments and environment are too long");
    memcpy(message->data, &request, sizeof request);
    return SP_OK;
}

enum sp_code sp_launcher_start(struct sp_launcher *l, const struct sp_launch *launch,
                               const int *fds, uint64_t *run, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf message = SP_BUF_INIT(GUARDIAN_MESSAGE_MAX);
    struct guardian_request *request;
    enum sp_code rc = write_start(launch, &message, err);

    if (rc)
        return rc;
    request = (struct guardian_request *)(void *)message.data;
    pthread_mutex_lock(&l->lock);
    request->run = ++l->runs;
    *run = l->runs;
    rc = send_request(l, &message, fds, GUARDIAN_FDS, err);
    pthread_mutex_unlock(&l->lock);
    return rc;
}

void sp_launcher_kill(struct sp_launcher *l, uint64_t run)
{
    struct guardian_request request = {.kind = GUARDIAN_KILL, .run = run};
    struct sp_buf message = {.data = (char *)&request, .len = sizeof request};
    bool gone;

    pthread_mutex_lock(&l->lock);
    if (l->socket >= 0)
        (void)send_once(l, &message, NULL, 0, &gone, NULL); /* a new guardian has no such run */
    pthread_mutex_unlock(&l->lock);
}

/* *lost: the guardian went away before it answered. */
static enum sp_code ping_once(struct sp_launcher *l, int64_t deadline, bool *lost,
                              struct sp_error *err)
{
    struct guardian_request request = {.kind = GUARDIAN_PING};
    struct sp_buf message = {.data = (char *)&request, .len = sizeof request};
    sp_auto(sp_fd_close) int mine = -1, theirs = -1;
    struct guardian_report report;
    enum sp_code rc = sp_fd_sockets(SOCK_SEQPACKET, &mine, &theirs, err);
    struct pollfd answer = {.fd = mine, .events = POLLIN};
    ssize_t got;

    if (rc)
        return rc;
    pthread_mutex_lock(&l->lock);
    rc = send_request(l, &message, &theirs, 1, err);
    pthread_mutex_unlock(&l->lock);
    if (rc)
        return rc;
    close(SP_FD_TAKE(theirs));
    (void)poll(&answer, 1, sp_deadline_left(deadline));
    got = recv(mine, &report, sizeof report, MSG_DONTWAIT);
    *lost = got == 0;
    if (got != (ssize_t)sizeof report)
        return sp_error_set(err, SP_E_UNAVAILABLE, "guardian: no answer");
    if (report.kind == GUARDIAN_FAILED) {
        return sp_error_errno(err, SP_E_INVALID, report.error,
                              "guardian: this kernel does not list a process's children "
                              "(CONFIG_PROC_CHILDREN)");
    }
    return SP_OK;
}

enum sp_code sp_launcher_ping(struct sp_launcher *l, int64_t timeout_ms, struct sp_error *err)
{
    int64_t deadline = sp_deadline_in(timeout_ms);
    bool lost = false;
    enum sp_code rc = ping_once(l, deadline, &lost, err);

    return lost ? ping_once(l, deadline, &lost, err) : rc;
}
