#include "providers/ssh/sftp_wire.h"

#include <string.h>

#include "providers/ssh/wire.h"

enum {
    WRITE = 6,
    STATUS = 101,
    HANDLE = 102,
    DATA = 103,
    NAME = 104,
    ATTRS = 105,
};

/* Which attributes there are, and a file's type in its permissions. */
enum { HAS_SIZE = 1, HAS_OWNER = 2, HAS_MODE = 4, HAS_TIMES = 8 };
#define HAS_MORE 0x80000000U
enum { TYPE_BITS = 0170000, FOLDER_BITS = 0040000, FILE_BITS = 0100000, LINK_BITS = 0120000 };

static enum sp_code add_u32(struct sp_buf *out, uint32_t value)
{
    const unsigned char bytes[] = {(unsigned char)(value >> 24), (unsigned char)(value >> 16),
                                   (unsigned char)(value >> 8), (unsigned char)value};

    return sp_buf_add(out, bytes, sizeof bytes);
}

static enum sp_code add_text(struct sp_buf *out, struct sp_bytes text)
{
    enum sp_code rc = add_u32(out, (uint32_t)text.len);

    return rc || text.len == 0 ? rc : sp_buf_add(out, text.data, text.len);
}

/* Length, type, id, path or handle. `more`: bytes that follow. */
static enum sp_code add_head(struct sp_buf *out, int type, uint32_t id, struct sp_bytes on,
                             size_t more)
{
    enum sp_code rc = add_u32(out, (uint32_t)(1 + 4 + 4 + on.len + more));

    if (!rc)
        rc = sp_buf_addc(out, (char)type);
    if (!rc)
        rc = add_u32(out, id);
    return rc ? rc : add_text(out, on);
}

/* Permissions alone. */
static enum sp_code add_mode(struct sp_buf *out, uint32_t mode)
{
    enum sp_code rc = add_u32(out, HAS_MODE);

    return rc ? rc : add_u32(out, mode);
}

static enum sp_code add_offset(struct sp_buf *out, uint64_t offset)
{
    enum sp_code rc = add_u32(out, (uint32_t)(offset >> 32));

    return rc ? rc : add_u32(out, (uint32_t)offset);
}

enum sp_code sp_sftp_add(struct sp_buf *out, enum sp_sftp_type type, uint32_t id,
                         struct sp_bytes on, uint32_t flags, uint32_t mode)
{
    size_t more = type == SP_SFTP_OPEN || type == SP_SFTP_READ ? 12 : 0;
    enum sp_code rc = add_head(out, (int)type, id, on, type == SP_SFTP_MKDIR ? 8 : more);

    if (!rc && type == SP_SFTP_OPEN)
        rc = add_u32(out, flags);
    if (!rc && (type == SP_SFTP_OPEN || type == SP_SFTP_MKDIR))
        rc = add_mode(out, mode);
    if (!rc && type == SP_SFTP_READ)
        rc = add_offset(out, 0);
    if (!rc && type == SP_SFTP_READ)
        rc = add_u32(out, SP_SFTP_READ_BYTES);
    return rc;
}

enum sp_code sp_sftp_add_write(struct sp_buf *out, uint32_t id, struct sp_bytes handle,
                               uint64_t offset, struct sp_bytes data)
{
    enum sp_code rc = add_head(out, WRITE, id, handle, 8 + 4 + data.len);

    if (!rc)
        rc = add_offset(out, offset);
    return rc ? rc : add_text(out, data);
}

/* Each takes what it reads off the front; false: it is not there. */

static bool take_u64(struct sp_bytes *in, uint64_t *out)
{
    uint32_t high, low;

    if (!sp_ssh_take_u32(in, &high) || !sp_ssh_take_u32(in, &low))
        return false;
    *out = (uint64_t)high << 32 | low;
    return true;
}

static bool skip_texts(struct sp_bytes *in, uint32_t n)
{
    struct sp_bytes text;

    for (; n > 0; n--) {
        if (!sp_ssh_take_string(in, &text))
            return false;
    }
    return true;
}

