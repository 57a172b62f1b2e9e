/* Requests of which libssh2 can have one in hand, and the one that was given up in its middle. */
#include <stdlib.h>

#include "base/text.h"
#include "providers/ssh/conn.h"

enum { OVERDUE_MS = 10000 };

static void disown(struct sp_ssh_conn *c, struct sp_ssh_request *request)
{
    c->given_up = *request;
    c->given_up_until = sp_deadline_in(OVERDUE_MS);
    request->channel = NULL;
    if (request->command) {
        c->given_up_command = sp_strdup(request->command);
        if (!c->given_up_command)
            sp_ssh_give_up(c, "out of memory");
        c->given_up.command = c->given_up_command;
    }
}

/* Its answer would be taken for that of the next request. */
static enum sp_code finish_given_up(struct sp_ssh_conn *c, struct sp_ssh_user *user,
                                    const char *what, const struct sp_ssh_wait *wait,
                                    struct sp_error *err)
{
    struct sp_ssh_request *old = &c->given_up;
    const struct sp_ssh_wait limits = {sp_deadline_min(wait->deadline, c->given_up_until),
                                       wait->cancel_fd};
    int result;

    if (!old->step)
        return SP_OK;
    enum sp_code rc = sp_ssh_run(c, user, what, old->step, old, &limits, &result, err);
    if (rc == SP_E_TIMEOUT && sp_deadline_left(c->given_up_until) == 0) {
        sp_ssh_give_up(c, "a request is not answered");
        return sp_ssh_say_lost(c, what, err);
    }
    if (rc)
        return rc;
    sp_ssh_discard(c, (struct sp_ssh_leftover){.channel = old->channel, .sftp = old->sftp});
    free(c->given_up_command);
    c->given_up_command = NULL;
    *old = (struct sp_ssh_request){0};
    return SP_OK;
}

enum sp_code sp_ssh_ask(struct sp_ssh_conn *conn, struct sp_ssh_user *user, const char *what,
                        struct sp_ssh_request *request, const struct sp_ssh_wait *wait, int *result,
                        struct sp_error *err)
{
    enum sp_code rc = sp_ssh_enter(conn, user, &conn->requests, what, wait, err);

    if (rc)
        return rc;
    rc = finish_given_up(conn, user, what, wait, err);
    if (!rc) {
        rc = sp_ssh_run(conn, user, what, request->step, request, wait, result, err);
        if (rc && request->begun && !conn->lost)
            disown(conn, request);
    }
    sp_ssh_leave(conn, &conn->requests);
    return rc;
}
