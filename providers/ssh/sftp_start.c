/* The SFTP subsystem of a connection. */
#include "providers/ssh/conn.h"

enum {
    START_TRIES = 3,  /* see exec.c */
    START_MS = 20000, /* login shells can be slow */
};

static int step_start(struct sp_ssh_conn *conn, void *ctx)
{
    struct sp_ssh_request *request = ctx;

    if (conn->lost)
        return LIBSSH2_ERROR_EAGAIN;
    request->begun = true;
    request->sftp = libssh2_sftp_init(conn->session);
    return request->sftp ? 0 : libssh2_session_last_errno(conn->session);
}

enum sp_code sp_ssh_start_sftp(struct sp_ssh_conn *conn, struct sp_ssh_user *user,
                               const struct sp_ssh_wait *wait, struct sp_error *err)
{
    struct sp_ssh_request request = {.step = step_start};
    const struct sp_ssh_wait limits = {sp_deadline_min(wait->deadline, sp_deadline_in(START_MS)),
                                       wait->cancel_fd};
    enum sp_code rc = SP_OK;
    int result = LIBSSH2_ERROR_CHANNEL_FAILURE;

    for (int i = 0; !rc && i < START_TRIES && result == LIBSSH2_ERROR_CHANNEL_FAILURE; i++)
        rc = sp_ssh_ask(conn, user, "SFTP", &request, &limits, &result, err);
    if (rc == SP_E_TIMEOUT && sp_deadline_left(wait->deadline) != 0) {
        sp_ssh_give_up(conn, "it does not start; is the machine's sftp-server there?");
        return sp_ssh_say_lost(conn, "SFTP", err);
    }
    if (!rc && result) {
        return sp_error_set(err, SP_E_INVALID,
                            "%s: SFTP: refused; sshd_config needs \"Subsystem sftp\" and "
                            "MaxSessions of 2 or more",
                            conn->name);
    }
    if (!rc)
        conn->sftp = request.sftp;
    return rc;
}

enum sp_code sp_ssh_enter_sftp(struct sp_ssh_conn *conn, struct sp_ssh_user *user, const char *what,
                               const struct sp_ssh_wait *wait, struct sp_error *err)
{
    enum sp_code rc = sp_ssh_enter(conn, user, &conn->files, what, wait, err);

    if (rc)
        return rc;
    if (!conn->sftp) /* an operation was given up; the sessions may be taken for the moment */
        rc = sp_ssh_start_sftp(conn, user, wait, err);
    if (rc == SP_E_INVALID)
        rc = sp_error_wrap(err, SP_E_UNAVAILABLE, "again");
    if (rc)
        sp_ssh_leave(conn, &conn->files);
    return rc;
}
