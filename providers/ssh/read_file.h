/* A small file of the worker's machine, at once. */
#pragma once

#include "base/buf.h"

/* Adds the file to out; wipe it where it holds a secret. 0 or an errno; EFBIG: above out->max. A
 * pipe or a device is EINVAL, so that nothing here can block. */
int sp_ssh_read_file(const char *path, struct sp_buf *out);
