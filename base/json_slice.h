/*
 * A scanner that checks JSON text and finds the raw text of members, so that numbers of any size,
 * number spellings and escapes pass through untouched (jansson cannot carry them). It does not
 * recurse, so depth costs one bit a level. Checks: RFC 8259 grammar, UTF-8 validity of strings, no
 * byte-order mark. Lone surrogate escapes are allowed.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"

enum sp_json_type {
    SP_JSON_NULL,
    SP_JSON_BOOL,
    SP_JSON_NUMBER,
    SP_JSON_STRING,
    SP_JSON_ARRAY,
    SP_JSON_OBJECT
};

struct sp_json_value {
    struct sp_bytes raw; /* without surrounding white space; borrowed from the scanned text */
    enum sp_json_type type;
    size_t depth; /* levels of nesting: 0 for a scalar, 1 for [] */
};

/* The whole text is one value (white space around it allowed). SP_E_INVALID names the byte offset,
 * SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_json_scan(const char *text, size_t len, struct sp_json_value *out,
                                        struct sp_error *err);

/* Walks the members of an object that sp_json_scan() accepted, or the elements of an array (key is
 * then empty). */
struct sp_json_iter {
    const char *at, *end;
    bool object;
};
struct sp_json_iter sp_json_iter(const struct sp_json_value *container);
/* False at the end. *key is the raw text between the quotes, escapes as written. Compare with
 * sp_json_key_is(). */
bool sp_json_iter_next(struct sp_json_iter *it, struct sp_bytes *key, struct sp_json_value *value);
/* Compares with escapes decoded, lone surrogates as U+FFFD. */
bool sp_json_key_is(struct sp_bytes raw_key, const char *name);
/* True when two raw keys spell the same name, decoded likewise. */
bool sp_json_key_equal(struct sp_bytes a, struct sp_bytes b);
/* Finds a member by name (the last one of that name). False when absent. */
bool sp_json_get(const struct sp_json_value *object, const char *name, struct sp_json_value *out);
/* Appends the text of a string value, escapes decoded, lone surrogates as U+FFFD. */
SP_MUST_CHECK enum sp_code sp_json_unescape(const struct sp_json_value *string, struct sp_buf *out);
/* Whether it is a string of this text, compared as sp_json_key_is() does. */
bool sp_json_text_is(const struct sp_json_value *value, const char *text);
/* A whole number within [min, max], spelt without fraction or exponent; else false and *out is
 * untouched. */
bool sp_json_i64(const struct sp_json_value *value, int64_t min, int64_t max, int64_t *out);
