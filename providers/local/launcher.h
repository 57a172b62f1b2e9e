/*
 * The worker's side of the guardian (guardian.h): starts it, sends it requests, and starts a new
 * one when it is gone. Runs that an old guardian started go on: their keepers live on their own.
 */
#pragma once

#include "base/error.h"
#include "providers/local/guardian.h"

struct sp_launcher;

/* Starts a guardian. SP_E_UNAVAILABLE: out of processes, memory or descriptors. */
SP_MUST_CHECK enum sp_code sp_launcher_open(struct sp_launcher **out, struct sp_error *err);
/* Ends the guardian and what it may still run; blocks until that is gone, 3 s at most. */
void sp_launcher_close(struct sp_launcher *l);

/* What to start; borrowed for the call. args[0] is the program's path. */
struct sp_launch {
    const char *const *args, *const *env; /* NULL-terminated; at most 32 and 1024 */
    struct guardian_limit limits[GUARDIAN_LIMITS];
};
/*
 * Asks for a start with fds as in guardian.h, which stay the caller's. *run names the run for
 * sp_launcher_kill(). The answer comes on the control socket; its end without any answer means that
 * nothing was started. SP_E_UNAVAILABLE: not asked, try later. SP_E_LIMIT: too long a request.
 * Thread: any. Does not block.
 */
SP_MUST_CHECK enum sp_code sp_launcher_start(struct sp_launcher *l, const struct sp_launch *launch,
                                             const int *fds, uint64_t *run, struct sp_error *err);
/* For a keeper that does not answer: it is killed, and what it watched with it. Thread: any. */
void sp_launcher_kill(struct sp_launcher *l, uint64_t run);
/* SP_OK when a guardian answers and can do its work. */
SP_MUST_CHECK enum sp_code sp_launcher_ping(struct sp_launcher *l, int64_t timeout_ms,
                                            struct sp_error *err);
