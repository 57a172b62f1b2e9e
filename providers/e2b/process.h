/* A process in a sandbox: process.Process/Start, whose stream lasts as long as it does (reference
 * e2b 4.3 to 4.5). */
#pragma once

#include "base/result.h"
#include "providers/e2b/envd.h"
#include "providers/output.h"

/* All borrowed for the call. */
struct sp_e2b_process {
    const char *const *argv; /* NULL-terminated; the program is looked up by envd */
    const char *cwd, *tag;
    int64_t timeout_ms;     /* from the start event on */
    int64_t start_deadline; /* until that */
    struct sp_e2b_limits limits;
};

/* What came. Zeroed, with out and err initialised, before; the caller clears the streams. */
struct sp_e2b_process_end {
    struct sp_output out, err;
    enum sp_started started;
    enum sp_outcome outcome;      /* how it ended, unless by itself */
    bool exited;                  /* by itself; else by a signal */
    int exit_code;                /* -1 for a signal */
    char status[64];              /* "signal: killed" */
    int64_t started_us, ended_us; /* monotonic; 0: not */
};

/*
 * SP_OK: it ended, or its time passed, or it was cancelled once it may have started: the process
 * may then go on, and only the sandbox's end ends it. SP_E_UNAVAILABLE with end->started YES: the
 * stream broke; the message tells whether the sandbox is gone. Else as sp_e2b_do(). Messages may
 * hold words of the peer's. *end is filled as far as it came.
 */
SP_MUST_CHECK enum sp_code sp_e2b_process_run(const struct sp_envd *envd,
                                              const struct sp_e2b_process *process,
                                              struct sp_e2b_process_end *end, struct sp_error *err);
