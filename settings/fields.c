/* Reads, shows and documents settings by their field tables. The schema's keys are RAGFlow's. */
#include "settings/fields.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "settings/secret.h"

/* One member's value on its way from JSON, text or a default into the struct. */
struct value {
    int64_t number; /* also a bool */
    char *text;
};

static bool is_text(enum sp_field_type type)
{
    return type == SP_FIELD_STR || type == SP_FIELD_MAP;
}

static char **text_at(const struct sp_field *f, void *out)
{
    return (char **)((char *)out + f->offset);
}

static int64_t *number_at(const struct sp_field *f, void *out)
{
    return (int64_t *)((char *)out + f->offset);
}

static bool *bool_at(const struct sp_field *f, void *out)
{
    return (bool *)((char *)out + f->offset);
}

static void free_text(const struct sp_field *f, char *text)
{
    if (text && f->flags & SP_SECRET)
        explicit_bzero(text, strlen(text));
    free(text);
}

static void store(const struct sp_field *f, void *out, const struct value *v)
{
    if (is_text(f->type)) {
        free_text(f, *text_at(f, out));
        *text_at(f, out) = v->text;
    } else if (f->type == SP_FIELD_BOOL) {
        *bool_at(f, out) = v->number != 0;
    } else {
        *number_at(f, out) = v->number;
    }
}

/* The largest unit that leaves no rest: "5m", "500ms", "64M", "900000". */
static void format_number(const struct sp_field *f, int64_t n, char *out, size_t size)
{
    static const struct unit {
        const char *name;
        int64_t factor;
    } durations[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}},
      sizes[] = {{"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}, {"", 1}}, plain[] = {{"", 1}};
    const struct unit *u = f->type == SP_FIELD_DURATION ? durations
                           : f->type == SP_FIELD_SIZE   ? sizes
                                                        : plain;

    while (u->factor > 1 && n % u->factor)
        u++;
    if (n) {
        snprintf(out, size, "%" PRId64 "%s", n / u->factor, u->name);
    } else {
        snprintf(out, size, "%s", f->type == SP_FIELD_DURATION ? "0s" : "0");
    }
}

static enum sp_code check_range(const struct sp_field *f, int64_t n, struct sp_error *err)
{
    char got[32], min[32], max[32];

    if (!(f->flags & SP_RANGED) || (n >= f->min && n <= f->max))
        return SP_OK;
    format_number(f, n, got, sizeof got);
    format_number(f, f->min, min, sizeof min);
    format_number(f, f->max, max, sizeof max);
    return sp_error_set(err, SP_E_INVALID, "%s: %s is out of range (%s to %s)", f->key, got, min,
                        max);
}

static void join(const char *const *words, struct sp_buf *out)
{
    for (size_t i = 0; words[i]; i++)
        sp_buf_addf(out, "%s%s", i ? ", " : "", words[i]);
}

static enum sp_code check_option(const struct sp_field *f, const char *text, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf known = SP_BUF_INIT(sizeof err->msg);

    for (size_t i = 0; f->options[i]; i++) {
        if (!strcmp(f->options[i], text))
            return SP_OK;
    }
    join(f->options, &known);
    return sp_error_set(err, SP_E_INVALID, "%s: must be one of %s", f->key, sp_buf_str(&known));
}

static enum sp_code expected(const struct sp_field *f, struct sp_error *err)
{
    static const char *const what[] = {
        [SP_FIELD_STR] = "a string",
        [SP_FIELD_INT] = "an integer",
        [SP_FIELD_BOOL] = "true or false",
        [SP_FIELD_MAP] = "an object of strings",
        [SP_FIELD_DURATION] = "a duration such as 30s, 1m30s or 500ms",
        [SP_FIELD_SIZE] = "a size such as 900000, 64K or 10M",
    };

    return sp_error_set(err, SP_E_INVALID, "%s: expected %s", f->key, what[f->type]);
}

static enum sp_code copy_text(const char *text, struct value *v, struct sp_error *err)
{
    v->text = sp_strdup(text);
    return v->text ? SP_OK : sp_error_set(err, SP_E_NOMEM, "out of memory");
}

/* Static default, before any option: what the docs show. */
static const char *default_text(const struct sp_field *f)
{
    if (f->def_str)
        return f->def_str;
    return f->type == SP_FIELD_MAP ? "{}" : "";
}

static enum sp_code string_value(const struct sp_field *f, const char *text, struct value *v,
                                 struct sp_error *err)
{
    if (!*text && f->flags & SP_REQUIRED)
        return sp_error_set(err, SP_E_INVALID, "%s: required", f->key);
    if (!*text && f->options) /* a form that was left empty */
        text = default_text(f);
    enum sp_code rc = *text && f->options ? check_option(f, text, err) : SP_OK;
    return rc ? rc : copy_text(text, v, err);
}

static enum sp_code map_value(const struct sp_field *f, json_t *obj, struct value *v,
                              struct sp_error *err)
{
    const char *key;
    json_t *member;

    if (!json_is_object(obj))
        return expected(f, err);
    json_object_foreach (obj, key, member)
        if (!json_is_string(member))
            return sp_error_set(err, SP_E_INVALID, "%s: %s: expected a string", f->key, key);
    v->text = json_dumps(obj, JSON_COMPACT);
    return v->text ? SP_OK : sp_error_set(err, SP_E_NOMEM, "out of memory");
}

/* What a field's text means, by type; strings are text already. */
static enum sp_code text_value(const struct sp_field *f, const char *text, struct value *v,
                               struct sp_error *err)
{
    bool flag = false, good = false;

    switch (f->type) {
    case SP_FIELD_STR:
        return string_value(f, text, v, err);
    case SP_FIELD_MAP: {
        json_auto_t *obj = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        return map_value(f, obj, v, err);
    }
    case SP_FIELD_BOOL:
        good = sp_parse_bool(text, &flag);
        v->number = flag;
        break;
    case SP_FIELD_INT:
        good = sp_parse_i64(text, INT64_MIN, INT64_MAX, &v->number);
        break;
    case SP_FIELD_DURATION:
        good = sp_parse_duration_ms(text, &v->number);
        break;
    case SP_FIELD_SIZE:
        good = sp_parse_size(text, &v->number);
        break;
    }
    return good ? check_range(f, v->number, err) : expected(f, err);
}

/* Durations and sizes may be plain numbers in JSON; their text form covers those. */
static enum sp_code json_quantity(const struct sp_field *f, json_t *json, struct value *v,
                                  struct sp_error *err)
{
    char text[320]; /* of the largest double */

    if (json_is_string(json))
        return text_value(f, json_string_value(json), v, err);
    if (json_is_integer(json)) {
        snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(json));
    } else if (json_is_real(json)) {
        snprintf(text, sizeof text, "%.3f", json_real_value(json));
    } else {
        return expected(f, err);
    }
    return text_value(f, text, v, err);
}

