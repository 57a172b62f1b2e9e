/* Files over SFTP, version 3 (draft-ietf-secsh-filexfer-02). */
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "base/text.h"
#include "providers/ssh/pool.h"
#include "providers/ssh/sftp_wire.h"

enum {
    WRITE_BYTES = 256 << 10, /* in flight */
    READ_BYTES = 128 << 10,  /* libssh2 asks for four times as much ahead */
    NAME_BYTES = 1024,
};

/* One operation, behind the gate. */
struct file_op {
    struct sp_ssh_link *link;
    const char *what; /* in messages */
    const struct sp_ssh_wait *wait;
    struct sp_error *err;
    LIBSSH2_SFTP *sftp;
    LIBSSH2_SFTP_HANDLE *handle;
    const char *path;
    unsigned flags;
    long mode;
    char *buf;
    size_t len;
    ssize_t n;
    LIBSSH2_SFTP_ATTRIBUTES attributes;
};

static enum sp_code begin(struct file_op *op)
{
    struct sp_ssh_link *link = op->link;
    enum sp_code rc = sp_ssh_enter_sftp(link->conn, &link->user, op->what, op->wait, op->err);

    link->no_such_file = false;
    if (!rc)
        op->sftp = link->conn->sftp;
    return rc;
}

/* libssh2 would wait for ever for the answer of a subsystem that has ended. */
static int unless_ended(const struct file_op *op, int result)
{
    bool ended = result == LIBSSH2_ERROR_EAGAIN &&
                 libssh2_channel_eof(libssh2_sftp_get_channel(op->sftp)) == 1;

    return ended ? LIBSSH2_ERROR_CHANNEL_CLOSED : result;
}

static enum sp_code refused(struct file_op *op)
{
    static const struct {
        unsigned long status;
        const char *text;
    } reasons[] = {
        {LIBSSH2_FX_NO_SUCH_FILE, "no such file"},
        {LIBSSH2_FX_NO_SUCH_PATH, "no such folder"},
        {LIBSSH2_FX_PERMISSION_DENIED, "permission denied"},
        {LIBSSH2_FX_NO_SPACE_ON_FILESYSTEM, "no space left"},
        {LIBSSH2_FX_QUOTA_EXCEEDED, "quota exceeded"},
        {LIBSSH2_FX_FAILURE, "failed at the server (disk full, or something is in the way?)"},
        {LIBSSH2_FX_OP_UNSUPPORTED, "not supported by the server"},
    };
    unsigned long status = libssh2_sftp_last_error(op->sftp);

    op->link->no_such_file = status == LIBSSH2_FX_NO_SUCH_FILE || status == LIBSSH2_FX_NO_SUCH_PATH;
    for (size_t i = 0; i < SP_COUNT(reasons); i++) {
        if (reasons[i].status == status) {
            return sp_error_set(op->err, SP_E_INVALID, "%s: %s: %s", op->link->conn->name, op->what,
                                reasons[i].text);
        }
    }
    return sp_error_set(op->err, SP_E_INVALID, "%s: %s: SFTP status %lu", op->link->conn->name,
                        op->what, status);
}

/* Whatever it was doing, its answers no longer meet a request of ours. */
static void abandon(struct file_op *op)
{
    const struct sp_ssh_leftover subsystem = {.handle = op->handle, .sftp = op->sftp};

    sp_ssh_discard(op->link->conn, subsystem);
    op->handle = NULL;
    op->sftp = NULL;
    op->link->conn->sftp = NULL;
}

static enum sp_code call(struct file_op *op, sp_ssh_step_fn step)
{
    struct sp_ssh_conn *c = op->link->conn;
    int result;
    enum sp_code rc =
        sp_ssh_run(c, &op->link->user, op->what, step, op, op->wait, &result, op->err);

