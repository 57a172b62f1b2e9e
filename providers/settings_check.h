/* Checks of settings as given that more than one provider makes. RAGFlow's tests match on parts of
 * the messages. */
#pragma once

#include "settings/fields.h"

/* The string member, "" when it is absent or of another type. Borrowed from settings. */
const char *sp_setting_text(json_t *settings, const char *key);
/* SP_E_INVALID unless the string member is empty or an http:// or https:// address. */
SP_MUST_CHECK enum sp_code sp_setting_check_url(json_t *settings, const char *key,
                                                struct sp_error *err);
/* A member that a check names in its own words. */
struct sp_setting_range {
    const char *key, *what, *unit; /* "timeout", "Timeout", " seconds" */
};
/* SP_E_INVALID for the first row whose member is an integer outside the field's range. */
SP_MUST_CHECK enum sp_code sp_setting_check_ranges(json_t *settings, const struct sp_field *fields,
                                                   const struct sp_setting_range *rows, size_t n,
                                                   struct sp_error *err);
