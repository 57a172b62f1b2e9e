/* Which program runs a language. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* Where a bare name is looked for, and what a run gets as PATH. */
#define SP_STANDARD_PATH "/usr/local/bin:/usr/bin:/bin"

/*
 * The absolute path of `name`: itself when it has a slash, else looked for in SP_STANDARD_PATH (a
 * worker's own PATH often leads to a version manager's slow script). Links stay, since a virtual
 * environment's python is one. The caller frees *path. *script: it is a text file, slow to start.
 * SP_E_INVALID: "<key>: ..." says what to do.
 */
SP_MUST_CHECK enum sp_code sp_interpreter_find(const char *key, const char *name, char **path,
                                               bool *script, struct sp_error *err);
