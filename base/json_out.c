#include "base/json_out.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static void put(struct sp_json_out *j, const void *data, size_t len)
{
    if (!j->rc)
        j->rc = sp_buf_add(j->buf, data, len);
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

static void put_quoted(struct sp_json_out *j, const char *data, size_t len)
{
    size_t from = 0;

    put(j, "\"", 1);
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)data[i];

        if (!escapes[byte])
            continue;
        put(j, data + from, i - from);
        put_escape(j, byte);
        from = i + 1;
    }
    put(j, data + from, len - from);
    put(j, "\"", 1);
}

/* What stands before every value: the comma, and the key inside an object. */
static void begin(struct sp_json_out *j, const char *key)
{
    if (j->comma)
        put(j, ",", 1);
    j->comma = true;
    if (key) {
        put_quoted(j, key, strlen(key));
        put(j, ":", 1);
    }
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

void sp_json_int(struct sp_json_out *j, const char *key, int64_t value)
{
    char text[24];
    int n = snprintf(text, sizeof(text), "%" PRId64, value);

    sp_json_raw(j, key, text, (size_t)n);
}

void sp_json_seconds(struct sp_json_out *j, const char *key, int64_t us)
{
    char text[32];
    uint64_t size = us < 0 ? 0 - (uint64_t)us : (uint64_t)us;
    int n = snprintf(text, sizeof(text), "%s%" PRIu64 ".%06" PRIu64, us < 0 ? "-" : "",
                     size / 1000000, size % 1000000);

    while (text[n - 1] == '0' && text[n - 2] != '.')
        n--;
    sp_json_raw(j, key, text, (size_t)n);
}

void sp_json_base64(struct sp_json_out *j, const char *key, const void *data, size_t len)
{
    begin(j, key);
    put(j, "\"", 1);
    if (!j->rc)
        j->rc = sp_base64_encode(data, len, j->buf);
    put(j, "\"", 1);
}
