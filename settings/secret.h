/* References to secrets: env:NAME and file:PATH (a trailing newline is dropped). Anything else is
 * the secret itself. */
#pragma once

#include "settings/fields.h"

bool sp_secret_is_reference(const char *value);
/*
 * *out is a copy of `value`, or what the reference stands for: at most 64 KiB of UTF-8 text, not
 * empty. SP_E_INVALID names the variable or the path. Only regular files are read, so it does not
 * block. The caller frees *out.
 */
SP_MUST_CHECK enum sp_code sp_secret_get(const char *value, char **out, struct sp_error *err);
/* A copy of obj with the references of its secret fields resolved; SP_E_INVALID names key and
 * variable or path. */
SP_MUST_CHECK enum sp_code sp_secret_resolve(const struct sp_field *fields, size_t n, json_t *obj,
                                             json_t **out, struct sp_error *err);
