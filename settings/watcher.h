/*
 * The settings thread: keeps the snapshot in force equal to what Redis holds (DESIGN.md 3).
 * Compares version and digest on every hint, on every connect, every 4 to 5 s, and when told to.
 * New settings are validated, opened and checked before they replace the old ones; bad ones leave
 * the old ones in force and the reason is kept and logged once.
 */
#pragma once

#include "settings/store.h"

/*
 * How to make a value of a document; worker/ gives the providers' functions, tests give fakes. The
 * struct and its context outlive the last snapshot.
 */
struct sp_apply_ops {
    /*
     * Validates and opens. SP_E_UNAVAILABLE, SP_E_BUSY, SP_E_TIMEOUT, SP_E_NOMEM: try again;
     * anything else: the document is a failed configuration. *name is the provider's name, static.
     * Network I/O is check's. Thread: settings.
     */
    enum sp_code (*open)(void *ctx, const struct sp_document *doc, void **value, const char **name,
                         struct sp_error *err);
    /*
     * As open; SP_E_UNAVAILABLE, SP_E_BUSY and SP_E_TIMEOUT: the peer cannot take anything now.
     * SP_E_CANCELLED: nothing was found out, because the watcher is about to be stopped. Thread:
     * settings, which sees neither hints nor versions meanwhile; so a change waits for the check
     * of the one before it, and shows only later.
     */
    enum sp_code (*check)(void *ctx, void *value, struct sp_error *err);
    /* The last reference is gone. Thread: whichever dropped it; not under a lock. */
    void (*close)(void *ctx, void *value);
};

/* One provider in force with the version of its settings. Immutable, shared by reference count. */
struct sp_snapshot {
    int64_t version;
    const char *provider; /* static */
    void *value;
    bool defaulted; /* the settings named no provider type */
};

enum sp_settings_state {
    SP_SETTINGS_UNREAD, /* Redis has not been read since the start: hold jobs; `message` says why */
    SP_SETTINGS_ABSENT, /* Redis answers and holds none: SB001 */
    SP_SETTINGS_INVALID,  /* none in force; the reason is in `message`: SB002 */
    SP_SETTINGS_IN_FORCE, /* also when a later change was bad or is not possible yet; `message` then
                             says why */
};

struct sp_settings_status {
    enum sp_settings_state state;
    bool redis_up;
    bool provider_up;      /* the last check of the one in force passed, and no job has found it
                              away since */
    bool throttled;        /* it did not, because the peer throttles */
    int64_t version;       /* in force; 0: none */
    char provider[32];     /* "" for none */
    int64_t error_version; /* of the settings that were not applied; meaningful when message is not
                              "" */
    char message[240];     /* why not; "" when all is well */
    int64_t changes, failures; /* counters: applied, refused */
    int64_t control_offset;    /* of the control record that was refused last; meaningful when
                                  control_message is not "" */
    char control_message[240]; /* why; "" when the last one was good */
};

struct sp_watcher;

/*
 * Starts the thread; does not wait for Redis. One connection polls, one subscribes; both are taken,
 * on SP_OK only. ops and ctx are borrowed.
 */
SP_MUST_CHECK enum sp_code sp_watcher_start(struct sp_redis *redis_a, struct sp_redis *redis_b,
                                            const char *prefix, const struct sp_apply_ops *ops,
                                            void *ctx, struct sp_watcher **out,
                                            struct sp_error *err);
/* Ends the thread and drops the snapshot in force; references handed out stay valid until dropped.
 * Waits for the call that the thread is in: Redis, 2 s; ops->check, which its owner cancels first.
 * NULL is fine. */
void sp_watcher_stop(struct sp_watcher *w);
/* Looks again at once; resolve_again: also where nothing changed (SIGHUP: references are resolved
 * anew). Thread: any. */
void sp_watcher_poke(struct sp_watcher *w, bool resolve_again);

/*
 * The last valid document of the control topic: put in force where Redis has not been readable
 * since the start. *doc is taken, and empty then. Thread: any.
 */
void sp_watcher_offer(struct sp_watcher *w, struct sp_document *doc);
/* A copy of the document in force; false: there is none. Thread: any. */
bool sp_watcher_document(struct sp_watcher *w, struct sp_document *out);
/* What is wrong with the control record at this offset, for the status; "": nothing with the last
 * one. Thread: any. */
void sp_watcher_control(struct sp_watcher *w, int64_t offset, const char *message);

/*
 * A job found the provider of this snapshot away. If it is in force it is not `up` from now on,
 * until a check passes: the first is made at once, unless there was one within 5 s, the next ones
 * every 5 s. Thread: any. Does not block.
 */
void sp_watcher_doubt(struct sp_watcher *w, const struct sp_snapshot *snapshot);

/* The snapshot in force with a reference of its own, NULL for none. Thread: any. Does not block. */
struct sp_snapshot *sp_watcher_get(struct sp_watcher *w);
void sp_snapshot_unref(struct sp_snapshot *snapshot);
SP_AUTO(struct sp_snapshot *, sp_snapshot_unref)
/* Thread: any. */
void sp_watcher_status(struct sp_watcher *w, struct sp_settings_status *out);
/* A descriptor that becomes readable with every change of the status (non-blocking eventfd; the one
 * reader resets it). */
int sp_watcher_fd(struct sp_watcher *w);
