#include "providers/e2b/connect.h"

#include <string.h>

enum { COMPRESSED = 0x01, END = 0x02, HEAD = 5 };

static size_t length_of(const unsigned char head[HEAD])
{
    return (size_t)head[1] << 24 | (size_t)head[2] << 16 | (size_t)head[3] << 8 | head[4];
}

static enum sp_code begin_payload(struct sp_connect *c, struct sp_error *err)
{
    size_t len = length_of(c->head);

    if (c->head[0] & COMPRESSED)
        return sp_error_set(err, SP_E_INVALID, "a frame of the stream is compressed");
    if (c->head[0] & ~(unsigned)END)
        return sp_error_set(err, SP_E_INVALID, "the stream holds no frames");
    if (len > SP_CONNECT_FRAME_MAX)
        return sp_error_set(err, SP_E_LIMIT, "a frame of the stream is %zu bytes long", len);
    sp_buf_clear(&c->payload);
    c->payload = SP_BUF_INIT(SP_CONNECT_FRAME_MAX);
    c->left = len;
    return SP_OK;
}

static enum sp_code end_payload(struct sp_connect *c, sp_connect_fn fn, void *ctx,
                                struct sp_error *err)
{
    c->ended = c->head[0] & END;
    c->head_len = 0;
    const struct sp_connect_frame frame = {
        .end = c->ended, .json = sp_buf_str(&c->payload), .len = c->payload.len};
    return fn(ctx, &frame, err);
}

/* Takes what it can use of the bytes; *used tells how many. */
static enum sp_code take(struct sp_connect *c, const char *data, size_t len, size_t *used,
                         struct sp_error *err)
{
    if (c->ended)
        return sp_error_set(err, SP_E_INVALID, "something follows the end of the stream");
    if (c->head_len < HEAD) {
        c->head[c->head_len++] = (unsigned char)*data;
        *used = 1;
        return c->head_len == HEAD ? begin_payload(c, err) : SP_OK;
    }
    *used = len < c->left ? len : c->left;
    enum sp_code rc = sp_buf_add(&c->payload, data, *used);
    c->left -= *used;
    return rc ? sp_error_set(err, rc, "no memory for a frame") : SP_OK;
}

enum sp_code sp_connect_feed(struct sp_connect *connect, const char *data, size_t len,
                             sp_connect_fn fn, void *ctx, struct sp_error *err)
{
    while (len > 0) {
        size_t used = 0;
        enum sp_code rc = take(connect, data, len, &used, err);
        if (!rc && connect->head_len == HEAD && connect->left == 0)
            rc = end_payload(connect, fn, ctx, err);
        if (rc)
            return rc;
        data += used;
        len -= used;
    }
    return SP_OK;
}

void sp_connect_clear(struct sp_connect *connect)
{
    sp_buf_clear(&connect->payload);
    *connect = (struct sp_connect){.head_len = 0};
}

enum sp_code sp_connect_add(struct sp_buf *out, const char *json, size_t len)
{
    const unsigned char head[HEAD] = {0, (unsigned char)(len >> 24), (unsigned char)(len >> 16),
                                      (unsigned char)(len >> 8), (unsigned char)len};
    enum sp_code rc = sp_buf_add(out, head, sizeof(head));
    return rc ? rc : sp_buf_add(out, json, len);
}