    if (!rc && !result)
        return SP_OK;
    if (!rc && result == LIBSSH2_ERROR_SFTP_PROTOCOL && libssh2_sftp_last_error(op->sftp))
        return refused(op);
    abandon(op);
    if (rc)
        return rc;
    return sp_error_set(op->err, SP_E_UNAVAILABLE, "%s: %s: the server's SFTP failed", c->name,
                        op->what);
}

static int step_close(struct sp_ssh_conn *conn, void *ctx)
{
    struct file_op *op = ctx;
    int result = libssh2_sftp_close_handle(op->handle);

    (void)conn;
    result = unless_ended(op, result);
    if (result != LIBSSH2_ERROR_EAGAIN && result != LIBSSH2_ERROR_CHANNEL_CLOSED)
        op->handle = NULL; /* freed, also by an error */
    return result;
}

/* Closes what is open, keeps the first failure, and lets the next one in. */
static enum sp_code end(struct file_op *op, enum sp_code rc)
{
    if (op->handle) {
        op->err = rc ? NULL : op->err;
        enum sp_code closed = call(op, step_close);
        rc = rc ? rc : closed;
    }
    sp_ssh_leave(op->link->conn, &op->link->conn->files);
    return rc;
}

static int step_open(struct sp_ssh_conn *conn, void *ctx)
{
    struct file_op *op = ctx;

    op->handle = libssh2_sftp_open_ex(op->sftp, op->path, (unsigned)strlen(op->path), op->flags,
                                      op->mode, LIBSSH2_SFTP_OPENFILE);
    return op->handle ? 0 : unless_ended(op, libssh2_session_last_errno(conn->session));
}

static int step_open_folder(struct sp_ssh_conn *conn, void *ctx)
{
    struct file_op *op = ctx;

    op->handle = libssh2_sftp_open_ex(op->sftp, op->path, (unsigned)strlen(op->path), 0, 0,
                                      LIBSSH2_SFTP_OPENDIR);
    return op->handle ? 0 : unless_ended(op, libssh2_session_last_errno(conn->session));
}

static int step_write(struct sp_ssh_conn *conn, void *ctx)
{
    struct file_op *op = ctx;

    (void)conn;
    op->n = libssh2_sftp_write(op->handle, op->buf, op->len < WRITE_BYTES ? op->len : WRITE_BYTES);
    return op->n < 0 ? unless_ended(op, (int)op->n) : 0;
}

static int step_read(struct sp_ssh_conn *conn, void *ctx)
{
    struct file_op *op = ctx;

    (void)conn;
    op->n = libssh2_sftp_read(op->handle, op->buf, op->len);
    return op->n < 0 ? unless_ended(op, (int)op->n) : 0;
}

static int step_list(struct sp_ssh_conn *conn, void *ctx)
{
    struct file_op *op = ctx;

    (void)conn;
    op->n = libssh2_sftp_readdir_ex(op->handle, op->buf, op->len, NULL, 0, &op->attributes);
    return op->n < 0 ? unless_ended(op, (int)op->n) : 0;
}

static int step_lstat(struct sp_ssh_conn *conn, void *ctx)
{
    struct file_op *op = ctx;

    (void)conn;
    return unless_ended(op, libssh2_sftp_stat_ex(op->sftp, op->path, (unsigned)strlen(op->path),
                                                 LIBSSH2_SFTP_LSTAT, &op->attributes));
}

static int step_mkdir(struct sp_ssh_conn *conn, void *ctx)
{
    struct file_op *op = ctx;

    (void)conn;
    return unless_ended(
        op, libssh2_sftp_mkdir_ex(op->sftp, op->path, (unsigned)strlen(op->path), op->mode));
}

static int step_remove(struct sp_ssh_conn *conn, void *ctx)
{
    struct file_op *op = ctx;

    (void)conn;
    return unless_ended(op, libssh2_sftp_unlink_ex(op->sftp, op->path, (unsigned)strlen(op->path)));
}

