/* Starting and ending the processes of `dev`. */
#include "cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

#define LOOK_EVERY_MS 10

static void become_child(pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    (void)setpgid(0, 0);
    (void)pthread_sigmask(SIG_SETMASK, &none, NULL);
    /* The parent may have died before the request was made. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
        _exit(EXIT_FAILURE);
}

enum sp_code sp_child_start(struct sp_child *child, int *ready_fd, struct sp_error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return sp_error_errno(err, SP_E_UNAVAILABLE, errno, "%s", child->name);
    (void)fflush(NULL); /* or what is buffered would be written twice */
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        become_child(parent);
        int code = child->body(child->ctx, ends[1]);
        (void)fflush(NULL);
        _exit(code);
    }
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return sp_error_errno(err, SP_E_UNAVAILABLE, errno, "%s", child->name);
    }
    child->pid = pid;
    *ready_fd = ends[0];
    return SP_OK;
}

bool sp_child_ended(struct sp_child *child, int *status)
{
    if (child->pid <= 0 || waitpid(child->pid, status, WNOHANG) != child->pid)
        return false;
    child->pid = 0;
    return true;
}

void sp_child_stop(struct sp_child *child, int64_t limit_ms)
{
    int status = 0;
    int64_t deadline = sp_deadline_in(limit_ms);
    if (child->pid > 0)
        (void)kill(child->pid, SIGTERM);
    while (child->pid > 0 && sp_deadline_left(deadline) > 0 && !sp_child_ended(child, &status))
        (void)poll(NULL, 0, LOOK_EVERY_MS);
    if (child->pid <= 0)
        return;
    (void)kill(child->pid, SIGKILL);
    (void)waitpid(child->pid, &status, 0);
    child->pid = 0;
}
