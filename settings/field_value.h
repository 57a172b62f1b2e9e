/* One value of a field, on its way from JSON, text or a default into the struct. For
 * settings/fields and settings/fields_docs alone. */
#pragma once

#include "settings/fields.h"

struct sp_value {
    int64_t number; /* also a bool */
    char *text;     /* of strings and maps; malloc'ed */
};

/* SP_E_INVALID: "<key>: what is wrong", as sp_fields_read() says. */
SP_MUST_CHECK enum sp_code sp_value_of_json(const struct sp_field *f, json_t *json,
                                            struct sp_value *v, struct sp_error *err);
SP_MUST_CHECK enum sp_code sp_value_of_text(const struct sp_field *f, const char *text,
                                            struct sp_value *v, struct sp_error *err);
/* The default: of the environment, else of the table. */
SP_MUST_CHECK enum sp_code sp_value_default(const struct sp_field *f, struct sp_value *v,
                                            struct sp_error *err);
/* The table's alone. */
SP_MUST_CHECK enum sp_code sp_value_fixed(const struct sp_field *f, struct sp_value *v,
                                          struct sp_error *err);

/* The value is kept as text. */
bool sp_field_is_text(enum sp_field_type type);
/* The environment gives the default. */
bool sp_field_has_env(const struct sp_field *f);
/* The table's default as text: what the docs show. */
const char *sp_field_default_text(const struct sp_field *f);
/* With the largest unit that leaves no rest: "5m", "500ms", "64M", "900000". */
void sp_field_format(const struct sp_field *f, int64_t n, char *out, size_t size);