static int step_rmdir(struct sp_ssh_conn *conn, void *ctx)
{
    struct file_op *op = ctx;

    (void)conn;
    return unless_ended(op, libssh2_sftp_rmdir_ex(op->sftp, op->path, (unsigned)strlen(op->path)));
}

bool sp_ssh_no_such_file(const struct sp_ssh_link *link)
{
    return link->no_such_file;
}

enum sp_code sp_ssh_put(struct sp_ssh_link *link, const char *path, const void *data, size_t len,
                        unsigned mode, const struct sp_ssh_wait *wait, struct sp_error *err)
{
    struct file_op op = {
        .link = link,
        .what = "SFTP: writing a file",
        .wait = wait,
        .err = err,
        .path = path,
        .flags = LIBSSH2_FXF_WRITE | LIBSSH2_FXF_CREAT | LIBSSH2_FXF_TRUNC,
        .mode = (long)mode,
        .len = len,
    };
    enum sp_code rc = begin(&op);

    if (rc)
        return rc;
    memcpy(&op.buf, &data, sizeof op.buf); /* which libssh2 reads only */
    rc = call(&op, step_open);
    while (!rc && op.len > 0) {
        rc = call(&op, step_write);
        if (!rc) {
            op.buf += op.n;
            op.len -= (size_t)op.n;
        }
    }
    return end(&op, rc);
}

static enum sp_code read_all(struct file_op *op, struct sp_buf *out)
{
    enum sp_code rc = call(op, step_open);

    while (!rc) {
        rc = call(op, step_read);
        if (rc || op->n == 0)
            break;
        rc = sp_buf_add(out, op->buf, (size_t)op->n);
        if (rc) {
            sp_error_set(op->err, rc, "%s: %s: %s", op->link->conn->name, op->what,
                         rc == SP_E_LIMIT ? "it is too long" : "out of memory");
        }
    }
    return rc;
}

enum sp_code sp_ssh_get(struct sp_ssh_link *link, const char *path, struct sp_buf *out,
                        const struct sp_ssh_wait *wait, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf bytes = SP_BUF_INIT(READ_BYTES);
    struct file_op op = {
        .link = link,
        .what = "SFTP: reading a file",
        .wait = wait,
        .err = err,
        .path = path,
        .flags = LIBSSH2_FXF_READ,
        .len = READ_BYTES,
    };

    if (sp_buf_reserve(&bytes, READ_BYTES))
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    op.buf = bytes.data;
    enum sp_code rc = begin(&op);
    return rc ? rc : end(&op, read_all(&op, out));
}

static void describe(const LIBSSH2_SFTP_ATTRIBUTES *from, struct sp_ssh_attributes *out)
{
    static const struct {
        unsigned long bits;
        enum sp_ssh_file_type type;
    } types[] = {
        {LIBSSH2_SFTP_S_IFREG, SP_SSH_FILE},
        {LIBSSH2_SFTP_S_IFDIR, SP_SSH_FOLDER},
        {LIBSSH2_SFTP_S_IFLNK, SP_SSH_SYMLINK},
    };
    unsigned long mode =
        from->flags & LIBSSH2_SFTP_ATTR_PERMISSIONS ? from->permissions : 0; /* else: other */

    *out = (struct sp_ssh_attributes){.type = SP_SSH_OTHER, .mode = (unsigned)(mode & 07777)};
    for (size_t i = 0; i < SP_COUNT(types); i++) {
        if ((mode & LIBSSH2_SFTP_S_IFMT) == types[i].bits)
            out->type = types[i].type;
    }
    if ((from->flags & LIBSSH2_SFTP_ATTR_SIZE) && from->filesize <= INT64_MAX)
        out->size = (int64_t)from->filesize;
    if (from->flags & LIBSSH2_SFTP_ATTR_ACMODTIME)
        out->mtime = (int64_t)from->mtime;
}

static enum sp_code one_call(struct file_op *op, sp_ssh_step_fn step)
{
    enum sp_code rc = begin(op);

