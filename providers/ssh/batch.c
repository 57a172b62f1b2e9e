#include "providers/ssh/batch.h"

#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "providers/ssh/pool.h"
#include "providers/ssh/sftp_wire.h"

enum {
    FOLDER_MODE = 0700,
    FILE_MODE = 0600,
    READ_BYTES = 32768,
    FIRST_ID = 0x5a000000, /* away from libssh2's, which count from 0 */
    END_OF_FILE = 1,
    NO_SUCH_FILE = 2,
    NO_SUCH_PATH = 10,
    CONTENT = 1000, /* of what was opened; then it is closed */
};

enum { TRIPS = 3 };

/* What a task asks first, and so on. What is to be read is looked at before it is opened: to open a
 * FIFO would hold the server, and with it every other task, for ever. */
static const struct {
    const char *what;         /* in messages */
    int asks[TRIPS];          /* enum sp_sftp_type; 0: nothing more; or one of the below */
    uint32_t flags, mode;     /* of the file or folder */
    enum sp_ssh_file_type is; /* what may be opened */
} verbs[] = {
    [SP_SSH_MAKE_FOLDER] = {"making a folder", {SP_SFTP_MKDIR}, .mode = FOLDER_MODE},
    [SP_SSH_PUT] = {"writing a file",
                    {SP_SFTP_OPEN, CONTENT},
                    .flags = SP_SFTP_TO_BE_REPLACED,
                    .mode = FILE_MODE},
    [SP_SSH_GET] = {"reading a file",
                    {SP_SFTP_LSTAT, SP_SFTP_OPEN, CONTENT},
                    .flags = SP_SFTP_FOR_READING,
                    .is = SP_SSH_FILE},
    [SP_SSH_LIST] = {"reading a folder",
                     {SP_SFTP_LSTAT, SP_SFTP_OPENDIR, CONTENT},
                     .is = SP_SSH_FOLDER},
    [SP_SSH_REMOVE] = {.what = "removing a file", .asks = {SP_SFTP_REMOVE}},
    [SP_SSH_REMOVE_FOLDER] = {.what = "removing a folder", .asks = {SP_SFTP_RMDIR}},
};

/* One trip: requests that go out, and their answers. */
struct trip {
    struct sp_ssh_task *tasks;
    size_t n_tasks;
    struct sp_buf *handles; /* a task's, once it is open */
    size_t *of_request;     /* its task, by the order of the requests */
    size_t n_requests, n_answers;
    struct sp_buf out, in;
    size_t sent;
    LIBSSH2_CHANNEL *channel;
    enum sp_code rc; /* SP_E_NOMEM, or SP_E_INVALID: what came was no answer */
};

static void trip_clear(struct trip *t)
{
    for (size_t i = 0; t->handles && i < t->n_tasks; i++)
        sp_buf_clear(&t->handles[i]);
    free(t->handles);
    free(t->of_request);
    sp_buf_clear(&t->out);
    sp_buf_clear(&t->in);
}
SP_AUTO_CLEAR(struct trip, trip_clear)

/* The next request is task i's; its id. */
static uint32_t next_id(struct trip *t, size_t i)
{
    size_t *grown = sp_grow(t->of_request, t->n_requests, sizeof *grown);

    if (!grown) {
        t->rc = SP_E_NOMEM;
        return 0;
    }
    t->of_request = grown;
    t->of_request[t->n_requests] = i;
    return FIRST_ID + (uint32_t)t->n_requests++;
}

static void ask(struct trip *t, size_t i, enum sp_sftp_type type, struct sp_bytes on)
{
    const enum sp_ssh_verb verb = t->tasks[i].verb;
    uint32_t id = next_id(t, i);

    if (!t->rc)
        t->rc = sp_sftp_add(&t->out, type, id, on, verbs[verb].flags, verbs[verb].mode);
}

static void ask_writes(struct trip *t, size_t i, struct sp_bytes handle)
{
    struct sp_bytes data = t->tasks[i].data;

    for (size_t at = 0; at < data.len && !t->rc; at += SP_SFTP_WRITE_BYTES) {
        size_t len = data.len - at < SP_SFTP_WRITE_BYTES ? data.len - at : SP_SFTP_WRITE_BYTES;
        uint32_t id = next_id(t, i);

        struct sp_bytes part = {data.data + at, len};

        if (!t->rc)
            t->rc = sp_sftp_add_write(&t->out, id, handle, at, part);
    }
}

