/* What makes two requests of one id the same: CONTRACT.md 2.1, values normalised as in 9. */
#pragma once

#include "base/request.h"

#define SP_DIGEST_SIZE 65

/*
 * Lower-case hex SHA-256 over language, code, raw text of the arguments, files, timeout (ms) and
 * options, each with its length in front. Two requests have one digest when these are equal; files
 * count in the order given. Thread: any.
 */
void sp_request_digest(const struct sp_request *req, char out[SP_DIGEST_SIZE]);