static enum sp_ssh_file_type type_of(uint32_t mode)
{
    switch (mode & TYPE_BITS) {
    case FILE_BITS:
        return SP_SSH_FILE;
    case FOLDER_BITS:
        return SP_SSH_FOLDER;
    case LINK_BITS:
        return SP_SSH_SYMLINK;
    default:
        return SP_SSH_OTHER;
    }
}

static bool take_attributes(struct sp_bytes *in, struct sp_ssh_attributes *out)
{
    uint32_t flags, mode = 0, accessed, changed = 0, pairs = 0;
    uint64_t size = 0, owner;
    bool ok = sp_ssh_take_u32(in, &flags);

    ok = ok && (!(flags & HAS_SIZE) || take_u64(in, &size));
    ok = ok && (!(flags & HAS_OWNER) || take_u64(in, &owner));
    ok = ok && (!(flags & HAS_MODE) || sp_ssh_take_u32(in, &mode));
    ok = ok && (!(flags & HAS_TIMES) ||
                (sp_ssh_take_u32(in, &accessed) && sp_ssh_take_u32(in, &changed)));
    ok = ok && (!(flags & HAS_MORE) || (sp_ssh_take_u32(in, &pairs) && pairs <= in->len));
    *out = (struct sp_ssh_attributes){.type = type_of(mode), /* without a mode: other */
                                      .size = size <= INT64_MAX ? (int64_t)size : INT64_MAX,
                                      .mtime = changed,
                                      .mode = mode & 07777};
    return ok && skip_texts(in, 2 * pairs);
}

static bool read_body(int type, struct sp_bytes body, struct sp_sftp_answer *out)
{
    switch (type) {
    case STATUS:
        out->kind = SP_SFTP_STATUS;
        return sp_ssh_take_u32(&body, &out->status);
    case HANDLE:
        out->kind = SP_SFTP_HANDLE;
        return sp_ssh_take_string(&body, &out->bytes) && out->bytes.len <= SP_SFTP_HANDLE_MAX &&
               out->bytes.len > 0;
    case DATA:
        out->kind = SP_SFTP_DATA;
        return sp_ssh_take_string(&body, &out->bytes);
    case NAME:
        out->kind = SP_SFTP_NAMES;
        if (!sp_ssh_take_u32(&body, &out->n_names))
            return false;
        out->bytes = body;
        return true;
    case ATTRS:
        out->kind = SP_SFTP_ATTRIBUTES;
        return take_attributes(&body, &out->attributes);
    default:
        return false;
    }
}

enum sp_code sp_sftp_read(struct sp_bytes in, struct sp_sftp_answer *out, size_t *used)
{
    uint32_t len;

    *out = (struct sp_sftp_answer){0};
    *used = 0;
    if (!sp_ssh_take_u32(&in, &len))
        return SP_OK;
    if (len < 5 || len > SP_SFTP_ANSWER_MAX)
        return SP_E_INVALID;
    if (in.len < len)
        return SP_OK;
    struct sp_bytes body = {in.data + 1, len - 1};
    if (!sp_ssh_take_u32(&body, &out->id) || !read_body((unsigned char)in.data[0], body, out))
        return SP_E_INVALID;
    *used = 4 + len;
    return SP_OK;
}

bool sp_sftp_next_name(struct sp_bytes *names, struct sp_bytes *name,
                       struct sp_ssh_attributes *attributes)
{
    struct sp_bytes long_name; /* as ls -l shows it */

    return sp_ssh_take_string(names, name) && sp_ssh_take_string(names, &long_name) &&
           take_attributes(names, attributes);
}

bool sp_sftp_is_entry(struct sp_bytes name)
{
    return name.len > 0 && !memchr(name.data, '/', name.len) &&
           !memchr(name.data, '\0', name.len) &&
           !(name.data[0] == '.' && (name.len == 1 || (name.len == 2 && name.data[1] == '.')));
}
