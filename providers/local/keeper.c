/*
 * The keeper of one run: a process forked by the guardian. It is a sub-reaper, so whatever the
 * program leaves behind becomes its child and cannot get away; it kills all of it when the program
 * ends, when the worker says so, and when the worker is gone.
 */
#include "providers/local/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    STACK_BYTES = 65536,
    REPORT_AFTER_US = 50000, /* EXITED does not wait longer for what cannot be killed at once */
    PROGRAM_FDS = GUARDIAN_FD_JOB + 1,
    FREE_FD = 32, /* above all descriptors that are in use at the start of a program */
};

struct program {
    const struct keeper_start *start;
    pid_t keeper;
    enum guardian_step step; /* the one being done, in memory shared until the exec */
    int error;               /* of that step; 0: the program runs */
};

struct keeper {
    int control;
    pid_t program; /* 0 once reaped */
    bool told;     /* to kill */
    bool reported; /* EXITED */
    struct guardian_report end;
};

int64_t keeper_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void keeper_report(int control, const struct guardian_report *report)
{
    (void)send(control, report, sizeof *report, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void keeper_signals(bool ignore)
{
    static const int faults[] = {SIGSEGV, SIGBUS,  SIGILL, SIGFPE,
                                 SIGABRT, SIGTRAP, SIGSYS, SIGCHLD};
    sigset_t spared;

    sigemptyset(&spared);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        sigaddset(&spared, faults[i]);
    for (int number = 1; number <= SIGRTMAX; number++) {
        if (!sigismember(&spared, number))
            (void)signal(number, ignore ? SIG_IGN : SIG_DFL); /* refused for KILL and STOP */
    }
}

int keeper_wait(struct pollfd *fds, unsigned n, int timeout_ms)
{
    struct timespec limit = {.tv_sec = timeout_ms / 1000, .tv_nsec = timeout_ms % 1000 * 1000000L};
    sigset_t none;

    sigemptyset(&none);
    return ppoll(fds, n, timeout_ms < 0 ? NULL : &limit, &none);
}

int keeper_each_child(void (*visit)(pid_t pid))
{
    char chunk[4096];
    ssize_t got;
    pid_t pid = 0;
    int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return errno;
    while ((got = read(fd, chunk, sizeof chunk)) > 0) {
        for (ssize_t i = 0; i < got; i++) {
            if (chunk[i] >= '0' && chunk[i] <= '9') {
                pid = pid * 10 + (chunk[i] - '0');
            } else if (pid > 0) {
                visit(pid);
                pid = 0;
            }
        }
    }
    close(fd);
    return 0;
}

void keeper_kill(pid_t pid)
{
    pid_t group = getpgid(pid);

    /* A whole group is killed in one step, which even a chain of forks cannot outrun. */
    if (group > 1 && group != getpgrp())
        kill(-group, SIGKILL);
    kill(pid, SIGKILL);
}

static bool take_descriptors(const int *fds)
{
    int high[PROGRAM_FDS];

    for (int i = 0; i < PROGRAM_FDS; i++) {
        high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, FREE_FD);
        if (high[i] < 0)
            return false;
    }
    if (fchdir(fds[GUARDIAN_FD_WORKSPACE]))
        return false;
    for (int i = 0; i < PROGRAM_FDS; i++) {
        if (dup2(high[i], i + 1) < 0)
            return false;
    }
    closefrom(PROGRAM_FDS + 1);
    return true;
}

static bool set_limits(const struct guardian_limit *limits)
{
    for (int i = 0; i < GUARDIAN_LIMITS && limits[i].resource >= 0; i++) {
        struct rlimit now, wanted = {.rlim_cur = limits[i].soft, .rlim_max = limits[i].hard};

        if (getrlimit((__rlimit_resource_t)limits[i].resource, &now))
            return false;
        if (wanted.rlim_max > now.rlim_max)
            wanted.rlim_max = now.rlim_max;
        if (wanted.rlim_cur > wanted.rlim_max)
            wanted.rlim_cur = wanted.rlim_max;
        if (setrlimit((__rlimit_resource_t)limits[i].resource, &wanted))
            return false;
    }
    return true;
}

/* The program's side of clone(2), in the keeper's memory until the exec; the keeper is suspended
 * meanwhile. */
static int program_main(void *arg)
{
    struct program *p = arg;
    sigset_t none;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != p->keeper)
        _exit(127);
    setsid();
    umask(077);
    p->step = GUARDIAN_STEP_DESCRIPTORS;
    if (!take_descriptors(p->start->fds))
        goto failed;
    p->step = GUARDIAN_STEP_LIMITS;
    if (!set_limits(p->start->limits))
        goto failed;
    keeper_signals(false);
    (void)signal(SIGCHLD, SIG_DFL);
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    p->step = GUARDIAN_STEP_EXEC;
    execve(p->start->args[0], p->start->args, p->start->env);
failed:
    p->error = errno ? errno : EINVAL;
    _exit(127);
}

