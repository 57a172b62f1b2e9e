/* Whole structs of settings by their field tables: read, cleared, masked. */
#include "settings/fields.h"

#include <stdlib.h>
#include <string.h>

#include "settings/field_value.h"
#include "settings/secret.h"

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

static void store(const struct sp_field *f, void *out, const struct sp_value *v)
{
    if (sp_field_is_text(f->type)) {
        free_text(f, *text_at(f, out));
        *text_at(f, out) = v->text;
    } else if (f->type == SP_FIELD_BOOL) {
        *bool_at(f, out) = v->number != 0;
    } else {
        *number_at(f, out) = v->number;
    }
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
        struct sp_value v = {0};
        enum sp_code rc = sp_value_default(&fields[i], &v, err);
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
    struct sp_value v = {0};

    if (!f)
        return unknown_key(fields, n, key, err);
    enum sp_code rc = sp_value_of_text(f, text, &v, err);
    if (!rc)
        store(f, out, &v);
    return rc;
}

static bool has_default(const struct sp_field *f)
{
    if (sp_field_has_env(f))
        return true;
    return sp_field_is_text(f->type) ? *sp_field_default_text(f) != '\0'
                                     : !(f->flags & SP_NO_DEFAULT);
}

static enum sp_code read_field(const struct sp_field *f, json_t *obj, void *out,
                               struct sp_error *err)
{
    json_t *json = json_object_get(obj, f->key);
    struct sp_value v = {0};
    enum sp_code rc;

    if (json) {
        rc = sp_value_of_json(f, json, &v, err);
    } else if (f->flags & SP_REQUIRED && !has_default(f)) {
        rc = sp_error_set(err, SP_E_INVALID, "%s: required", f->key);
    } else {
        rc = sp_value_default(f, &v, err);
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
        store(&fields[i], out, &(struct sp_value){0});
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
