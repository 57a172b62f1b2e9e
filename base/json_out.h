/*
 * Writes JSON into a buffer. Raw text (a program's value) goes through untouched, which jansson
 * cannot do. The writer remembers its first failure; check it once, at the end. key is NULL inside
 * arrays and at the top.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct sp_json_out {
    struct sp_buf *buf; /* the caller's */
    bool comma;
    enum sp_code rc;
};

#define SP_JSON_OUT(buffer) ((struct sp_json_out){.buf = (buffer)})

void sp_json_object(struct sp_json_out *j, const char *key);
void sp_json_object_end(struct sp_json_out *j);
void sp_json_array(struct sp_json_out *j, const char *key);
void sp_json_array_end(struct sp_json_out *j);
/* data must be valid UTF-8; a NULL data is written as null. Non-ASCII is not escaped. */
void sp_json_text(struct sp_json_out *j, const char *key, const char *data, size_t len);
void sp_json_str(struct sp_json_out *j, const char *key, const char *text);
void sp_json_int(struct sp_json_out *j, const char *key, int64_t value);
void sp_json_bool(struct sp_json_out *j, const char *key, bool value);
void sp_json_null(struct sp_json_out *j, const char *key);
/* Seconds with six decimals at most, from microseconds: 1500000 is 1.5, 0 is 0.0. */
void sp_json_seconds(struct sp_json_out *j, const char *key, int64_t us);
/* One JSON value, as it stands. */
void sp_json_raw(struct sp_json_out *j, const char *key, const char *text, size_t len);
/* Members ("a":1,"b":2) of an object, as they stand; nothing when len is 0. */
void sp_json_members(struct sp_json_out *j, const char *text, size_t len);
void sp_json_base64(struct sp_json_out *j, const char *key, const void *data, size_t len);
