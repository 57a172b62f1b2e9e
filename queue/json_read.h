/* Values out of JSON text that sp_json_scan() accepted: members by name, texts, bytes. */
#pragma once

#include "base/json_slice.h"

struct sp_member {
    const char *name;
    struct sp_json_value value; /* SP_JSON_NULL: absent or null, which count alike */
    bool seen;
};

/*
 * Fills the values of `members` (named by the caller, zeroed else) from an object that
 * sp_json_scan() accepted; unknown members are passed over. SP_E_INVALID: some name, known or not,
 * is there twice; the text begins with it, and the first ones are filled in all the same.
 * SP_E_NOMEM.
 */
SP_MUST_CHECK enum sp_code sp_json_read_members(const struct sp_json_value *object,
                                                struct sp_member *members, size_t n_members,
                                                struct sp_error *err);

/* Both set err to a text that begins with field, and make *out, whose ceiling
 * is max; the caller clears it, also on failure. SP_E_INVALID, SP_E_LIMIT, SP_E_NOMEM. */

/* A string's text, which is NUL-terminated. Half a surrogate pair is refused. */
SP_MUST_CHECK enum sp_code sp_json_read_text(const char *field, const struct sp_json_value *value,
                                             size_t max, struct sp_buf *out, struct sp_error *err);
/* The bytes of a string in strict base64. */
SP_MUST_CHECK enum sp_code sp_json_read_base64(const char *field, const struct sp_json_value *value,
                                               size_t max, struct sp_buf *out,
                                               struct sp_error *err);
