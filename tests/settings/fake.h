/* Providers that do as the settings and these counters say, for what judges settings. */
#pragma once

#include <stdatomic.h>

#include "settings/watcher.h"

struct fake {
    char api_key[32], peer[16];
};

/*
 * Opens {"api_key": text, "peer": text}; without api_key the settings are bad, and
 * "env:SP_TEST_KEY" is resolved. peer: what a check says while fake_peer_away ("down" or "denied":
 * unavailable, "busy"), and "denied" is a refusal once it is not.
 */
extern const struct sp_apply_ops fake_ops;
extern atomic_int fake_opened, fake_checked, fake_closed;
extern void (*fake_on_close)(void); /* NULL: nothing is called */
extern atomic_bool fake_peer_away, fake_refuses, fake_stopping;

/* What a status should be; a version of 0 that stands for errors, changes or failures, and a
 * message of NULL, do not matter. */
struct want {
    enum sp_settings_state state;
    int64_t version, error_version, changes, failures;
    const char *message;
    bool redis_down, provider_down, throttled;
};
struct want want_version(int64_t version);
/* In force, and away. message: NULL for any. */
struct want want_down(int64_t version, const char *message);
bool fits(const struct sp_settings_status *s, const struct want *w);
/* One line of a status for a failure's text; out holds 400. */
void describe(const struct sp_settings_status *s, char *out);

/* A document as the control topic would give it: e2b with this JSON. The caller clears it. */
struct sp_document fake_document(const char *json);
/* Expects the key of the provider in a snapshot, and drops the snapshot. */
void expect_key_of(struct sp_snapshot *snapshot, const char *key);
