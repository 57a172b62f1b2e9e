/* The settings document, as the hash <prefix>:settings holds it (CONTRACT.md 6). Values are JSON
 * text, so a reader never sees half a change. */
#pragma once

#include <hiredis/hiredis.h>
#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"

/*
 * Where a settings record stands in the control topic: "<offset>:<timestamp ms>" in the hash. One
 * is newer than another by a higher offset, or by a later timestamp (a topic that was made anew).
 */
struct sp_position {
    int64_t offset, timestamp_ms;
};
#define SP_NO_POSITION ((struct sp_position){-1, -1}) /* older than any */
enum { SP_POSITION_SIZE = 48 };
/* Writes it as the hash has it. */
void sp_position_text(const struct sp_position *position, char out[SP_POSITION_SIZE]);
/* False: the text is none. */
bool sp_position_parse(const char *text, struct sp_position *out);

/* The whole hash at one moment. Owned by the struct; zero is empty. */
struct sp_document {
    bool present; /* at least one sandbox.* field */
    bool has_version;
    int64_t version;     /* 0 without one */
    char *provider_type; /* NULL when absent: self_managed is meant */
    json_t *providers;   /* {"<name>": "<JSON text as stored>"}, null for bytes that are no UTF-8;
                            never NULL once read */
    char *author, *comment;
    bool has_position;
    struct sp_position position; /* of the record that it came from */
    char digest[65];             /* of the settings fields: provider_type and sandbox.* */
};
void sp_document_clear(struct sp_document *doc);
SP_AUTO_CLEAR(struct sp_document, sp_document_clear)
/* *out is a copy of its own. SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_document_copy(const struct sp_document *doc, struct sp_document *out,
                                            struct sp_error *err);

/* The settings object of one provider: {} when absent. SP_E_INVALID when the text is no JSON
 * object. New reference. */
SP_MUST_CHECK enum sp_code sp_document_provider(const struct sp_document *doc, const char *name,
                                                json_t **out, struct sp_error *err);

/* For settings/store.c: what HGETALL answered. */
SP_MUST_CHECK enum sp_code sp_document_read(const redisReply *reply, struct sp_document *out,
                                            struct sp_error *err);
/* The digest of the members that are there. SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_document_seal(struct sp_document *doc, struct sp_error *err);
