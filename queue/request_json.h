/* The fields of a request's JSON object that say what to run: CONTRACT.md 2. One table. */
#pragma once

#include "base/json_slice.h"
#include "base/limits.h"
#include "base/request.h"

/* Fields that queue/message.c weighs against the record's headers. SP_JSON_NULL: absent. */
struct sp_request_address {
    struct sp_json_value request_id, reply_to;
};

/*
 * Reads an object that sp_json_scan() accepted into an empty *req (not its id and reply_to) and
 * gives the raw values of *address. Behind a fault the other fields are read all the same.
 * SP_E_INVALID: the first fault, whose text begins with the field's name. SP_E_NOMEM.
 */
SP_MUST_CHECK enum sp_code sp_request_json_read(const struct sp_json_value *object,
                                                const struct sp_limits *limits,
                                                struct sp_request *req,
                                                struct sp_request_address *address,
                                                struct sp_error *err);
