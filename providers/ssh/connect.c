#include "providers/ssh/connect.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

#include "providers/ssh/auth.h"
#include "providers/ssh/dial.h"
#include "providers/ssh/host_key.h"

enum { CONNECT_MS = 20000 };

/* conn.c decides when. libssh2 would count from the wall clock, which may be set back; this time,
 * before all others, has always passed. */
#define KEEPALIVE_S ((unsigned)INT_MIN)

static int step_handshake(struct sp_ssh_conn *conn, void *ctx)
{
    (void)ctx;
    return libssh2_session_handshake(conn->session, conn->fd);
}

static enum sp_code shake_hands(struct sp_ssh_conn *conn, struct sp_ssh_user *user,
                                const struct sp_ssh_wait *wait, struct sp_error *err)
{
    char *text = NULL;
    int result;
    enum sp_code rc = sp_ssh_run(conn, user, "handshake", step_handshake, NULL, wait, &result, err);

    conn->shaken = !rc && !result;
    if (rc || !result)
        return rc;
    libssh2_session_last_error(conn->session, &text, NULL, 0);
    return sp_error_set(err, SP_E_UNAVAILABLE, "%s: handshake: %s (libssh2 %s)", conn->name, text,
                        libssh2_version(0));
}

/* A connection to the right host. *again as sp_host_keys_check(). */
static enum sp_code reach(const struct sp_ssh_options *options, struct sp_host_keys *keys,
                          struct sp_ssh_user *user, const struct sp_ssh_wait *wait,
                          struct sp_ssh_conn **out, bool *again, struct sp_error *err)
{
    sp_auto(sp_ssh_conn_free) struct sp_ssh_conn *conn = NULL;
    int fd;

    *again = false;
    enum sp_code rc = sp_ssh_dial(options->host, options->port, keys->name, wait, &fd, err);
    if (!rc)
        rc = sp_ssh_conn_new(fd, keys->name, options->keepalive_ms, &conn, err);
    if (rc)
        return rc;
    if (!sp_host_keys_prefer(keys, conn->session))
        return sp_error_set(err, SP_E_DENIED, "%s: host key: no key type is left", keys->name);
    rc = shake_hands(conn, user, wait, err);
    if (!rc)
        rc = sp_host_keys_check(keys, conn->session, again, err);
    if (!rc)
        *out = SP_TAKE(conn);
    return rc;
}

/* With a pinned key the server is asked for one type of key after the other, until it shows that
 * one; what it showed first is in the message if none is. */
static enum sp_code reach_pinned(const struct sp_ssh_options *options, struct sp_host_keys *keys,
                                 struct sp_ssh_user *user, const struct sp_ssh_wait *wait,
                                 struct sp_ssh_conn **out, struct sp_error *err)
{
    struct sp_error later;
    bool again;
    enum sp_code first = reach(options, keys, user, wait, out, &again, err);
    enum sp_code rc = first;

    while (rc && again)
        rc = reach(options, keys, user, wait, out, &again, &later);
    if (rc == SP_E_TIMEOUT || rc == SP_E_CANCELLED)
        return sp_error_set(err, rc, "%s", rc == first ? err->msg : later.msg);
    return rc ? first : SP_OK;
}

static enum sp_code connect_within(const struct sp_ssh_options *options, const char *name,
                                   struct sp_ssh_user *user, const struct sp_ssh_wait *wait,
                                   struct sp_ssh_conn **out, struct sp_error *err)
{
    sp_auto(sp_ssh_key_clear) struct sp_ssh_key key = {0};
    sp_auto(sp_host_keys_clear) struct sp_host_keys keys = {0};
    sp_auto(sp_ssh_conn_free) struct sp_ssh_conn *conn = NULL;
    enum sp_code rc = SP_OK;

    if (options->private_key && *options->private_key)
        rc = sp_ssh_key_load(options, name, &key, err);
    if (!rc)
        rc = sp_host_keys_load(options, name, &keys, err);
    if (!rc)
        rc = reach_pinned(options, &keys, user, wait, &conn, err);
    if (!rc)
        rc = sp_ssh_authenticate(conn, user, options, &key, wait, err);
    if (!rc) /* before commands take all sessions that the server has */
        rc = sp_ssh_start_sftp(conn, user, wait, err);
    if (rc)
        return rc;
    assert(conn);
    libssh2_keepalive_config(conn->session, 1, KEEPALIVE_S);
    *out = SP_TAKE(conn);
    return SP_OK;
}

enum sp_code sp_ssh_connect(const struct sp_ssh_options *options, const char *name,
                            struct sp_ssh_user *user, const struct sp_ssh_wait *wait,
                            struct sp_ssh_conn **out, struct sp_error *err)
{
    const struct sp_ssh_wait limits = {sp_deadline_min(wait->deadline, sp_deadline_in(CONNECT_MS)),
                                       wait->cancel_fd};
    enum sp_code rc = connect_within(options, name, user, &limits, out, err);

    if (rc == SP_E_TIMEOUT && sp_deadline_left(wait->deadline) != 0)
        rc = sp_error_set(err, SP_E_UNAVAILABLE, "%s: the server does not answer", name);
    return rc;
}
