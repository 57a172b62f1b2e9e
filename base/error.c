#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* The text is made beside err first, so that the arguments may point into err->msg. */
static enum sp_code put(struct sp_error *err, enum sp_code code, const char *text, size_t len)
{
    if (!err)
        return code;

    if (len >= sizeof(err->msg))
        len = sp_utf8_floor(text, sizeof(err->msg) - 1);
    memcpy(err->msg, text, len);
    err->msg[len] = '\0';
    err->code = code;
    return code;
}

/* Appends at used; gives the new length, which stays below size. */
static size_t add_text(char *text, size_t size, size_t used, const char *more)
{
    size_t len = strnlen(more, size - 1 - used);

    memcpy(text + used, more, len);
    text[used + len] = '\0';
    return used + len;
}

SP_PRINTF(3, 0) static size_t format(char *text, size_t size, const char *fmt, va_list args)
{
    int n = vsnprintf(text, size, fmt, args);

    if (n < 0)
        return 0;
    return (size_t)n < size ? (size_t)n : size - 1;
}

enum sp_code sp_error_set(struct sp_error *err, enum sp_code code, const char *fmt, ...)
{
    char text[2 * sizeof(err->msg)];
    va_list args;

    va_start(args, fmt);
    size_t len = format(text, sizeof(text), fmt, args);
    va_end(args);
    return put(err, code, text, len);
}

enum sp_code sp_error_wrap(struct sp_error *err, enum sp_code code, const char *fmt, ...)
{
    char text[2 * sizeof(err->msg)];
    va_list args;

    va_start(args, fmt);
    size_t len = format(text, sizeof(text), fmt, args);
    va_end(args);
    if (err && err->msg[0]) {
        len = add_text(text, sizeof(text), len, ": ");
        len = add_text(text, sizeof(text), len, err->msg);
    }
    return put(err, code, text, len);
}

enum sp_code sp_error_errno(struct sp_error *err, enum sp_code code, int errno_value,
                            const char *fmt, ...)
{
    char text[2 * sizeof(err->msg)];
    char reason[64];
    va_list args;

    va_start(args, fmt);
    size_t len = format(text, sizeof(text), fmt, args);
    va_end(args);
    len = add_text(text, sizeof(text), len, ": ");
    len = add_text(text, sizeof(text), len, strerror_r(errno_value, reason, sizeof(reason)));
    return put(err, code, text, len);
}

const char *sp_code_name(enum sp_code code)
{
    static const char *const names[] = {
        [SP_OK] = "ok",
        [SP_E_INVALID] = "invalid",
        [SP_E_UNAVAILABLE] = "unavailable",
        [SP_E_BUSY] = "busy",
        [SP_E_UNSUPPORTED] = "unsupported",
        [SP_E_TIMEOUT] = "timeout",
        [SP_E_DENIED] = "denied",
        [SP_E_LIMIT] = "limit",
        [SP_E_NOMEM] = "no memory",
        [SP_E_CANCELLED] = "cancelled",
        [SP_E_INTERNAL] = "internal",
    };

    return (size_t)code < SP_COUNT(names) ? names[code] : "unknown";
}