/* The end of a folder shows in a second answer. */
static void ask_content(struct trip *t, size_t i)
{
    struct sp_bytes handle = {t->handles[i].data, t->handles[i].len};

    if (handle.len == 0)
        return;
    if (t->tasks[i].verb == SP_SSH_PUT)
        ask_writes(t, i, handle);
    if (t->tasks[i].verb == SP_SSH_GET)
        ask(t, i, SP_SFTP_READ, handle);
    if (t->tasks[i].verb == SP_SSH_LIST) {
        ask(t, i, SP_SFTP_READDIR, handle);
        ask(t, i, SP_SFTP_READDIR, handle);
    }
    ask(t, i, SP_SFTP_CLOSE, handle);
}

static void ask_next(struct trip *t, size_t i, int trip)
{
    struct sp_ssh_task *task = &t->tasks[i];
    int type = verbs[task->verb].asks[trip];

    if (trip > 0 && verbs[task->verb].asks[0] == SP_SFTP_LSTAT && task->rc == SP_OK &&
        task->attributes.type != verbs[task->verb].is)
        task->rc = SP_E_INVALID;
    if (type == CONTENT) {
        ask_content(t, i);
    } else if (type != 0 && task->rc == SP_OK) {
        ask(t, i, (enum sp_sftp_type)type, (struct sp_bytes){task->path, strlen(task->path)});
    }
}

static enum sp_code take_names(struct sp_ssh_task *task, const struct sp_sftp_answer *answer)
{
    struct sp_bytes names = answer->bytes, name;
    struct sp_ssh_attributes attributes;

    for (uint32_t n = 0; n < answer->n_names; n++) {
        if (!sp_sftp_next_name(&names, &name, &attributes))
            return SP_E_INVALID;
        if (sp_sftp_is_entry(name) && sp_ssh_listing_add(task->listing, name, &attributes))
            return SP_E_NOMEM;
    }
    return SP_OK;
}

/* The end of a folder, or of an empty file, comes as a status. A list is whole with it only. */
static void take_status(struct sp_ssh_task *task, uint32_t status)
{
    if (status == END_OF_FILE && (task->verb == SP_SSH_GET || task->verb == SP_SSH_LIST)) {
        task->rc = task->rc == SP_E_LIMIT ? SP_OK : task->rc;
    } else if (status != 0 && task->rc != SP_E_INVALID) {
        task->rc = SP_E_INVALID;
        task->no_such_file = status == NO_SUCH_FILE || status == NO_SUCH_PATH;
    }
}

static enum sp_code take_answer(struct trip *t, const struct sp_sftp_answer *answer)
{
    size_t i = t->of_request[answer->id - FIRST_ID];
    struct sp_ssh_task *task = &t->tasks[i];

    switch (answer->kind) {
    case SP_SFTP_STATUS:
        take_status(task, answer->status);
        return SP_OK;
    case SP_SFTP_HANDLE:
        sp_buf_reset(&t->handles[i]);
        return sp_buf_add(&t->handles[i], answer->bytes.data, answer->bytes.len);
    case SP_SFTP_DATA:
        if (task->verb != SP_SSH_GET)
            return SP_E_INVALID;
        /* A server may give less than was asked for. */
        if (answer->bytes.len >= SP_SFTP_READ_BYTES ||
            (int64_t)answer->bytes.len < task->attributes.size) {
            task->rc = SP_E_LIMIT;
        } else if (answer->bytes.len > 0) {
            task->rc = sp_buf_add(task->out, answer->bytes.data, answer->bytes.len);
        }
        return task->rc == SP_E_NOMEM ? SP_E_NOMEM : SP_OK;
    case SP_SFTP_NAMES:
        if (task->verb != SP_SSH_LIST)
            return SP_E_INVALID;
        task->rc = SP_E_LIMIT; /* until its end is seen */
        return take_names(task, answer);
    case SP_SFTP_ATTRIBUTES:
        task->attributes = answer->attributes;
        return SP_OK;
    }
    return SP_E_INVALID;
}

/* Every whole packet. One that no request of ours waits for answers an earlier one of libssh2's. */
static enum sp_code take_answers(struct trip *t)
{
    struct sp_bytes rest = {t->in.data, t->in.len};
    struct sp_sftp_answer answer;
    size_t used;
    enum sp_code rc = sp_sftp_read(rest, &answer, &used);

    while (!rc && used > 0) {
        if (answer.id - FIRST_ID < t->n_requests) {
            rc = take_answer(t, &answer);
            t->n_answers++;
        }
        rest = (struct sp_bytes){rest.data + used, rest.len - used};
        if (!rc)
            rc = sp_sftp_read(rest, &answer, &used);
    }
    if (!rc && rest.len < t->in.len) {
        memmove(t->in.data, rest.data, rest.len);
        t->in.len = rest.len;
    }
    return rc;
}

static ssize_t send_some(struct trip *t)
{
    ssize_t n = 1;

    while (t->sent < t->out.len && n > 0) {
        n = libssh2_channel_write(t->channel, t->out.data + t->sent, t->out.len - t->sent);
        if (n > 0)
            t->sent += (size_t)n;
    }
    return n;
}

