/* Removing what a program left behind. */
#pragma once

#include "base/error.h"

/*
 * Removes `name` in the directory parent_fd, whatever it is, never through a link; folders without
 * permissions are opened first. Uses a handful of descriptors however deep the tree is. One that is
 * not there is SP_OK. SP_E_TIMEOUT: deadline_ms passed; SP_E_INTERNAL names what cannot be removed.
 */
SP_MUST_CHECK enum sp_code sp_tree_remove(int parent_fd, const char *name, int64_t deadline_ms,
                                          struct sp_error *err);
