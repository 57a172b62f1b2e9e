#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Reads decimal digits at *at, at least one; false also when the number does not fit. */
static bool read_digits(const char **at, int64_t *out)
{
    const char *p = *at;
    int64_t value = 0;

    if (*p < '0' || *p > '9')
        return false;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *p - '0', &value))
            return false;
    }
    *at = p;
    *out = value;
    return true;
}

bool sp_parse_i64(const char *text, int64_t min, int64_t max, int64_t *out)
{
    bool negative = *text == '-';
    int64_t value = 0;

    text += negative;
    if (*text < '0' || *text > '9')
        return false;
    for (; *text >= '0' && *text <= '9'; text++) {
        int digit = negative ? '0' - *text : *text - '0'; /* downwards, so that INT64_MIN fits */

        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    if (*text || value < min || value > max)
        return false;
    *out = value;
    return true;
}

#define DURATION_MAX_MS ((int64_t)10 * 366 * 24 * 3600 * 1000)

/* Behind a bare number: nothing, or a fraction of a second. What is less than a millisecond counts
 * as one, so that a tiny time does not become 0, which means "none" in most places. */
static bool read_fraction_ms(const char *text, int64_t *out_ms)
{
    int64_t ms = 0, weight = 100;
    bool rest = false;

    *out_ms = 0;
    if (!*text)
        return true;
    if (*text++ != '.' || !*text)
        return false;
    for (; *text >= '0' && *text <= '9'; text++) {
        ms += weight * (*text - '0');
        rest = rest || (weight == 0 && *text != '0');
        weight /= 10;
    }
    *out_ms = ms + rest;
    return !*text;
}

static const struct {
    const char *name;
    int64_t ms;
} duration_units[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

/* The unit at *at; -1 when there is none. "m" is a minute only where no "s" follows it. */
static int read_unit(const char **at)
{
    for (int i = (int)SP_COUNT(duration_units) - 1; i >= 0; i--) {
        size_t len = strlen(duration_units[i].name);

        if (strncmp(*at, duration_units[i].name, len) == 0) {
            *at += len;
            return i;
        }
    }
    return -1;
}

static bool add_product(int64_t *total, int64_t number, int64_t unit)
{
    int64_t product;

    return !__builtin_mul_overflow(number, unit, &product) &&
           !__builtin_add_overflow(*total, product, total) && *total <= DURATION_MAX_MS;
}

bool sp_parse_duration_ms(const char *text, int64_t *out_ms)
{
    int64_t total = 0, number = 0, fraction = 0;
    int last = -1;

    if (!read_digits(&text, &number))
        return false;
    if (read_fraction_ms(text, &fraction)) {
        if (!add_product(&total, number, 1000) || !add_product(&total, fraction, 1))
            return false;
        *out_ms = total;
        return true;
    }
    for (;;) {
        int unit = read_unit(&text);

        if (unit <= last || !add_product(&total, number, duration_units[unit].ms))
            return false;
        if (!*text)
            break;
        last = unit;
        if (!read_digits(&text, &number))
            return false;
    }
    *out_ms = total;
    return true;
}

bool sp_parse_size(const char *text, int64_t *out_bytes)
{
    static const char units[] = "KMG";
    int64_t value;

    if (!read_digits(&text, &value))
        return false;

    const char *unit = *text ? strchr(units, *text & ~0x20) : NULL; /* either case */
    int64_t factor = unit ? (int64_t)1 << (10 * (unit - units + 1)) : 1;

    text += unit != NULL;
    text += *text == 'B' || *text == 'b';
    if (*text || __builtin_mul_overflow(value, factor, &value))
        return false;
    *out_bytes = value;
    return true;
}

bool sp_parse_bool(const char *text, bool *out)
{
    static const struct {
        const char *spelling;
        bool value;
    } spellings[] = {{"true", true},   {"yes", true}, {"on", true},   {"1", true},
                     {"false", false}, {"no", false}, {"off", false}, {"0", false}};

    for (size_t i = 0; i < SP_COUNT(spellings); i++) {
        if (strcasecmp(text, spellings[i].spelling) == 0) {
            *out = spellings[i].value;
            return true;
        }
    }
    return false;
}

/* Leads of several bytes: what the second byte may be, and the length (Unicode, table 3-7). */
static size_t lead_length(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    *high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (lead >= 0xC2 && lead <= 0xDF)
        return 2;
    if (lead >= 0xE0 && lead <= 0xEF)
        return 3;
    if (lead >= 0xF0 && lead <= 0xF4)
        return 4;
    return 0;
}

/*
 * The bytes that belong together at data (len > 0): a whole character, or the longest beginning of
 * one (at least one byte), which is what one U+FFFD stands for.
 */
static size_t step(const unsigned char *data, size_t len, bool *whole)
{
    unsigned char low, high;
    size_t want = lead_length(data[0], &low, &high), have = 1;

    if (data[0] < 0x80)
        want = 1;
    if (want > 1 && have < len && data[1] >= low && data[1] <= high) {
        have = 2;
        while (have < want && have < len && (data[have] & 0xC0) == 0x80)
            have++;
    }
    *whole = have == want;
    return have;
}

/* How many bytes of plain ASCII there are at data. */
static size_t ascii_run(const unsigned char *data, size_t len)
{
    size_t n = 0;
    uint64_t word;

    for (; len - n >= sizeof(word); n += sizeof(word)) {
        memcpy(&word, data + n, sizeof(word));
        if (word & 0x8080808080808080u)
            break;
    }
    while (n < len && data[n] < 0x80)
        n++;
    return n;
}

/* The length of the valid text at data. */
static size_t valid_run(const unsigned char *data, size_t len)
{
    size_t n = 0;

    for (bool whole = true; whole;) {
        n += ascii_run(data + n, len - n);
        if (n == len)
            break;

        size_t have = step(data + n, len - n, &whole);

        n += whole ? have : 0;
    }
    return n;
}

bool sp_utf8_valid(const char *data, size_t len)
{
    return len == 0 || valid_run((const unsigned char *)data, len) == len;
}

bool sp_utf8_has_control(const char *data, size_t len)
{
    const unsigned char *p = (const unsigned char *)data;

    for (size_t i = 0; i < len; i++) {
        if (p[i] < 0x20 || p[i] == 0x7F)
            return true;
        if (p[i] == 0xC2 && i + 1 < len && p[i + 1] < 0xA0)
            return true;
    }
    return false;
}

static enum sp_code add_cleaned(const unsigned char *data, size_t len, struct sp_buf *out)
{
    enum sp_code rc = SP_OK;

    while (len > 0 && !rc) {
        size_t good = valid_run(data, len);
        bool whole;

        rc = sp_buf_add(out, data, good);
        data += good;
        len -= good;
        if (len > 0 && !rc) {
            size_t bad = step(data, len, &whole);

            rc = sp_buf_adds(out, "\xEF\xBF\xBD");
            data += bad;
            len -= bad;
        }
    }
    return rc;
}

enum sp_code sp_utf8_clean(const char *data, size_t len, struct sp_buf *out, bool *replaced)
{
    size_t before = out->len;
    bool valid = sp_utf8_valid(data, len);
    enum sp_code rc =
        valid ? sp_buf_add(out, data, len) : add_cleaned((const unsigned char *)data, len, out);

    if (rc && out->data) {
        out->len = before;
        out->data[before] = '\0';
    }
    if (!rc && replaced)
        *replaced = !valid;
    return rc;
}

size_t sp_utf8_floor(const char *data, size_t len)
{
    const unsigned char *p = (const unsigned char *)data;

    for (size_t back = 1; back <= 3 && back <= len; back++) {
        unsigned char low, high, lead = p[len - back];

        if ((lead & 0xC0) == 0x80)
            continue;
        return lead_length(lead, &low, &high) > back ? len - back : len;
    }
    return len;
}

static char *put_hex(char *out, unsigned char byte)
{
    static const char digits[] = "0123456789abcdef";

    *out++ = digits[byte >> 4];
    *out++ = digits[byte & 15];
    return out;
}

void sp_hex(const void *data, size_t len, char *out)
{
    const unsigned char *bytes = data;

    for (size_t i = 0; i < len; i++)
        out = put_hex(out, bytes[i]);
    *out = '\0';
}

void sp_random_hex(char *out, size_t n_bytes)
{
    /* The random bytes lie in the upper half and are read just before they are overwritten. */
    const char *bytes = out + n_bytes;

    arc4random_buf(out + n_bytes, n_bytes);
    for (size_t i = 0; i < n_bytes; i++)
        out = put_hex(out, (unsigned char)bytes[i]);
    *out = '\0';
}

void sp_random_uuid(char *out)
{
    unsigned char bytes[16];

    arc4random_buf(bytes, sizeof(bytes));
    bytes[6] = (bytes[6] & 0x0F) | 0x40; /* version 4 */
    bytes[8] = (bytes[8] & 0x3F) | 0x80; /* the variant of RFC 9562 */
    for (size_t i = 0; i < sizeof(bytes); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        out = put_hex(out, bytes[i]);
    }
    *out = '\0';
}

enum sp_code sp_url_encode(const char *text, const char *also, struct sp_buf *out)
{
    static const char kept[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~";
    enum sp_code rc = SP_OK;

    for (; *text && !rc; text++) {
        rc = strchr(kept, *text) || strchr(also, *text)
                 ? sp_buf_addc(out, *text)
                 : sp_buf_addf(out, "%%%02X", (unsigned)(unsigned char)*text);
    }
    return rc;
}

bool sp_bytes_are(struct sp_bytes bytes, const char *text)
{
    return bytes.len == strlen(text) && memcmp(bytes.data, text, bytes.len) == 0;
}

char *sp_strdup(const char *text)
{
    return sp_memdup(text, strlen(text));
}

char *sp_memdup(const void *data, size_t len)
{
    char *copy = len < SIZE_MAX ? malloc(len + 1) : NULL;

    if (!copy)
        return NULL;
    if (len > 0)
        memcpy(copy, data, len);
    copy[len] = '\0';
    return copy;
}

void sp_free_secret(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}
