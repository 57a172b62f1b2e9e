/* What field tables tell others: the schema for forms, whose keys are RAGFlow's, and the docs. */
#include <stdlib.h>
#include <string.h>

#include "settings/field_value.h"

static const char *type_name(enum sp_field_type type)
{
    static const char *const names[] = {
        [SP_FIELD_STR] = "string", [SP_FIELD_INT] = "integer",     [SP_FIELD_BOOL] = "boolean",
        [SP_FIELD_MAP] = "object", [SP_FIELD_DURATION] = "string", [SP_FIELD_SIZE] = "string",
    };

    return names[type];
}

/* The environment's part in a default is shown, but never a secret of it. NULL: none. */
static json_t *schema_default(const struct sp_field *f)
{
    bool from_env = sp_field_has_env(f) && !(f->flags & SP_SECRET);
    struct sp_value v = {0};
    json_t *json = NULL;

    if (f->flags & SP_NO_DEFAULT || (sp_field_is_text(f->type) && !f->def_str && !from_env))
        return NULL;
    if ((from_env ? sp_value_default(f, &v, NULL) : sp_value_fixed(f, &v, NULL)) &&
        sp_value_fixed(f, &v, NULL))
        return NULL;
    if (f->type == SP_FIELD_MAP) {
        json = json_loads(v.text, 0, NULL);
    } else if (f->type == SP_FIELD_STR) {
        json = json_string(v.text);
    } else if (f->type == SP_FIELD_BOOL) {
        json = json_boolean(v.number);
    } else {
        json = json_integer(v.number);
    }
    free(v.text);
    return json;
}

static json_t *string_array(const char *const *words)
{
    json_t *array = words ? json_array() : NULL;

    for (size_t i = 0; array && words[i]; i++)
        json_array_append_new(array, json_string(words[i]));
    return array;
}

static json_t *describe(const struct sp_field *f)
{
    unsigned flags = f->flags;
    bool ranged = flags & SP_RANGED, scoped = flags & SP_SCOPED;

    return json_pack(
        "{s:s, s:b, s:s*, s:s*, s:o*, s:s*, s:o*, s:o*, s:o*, s:o*, s:o*, s:s*, s:o*}", "type",
        type_name(f->type), "required", !!(flags & SP_REQUIRED), "label", f->label, "placeholder",
        f->placeholder, "default", schema_default(f), "description", f->help, "min",
        ranged ? json_integer(f->min) : NULL, "max", ranged ? json_integer(f->max) : NULL, "secret",
        flags & SP_SECRET ? json_true() : NULL, "multiline",
        flags & SP_MULTILINE ? json_true() : NULL, "options", string_array(f->options), "scope",
        !scoped                 ? NULL
        : flags & SP_DEPLOYMENT ? "deployment"
                                : "runtime",
        "readonly", scoped ? json_boolean(flags & SP_READONLY) : NULL);
}

json_t *sp_fields_schema(const struct sp_field *fields, size_t n)
{
    json_auto_t *schema = json_object();

    for (size_t i = 0; i < n; i++) {
        if (json_object_set_new(schema, fields[i].key, describe(&fields[i])))
            return NULL;
    }
    return SP_TAKE(schema);
}

static void default_markdown(const struct sp_field *f, struct sp_buf *out)
{
    char number[32];

    for (const char *at = f->env ? f->env : ""; *at; at += strspn(at, " ")) {
        int len = (int)strcspn(at, " ");
        sp_buf_addf(out, "%s`$%.*s`", at == f->env ? "" : ", else ", len, at);
        at += len;
    }
    if (f->env && !(f->flags & SP_NO_DEFAULT))
        sp_buf_adds(out, ", else ");
    if (f->flags & SP_NO_DEFAULT)
        return;
    sp_field_format(f, f->def_int, number, sizeof number);
    if (f->type == SP_FIELD_BOOL) {
        sp_buf_addf(out, "`%s`", f->def_int ? "true" : "false");
    } else if (!f->def_str && !sp_field_is_text(f->type)) {
        sp_buf_addf(out, "`%s`", number);
    } else if (*sp_field_default_text(f)) {
        sp_buf_addf(out, "`%s`", sp_field_default_text(f));
    } else if (f->env) {
        sp_buf_adds(out, "empty");
    }
}

static void limits_markdown(const struct sp_field *f, struct sp_buf *out)
{
    char min[32], max[32];

    if (f->flags & SP_RANGED) {
        sp_field_format(f, f->min, min, sizeof min);
        sp_field_format(f, f->max, max, sizeof max);
        sp_buf_addf(out, "%s to %s", min, max);
    }
    for (size_t i = 0; f->options && f->options[i]; i++)
        sp_buf_addf(out, "%s`%s`", i ? ", " : "", f->options[i]);
}

enum sp_code sp_fields_markdown(const struct sp_field *fields, size_t n, struct sp_buf *out)
{
    static const char *const names[] = {
        [SP_FIELD_STR] = "string", [SP_FIELD_INT] = "integer",       [SP_FIELD_BOOL] = "boolean",
        [SP_FIELD_MAP] = "object", [SP_FIELD_DURATION] = "duration", [SP_FIELD_SIZE] = "size",
    };

    sp_buf_adds(out, "| key | type | default | allowed | meaning |\n"
                     "| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < n; i++) {
        const struct sp_field *f = &fields[i];
        sp_buf_addf(out, "| `%s` | %s%s%s | ", f->key, names[f->type],
                    f->flags & SP_REQUIRED ? ", required" : "",
                    f->flags & SP_SECRET ? ", secret" : "");
        default_markdown(f, out);
        sp_buf_adds(out, " | ");
        limits_markdown(f, out);
        if (sp_buf_addf(out, " | %s |\n", f->help ? f->help : ""))
            return SP_E_LIMIT;
    }
    return SP_OK;
}
