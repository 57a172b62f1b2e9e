/* The clean environment of a run: PATH, HOME, LANG, TMPDIR, and what the settings add. */
#pragma once

#include <jansson.h>

#include "base/error.h"

struct sp_environment; /* of one provider; immutable */

/* The object of the setting `environment`: names without "=", text values. SP_E_INVALID. */
SP_MUST_CHECK enum sp_code sp_environment_check(json_t *map, struct sp_error *err);
/* From that object as JSON text. */
SP_MUST_CHECK enum sp_code sp_environment_new(const char *json, struct sp_environment **out,
                                              struct sp_error *err);
void sp_environment_free(struct sp_environment *e);

/* The list for a run in `folder`, NULL-terminated; one allocation, the caller frees it. NULL
 * without memory. Points into e. */
const char **sp_environment_of_run(const struct sp_environment *e, const char *folder);
