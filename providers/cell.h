/*
 * Programs that run as code inside a kernel (Jupyter's kind), where no process of ours starts: what
 * is sent as code, and what comes back in a marker line on standard output (reference ragflow 3.6).
 */
#pragma once

#include "base/buf.h"
#include "base/request.h"
#include "base/result.h"
#include "providers/protocol.h"

/* What one run of a kernel needs to be told from others by. */
struct sp_cell {
    char marker[SP_MARKER_MAX]; /* a random one, which the program cannot know beforehand */
};

/*
 * Appends the code to send: a line that runs the request's program with its arguments and files in
 * the kernel's current folder, beside an empty artifacts/. No loop of the kernel's runs for the
 * program, and its threads are waited for, as where it has a process of its own. Its top-level
 * names stay in the kernel for the next run; the folder and the output streams are put back.
 * Everything of the request's stands in it as base64. SP_E_NOMEM, SP_E_LIMIT.
 */
SP_MUST_CHECK enum sp_code sp_cell_write(struct sp_cell *cell, const struct sp_request *req,
                                         struct sp_buf *out, struct sp_error *err);
/*
 * Takes the marker line out of all that came on standard output and fills result_present, _value,
 * warning, exit_code, execution_us (the program's own time) and limit from it. *ended: there was
 * one, so the program came to its end (or printed it, which a hostile one can).
 * SP_E_NOMEM; SP_E_INVALID: a marker line that holds no result document.
 */
SP_MUST_CHECK enum sp_code sp_cell_read(const struct sp_cell *cell, struct sp_buf *out,
                                        struct sp_result *result, bool *ended,
                                        struct sp_error *err);
