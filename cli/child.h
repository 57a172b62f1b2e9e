/*
 * Processes that `dev` runs beside itself: each in a process group of its own, so that Ctrl-C
 * reaches only their parent, and killed by the kernel if that parent dies.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

struct sp_child {
    const char *name; /* for messages */
    int (*body)(void *ctx, int ready_fd);
    void *ctx;
    pid_t pid; /* 0: not running */
};

/*
 * Forks; the child runs body(ctx, ready_fd) and exits with what it returns. *ready_fd is the
 * reading end of a pipe whose writing end body gets; the caller closes it, and a body that failed
 * leaves it at its end. Signals that the parent blocks are free in the child. Call from the main
 * thread while there is no other.
 */
SP_MUST_CHECK enum sp_code sp_child_start(struct sp_child *child, int *ready_fd,
                                          struct sp_error *err);
/* True once it has ended; it is then reaped and *status filled. Does not block. */
bool sp_child_ended(struct sp_child *child, int *status);
/* Sends SIGTERM, waits limit_ms, then kills. Nothing where it is not running. */
void sp_child_stop(struct sp_child *child, int64_t limit_ms);
