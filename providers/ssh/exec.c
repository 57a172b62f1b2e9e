/* Commands: a session channel each (RFC 4254, 6). */
#include <stdlib.h>
#include <string.h>

#include "providers/ssh/pool.h"

/* OpenSSH forgets a closed session only after it has gone through its loop once more, so that a
 * session may be refused right after another was closed. */
enum { OPEN_TRIES = 3 };

/* Both streams are asked for; what the server reports at the end belongs to neither. */
enum { STREAM_STDOUT = 0, STREAM_STDERR = SSH_EXTENDED_DATA_STDERR };

static int step_open(struct sp_ssh_conn *conn, void *ctx)
{
    struct sp_ssh_request *request = ctx;

    if (conn->lost)
        return LIBSSH2_ERROR_EAGAIN;
    request->begun = true;
    request->channel = libssh2_channel_open_session(conn->session);
    return request->channel ? 0 : libssh2_session_last_errno(conn->session);
}

enum sp_code sp_ssh_open_channel(struct sp_ssh_link *link, const struct sp_ssh_wait *wait,
                                 struct sp_error *err)
{
    struct sp_ssh_request request = {.step = step_open};
    int result = LIBSSH2_ERROR_CHANNEL_FAILURE;

    for (int i = 0; i < OPEN_TRIES && result == LIBSSH2_ERROR_CHANNEL_FAILURE; i++) {
        enum sp_code rc =
            sp_ssh_ask(link->conn, &link->user, "session", &request, wait, &result, err);
        if (rc)
            return rc;
    }
    if (result) {
        return sp_error_set(err, SP_E_BUSY,
                            "%s: session: refused by the server; is max_sessions above its "
                            "MaxSessions?",
                            link->conn->name);
    }
    link->channel = request.channel;
    link->used = false;
    return SP_OK;
}

static int step_start(struct sp_ssh_conn *conn, void *ctx)
{
    struct sp_ssh_request *request = ctx;

    if (conn->lost)
        return LIBSSH2_ERROR_EAGAIN;
    request->begun = true;
    return libssh2_channel_process_startup(request->channel, "exec", 4, request->command,
                                           (unsigned)strlen(request->command));
}

enum sp_code sp_ssh_exec(struct sp_ssh_link *link, const char *command,
                         const struct sp_ssh_wait *wait, enum sp_started *started,
                         struct sp_error *err)
{
    struct sp_ssh_request request = {.step = step_start, .command = command};
    int result = 0;
    enum sp_code rc = SP_OK;

    *started = SP_STARTED_NO;
    if (link->used)
        sp_ssh_close(link);
    if (!link->channel)
        rc = sp_ssh_open_channel(link, wait, err);
    if (rc)
        return rc == SP_E_BUSY ? sp_error_wrap(err, SP_E_UNAVAILABLE, "exec") : rc;
    request.channel = link->channel;
    link->used = true;
    rc = sp_ssh_ask(link->conn, &link->user, "exec", &request, wait, &result, err);
    link->channel = request.channel;
    if (rc) {
        *started = request.begun ? SP_STARTED_MAYBE : SP_STARTED_NO;
        return rc;
    }
    if (result) {
        return sp_error_set(err, SP_E_INVALID, "%s: exec: the server does not start commands",
                            link->conn->name);
    }
    *started = SP_STARTED_YES;
    return SP_OK;
}

struct transfer {
    struct sp_ssh_link *link;
    const char *from;
    char *to;
    size_t len;
    ssize_t n;
    enum sp_ssh_stream stream;
};

static int step_write(struct sp_ssh_conn *conn, void *ctx)
{
    struct transfer *t = ctx;

    (void)conn;
    t->n = libssh2_channel_write(t->link->channel, t->from, t->len);
    return t->n < 0 ? (int)t->n : 0;
}

static int step_write_eof(struct sp_ssh_conn *conn, void *ctx)
{
    (void)conn;
    return libssh2_channel_send_eof(((struct sp_ssh_link *)ctx)->channel);
}

static enum sp_code need_command(const struct sp_ssh_link *link, const char *what,
                                 struct sp_error *err)
{
    if (link->channel && link->used)
        return SP_OK;
    return sp_error_set(err, SP_E_INTERNAL, "%s: %s: no command", link->conn->name, what);
}

static enum sp_code not_taken(const struct sp_ssh_link *link, struct sp_error *err)
{
    return sp_error_set(err, SP_E_INVALID, "%s: standard input: the command takes no more",
                        link->conn->name);
}

enum sp_code sp_ssh_write(struct sp_ssh_link *link, const void *data, size_t len,
                          const struct sp_ssh_wait *wait, struct sp_error *err)
{
    struct transfer t = {.link = link, .from = data, .len = len};
    enum sp_code rc = need_command(link, "standard input", err);
    int result;

    while (!rc && t.len > 0) {
        rc = sp_ssh_run(link->conn, &link->user, "standard input", step_write, &t, wait, &result,
                        err);
        if (!rc && result)
            return not_taken(link, err);
        if (!rc) {
            t.from += t.n;
            t.len -= (size_t)t.n;
        }
    }
    return rc;
}

