/*
 * The settings in Redis: the hash <prefix>:settings (CONTRACT.md 6), the one script that changes
 * it, and the hint on <prefix>:settings:changed. Values are JSON text, so a reader never sees half
 * a change.
 */
#pragma once

#include "settings/redis.h"

/* The whole hash at one moment. Owned by the struct; zero is empty. */
struct sp_document {
    bool present; /* at least one sandbox.* field */
    bool has_version;
    int64_t version;     /* 0 without one */
    char *provider_type; /* NULL when absent: self_managed is meant */
    json_t *providers;   /* {"<name>": "<JSON text as stored>"}, null for bytes that are no UTF-8;
                            never NULL once read */
    char *author, *comment;
    char digest[65]; /* of the settings fields: provider_type and sandbox.* */
};
void sp_document_clear(struct sp_document *doc);
SP_AUTO_CLEAR(struct sp_document, sp_document_clear)

/* SP_E_UNAVAILABLE, SP_E_DENIED: Redis; a missing hash is SP_OK with present false. */
SP_MUST_CHECK enum sp_code sp_store_read(struct sp_redis *redis, const char *prefix,
                                         struct sp_document *out, struct sp_error *err);
/* The settings object of one provider: {} when absent. SP_E_INVALID when the text is no JSON
 * object. New reference. */
SP_MUST_CHECK enum sp_code sp_document_provider(const struct sp_document *doc, const char *name,
                                                json_t **out, struct sp_error *err);

/* A change. Members that are NULL stay as they are. */
struct sp_change {
    const char *provider_type;
    json_t *providers;     /* {"<name>": {…}} to set */
    bool replace;          /* import: fields not named are removed, author and comment too */
    bool if_absent;        /* does nothing where the hash holds settings */
    const char *base;      /* a provider; does nothing unless its stored text still is base_text */
    const char *base_text; /* as in sp_document.providers; NULL: it was absent */
    const char *author, *comment;
};
/*
 * Runs the one script: sets the fields, raises version once, publishes it. *version is the new one;
 * *applied is false when if_absent found settings, or the base has changed. The change must be
 * valid already. The position in the control topic (CONTRACT.md 5) will join struct sp_change.
 */
SP_MUST_CHECK enum sp_code sp_store_change(struct sp_redis *redis, const char *prefix,
                                           const struct sp_change *change, int64_t *version,
                                           bool *applied, struct sp_error *err);
