/*
 * Reads what the executor manager answers to POST /run (reference ragflow 4.1, CONTRACT.md 3.5): it
 * says 200 to nearly everything, and the truth is in status and exit_code. Members that an older or
 * newer version leaves out count as null. The body is a peer's: nothing in it is trusted.
 */
#pragma once

#include "base/limits.h"
#include "base/result.h"

/* All borrowed. */
struct sp_service_answer {
    int http; /* status of the answer */
    struct sp_bytes body;
    const char *suffix; /* of the run's marker, see providers/protocol.h */
    int64_t timeout_ms; /* effective */
    const struct sp_limits *limits;
    bool to_log; /* the message may be logged, so the peer's words stay out of it */
};

/*
 * SP_OK: *out tells how the program ended. Else out->started says whether it may have begun:
 * SP_E_UNAVAILABLE, SP_E_BUSY; SP_E_DENIED: the token; SP_E_UNSUPPORTED: the manager's check
 * refuses the code, the findings are in the message; SP_E_INVALID: anything else; SP_E_NOMEM. *out
 * is empty before the call, and stays so where nothing began.
 */
SP_MUST_CHECK enum sp_code sp_service_answer_read(const struct sp_service_answer *answer,
                                                  struct sp_result *out, struct sp_error *err);
