/* What the records of the control topic say: CONTRACT.md 5, conf/schema/control.json. */
#pragma once

#include "providers/registry.h"
#include "settings/store.h"

enum sp_control_kind { SP_CONTROL_OTHER, SP_CONTROL_SETTINGS, SP_CONTROL_CANCEL };

#define SP_CONTROL_SETTINGS_KEY "settings"
#define SP_CONTROL_CANCEL_KEY "cancel:"

/* *id is the rest of a cancellation's key; borrowed. */
enum sp_control_kind sp_control_kind(const char *key, size_t len, struct sp_bytes *id);

/* Zero is empty. */
struct sp_control_settings {
    struct sp_document doc; /* as the hash will hold it, with the record's position */
    bool has_made_from;
    struct sp_position made_from;
};
void sp_control_settings_clear(struct sp_control_settings *settings);
SP_AUTO_CLEAR(struct sp_control_settings, sp_control_settings_clear)

/* True when the record has a mask, and so needs what is stored. */
bool sp_control_settings_masked(const char *value, size_t len);
/*
 * Reads and checks a settings record: known members, known providers, valid settings, those of a
 * provider that is not active or {}. Masks give way to what `stored` (NULL: nothing) holds.
 * SP_E_INVALID names the field; no value is quoted.
 */
SP_MUST_CHECK enum sp_code sp_control_settings_read(const char *value, size_t len,
                                                    const struct sp_position *position,
                                                    const struct sp_document *stored,
                                                    struct sp_control_settings *out,
                                                    struct sp_error *err);
/* Names the first secret that is no reference ("e2b.api_key") in out; false: there is none. */
bool sp_control_settings_plain_secret(const struct sp_document *doc, char *out, size_t size);

/*
 * The settings record that makes this change of a whole document, as JSON text. made_from is the
 * document that the change was made from. NULL without memory.
 */
char *sp_control_settings_write(const struct sp_change *change,
                                const struct sp_document *made_from);

/* Checks a cancellation's value, which is an object; reason and by are for people. SP_E_INVALID. */
SP_MUST_CHECK enum sp_code sp_control_cancel_check(const char *value, size_t len,
                                                   struct sp_error *err);
