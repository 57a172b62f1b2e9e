/* Numbers, durations and sizes in text; UTF-8; random names. CONTRACT.md 8 and 9 fix the spellings.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* The whole text is one decimal number within [min, max]; else false and *out is untouched. */
bool sp_parse_i64(const char *text, int64_t min, int64_t max, int64_t *out);
/*
 * "30", "30s", "1m30s", "500ms", "1.5" (a bare number is seconds, fractions allowed there only):
 * any of h, m, s, ms in falling order. What is finer than a millisecond is rounded up. False for
 * "", negative, NaN, anything else, and over 10 years.
 */
bool sp_parse_duration_ms(const char *text, int64_t *out_ms);
/* "1M", "64K", "1G", "900000": K, M and G are 1024-based, an optional B behind. */
bool sp_parse_size(const char *text, int64_t *out_bytes);
/* "true", "false", "yes", "no", "on", "off", "1", "0". */
bool sp_parse_bool(const char *text, bool *out);

bool sp_utf8_valid(const char *data, size_t len);
/* True when there is a control character of Unicode (C0, DEL, C1). data must be valid UTF-8. */
bool sp_utf8_has_control(const char *data, size_t len);
/* Appends data with every invalid sequence replaced by U+FFFD, as Python's "replace" does;
 * *replaced tells of any and may be NULL. Adds all of it or nothing. */
enum sp_code sp_utf8_clean(const char *data, size_t len, struct sp_buf *out, bool *replaced);
/* The largest n <= len at which data can be cut without splitting a character. */
size_t sp_utf8_floor(const char *data, size_t len);

/* Lower-case hex; out holds 2 * len + 1. */
void sp_hex(const void *data, size_t len, char *out);
/* Lower-case hex of n_bytes random bytes; out holds 2 * n_bytes + 1. */
void sp_random_hex(char *out, size_t n_bytes);
/* A random UUID (version 4) in text; out holds 37. */
void sp_random_uuid(char *out);

/* Whether the bytes are those of the text. */
bool sp_bytes_are(struct sp_bytes bytes, const char *text);
/* malloc'ed copies, NUL-terminated; NULL without memory. */
char *sp_strdup(const char *text);
char *sp_memdup(const void *data, size_t len);
static inline void sp_free_str(char *text)
{
    __builtin_free(text);
}
SP_AUTO(char *, sp_free_str)
/* Wipes, then frees. NULL is fine. */
void sp_free_secret(char *text);

/* Appends the text percent-encoded: all but A-Z a-z 0-9 - _ . ~ and the characters of `also`. */
enum sp_code sp_url_encode(const char *text, const char *also, struct sp_buf *out);

/* Standard base64. Encoding appends with padding and no line breaks; decoding is strict (alphabet,
 * padding, length). */
enum sp_code sp_base64_encode(const void *data, size_t len, struct sp_buf *out);
enum sp_code sp_base64_decode(const char *text, size_t len, struct sp_buf *out);
/* Lower-case hex SHA-256; out holds 65. */
void sp_sha256_hex(const void *data, size_t len, char *out);