static enum sp_code json_value(const struct sp_field *f, json_t *json, struct value *v,
                               struct sp_error *err)
{
    switch (f->type) {
    case SP_FIELD_STR:
        return json_is_string(json) ? string_value(f, json_string_value(json), v, err)
                                    : expected(f, err);
    case SP_FIELD_MAP:
        return map_value(f, json, v, err);
    case SP_FIELD_BOOL:
        v->number = json_is_true(json);
        return json_is_boolean(json) ? SP_OK : expected(f, err);
    case SP_FIELD_INT:
        v->number = json_integer_value(json);
        return json_is_integer(json) ? check_range(f, v->number, err) : expected(f, err);
    case SP_FIELD_DURATION:
    case SP_FIELD_SIZE:
        return json_quantity(f, json, v, err);
    }
    return sp_error_set(err, SP_E_INTERNAL, "%s: unknown type", f->key);
}

const char *sp_env_first(const char *names, char name[SP_ENV_NAME_MAX])
{
    for (const char *at = names ? names : ""; *at; at += strspn(at, " ")) {
        size_t len = strcspn(at, " ");
        assert(len < SP_ENV_NAME_MAX); /* the tables are ours */
        memcpy(name, at, len);
        name[len] = '\0';
        const char *text = secure_getenv(name);
        if (text && *text)
            return text;
        at += len;
    }
    return NULL;
}

static bool has_env(const struct sp_field *f)
{
    char name[SP_ENV_NAME_MAX];
    return sp_env_first(f->env, name);
}

static enum sp_code static_default(const struct sp_field *f, struct value *v, struct sp_error *err)
{
    if (is_text(f->type))
        return copy_text(default_text(f), v, err);
    if (f->def_str && f->type != SP_FIELD_BOOL)
        return text_value(f, f->def_str, v, err);
    v->number = f->def_int;
    return SP_OK;
}

static enum sp_code default_value(const struct sp_field *f, struct value *v, struct sp_error *err)
{
    char name[SP_ENV_NAME_MAX];
    const char *env = sp_env_first(f->env, name);

    if (!env)
        return static_default(f, v, err);
    enum sp_code rc = text_value(f, env, v, err);
    return rc ? sp_error_wrap(err, rc, "environment variable %s", name) : SP_OK;
}

static const struct sp_field *find(const struct sp_field *fields, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(fields[i].key, key))
            return &fields[i];
    }
    return NULL;
}

static enum sp_code unknown_key(const struct sp_field *fields, size_t n, const char *key,
                                struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf known = SP_BUF_INIT(4096);

    for (size_t i = 0; i < n; i++)
        sp_buf_addf(&known, "%s%s", i ? ", " : "", fields[i].key);
    return sp_error_set(err, SP_E_INVALID, "%.60s: unknown setting; known are %s", key,
                        sp_buf_str(&known));
}

