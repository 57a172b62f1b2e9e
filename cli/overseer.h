/* What happens to a process that does nothing but watch over its children (cli/child.h): signals,
 * and their ends. For `dev`; one thread. */
#pragma once

#include <stddef.h>

#include "cli/child.h"

#define SP_READY_LINE_MAX 256

struct sp_overseer {
    struct sp_child *children; /* borrowed */
    size_t n;
    int signals; /* signalfd */
};

enum sp_happening {
    SP_HAPPENED_READY, /* the descriptor that was given is readable */
    SP_HAPPENED_STOP,
    SP_HAPPENED_RELOAD,
    SP_HAPPENED_CHILD,
    SP_HAPPENED_NOTHING, /* the time is over */
};

/* From here on SIGINT, SIGTERM, SIGHUP and SIGCHLD are seen only here. */
struct sp_overseer sp_overseer_open(struct sp_child *children, size_t n);
void sp_overseer_close(struct sp_overseer *s);
/* Waits until deadline (monotonic). fd: -1 for none. */
enum sp_happening sp_overseer_next(const struct sp_overseer *s, int fd, int64_t deadline);
/* The name of a child that has ended by itself; NULL: all that were started are running. */
const char *sp_overseer_ended(const struct sp_overseer *s);
/*
 * Starts a child and waits for the one line that it writes when it is ready, at most 30 s; line is
 * without its end. SP_E_CANCELLED: a stop was asked for; SP_E_UNAVAILABLE: a child ended.
 */
SP_MUST_CHECK enum sp_code sp_overseer_start(const struct sp_overseer *s, struct sp_child *child,
                                             char line[SP_READY_LINE_MAX], struct sp_error *err);
/* Reads that line; SP_E_UNAVAILABLE: fd ended without one. Blocks until either. */
SP_MUST_CHECK enum sp_code
sp_overseer_read_line(int fd, const char *name, char line[SP_READY_LINE_MAX], struct sp_error *err);
