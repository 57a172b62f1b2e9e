/* What a link consists of, for the files that work on it. */
#pragma once

#include "providers/ssh/conn.h"

struct sp_ssh_link {
    struct sp_ssh_pool *pool;
    struct sp_ssh_conn *conn;
    struct sp_ssh_user user;
    LIBSSH2_CHANNEL *channel; /* of the command, or ready for one */
    bool used;                /* a command was started on it */
    bool stderr_next;         /* the streams take turns */
    bool no_such_file;
};

/* Opens the link's channel. SP_E_BUSY: the server takes no more sessions on this connection. */
SP_MUST_CHECK enum sp_code
sp_ssh_open_channel(struct sp_ssh_link *link, const struct sp_ssh_wait *wait, struct sp_error *err);
