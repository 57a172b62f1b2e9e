#include "worker/control_record.h"

#include <stdio.h>
#include <string.h>

#include "base/json_slice.h"
#include "base/text.h"
#include "settings/secret.h"

enum { DEPTH_MAX = 64 };
#define MADE_FROM_NOTHING "none" /* as "base": settings that came from no record */

enum sp_control_kind sp_control_kind(const char *key, size_t len, struct sp_bytes *id)
{
    static const size_t prefix = sizeof(SP_CONTROL_CANCEL_KEY) - 1;
    if (!key)
        return SP_CONTROL_OTHER;
    if (sp_bytes_are((struct sp_bytes){key, len}, SP_CONTROL_SETTINGS_KEY))
        return SP_CONTROL_SETTINGS;
    if (len <= prefix || memcmp(key, SP_CONTROL_CANCEL_KEY, prefix) != 0)
        return SP_CONTROL_OTHER;
    *id = (struct sp_bytes){key + prefix, len - prefix};
    return SP_CONTROL_CANCEL;
}

void sp_control_settings_clear(struct sp_control_settings *settings)
{
    sp_document_clear(&settings->doc);
    *settings = (struct sp_control_settings){0};
}

bool sp_control_settings_masked(const char *value, size_t len)
{
    return memmem(value, len, SP_MASK, sizeof(SP_MASK) - 1) != NULL;
}

/* ---- reading ---- */

enum member_type { TEXT, OBJECT };

static const struct member {
    const char *name;
    enum member_type type;
    bool required;
} settings_members[] = {
    {"provider_type", TEXT, true}, {"providers", OBJECT, true}, {"author", TEXT, false},
    {"comment", TEXT, false},      {"base", TEXT, false},
};

static enum sp_code check_member(const char *name, const json_t *value, struct sp_error *err)
{
    for (size_t i = 0; i < SP_COUNT(settings_members); i++) {
        const struct member *m = &settings_members[i];
        if (strcmp(m->name, name) != 0)
            continue;
        bool fits = m->type == TEXT ? json_is_string(value) : json_is_object(value);
        if (fits || (json_is_null(value) && !m->required))
            return SP_OK;
        return sp_error_set(err, SP_E_INVALID, "%s: expected %s", name,
                            m->type == TEXT ? "text" : "an object");
    }
    return sp_error_set(err, SP_E_INVALID, "%.60s: not known here", name);
}

static enum sp_code check_members(json_t *root, struct sp_error *err)
{
    const char *name;
    json_t *value;
    json_object_foreach (root, name, value) {
        enum sp_code rc = check_member(name, value, err);
        if (rc)
            return rc;
    }
    for (size_t i = 0; i < SP_COUNT(settings_members); i++) {
        const struct member *m = &settings_members[i];
        if (m->required && !json_object_get(root, m->name))
            return sp_error_set(err, SP_E_INVALID, "%s: required", m->name);
    }
    return SP_OK;
}

/* New reference. */
static enum sp_code read_object(const char *value, size_t len, json_t **out, struct sp_error *err)
{
    struct sp_json_value scanned;
    json_error_t where;
    /* jansson recurses, on a thread's small stack. */
    if (!sp_json_scan(value, len, &scanned, NULL) && scanned.depth > DEPTH_MAX)
        return sp_error_set(err, SP_E_INVALID, "is nested deeper than %d levels", DEPTH_MAX);
    json_auto_t *root = json_loadb(value, len, JSON_REJECT_DUPLICATES, &where);
    if (!root) { /* jansson's own text quotes what it found, which may be a secret */
        return sp_error_set(err, SP_E_INVALID, "is not valid JSON at line %d, column %d",
                            where.line, where.column);
    }
    if (!json_is_object(root))
        return sp_error_set(err, SP_E_INVALID, "expected a JSON object");
    *out = SP_TAKE(root);
    return SP_OK;
}

/* Masks give way to what is stored; then the whole is checked. */
static enum sp_code settle_provider(const char *name, json_t *settings, bool active,
                                    const struct sp_document *stored, struct sp_error *err)
{
    const struct sp_provider_ops *ops = NULL;
    json_auto_t *old = NULL;
    enum sp_code rc = sp_registry_get(name, &ops, err);
    if (rc)
        return rc;
    if (!json_is_object(settings))
        return sp_error_set(err, SP_E_INVALID, "expected an object");
    if (stored && sp_document_provider(stored, name, &old, NULL))
        old = NULL; /* unreadable, so nothing stands behind a mask */
    rc = sp_fields_unmask(ops->fields, ops->n_fields, settings, old, err);
    if (!rc && (active || json_object_size(settings) > 0))
        rc = sp_provider_validate(ops, settings, err);
    return rc;
}

