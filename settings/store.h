/*
 * The settings in Redis: the hash <prefix>:settings (CONTRACT.md 6), the one script that changes
 * it, and the hint on <prefix>:settings:changed.
 */
#pragma once

#include "settings/document.h"
#include "settings/redis.h"

/* SP_E_UNAVAILABLE, SP_E_DENIED: Redis; a missing hash is SP_OK with present false. */
SP_MUST_CHECK enum sp_code sp_store_read(struct sp_redis *redis, const char *prefix,
                                         struct sp_document *out, struct sp_error *err);
/* A change. Members that are NULL stay as they are. */
struct sp_change {
    const char *provider_type;
    json_t *providers;     /* {"<name>": {…}} to set; texts are stored as they stand */
    bool replace;          /* import: fields not named are removed, author and comment too */
    bool if_absent;        /* does nothing where the hash holds settings */
    const char *base;      /* a provider; does nothing unless its stored text still is base_text */
    const char *base_text; /* as in sp_document.providers; NULL: it was absent */
    const char *author, *comment;
    const struct sp_position *position;  /* of the record that says so; NULL: it is none */
    const struct sp_position *made_from; /* position of the settings that the record was made from;
                                            NULL: it does not matter */
};

enum sp_stored {
    SP_STORED,         /* it is in force in Redis now, under the new version */
    SP_STORED_ALREADY, /* the record of this position had been applied before */
    SP_STORED_NOT,     /* if_absent found settings, the base has changed, a newer record is applied,
                          or another one came between made_from and this */
};
/*
 * Runs the one script: sets the fields, raises version once, publishes it. A change with a position
 * is made only where the hash holds no version, or an older position, and none that is newer than
 * made_from; the position is stored. *version is the version after it. The change must be valid
 * already.
 */
SP_MUST_CHECK enum sp_code sp_store_change(struct sp_redis *redis, const char *prefix,
                                           const struct sp_change *change, int64_t *version,
                                           enum sp_stored *stored, struct sp_error *err);
/* The document that the hash would hold after this change, which replaces everything; version is 0.
 * SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_store_preview(const struct sp_change *change, struct sp_document *out,
                                            struct sp_error *err);
/* The change that makes the hash hold this document; borrows from it. */
struct sp_change sp_document_change(const struct sp_document *doc);
