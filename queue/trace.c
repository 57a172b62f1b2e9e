/* Trace Context, level 1: `00-<trace id>-<parent id>-<flags>`, lower-case hex. */
#include "queue/trace.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

enum {
    LENGTH = SP_TRACEPARENT_SIZE - 1,
    TRACE_AT = 3,
    TRACE_LEN = 32,
    PARENT_AT = 36,
    PARENT_LEN = 16,
    FLAGS_AT = 53,
    MEMBERS_MAX = 32,
    KEY_MAX = 256,
    VALUE_MAX = 256,
};

static bool is_hex(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!(text[i] >= '0' && text[i] <= '9') && !(text[i] >= 'a' && text[i] <= 'f'))
            return false;
    }
    return true;
}

static bool is_zero(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] != '0')
            return false;
    }
    return true;
}

/* Later versions may append "-…"; version 00 may not, and ff is forbidden. */
static bool length_fits(const char *text, size_t len)
{
    if (len < LENGTH || !is_hex(text, 2) || memcmp(text, "ff", 2) == 0)
        return false;
    return len == LENGTH || (memcmp(text, "00", 2) != 0 && text[LENGTH] == '-');
}

bool sp_trace_continue(const char *traceparent, size_t len, char out[SP_TRACEPARENT_SIZE])
{
    if (!length_fits(traceparent, len))
        return false;
    const char *trace = traceparent + TRACE_AT, *parent = traceparent + PARENT_AT;
    const char *flags = traceparent + FLAGS_AT;
    if (trace[-1] != '-' || parent[-1] != '-' || flags[-1] != '-' || !is_hex(trace, TRACE_LEN) ||
        !is_hex(parent, PARENT_LEN) || !is_hex(flags, 2) || is_zero(trace, TRACE_LEN) ||
        is_zero(parent, PARENT_LEN))
        return false;

    char ours[PARENT_LEN + 1];
    sp_random_hex(ours, PARENT_LEN / 2);
    snprintf(out, SP_TRACEPARENT_SIZE, "00-%.32s-%s-%.2s", trace, ours, flags);
    return true;
}

/* Lower-case letters, digits and _ - * / @; the '@' parts tenant and system at most once. */
static bool key_valid(const char *key, size_t len)
{
    if (len == 0 || len > KEY_MAX || !isalnum((unsigned char)key[0]))
        return false;
    size_t ats = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)key[i];
        if (c == '\0' || isupper(c) || (!isalnum(c) && !strchr("_-*/@", c)))
            return false;
        ats += c == '@';
    }
    return ats <= 1;
}

static bool value_valid(const char *value, size_t len)
{
    if (len == 0 || len > VALUE_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (value[i] < 0x20 || value[i] > 0x7e || value[i] == ',' || value[i] == '=')
            return false;
    }
    return true;
}

static bool member_valid(const char *member, size_t len)
{
    const char *equals = memchr(member, '=', len);
    if (!equals)
        return false;
    size_t key_len = (size_t)(equals - member);
    return key_valid(member, key_len) && value_valid(equals + 1, len - key_len - 1);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

bool sp_tracestate_valid(const char *tracestate, size_t len)
{
    const char *at = tracestate, *end = tracestate + len;
    size_t members = 0;
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma ? comma : end;
        const char *next = comma ? comma + 1 : end;
        while (at < stop && is_blank(*at))
            at++;
        while (stop > at && is_blank(stop[-1]))
            stop--;
        /* Empty members are allowed, to make combining of headers simple. */
        if (stop > at && (!member_valid(at, (size_t)(stop - at)) || ++members > MEMBERS_MAX))
            return false;
        at = next;
    }
    return members > 0;
}
