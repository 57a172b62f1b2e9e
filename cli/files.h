/* Files that commands read and write. */
#pragma once

#include "base/buf.h"

#define SP_STDIN "-"

/* Appends the whole file, or standard input for "-". SP_E_INVALID names the path and why;
 * SP_E_LIMIT: it is over the ceiling of out. */
SP_MUST_CHECK enum sp_code sp_file_read(const char *path, struct sp_buf *out, struct sp_error *err);

/*
 * Writes one file below the directory dir_fd, with the folders that its name has. The name comes
 * from outside: absolute names, empty, "." and ".." parts and control characters are SP_E_INVALID,
 * and no link is followed on the way. A file of that name is replaced.
 */
SP_MUST_CHECK enum sp_code sp_file_write_below(int dir_fd, const char *name, const void *data,
                                               size_t len, struct sp_error *err);
/* Opens (makes, with its parents) a directory. The caller closes *fd. */
SP_MUST_CHECK enum sp_code sp_directory_open(const char *path, int *fd, struct sp_error *err);
/* Writes path whole or not at all: a reader never sees half of it. */
SP_MUST_CHECK enum sp_code sp_file_replace(const char *path, const void *data, size_t len,
                                           struct sp_error *err);
