/* What is still to be said of a program that has ended, wherever it ran. */
#pragma once

#include "base/result.h"

/*
 * `result` tells how the program ended and has its streams. Takes the value from the document
 * (over: it was longer than we take), or from a marker on stdout, and sees whether a resource limit
 * ended the program. SP_E_NOMEM.
 */
SP_MUST_CHECK enum sp_code sp_ending_read(struct sp_result *result, struct sp_bytes document,
                                          bool over, struct sp_error *err);
/*
 * The same where the call that ran it failed with `rc` and no answer tells. If the program can have
 * started (result->started), then giving up is its time-out or cancellation, and too long an answer
 * (SP_E_LIMIT) its limit: SP_OK. Else rc.
 */
SP_MUST_CHECK enum sp_code sp_ending_unanswered(struct sp_result *result, enum sp_code rc);