/* Until there is nothing more to read; EAGAIN then. */
static ssize_t receive(struct trip *t)
{
    ssize_t n = 1;

    while (n > 0 && t->n_answers < t->n_requests) {
        t->rc = sp_buf_reserve(&t->in, READ_BYTES);
        if (t->rc)
            return 0;
        n = libssh2_channel_read(t->channel, t->in.data + t->in.len, READ_BYTES);
        if (n > 0) {
            t->in.len += (size_t)n;
            t->rc = take_answers(t);
            if (t->rc)
                return 0;
        }
    }
    return n;
}

static int step(struct sp_ssh_conn *conn, void *ctx)
{
    struct trip *t = ctx;
    ssize_t n = send_some(t);

    (void)conn;
    if (n < 0 && n != LIBSSH2_ERROR_EAGAIN)
        return (int)n;
    n = receive(t);
    if (t->rc || t->n_answers == t->n_requests)
        return 0;
    if (n == 0 && libssh2_channel_eof(t->channel))
        return LIBSSH2_ERROR_CHANNEL_CLOSED;
    return n < 0 ? (int)n : LIBSSH2_ERROR_EAGAIN;
}

/* Whatever is under way then, its answers must not meet another request. */
static enum sp_code abandon(struct sp_ssh_conn *conn, enum sp_code rc, const char *why,
                            struct sp_error *err)
{
    LIBSSH2_SFTP *sftp = SP_TAKE(conn->sftp);

    sp_ssh_discard(conn, (struct sp_ssh_leftover){.sftp = sftp});
    return why ? sp_error_set(err, rc, "%s: SFTP: %s", conn->name, why) : rc;
}

static enum sp_code travel(struct sp_ssh_link *link, struct trip *t, const struct sp_ssh_wait *wait,
                           struct sp_error *err)
{
    int result = 0;

    if (t->rc)
        return sp_error_set(err, t->rc, "out of memory");
    if (t->n_requests == 0)
        return SP_OK;
    t->channel = libssh2_sftp_get_channel(link->conn->sftp);
    enum sp_code rc = sp_ssh_run(link->conn, &link->user, "SFTP", step, t, wait, &result, err);
    if (rc)
        return abandon(link->conn, rc, NULL, err);
    if (t->rc == SP_E_NOMEM)
        return abandon(link->conn, t->rc, "out of memory", err);
    if (t->rc || result || t->in.len > 0)
        return abandon(link->conn, SP_E_UNAVAILABLE, "the server's SFTP failed", err);
    return SP_OK;
}

static enum sp_code make_trips(struct sp_ssh_link *link, struct sp_ssh_task *tasks, size_t n,
                               const struct sp_ssh_wait *wait, struct sp_error *err)
{
    sp_auto(trip_clear) struct trip t = {.tasks = tasks,
                                         .n_tasks = n,
                                         .handles = calloc(n, sizeof *t.handles),
                                         .out = SP_BUF_INIT(SP_BUF_UNBOUNDED),
                                         .in = SP_BUF_INIT(SP_BUF_UNBOUNDED)};
    enum sp_code rc = SP_OK;

    if (!t.handles)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        t.handles[i] = SP_BUF_INIT(SP_SFTP_HANDLE_MAX);
    for (int trip = 0; trip < TRIPS && !rc; trip++) {
        t.n_requests = t.n_answers = t.sent = 0;
        sp_buf_reset(&t.out);
        for (size_t i = 0; i < n; i++)
            ask_next(&t, i, trip);
        rc = travel(link, &t, wait, err);
    }
    return rc;
}

enum sp_code sp_ssh_batch(struct sp_ssh_link *link, struct sp_ssh_task *tasks, size_t n,
                          const struct sp_ssh_wait *wait, struct sp_error *err)
{
    struct sp_ssh_conn *conn = link->conn;
    enum sp_code rc = sp_ssh_may_wait(wait);

    if (rc)
        return sp_ssh_gave_up(conn->name, "SFTP", rc, err);
    rc = sp_ssh_enter_sftp(conn, &link->user, "SFTP", wait, err);
    if (rc)
        return rc;
    rc = make_trips(link, tasks, n, wait, err);
    sp_ssh_leave(conn, &conn->files);
    return rc;
}

enum sp_code sp_ssh_batch_check(struct sp_ssh_link *link, const struct sp_ssh_task *tasks, size_t n,
                                struct sp_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (tasks[i].rc == SP_E_INVALID) {
            return sp_error_set(
                err, SP_E_INVALID, "%s: SFTP: %s: %s", link->conn->name, verbs[tasks[i].verb].what,
                tasks[i].no_such_file ? "no such file"
                                      : "refused (no permission, disk full, or in the way?)");
        }
    }
    return SP_OK;
}
