/* Descriptors: closing by scope, pairs, and which failures pass by themselves. */
#pragma once

#include <unistd.h>

#include "base/error.h"

/* For `sp_auto(sp_fd_close) int fd = -1;` */
static inline void sp_fd_close_p(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define SP_FD_TAKE(var)                                                                            \
    __extension__({                                                                                \
        int taken_ = (var);                                                                        \
        (var) = -1;                                                                                \
        taken_;                                                                                    \
    })

/* SP_E_UNAVAILABLE where the machine is short of something for now, else SP_E_INTERNAL. */
enum sp_code sp_fd_code(int errno_value);
/* Both with close-on-exec; *ours does not block, *theirs does. */
SP_MUST_CHECK enum sp_code sp_fd_pipe(int *ours, int *theirs, struct sp_error *err);
SP_MUST_CHECK enum sp_code sp_fd_sockets(int type, int *ours, int *theirs, struct sp_error *err);