    return rc ? rc : end(op, call(op, step));
}

enum sp_code sp_ssh_lstat(struct sp_ssh_link *link, const char *path,
                          const struct sp_ssh_wait *wait, struct sp_ssh_attributes *out,
                          struct sp_error *err)
{
    struct file_op op = {
        .link = link, .what = "SFTP: looking at a file", .wait = wait, .err = err, .path = path};
    enum sp_code rc = one_call(&op, step_lstat);

    if (!rc)
        describe(&op.attributes, out);
    return rc;
}

enum sp_code sp_ssh_mkdir(struct sp_ssh_link *link, const char *path, unsigned mode,
                          const struct sp_ssh_wait *wait, struct sp_error *err)
{
    struct file_op op = {.link = link,
                         .what = "SFTP: making a folder",
                         .wait = wait,
                         .err = err,
                         .path = path,
                         .mode = (long)mode};

    return one_call(&op, step_mkdir);
}

enum sp_code sp_ssh_remove(struct sp_ssh_link *link, const char *path,
                           const struct sp_ssh_wait *wait, struct sp_error *err)
{
    struct file_op op = {
        .link = link, .what = "SFTP: removing a file", .wait = wait, .err = err, .path = path};

    return one_call(&op, step_remove);
}

enum sp_code sp_ssh_rmdir(struct sp_ssh_link *link, const char *path,
                          const struct sp_ssh_wait *wait, struct sp_error *err)
{
    struct file_op op = {
        .link = link, .what = "SFTP: removing a folder", .wait = wait, .err = err, .path = path};

    return one_call(&op, step_rmdir);
}

void sp_ssh_listing_clear(struct sp_ssh_listing *listing)
{
    for (size_t i = 0; i < listing->n; i++)
        free(listing->entries[i].name);
    free(listing->entries);
    *listing = (struct sp_ssh_listing){0};
}

enum sp_code sp_ssh_listing_add(struct sp_ssh_listing *listing, struct sp_bytes name,
                                const struct sp_ssh_attributes *attributes)
{
    char *copy = sp_memdup(name.data, name.len);
    struct sp_ssh_entry *grown = copy ? sp_grow(listing->entries, listing->n, sizeof *grown) : NULL;

    if (!grown) {
        free(copy);
        return SP_E_NOMEM;
    }
    listing->entries = grown;
    grown[listing->n++] = (struct sp_ssh_entry){copy, *attributes};
    return SP_OK;
}

static enum sp_code list_all(struct file_op *op, size_t max_entries, struct sp_ssh_listing *out)
{
    enum sp_code rc = call(op, step_open_folder);

    while (!rc && !out->more) {
        rc = call(op, step_list);
        if (rc || op->n == 0)
            break;
        const struct sp_bytes name = {op->buf, (size_t)op->n};
        struct sp_ssh_attributes attributes;

        if (!sp_sftp_is_entry(name))
            continue;
        describe(&op->attributes, &attributes);
        out->more = out->n == max_entries;
        if (!out->more && sp_ssh_listing_add(out, name, &attributes))
            rc = sp_error_set(op->err, SP_E_NOMEM, "out of memory");
    }
    return rc;
}

enum sp_code sp_ssh_list(struct sp_ssh_link *link, const char *path, size_t max_entries,
                         const struct sp_ssh_wait *wait, struct sp_ssh_listing *out,
                         struct sp_error *err)
{
    char name[NAME_BYTES];
    struct file_op op = {.link = link,
                         .what = "SFTP: listing a folder",
                         .wait = wait,
                         .err = err,
                         .path = path,
                         .buf = name,
                         .len = sizeof name};
    struct sp_ssh_listing listing = {0};
    enum sp_code rc = begin(&op);

    if (!rc)
        rc = end(&op, list_all(&op, max_entries, &listing));
    if (rc) {
        sp_ssh_listing_clear(&listing);
        return rc;
    }
    *out = listing;
    return SP_OK;
}
