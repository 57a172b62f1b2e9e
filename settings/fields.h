/*
 * One table per settings struct: it parses, fills defaults, checks ranges, refuses unknown keys,
 * redacts, frees, makes the schema for forms, and prints the tables of the docs. Providers'
 * settings (JSON) and the configuration file (text) use the same tables.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

enum sp_field_type {
    SP_FIELD_STR,
    SP_FIELD_INT,
    SP_FIELD_BOOL,
    SP_FIELD_MAP, /* object of strings, kept as compact JSON text in a char * (the `environment` of
                     local) */
    SP_FIELD_DURATION, /* int64_t milliseconds; text with units, or a number of seconds */
    SP_FIELD_SIZE,     /* int64_t bytes; text with units, or a number */
};
enum {
    SP_REQUIRED = 1u << 0,
    SP_SECRET = 1u << 1, /* shown as SP_MASK; may be env:NAME or file:PATH */
    SP_MULTILINE = 1u << 2,
    SP_READONLY = 1u << 3,
    SP_DEPLOYMENT = 1u << 4, /* scope deployment; runtime otherwise, where SP_SCOPED is set */
    SP_SCOPED = 1u << 5,     /* the schema names the scope and readonly */
    SP_RANGED = 1u << 6,     /* min and max hold, and the schema shows them (set by SP_RANGE) */
    SP_NO_DEFAULT = 1u << 7, /* the schema shows no default */
};

#define SP_MASK "********"

struct sp_field {
    const char *key;  /* name in the JSON object, or in the section of the configuration file */
    const char *help; /* one line, with the unit; copied into the generated tables */
    enum sp_field_type type;
    unsigned flags;
    size_t offset;
    const char *def_str; /* also for SP_FIELD_DURATION and _SIZE, in text with units */
    int64_t def_int, min, max;
    const char *label, *placeholder;
    const char *const *options; /* NULL-terminated; the only values allowed */
    const char *env;            /* environment variables that give the default, before def_*: the
                                   first one, of names separated by blanks, that is not empty */
};

/* A row that disagrees with its member about the type does not compile. */
#define SP_OFFSET_OF(owner, member, want)                                                          \
    _Generic(((owner *)0)->member, want : offsetof(owner, member))
#define SP_RANGE(low, high) .flags = SP_RANGED, .min = (low), .max = (high)
#define SP_ROW_(owner, member, kind, want, ...)                                                    \
    {                                                                                              \
        .key = #member, .type = (kind), .offset = SP_OFFSET_OF(owner, member, want), __VA_ARGS__   \
    }
#define SP_ROW_STR(owner, member, ...) SP_ROW_(owner, member, SP_FIELD_STR, char *, __VA_ARGS__)
#define SP_ROW_INT(owner, member, ...) SP_ROW_(owner, member, SP_FIELD_INT, int64_t, __VA_ARGS__)
#define SP_ROW_BOOL(owner, member, ...) SP_ROW_(owner, member, SP_FIELD_BOOL, bool, __VA_ARGS__)
#define SP_ROW_MAP(owner, member, ...) SP_ROW_(owner, member, SP_FIELD_MAP, char *, __VA_ARGS__)
#define SP_ROW_DURATION(owner, member, ...)                                                        \
    SP_ROW_(owner, member, SP_FIELD_DURATION, int64_t, __VA_ARGS__)
#define SP_ROW_SIZE(owner, member, ...) SP_ROW_(owner, member, SP_FIELD_SIZE, int64_t, __VA_ARGS__)

/*
 * Reads `obj` into the zeroed struct at `out`: defaults first (env, then def_*), then the members.
 * Unknown keys, a missing SP_REQUIRED key, a wrong type, range or option are SP_E_INVALID; err->msg
 * is "<key>: <what is wrong and what to do>" and never quotes a secret. On failure `out` is left as
 * sp_fields_clear() leaves it. Strings are copies owned by `out`, and never NULL on success: ""
 * where neither the object nor the table has a value ("{}" for SP_FIELD_MAP). A default satisfies
 * SP_REQUIRED, an empty string does not; an empty string in a field with options means its default.
 * Secret references are not resolved here: settings/secret.h.
 */
SP_MUST_CHECK enum sp_code sp_fields_read(const struct sp_field *fields, size_t n, json_t *obj,
                                          void *out, struct sp_error *err);
/* Frees the strings (secrets are wiped first) and zeroes the members. */
void sp_fields_clear(const struct sp_field *fields, size_t n, void *out);

/* The first of the environment variables, names separated by blanks, that is not empty; its own
 * name is put into `name`. NULL: none. */
enum { SP_ENV_NAME_MAX = 64 };
const char *sp_env_first(const char *names, char name[SP_ENV_NAME_MAX]);

/* Fills the zeroed struct at `out` with the defaults only. */
SP_MUST_CHECK enum sp_code sp_fields_defaults(const struct sp_field *fields, size_t n, void *out,
                                              struct sp_error *err);
/* Sets one field from text (configuration file, environment, -X). SP_E_INVALID as above, also for
 * an unknown key. */
SP_MUST_CHECK enum sp_code sp_fields_set_text(const struct sp_field *fields, size_t n, void *out,
                                              const char *key, const char *text,
                                              struct sp_error *err);

/*
 * Replaces secrets in obj by SP_MASK, and the values of unknown keys, which may be misspelt
 * secrets; empty ones and references (env:, file:) stay readable.
 */
void sp_fields_mask(const struct sp_field *fields, size_t n, json_t *obj);
/* Where obj has SP_MASK in a secret, puts the value of `stored` (may be NULL) back. SP_E_INVALID:
 * nothing is stored. */
SP_MUST_CHECK enum sp_code sp_fields_unmask(const struct sp_field *fields, size_t n, json_t *obj,
                                            json_t *stored, struct sp_error *err);
/* RAGFlow's descriptor map (reference 2): {field: {type, required, label, ...}}. New reference;
 * NULL without memory. */
json_t *sp_fields_schema(const struct sp_field *fields, size_t n);
/* A Markdown table of the fields, for the docs: key, type, default, allowed values, meaning. */
enum sp_code sp_fields_markdown(const struct sp_field *fields, size_t n, struct sp_buf *out);
