#include "base/json_out.h"

#include <string.h>

#include "base/text.h"

static void put(struct sp_json_out *j, const void *data, size_t len)
{
    struct sp_buf *buf = j->buf;

    if (j->rc || len == 0)
        return;
    if (len >= buf->cap - buf->len) { /* room for the NUL, too */
        j->rc = sp_buf_add(buf, data, len);
        return;
    }
    memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
}

/* What stands for a byte inside quotes: 0 for itself, 'u' for the long form. */
static const char escapes[256] = {
    [0 ... 7] = 'u', ['\b'] = 'b', ['\t'] = 't',          ['\n'] = 'n', [0x0B] = 'u',
    ['\f'] = 'f',    ['\r'] = 'r', [0x0E ... 0x1F] = 'u', ['"'] = '"',  ['\\'] = '\\',
};

static void put_escape(struct sp_json_out *j, unsigned char byte)
{
    static const char hex[] = "0123456789abcdef";
    char text[] = {'\\', escapes[byte], '0', '0', hex[byte >> 4], hex[byte & 15]};

    put(j, text, escapes[byte] == 'u' ? 6 : 2);
}

/* How many bytes at data need no escape. */
static size_t plain_run(const char *data, size_t len)
{
    size_t n = 0;

    while (n < len && !escapes[(unsigned char)data[n]])
        n++;
    return n;
}

static void put_quoted(struct sp_json_out *j, const char *data, size_t len)
{
    size_t plain = plain_run(data, len);

    put(j, "\"", 1);
    while (plain < len && !j->rc) {
        put(j, data, plain);
        put_escape(j, (unsigned char)data[plain]);
        data += plain + 1;
        len -= plain + 1;
        plain = plain_run(data, len);
    }
    put(j, data, len);
    put(j, "\"", 1);
}

/* A key with its comma and colon in one go: most keys are short and need no escape. */
static void put_key(struct sp_json_out *j, const char *key)
{
    size_t len = strlen(key);

    if (j->rc)
        return;
    if (len > 64 || plain_run(key, len) < len) {
        put(j, ",", j->comma);
        put_quoted(j, key, len);
        put(j, ":", 1);
        return;
    }

    char text[1 + 1 + 64 + 2], *at = text;

    *at = ',';
    at += j->comma;
    *at++ = '"';
    at = mempcpy(at, key, len);
    *at++ = '"';
    *at++ = ':';
    put(j, text, (size_t)(at - text));
}

/* What stands before every value: the comma, and the key inside an object. */
static void begin(struct sp_json_out *j, const char *key)
{
    if (key) {
        put_key(j, key);
    } else if (j->comma) {
        put(j, ",", 1);
    }
    j->comma = true;
}

static void open_container(struct sp_json_out *j, const char *key, const char *bracket)
{
    begin(j, key);
    put(j, bracket, 1);
    j->comma = false;
}

static void close_container(struct sp_json_out *j, const char *bracket)
{
    put(j, bracket, 1);
    j->comma = true;
}

void sp_json_object(struct sp_json_out *j, const char *key)
{
    open_container(j, key, "{");
}

void sp_json_object_end(struct sp_json_out *j)
{
    close_container(j, "}");
}

void sp_json_array(struct sp_json_out *j, const char *key)
{
    open_container(j, key, "[");
}

void sp_json_array_end(struct sp_json_out *j)
{
    close_container(j, "]");
}

void sp_json_raw(struct sp_json_out *j, const char *key, const char *text, size_t len)
{
    begin(j, key);
    put(j, text, len);
}

void sp_json_members(struct sp_json_out *j, const char *text, size_t len)
{
    if (len > 0)
        sp_json_raw(j, NULL, text, len);
}

void sp_json_null(struct sp_json_out *j, const char *key)
{
    sp_json_raw(j, key, "null", 4);
}

void sp_json_bool(struct sp_json_out *j, const char *key, bool value)
{
    sp_json_raw(j, key, value ? "true" : "false", value ? 4 : 5);
}

void sp_json_text(struct sp_json_out *j, const char *key, const char *data, size_t len)
{
    if (!data) {
        sp_json_null(j, key);
        return;
    }
    begin(j, key);
    put_quoted(j, data, len);
}

void sp_json_str(struct sp_json_out *j, const char *key, const char *text)
{
    sp_json_text(j, key, text, text ? strlen(text) : 0);
}

/* Writes backwards, at least `digits` of them, and gives where the number begins. */
static char *put_number(char *end, uint64_t value, int digits)
{
    for (; digits > 0 || value > 0; digits--) {
        *--end = (char)('0' + value % 10);
        value /= 10;
    }
    return end;
}

static uint64_t size_of(int64_t value)
{
    return value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
}

void sp_json_int(struct sp_json_out *j, const char *key, int64_t value)
{
    char text[24], *end = text + sizeof(text);
    char *at = put_number(end, size_of(value), 1);

    if (value < 0)
        *--at = '-';
    sp_json_raw(j, key, at, (size_t)(end - at));
}

void sp_json_seconds(struct sp_json_out *j, const char *key, int64_t us)
{
    char text[32], *end = text + sizeof(text);
    char *point = put_number(end, size_of(us) % 1000000, 6) - 1;
    char *at = put_number(point, size_of(us) / 1000000, 1);

    *point = '.';
    if (us < 0)
        *--at = '-';
    while (end[-1] == '0' && end - 2 > point)
        end--;
    sp_json_raw(j, key, at, (size_t)(end - at));
}

void sp_json_base64(struct sp_json_out *j, const char *key, const void *data, size_t len)
{
    begin(j, key);
    put(j, "\"", 1);
    if (!j->rc)
        j->rc = sp_base64_encode(data, len, j->buf);
    put(j, "\"", 1);
}
