/*
 * A slot: a started process that waits for its job on a pipe of its own. The wrapper reads the job
 * to its end before it looks at the user's program, so until the job is handed over nothing of the
 * user's has run. Here each run starts its own slot; slots that are made and isolated ahead of time
 * fit behind the same struct.
 */
#pragma once

#include "providers/local/launcher.h"
#include "providers/provider.h"

/* Owned; sp_slot_clear() closes, which also ends what still runs. */
struct sp_slot {
    int out, err, result; /* to read; not blocking */
    int job;              /* to write; a socket, not blocking */
    int control;          /* the keeper's reports */
    uint64_t run;
    int64_t started_us; /* monotonic: when the interpreter began */
};
#define SP_SLOT_INIT                                                                               \
    ((struct sp_slot){.out = -1, .err = -1, .result = -1, .job = -1, .control = -1})

/*
 * Starts launch in the directory workspace_fd, within run's set-up limits. Whatever comes back
 * other than SP_OK, nothing of the user's ran. SP_E_UNAVAILABLE: the machine is short of something;
 * SP_E_INVALID: the interpreter cannot be executed; SP_E_TIMEOUT, SP_E_CANCELLED.
 */
SP_MUST_CHECK enum sp_code sp_slot_start(struct sp_launcher *launcher,
                                         const struct sp_launch *launch, int workspace_fd,
                                         const struct sp_run *run, struct sp_slot *out,
                                         struct sp_error *err);
void sp_slot_clear(struct sp_slot *slot);
SP_AUTO_CLEAR(struct sp_slot, sp_slot_clear)
