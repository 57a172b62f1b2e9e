/*
 * The guardian's program: a fork server with one thread and no memory of jobs. It is linked
 * statically and carried inside the library (guardian_image.c), so the project stays one binary.
 * guardian.h has the protocol.
 */
#include "providers/local/guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "providers/local/keeper.h"

enum {
    ARGS_MAX = 32,
    ENV_MAX = 1024,
    KEEPERS_GRACE_US =
        1000000, /* keepers see the worker's end themselves; a stopped one does not */
    STRAY_PAUSE_MS = 10,
};

static struct {
    pid_t pid;
    uint64_t run;
} keepers[GUARDIAN_RUNS_MAX];
static bool strays; /* children that are no keepers may be there */

static void on_child(int number)
{
    (void)number; /* only ends the wait */
}

static size_t find_keeper(pid_t pid)
{
    size_t i = 0;

    while (i < GUARDIAN_RUNS_MAX && keepers[i].pid != pid)
        i++;
    return i;
}

static void refuse(int control, enum guardian_step step, int error)
{
    keeper_report(control,
                  &(struct guardian_report){.kind = GUARDIAN_FAILED, .step = step, .error = error});
}

/* Points list at n texts between *at and end; false when they are not all there. */
static bool take_texts(char **at, const char *end, char **list, uint32_t n, uint32_t max)
{
    if (n > max)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        char *nul = memchr(*at, 0, (size_t)(end - *at));

        if (!nul)
            return false;
        list[i] = *at;
        *at = nul + 1;
    }
    list[n] = NULL;
    return true;
}

static void start_run(const struct guardian_request *request, char *texts, const char *end,
                      int *fds)
{
    static char *args[ARGS_MAX + 1], *env[ENV_MAX + 1];
    struct keeper_start start = {.limits = request->limits, .args = args, .env = env, .fds = fds};
    int control = fds[GUARDIAN_FD_CONTROL];
    size_t slot = find_keeper(0);
    pid_t pid;

    if (request->n_args == 0 || !take_texts(&texts, end, args, request->n_args, ARGS_MAX) ||
        !take_texts(&texts, end, env, request->n_env, ENV_MAX)) {
        refuse(control, GUARDIAN_STEP_REQUEST, EINVAL);
        return;
    }
    if (slot == GUARDIAN_RUNS_MAX) {
        refuse(control, GUARDIAN_STEP_FORK, EAGAIN);
        return;
    }
    pid = fork();
    if (pid == 0)
        keeper_run(&start);
    if (pid < 0) {
        refuse(control, GUARDIAN_STEP_FORK, errno);
        return;
    }
    keepers[slot].pid = pid;
    keepers[slot].run = request->run;
}

static void kill_run(uint64_t run)
{
    for (size_t i = 0; i < GUARDIAN_RUNS_MAX; i++) {
        if (keepers[i].pid && keepers[i].run == run)
            kill(keepers[i].pid, SIGKILL); /* its tree becomes ours: strays */
    }
}

static void ignore_child(pid_t pid)
{
    (void)pid;
}

static void answer_ping(int control)
{
    int error = keeper_each_child(ignore_child);

    if (error) {
        refuse(control, GUARDIAN_STEP_CHILDREN, error);
    } else {
        keeper_report(control, &(struct guardian_report){.kind = GUARDIAN_READY});
    }
}

static void serve(struct guardian_request *request, size_t len, int *fds, int n_fds)
{
    char *bytes = (char *)request;

    if (request->kind == GUARDIAN_START && n_fds == GUARDIAN_FDS) {
        start_run(request, bytes + sizeof *request, bytes + len, fds);
    } else if (request->kind == GUARDIAN_PING && n_fds == 1) {
        answer_ping(fds[0]);
    } else if (request->kind == GUARDIAN_KILL) {
        kill_run(request->run);
    }
}

/* Takes one request. False: the worker has closed its side. */
static bool serve_next(void)
{
    static _Alignas(struct guardian_request) char message[GUARDIAN_MESSAGE_MAX];
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * GUARDIAN_FDS)];
    struct iovec part = {.iov_base = message, .iov_len = sizeof message};
    struct msghdr head = {.msg_iov = &part,
                          .msg_iovlen = 1,
                          .msg_control = control,
                          .msg_controllen = sizeof control};
    struct cmsghdr *c;
    int fds[GUARDIAN_FDS], n_fds = 0;
    ssize_t got = recvmsg(GUARDIAN_SOCKET, &head, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
        return false;
    if (got < 0)
        return true;
    c = CMSG_FIRSTHDR(&head);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        n_fds = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(c), (size_t)n_fds * sizeof(int));
    }
    if ((size_t)got >= sizeof(struct guardian_request))
        serve((struct guardian_request *)(void *)message, (size_t)got, fds, n_fds);
    while (n_fds > 0)
        close(fds[--n_fds]);
    return true;
}

/* False: no child is left. */
static bool reap(void)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        size_t i = find_keeper(pid);

        if (i < GUARDIAN_RUNS_MAX)
            keepers[i].pid = 0;
        /* A keeper that ends well leaves nothing; one that was killed leaves its tree to us. */
        if (i == GUARDIAN_RUNS_MAX || status != 0)
            strays = true;
    }
    return pid == 0;
}

static void kill_stray(pid_t pid)
{
    if (find_keeper(pid) < GUARDIAN_RUNS_MAX)
        return;
    strays = true;
    keeper_kill(pid);
}

static void kill_strays(void)
{
    if (!strays)
        return;
    strays = false;
    keeper_each_child(kill_stray);
}

static void kill_keepers(void)
{
    for (size_t i = 0; i < GUARDIAN_RUNS_MAX; i++) {
        if (keepers[i].pid)
            kill(keepers[i].pid, SIGKILL);
    }
}

static void prepare(void)
{
    sigset_t child;

    /* The memory file that we were started from would otherwise stay open in every program. */
    closefrom(GUARDIAN_SOCKET + 1);
    prctl(PR_SET_NAME, "sandpiper-guard");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    prctl(PR_SET_DUMPABLE, 0); /* a program of the same user must not trace us or the keepers */
    keeper_signals(true);
    (void)signal(SIGCHLD, on_child);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    pthread_sigmask(SIG_SETMASK, &child, NULL);
}

int main(void)
{
    struct pollfd socket = {.fd = GUARDIAN_SOCKET, .events = POLLIN};
    int64_t closed_us = 0;

    prepare();
    for (;;) {
        bool children = reap();

        if (closed_us && !children)
            return 0;
        if (closed_us && keeper_now_us() - closed_us > KEEPERS_GRACE_US)
            kill_keepers();
        kill_strays();
        /* Until a look finds no stray, their forks are looked for again and again. */
        if (keeper_wait(&socket, 1, strays ? STRAY_PAUSE_MS : closed_us ? 100 : -1) <= 0)
            continue;
        if (!serve_next()) {
            socket.fd = -1;
            closed_us = keeper_now_us();
        }
    }
}
