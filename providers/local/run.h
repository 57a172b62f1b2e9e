/* One run: hands a slot its job, reads what comes back, and sees that it ends. */
#pragma once

#include "providers/local/slot.h"

struct sp_slot_job {
    const char *data; /* borrowed */
    size_t len;
    int64_t max_output; /* bytes a stream */
    int64_t max_result; /* bytes of the result document */
};

/*
 * Runs the slot's program to its end, the deadline (timeout_ms from the slot's start, or
 * run->deadline), or the cancel descriptor; then everything it started is gone within 1 s. Fills
 * outcome, exit_code, signal, limit, execution_us, both streams and what the result document says.
 * SP_E_INTERNAL: the process that watched the run was killed; SP_E_NOMEM.
 */
SP_MUST_CHECK enum sp_code sp_slot_run(struct sp_launcher *launcher, struct sp_slot *slot,
                                       const struct sp_slot_job *job, const struct sp_run *run,
                                       struct sp_result *out, struct sp_error *err);
