/* What makes two requests of one id the same: CONTRACT.md 2.1, values normalised as in 9. */
#pragma once

#include "base/request.h"

#define SP_DIGEST_SIZE 65

/*
 * Lower-case hex SHA-256 that depends on language, code, raw text of the arguments, timeout (ms),
 * options and files, and on nothing else. The order of the files counts. SP_E_NOMEM. Thread:
 * any.
 */
SP_MUST_CHECK enum sp_code sp_request_digest(const struct sp_request *req,
                                             char out[SP_DIGEST_SIZE]);
