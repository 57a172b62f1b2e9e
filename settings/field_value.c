/* Checks one value after the other; messages name the key and what is allowed. */
#include "settings/field_value.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

bool sp_field_is_text(enum sp_field_type type)
{
    return type == SP_FIELD_STR || type == SP_FIELD_MAP;
}

void sp_field_format(const struct sp_field *f, int64_t n, char *out, size_t size)
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
    sp_field_format(f, n, got, sizeof got);
    sp_field_format(f, f->min, min, sizeof min);
    sp_field_format(f, f->max, max, sizeof max);
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

static enum sp_code copy_text(const char *text, struct sp_value *v, struct sp_error *err)
{
    v->text = sp_strdup(text);
    return v->text ? SP_OK : sp_error_set(err, SP_E_NOMEM, "out of memory");
}

const char *sp_field_default_text(const struct sp_field *f)
{
    if (f->def_str)
        return f->def_str;
    return f->type == SP_FIELD_MAP ? "{}" : "";
}

static enum sp_code string_value(const struct sp_field *f, const char *text, struct sp_value *v,
                                 struct sp_error *err)
{
    if (!*text && f->flags & SP_REQUIRED)
        return sp_error_set(err, SP_E_INVALID, "%s: required", f->key);
    if (!*text && f->options) /* a form that was left empty */
        text = sp_field_default_text(f);
    enum sp_code rc = *text && f->options ? check_option(f, text, err) : SP_OK;
    return rc ? rc : copy_text(text, v, err);
}

static enum sp_code map_value(const struct sp_field *f, json_t *obj, struct sp_value *v,
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
enum sp_code sp_value_of_text(const struct sp_field *f, const char *text, struct sp_value *v,
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
static enum sp_code json_quantity(const struct sp_field *f, json_t *json, struct sp_value *v,
                                  struct sp_error *err)
{
    char text[320]; /* of the largest double */

    if (json_is_string(json))
        return sp_value_of_text(f, json_string_value(json), v, err);
    if (json_is_integer(json)) {
        snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(json));
    } else if (json_is_real(json)) {
        snprintf(text, sizeof text, "%.3f", json_real_value(json));
    } else {
        return expected(f, err);
    }
    return sp_value_of_text(f, text, v, err);
}

enum sp_code sp_value_of_json(const struct sp_field *f, json_t *json, struct sp_value *v,
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

bool sp_field_has_env(const struct sp_field *f)
{
    char name[SP_ENV_NAME_MAX];
    return sp_env_first(f->env, name);
}

enum sp_code sp_value_fixed(const struct sp_field *f, struct sp_value *v, struct sp_error *err)
{
    if (sp_field_is_text(f->type))
        return copy_text(sp_field_default_text(f), v, err);
    if (f->def_str && f->type != SP_FIELD_BOOL)
        return sp_value_of_text(f, f->def_str, v, err);
    v->number = f->def_int;
    return SP_OK;
}

enum sp_code sp_value_default(const struct sp_field *f, struct sp_value *v, struct sp_error *err)
{
    char name[SP_ENV_NAME_MAX];
    const char *env = sp_env_first(f->env, name);

    if (!env)
        return sp_value_fixed(f, v, err);
    enum sp_code rc = sp_value_of_text(f, env, v, err);
    return rc ? sp_error_wrap(err, rc, "environment variable %s", name) : SP_OK;
}