enum sp_code sp_fields_defaults(const struct sp_field *fields, size_t n, void *out,
                                struct sp_error *err)
{
    for (size_t i = 0; i < n; i++) {
        struct value v = {0};
        enum sp_code rc = default_value(&fields[i], &v, err);
        if (rc) {
            sp_fields_clear(fields, n, out);
            return rc;
        }
        store(&fields[i], out, &v);
    }
    return SP_OK;
}

enum sp_code sp_fields_set_text(const struct sp_field *fields, size_t n, void *out, const char *key,
                                const char *text, struct sp_error *err)
{
    const struct sp_field *f = find(fields, n, key);
    struct value v = {0};

    if (!f)
        return unknown_key(fields, n, key, err);
    enum sp_code rc = text_value(f, text, &v, err);
    if (!rc)
        store(f, out, &v);
    return rc;
}

static bool has_default(const struct sp_field *f)
{
    if (has_env(f))
        return true;
    return is_text(f->type) ? *default_text(f) != '\0' : !(f->flags & SP_NO_DEFAULT);
}

static enum sp_code read_field(const struct sp_field *f, json_t *obj, void *out,
                               struct sp_error *err)
{
    json_t *json = json_object_get(obj, f->key);
    struct value v = {0};
    enum sp_code rc;

    if (json) {
        rc = json_value(f, json, &v, err);
    } else if (f->flags & SP_REQUIRED && !has_default(f)) {
        rc = sp_error_set(err, SP_E_INVALID, "%s: required", f->key);
    } else {
        rc = default_value(f, &v, err);
    }
    if (!rc)
        store(f, out, &v);
    return rc;
}

static enum sp_code read_all(const struct sp_field *fields, size_t n, json_t *obj, void *out,
                             struct sp_error *err)
{
    const char *key;
    json_t *member;

    if (!json_is_object(obj))
        return sp_error_set(err, SP_E_INVALID, "settings: expected an object");
    json_object_foreach (obj, key, member)
        if (!find(fields, n, key))
            return unknown_key(fields, n, key, err);
    for (size_t i = 0; i < n; i++) {
        enum sp_code rc = read_field(&fields[i], obj, out, err);
        if (rc)
            return rc;
    }
    return SP_OK;
}

enum sp_code sp_fields_read(const struct sp_field *fields, size_t n, json_t *obj, void *out,
                            struct sp_error *err)
{
    enum sp_code rc = read_all(fields, n, obj, out, err);

    if (rc)
        sp_fields_clear(fields, n, out);
    return rc;
}

void sp_fields_clear(const struct sp_field *fields, size_t n, void *out)
{
    for (size_t i = 0; i < n; i++)
        store(&fields[i], out, &(struct value){0});
}

/* What is no field at all is hidden too: it may be a secret under a misspelt name. */
void sp_fields_mask(const struct sp_field *fields, size_t n, json_t *obj)
{
    const char *key;
    json_t *member;
    void *next;

    json_object_foreach_safe(obj, next, key, member)
    {
        const struct sp_field *f = find(fields, n, key);
        const char *text = json_string_value(member);
        bool readable = text && (!*text || sp_secret_is_reference(text));
        if ((!f || f->flags & SP_SECRET) && !readable)
            json_object_set_new(obj, key, json_string(SP_MASK));
    }
}

enum sp_code sp_fields_unmask(const struct sp_field *fields, size_t n, json_t *obj, json_t *stored,
                              struct sp_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const char *key = fields[i].key;
        const char *text = json_string_value(json_object_get(obj, key));
        json_t *old = json_object_get(stored, key);
        if (!(fields[i].flags & SP_SECRET) || !text || strcmp(text, SP_MASK) != 0)
            continue;
        if (!old || !strcmp(json_is_string(old) ? json_string_value(old) : "", SP_MASK)) {
            return sp_error_set(err, SP_E_INVALID,
                                "%s: the mask stands for a stored value, and none is stored; "
                                "give the value",
                                key);
        }
        json_object_set(obj, key, old);
    }
    return SP_OK;
}

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
    bool from_env = has_env(f) && !(f->flags & SP_SECRET);
    struct value v = {0};
    json_t *json = NULL;

    if (f->flags & SP_NO_DEFAULT || (is_text(f->type) && !f->def_str && !from_env))
        return NULL;
    if ((from_env ? default_value(f, &v, NULL) : static_default(f, &v, NULL)) &&
        static_default(f, &v, NULL))
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
    format_number(f, f->def_int, number, sizeof number);
    if (f->type == SP_FIELD_BOOL) {
        sp_buf_addf(out, "`%s`", f->def_int ? "true" : "false");
    } else if (!f->def_str && !is_text(f->type)) {
        sp_buf_addf(out, "`%s`", number);
    } else if (*default_text(f)) {
        sp_buf_addf(out, "`%s`", default_text(f));
    } else if (f->env) {
        sp_buf_adds(out, "empty");
    }
}

static void limits_markdown(const struct sp_field *f, struct sp_buf *out)
{
    char min[32], max[32];

    if (f->flags & SP_RANGED) {
        format_number(f, f->min, min, sizeof min);
        format_number(f, f->max, max, sizeof max);
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
