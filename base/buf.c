#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 256

/* Doubling, so that n additions cost O(n); need counts the NUL and never exceeds limit. */
static size_t next_capacity(size_t cap, size_t need, size_t limit)
{
    size_t doubled = cap > limit / 2 ? limit : 2 * cap;

    if (doubled < FIRST_CAPACITY)
        doubled = FIRST_CAPACITY < limit ? FIRST_CAPACITY : limit;
    return doubled > need ? doubled : need;
}

enum sp_code sp_buf_reserve(struct sp_buf *buf, size_t len)
{
    /* One byte behind the ceiling is for the NUL. */
    size_t max = buf->max < PTRDIFF_MAX ? buf->max : PTRDIFF_MAX - 1;

    if (buf->len > max || len > max - buf->len)
        return SP_E_LIMIT;

    size_t need = buf->len + len + 1;

    if (need > buf->cap) {
        size_t cap = next_capacity(buf->cap, need, max + 1);
        char *data = realloc(buf->data, cap);

        if (!data)
            return SP_E_NOMEM;
        buf->data = data;
        buf->cap = cap;
    }
    buf->data[buf->len] = '\0';
    return SP_OK;
}

enum sp_code sp_buf_add(struct sp_buf *buf, const void *data, size_t len)
{
    if (len == 0)
        return SP_OK;

    enum sp_code rc = sp_buf_reserve(buf, len);

    if (rc)
        return rc;
    memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
    return SP_OK;
}

enum sp_code sp_buf_adds(struct sp_buf *buf, const char *text)
{
    return sp_buf_add(buf, text, strlen(text));
}

enum sp_code sp_buf_addc(struct sp_buf *buf, char c)
{
    return sp_buf_add(buf, &c, 1);
}

enum sp_code sp_buf_addf(struct sp_buf *buf, const char *fmt, ...)
{
    char text[256];
    va_list args;

    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (n < 0)
        return SP_E_INTERNAL;
    if ((size_t)n < sizeof(text))
        return sp_buf_add(buf, text, (size_t)n);

    enum sp_code rc = sp_buf_reserve(buf, (size_t)n);

    if (rc)
        return rc;
    va_start(args, fmt);
    vsnprintf(buf->data + buf->len, (size_t)n + 1, fmt, args);
    va_end(args);
    buf->len += (size_t)n;
    return SP_OK;
}

const char *sp_buf_str(const struct sp_buf *buf)
{
    if (!buf->data)
        return "";
    buf->data[buf->len] = '\0'; /* whoever wrote behind sp_buf_reserve() has only raised len */
    return buf->data;
}

char *sp_buf_take(struct sp_buf *buf, size_t *len)
{
    if (!buf->data) {
        buf->data = calloc(1, 1);
        if (!buf->data)
            return NULL;
    }
    buf->data[buf->len] = '\0';

    char *data = SP_TAKE(buf->data);

    if (len)
        *len = buf->len;
    buf->len = 0;
    buf->cap = 0;
    return data;
}

void sp_buf_reset(struct sp_buf *buf)
{
    buf->len = 0;
    if (buf->data)
        buf->data[0] = '\0';
}

void sp_buf_clear(struct sp_buf *buf)
{
    free(buf->data);
    buf->data = NULL;
    buf->len = 0;
    buf->cap = 0;
}