/* The program's pid, or -1 with the failure in p. */
static pid_t start_program(struct program *p)
{
    static _Alignas(16) char stack[STACK_BYTES];
    pid_t pid = clone(program_main, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, p);

    if (pid < 0)
        p->error = errno;
    if (!p->error)
        return pid;
    if (pid > 0)
        waitpid(pid, NULL, 0);
    return -1;
}

/* Reaps what has ended. False: no descendant is left. */
static bool reap(struct keeper *k)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid != k->program)
            continue;
        k->program = 0;
        k->end = (struct guardian_report){.kind = GUARDIAN_EXITED,
                                          .wait_status = status,
                                          .by_itself = !k->told,
                                          .at_us = keeper_now_us()};
    }
    return pid == 0;
}

/* Until the program has ended or the worker wants it ended. */
static void watch(struct keeper *k)
{
    while (reap(k) && k->program && !k->told) {
        struct pollfd control = {.fd = k->control, .events = POLLIN};

        if (keeper_wait(&control, 1, -1) > 0)
            k->told = true;
    }
}

static void report_end(struct keeper *k)
{
    if (!k->program && !k->reported) {
        keeper_report(k->control, &k->end);
        k->reported = true;
    }
}

/* Kills and reaps until nothing is left. Killing a process gives us its children, so this goes on
 * in rounds. */
static void end_all(struct keeper *k)
{
    int64_t report_at = keeper_now_us() + REPORT_AFTER_US;
    int pause_ms = 1;

    while (reap(k)) {
        keeper_each_child(keeper_kill);
        if (keeper_now_us() > report_at) {
            report_end(k);
            pause_ms = 20; /* something is stuck in the kernel */
        }
        (void)keeper_wait(NULL, 0, pause_ms);
    }
    report_end(k);
    keeper_report(k->control, &(struct guardian_report){.kind = GUARDIAN_CLEAN});
}

_Noreturn void keeper_run(const struct keeper_start *start)
{
    struct program program = {.start = start, .keeper = getpid(), .step = GUARDIAN_STEP_FORK};
    struct keeper k = {.control = start->fds[GUARDIAN_FD_CONTROL]};

    close(GUARDIAN_SOCKET);
    prctl(PR_SET_NAME, "sandpiper-keep");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    k.program = start_program(&program);
    if (k.program < 0) {
        keeper_report(k.control, &(struct guardian_report){.kind = GUARDIAN_FAILED,
                                                           .step = program.step,
                                                           .error = program.error});
        _exit(0);
    }
    keeper_report(k.control,
                  &(struct guardian_report){.kind = GUARDIAN_STARTED, .at_us = keeper_now_us()});
    for (int i = 0; i < GUARDIAN_FDS; i++) {
        if (i != GUARDIAN_FD_CONTROL)
            close(start->fds[i]);
    }
    watch(&k);
    end_all(&k);
    _exit(0);
}