enum sp_code sp_ssh_write_eof(struct sp_ssh_link *link, const struct sp_ssh_wait *wait,
                              struct sp_error *err)
{
    enum sp_code rc = need_command(link, "standard input", err);
    int result = 0;

    if (!rc) {
        rc = sp_ssh_run(link->conn, &link->user, "standard input", step_write_eof, link, wait,
                        &result, err);
    }
    return !rc && result ? not_taken(link, err) : rc;
}

/* Of one stream: bytes, 0 for none now. */
static ssize_t read_stream(struct transfer *t, bool from_stderr)
{
    ssize_t n = libssh2_channel_read_ex(t->link->channel,
                                        from_stderr ? STREAM_STDERR : STREAM_STDOUT, t->to, t->len);

    t->stream = from_stderr ? SP_SSH_STDERR : SP_SSH_STDOUT;
    t->link->stderr_next = !from_stderr;
    return n == LIBSSH2_ERROR_EAGAIN ? 0 : n;
}

static int step_read(struct sp_ssh_conn *conn, void *ctx)
{
    struct transfer *t = ctx;
    bool first = t->link->stderr_next;

    (void)conn;
    t->n = read_stream(t, first);
    if (t->n == 0)
        t->n = read_stream(t, !first);
    if (t->n != 0)
        return t->n < 0 ? (int)t->n : 0;
    t->stream = SP_SSH_END;
    return libssh2_channel_eof(t->link->channel) == 1 ? 0 : LIBSSH2_ERROR_EAGAIN;
}

enum sp_code sp_ssh_read(struct sp_ssh_link *link, void *buf, size_t size,
                         const struct sp_ssh_wait *wait, struct sp_ssh_part *part,
                         struct sp_error *err)
{
    struct transfer t = {.link = link, .to = buf, .len = size};
    enum sp_code rc = need_command(link, "output", err);
    int result;

    if (!rc)
        rc = sp_ssh_run(link->conn, &link->user, "output", step_read, &t, wait, &result, err);
    if (rc)
        return rc;
    if (result) {
        return sp_error_set(err, SP_E_UNAVAILABLE, "%s: output: the channel failed",
                            link->conn->name);
    }
    *part = (struct sp_ssh_part){.stream = t.stream, .len = (size_t)t.n};
    return SP_OK;
}

static int step_wait_closed(struct sp_ssh_conn *conn, void *ctx)
{
    (void)conn;
    return libssh2_channel_wait_closed(((struct sp_ssh_link *)ctx)->channel);
}

static void read_exit(struct sp_ssh_link *link, struct sp_ssh_exit *out)
{
    struct sp_ssh_conn *c = link->conn;
    char *name = NULL;
    size_t len = 0;

    pthread_mutex_lock(&c->lock);
    *out = (struct sp_ssh_exit){.status = libssh2_channel_get_exit_status(link->channel)};
    libssh2_channel_get_exit_signal(link->channel, &name, &len, NULL, NULL, NULL, NULL);
    if (name) {
        out->status = -1;
        for (size_t i = 0; i < len && i < sizeof out->signal - 1; i++)
            out->signal[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] : '?');
        libssh2_free(c->session, name);
    }
    pthread_mutex_unlock(&c->lock);
}

/* libssh2 wants to hear of the end of the streams before it waits for the close. */
static enum sp_code drop_output(struct sp_ssh_link *link, const struct sp_ssh_wait *wait,
                                struct sp_error *err)
{
    struct sp_ssh_part part = {.stream = SP_SSH_STDOUT};
    char bytes[4096];
    enum sp_code rc = SP_OK;

    while (!rc && part.stream != SP_SSH_END)
        rc = sp_ssh_read(link, bytes, sizeof bytes, wait, &part, err);
    return rc;
}

enum sp_code sp_ssh_wait_exit(struct sp_ssh_link *link, const struct sp_ssh_wait *wait,
                              struct sp_ssh_exit *out, struct sp_error *err)
{
    int result;
    enum sp_code rc = need_command(link, "exit status", err);

    if (!rc)
        rc = drop_output(link, wait, err);
    if (!rc) {
        rc = sp_ssh_run(link->conn, &link->user, "exit status", step_wait_closed, link, wait,
                        &result, err);
    }
    if (!rc)
        read_exit(link, out);
    return rc;
}

void sp_ssh_close(struct sp_ssh_link *link)
{
    const struct sp_ssh_leftover channel = {.channel = link->channel};

    if (link->channel)
        sp_ssh_discard(link->conn, channel);
    link->channel = NULL;
    link->used = false;
}
