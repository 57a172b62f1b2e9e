/* One bounded output stream: the first half in a buffer, the last half in a ring. */
#include "providers/output.h"

#include <string.h>

#include "base/text.h"

static size_t head_max(const struct sp_output *o)
{
    return (size_t)(o->max / 2);
}

void sp_output_init(struct sp_output *o, int64_t max_bytes)
{
    *o = (struct sp_output){.max = max_bytes < 0 ? 0 : max_bytes};
    o->head = SP_BUF_INIT(head_max(o));
    o->tail = SP_BUF_INIT((size_t)o->max - head_max(o));
}

/* Adds what still fits under the buffer's ceiling and moves data and len behind it. */
static enum sp_code add_fitting(struct sp_buf *buf, const char **data, size_t *len)
{
    size_t room = buf->max - buf->len;
    size_t n = *len < room ? *len : room;
    enum sp_code rc = n > 0 ? sp_buf_add(buf, *data, n) : SP_OK;
    if (rc)
        return rc;
    *data += n;
    *len -= n;
    return SP_OK;
}

/* The ring is full: the new bytes take the place of the oldest. */
static void overwrite(struct sp_output *o, const char *data, size_t len)
{
    if (o->tail.len == 0)
        return;
    if (len > o->tail.len) {
        data += len - o->tail.len;
        len = o->tail.len;
    }
    size_t n = o->tail.len - o->tail_at;
    if (n > len)
        n = len;
    memcpy(o->tail.data + o->tail_at, data, n);
    memcpy(o->tail.data, data + n, len - n);
    o->tail_at = (o->tail_at + len) % o->tail.len;
}

enum sp_code sp_output_add(struct sp_output *o, const void *data, size_t len)
{
    const char *at = data;
    o->bytes += (int64_t)len;
    enum sp_code rc = add_fitting(&o->head, &at, &len);
    if (!rc)
        rc = add_fitting(&o->tail, &at, &len);
    if (!rc && len > 0)
        overwrite(o, at, len);
    return rc;
}

/* Appends the ring from its oldest byte on, without the first `skip` bytes. */
static enum sp_code add_ring(struct sp_buf *out, const struct sp_output *o, size_t skip)
{
    size_t older = o->tail.len - o->tail_at;
    enum sp_code rc = SP_OK;
    if (skip < older)
        rc = sp_buf_add(out, o->tail.data + o->tail_at + skip, older - skip);
    size_t from = skip > older ? skip - older : 0;
    if (!rc && o->tail_at > from)
        rc = sp_buf_add(out, o->tail.data + from, o->tail_at - from);
    return rc;
}

/* How many bytes at the ring's start are the rest of a character whose first byte is gone. */
static size_t split_bytes(const struct sp_output *o)
{
    size_t n = 0;
    while (n < 3 && n < o->tail.len &&
           ((unsigned char)o->tail.data[(o->tail_at + n) % o->tail.len] & 0xC0U) == 0x80U)
        n++;
    return n;
}

static enum sp_code add_notice(struct sp_buf *text, int64_t left_out)
{
    enum sp_code rc = SP_OK;
    if (text->len > 0 && text->data[text->len - 1] != '\n')
        rc = sp_buf_addc(text, '\n');
    if (!rc)
        rc = sp_buf_addf(text, "[sandpiper: %lld bytes left out]\n", (long long)left_out);
    return rc;
}

/* A stream that was cut is cleaned in its two halves, so that no replacement spans the cut. */
static enum sp_code join_cut(struct sp_output *o, struct sp_buf *text, bool *invalid)
{
    sp_auto(sp_buf_clear) struct sp_buf last = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    size_t first_len = sp_utf8_floor(sp_buf_str(&o->head), o->head.len);
    bool replaced[2] = {false, false};
    enum sp_code rc = add_ring(&last, o, split_bytes(o));
    if (!rc)
        rc = sp_utf8_clean(sp_buf_str(&o->head), first_len, text, &replaced[0]);
    if (!rc)
        rc = add_notice(text, o->bytes - (int64_t)(first_len + last.len));
    if (!rc)
        rc = sp_utf8_clean(sp_buf_str(&last), last.len, text, &replaced[1]);
    *invalid = replaced[0] || replaced[1];
    return rc;
}

static enum sp_code join_whole(struct sp_output *o, struct sp_buf *text, bool *invalid)
{
    o->head.max = SP_BUF_UNBOUNDED;
    enum sp_code rc = add_ring(&o->head, o, 0);
    if (rc)
        return rc;
    return sp_utf8_clean(sp_buf_str(&o->head), o->head.len, text, invalid);
}

enum sp_code sp_output_finish(struct sp_output *o, struct sp_stream *stream)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    bool truncated = o->bytes > (int64_t)(o->head.len + o->tail.len);
    bool invalid = false;
    struct sp_stream done = {.bytes = o->bytes, .truncated = truncated};
    enum sp_code rc = truncated ? join_cut(o, &text, &invalid) : join_whole(o, &text, &invalid);
    if (rc)
        return rc;
    done.text = sp_buf_take(&text, &done.len);
    if (!done.text)
        return SP_E_NOMEM;
    done.invalid_utf8 = invalid;
    *stream = done;
    sp_output_clear(o);
    return SP_OK;
}

void sp_output_clear(struct sp_output *o)
{
    sp_buf_clear(&o->head);
    sp_buf_clear(&o->tail);
    sp_output_init(o, o->max);
}
