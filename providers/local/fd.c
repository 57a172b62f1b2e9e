#include "providers/local/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

enum sp_code sp_fd_code(int errno_value)
{
    static const int passing[] = {EAGAIN, ENOMEM, EMFILE, ENFILE, ENOSPC, EDQUOT, EBUSY, ENOBUFS};

    for (size_t i = 0; i < SP_COUNT(passing); i++) {
        if (errno_value == passing[i])
            return SP_E_UNAVAILABLE;
    }
    return SP_E_INTERNAL;
}

static enum sp_code hand_out(const int *pair, int *ours, int *theirs, struct sp_error *err)
{
    if (fcntl(pair[0], F_SETFL, O_NONBLOCK)) {
        close(pair[0]);
        close(pair[1]);
        return sp_error_errno(err, SP_E_INTERNAL, errno, "descriptor");
    }
    *ours = pair[0];
    *theirs = pair[1];
    return SP_OK;
}

enum sp_code sp_fd_pipe(int *ours, int *theirs, struct sp_error *err)
{
    int pair[2];

    if (pipe2(pair, O_CLOEXEC))
        return sp_error_errno(err, sp_fd_code(errno), errno, "pipe");
    return hand_out(pair, ours, theirs, err);
}

enum sp_code sp_fd_sockets(int type, int *ours, int *theirs, struct sp_error *err)
{
    int pair[2];

    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair))
        return sp_error_errno(err, sp_fd_code(errno), errno, "socket pair");
    return hand_out(pair, ours, theirs, err);
}