static enum sp_code settle(json_t *providers, const char *type, const struct sp_document *stored,
                           struct sp_error *err)
{
    const char *name;
    json_t *settings;
    /* Without settings of its own the active provider has its defaults, which may not suffice. */
    if (!json_object_get(providers, type) && json_object_set_new(providers, type, json_object()))
        return sp_error_set(err, SP_E_NOMEM, "no memory");
    json_object_foreach (providers, name, settings) {
        enum sp_code rc = settle_provider(name, settings, strcmp(name, type) == 0, stored, err);
        if (rc)
            return sp_error_wrap(err, rc, "providers.%.60s", name);
    }
    return SP_OK;
}

static enum sp_code read_base(const char *text, struct sp_control_settings *out,
                              struct sp_error *err)
{
    out->has_made_from = text;
    out->made_from = SP_NO_POSITION;
    if (!text || strcmp(text, MADE_FROM_NOTHING) == 0 || sp_position_parse(text, &out->made_from))
        return SP_OK;
    return sp_error_set(err, SP_E_INVALID, "base: expected \"<offset>:<timestamp>\" or \"%s\"",
                        MADE_FROM_NOTHING);
}

static const char *text_of(const json_t *root, const char *name)
{
    return json_string_value(json_object_get(root, name));
}

enum sp_code sp_control_settings_read(const char *value, size_t len,
                                      const struct sp_position *position,
                                      const struct sp_document *stored,
                                      struct sp_control_settings *out, struct sp_error *err)
{
    const struct sp_provider_ops *active = NULL;
    json_auto_t *root = NULL;
    struct sp_control_settings read = {0};
    enum sp_code rc = read_object(value, len, &root, err);
    if (!rc)
        rc = check_members(root, err);
    if (rc)
        return rc;
    rc = sp_registry_get(text_of(root, "provider_type"), &active, err);
    if (rc)
        return sp_error_wrap(err, rc, "provider_type");
    json_t *providers = json_object_get(root, "providers");
    rc = settle(providers, active->name, stored, err);
    if (!rc)
        rc = read_base(text_of(root, "base"), &read, err);
    if (rc)
        return rc;
    const struct sp_change change = {
        .provider_type = active->name,
        .providers = providers,
        .author = text_of(root, "author"),
        .comment = text_of(root, "comment"),
        .position = position,
    };
    rc = sp_store_preview(&change, &read.doc, err);
    if (!rc)
        *out = read;
    return rc;
}

static const char *plain_secret_of(const struct sp_provider_ops *ops, const json_t *settings)
{
    for (size_t i = 0; i < ops->n_fields; i++) {
        const char *value = text_of(settings, ops->fields[i].key);
        bool secret = ops->fields[i].flags & SP_SECRET;
        if (secret && value && *value && !sp_secret_is_reference(value))
            return ops->fields[i].key;
    }
    return NULL;
}

bool sp_control_settings_plain_secret(const struct sp_document *doc, char *out, size_t size)
{
    const char *name;
    json_t *text;
    json_object_foreach (doc->providers, name, text) {
        const struct sp_provider_ops *ops = sp_registry_find(name);
        json_auto_t *settings = NULL;
        if (!ops || sp_document_provider(doc, name, &settings, NULL))
            continue;
        const char *field = plain_secret_of(ops, settings);
        if (field) {
            (void)snprintf(out, size, "%s.%s", name, field);
            return true;
        }
    }
    return false;
}

/* ---- writing ---- */

char *sp_control_settings_write(const struct sp_change *change, const struct sp_document *made_from)
{
    char base[SP_POSITION_SIZE] = MADE_FROM_NOTHING;
    if (made_from->has_position)
        sp_position_text(&made_from->position, base);
    json_auto_t *root = json_pack("{s:s, s:O, s:s*, s:s*, s:s}", "provider_type",
                                  change->provider_type, "providers", change->providers, "author",
                                  change->author, "comment", change->comment, "base", base);
    return json_dumps(root, JSON_COMPACT);
}

/* ---- cancellations ---- */

enum sp_code sp_control_cancel_check(const char *value, size_t len, struct sp_error *err)
{
    json_auto_t *root = NULL;
    return read_object(value, len, &root, err);
}
