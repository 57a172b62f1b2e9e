/* Nothing reaches Redis that has not passed here. */
#include "cli/candidate.h"

#include <string.h>

#include "cli/files.h"

#define SETTINGS_MAX ((size_t)4 << 20)
#define PREFIX "sandbox."

static enum sp_code parse_object(const char *what, const char *text, size_t len, json_t **out,
                                 struct sp_error *err)
{
    json_error_t where;
    json_auto_t *object = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
    if (!object) { /* jansson's own text quotes what it found, which may be a secret */
        return sp_error_set(err, SP_E_INVALID, "%s: is not valid JSON at line %d, column %d", what,
                            where.line, where.column);
    }
    if (!json_is_object(object))
        return sp_error_set(err, SP_E_INVALID, "%s: expected a JSON object", what);
    *out = SP_TAKE(object);
    return SP_OK;
}

enum sp_code sp_candidate_read(const char *path, json_t **out, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SETTINGS_MAX);
    enum sp_code rc = sp_file_read(path, &text, err);
    return rc ? rc : parse_object(path, sp_buf_str(&text), text.len, out, err);
}

static bool is_text_field(const struct sp_provider_ops *ops, const char *key)
{
    for (size_t i = 0; i < ops->n_fields; i++) {
        if (strcmp(ops->fields[i].key, key) == 0)
            return ops->fields[i].type == SP_FIELD_STR;
    }
    return false;
}

/* Text fields take their value as it stands; others read it as JSON where it is JSON. */
static json_t *value_of(const struct sp_provider_ops *ops, const char *key, const char *text)
{
    json_t *value = is_text_field(ops, key) ? NULL : json_loads(text, JSON_DECODE_ANY, NULL);
    return value ? value : json_string(text);
}

static enum sp_code assign(const struct sp_provider_ops *ops, const char *text, json_t *object,
                           struct sp_error *err)
{
    char key[64];
    const char *equals = strchr(text, '=');
    size_t len = equals ? (size_t)(equals - text) : 0;
    if (len == 0 || len >= sizeof(key)) {
        return sp_error_set(err, SP_E_INVALID, "expected KEY=VALUE, not \"%.40s\"",
                            equals ? "=..." : text);
    }
    memcpy(key, text, len);
    key[len] = '\0';
    if (json_object_set_new(object, key, value_of(ops, key, equals + 1)))
        return sp_error_set(err, SP_E_INVALID, "%s: the value is not UTF-8", key);
    return SP_OK;
}

static enum sp_code unset(const struct sp_list *keys, json_t *object, struct sp_error *err)
{
    for (size_t i = 0; keys && i < keys->n; i++) {
        if (json_object_del(object, keys->items[i]))
            return sp_error_set(err, SP_E_INVALID, "--unset: %s is not set", keys->items[i]);
    }
    return SP_OK;
}

/* Masks give way to what is stored; then the whole is checked. */
static enum sp_code settle(const struct sp_provider_ops *ops, json_t *object, json_t *stored,
                           struct sp_error *err)
{
    enum sp_code rc = sp_fields_unmask(ops->fields, ops->n_fields, object, stored, err);
    return rc ? rc : sp_provider_validate(ops, object, err);
}

enum sp_code sp_candidate_make(const struct sp_admin *admin, const struct sp_provider_ops *ops,
                               const struct sp_candidate *candidate, json_t **out,
                               struct sp_error *err)
{
    json_auto_t *stored = NULL;
    json_auto_t *object = NULL;
    enum sp_code rc = sp_document_provider(&admin->doc, ops->name, &stored, err);
    /* Stored settings that cannot be read are no hindrance to replacing them. */
    if (rc == SP_E_INVALID && candidate->whole)
        rc = SP_OK;
    if (!rc && !(object = json_deep_copy(candidate->whole ? candidate->whole : stored)))
        rc = sp_error_set(err, SP_E_NOMEM, "no memory");
    for (size_t i = 0; !rc && i < candidate->n_assignments; i++)
        rc = assign(ops, candidate->assignments[i], object, err);
    if (!rc)
        rc = unset(candidate->unset, object, err);
    if (!rc)
        rc = settle(ops, object, stored, err);
    if (rc)
        return sp_error_wrap(err, rc, "%s", ops->name);
    *out = SP_TAKE(object);
    return SP_OK;
}

static enum sp_code import_provider(const struct sp_admin *admin, const char *name,
                                    json_t *settings, bool active, json_t *providers,
                                    struct sp_error *err)
{
    const struct sp_provider_ops *ops = NULL;
    json_auto_t *stored = NULL;
    enum sp_code rc = sp_registry_get(name, &ops, err);
    if (rc)
        return rc;
    if (!json_is_object(settings))
        return sp_error_set(err, SP_E_INVALID, "expected a JSON object");
    if (sp_document_provider(&admin->doc, name, &stored, NULL))
        stored = NULL; /* unreadable ones are replaced, and offer nothing for masks */
    if (active || json_object_size(settings) > 0)
        rc = settle(ops, settings, stored, err);
    if (!rc && json_object_set(providers, name, settings))
        rc = sp_error_set(err, SP_E_NOMEM, "no memory");
    return rc;
}

static enum sp_code import_member(const struct sp_admin *admin, const char *key, json_t *value,
                                  struct sp_change *change, struct sp_error *err)
{
    if (strcmp(key, PREFIX "provider_type") == 0)
        return SP_OK;
    if (strncmp(key, PREFIX, sizeof(PREFIX) - 1) != 0) {
        return sp_error_set(err, SP_E_INVALID,
                            "%.60s: not known; expected sandbox.provider_type or "
                            "sandbox.<provider>",
                            key);
    }
    const char *name = key + sizeof(PREFIX) - 1;
    bool active = strcmp(name, change->provider_type) == 0;
    enum sp_code rc = import_provider(admin, name, value, active, change->providers, err);
    return rc ? sp_error_wrap(err, rc, "%.60s", key) : SP_OK;
}

enum sp_code sp_candidate_import(const struct sp_admin *admin, json_t *file,
                                 struct sp_change *change, struct sp_error *err)
{
    const struct sp_provider_ops *active = NULL;
    json_t *type = json_object_get(file, PREFIX "provider_type");
    change->provider_type = type ? json_string_value(type) : SP_PROVIDER_DEFAULT;
    if (!change->provider_type)
        return sp_error_set(err, SP_E_INVALID, PREFIX "provider_type: expected a name");
    enum sp_code rc = sp_registry_get(change->provider_type, &active, err);
    if (rc)
        return sp_error_wrap(err, rc, PREFIX "provider_type");
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach (file, key, value) {
        rc = import_member(admin, key, value, change, err);
        if (rc)
            return rc;
    }
    if (json_object_get(change->providers, active->name))
        return SP_OK;
    /* Without settings of its own the active provider has its defaults, which may not suffice. */
    json_auto_t *none = json_object();
    rc = import_provider(admin, active->name, none, true, change->providers, err);
    return rc ? sp_error_wrap(err, rc, PREFIX "%s", active->name) : SP_OK;
}
