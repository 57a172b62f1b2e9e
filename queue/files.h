/* The input files of a request: `files` of CONTRACT.md 2. */
#pragma once

#include "base/json_slice.h"
#include "base/request.h"

/*
 * Reads the array into req->files, which is empty before. Names are relative and never one that the
 * run itself needs; max_bytes holds for all contents together. SP_E_INVALID with a text that begins
 * with "files"; SP_E_NOMEM. What was read so far belongs to req, also on failure.
 */
SP_MUST_CHECK enum sp_code sp_files_read(const struct sp_json_value *array, int64_t max_bytes,
                                         struct sp_request *req, struct sp_error *err);
