/* One run inside the guardian's program: the process that starts it, watches it and ends it. */
#pragma once

#include "providers/local/guardian.h"

struct keeper_start {
    const struct guardian_limit *limits;
    char **args, **env; /* NULL-terminated; args[0] is the path of the program */
    int *fds;           /* GUARDIAN_FDS of them */
};

/* Runs the program and does not come back. Exits with 0 once no descendant is left. */
_Noreturn void keeper_run(const struct keeper_start *start);

/* Sends one report; a worker that is gone does not matter. */
void keeper_report(int control, const struct guardian_report *report);
/* Calls visit with the pid of each child of this process. 0, or errno: the kernel gives no list. */
int keeper_each_child(void (*visit)(pid_t pid));
/* Kills a child and its process group, unless that is our own. */
void keeper_kill(pid_t pid);
/* Waits for descriptors as poll(2), or SIGCHLD, which is blocked at all other times. */
struct pollfd;
int keeper_wait(struct pollfd *fds, unsigned n, int timeout_ms);
int64_t keeper_now_us(void);
/* Ignores (or resets) what a terminal or a program could send to end us. */
void keeper_signals(bool ignore);
