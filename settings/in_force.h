/*
 * What is in force, for every thread to see. The settings thread alone changes it
 * (settings/judge.c), so that it may read `current` without the lock. settings/watcher.h is what
 * others use.
 */
#pragma once

#include <pthread.h>

#include "settings/snapshot.h"

struct sp_in_force {
    int fd;               /* eventfd: readable after a change of the status */
    pthread_mutex_t lock; /* guards the rest */
    struct sp_entry *current;
    struct sp_settings_status status;
    struct sp_document document; /* that current was made of */
    bool doubted;                /* a job found current away */
};

/* SP_E_NOMEM: no descriptor. */
SP_MUST_CHECK enum sp_code sp_in_force_init(struct sp_in_force *f, struct sp_error *err);
void sp_in_force_clear(struct sp_in_force *f);

/* Shows a status, save what it says about the control topic, which is another thread's. Thread:
 * settings. */
void sp_in_force_show(struct sp_in_force *f, const struct sp_settings_status *status);
/* The same, and puts entry (NULL: nothing) in force with its document; both are taken. */
void sp_in_force_replace(struct sp_in_force *f, struct sp_entry *entry, struct sp_document *doc,
                         const struct sp_settings_status *status);
/* Whether current was doubted since the last call. Thread: settings. */
bool sp_in_force_take_doubt(struct sp_in_force *f);

/* As sp_watcher_get(), sp_watcher_status(), sp_watcher_document(), sp_watcher_control(). */
struct sp_snapshot *sp_in_force_get(struct sp_in_force *f);
void sp_in_force_status(struct sp_in_force *f, struct sp_settings_status *out);
bool sp_in_force_document(struct sp_in_force *f, struct sp_document *out);
void sp_in_force_control(struct sp_in_force *f, int64_t offset, const char *message);
/* A job found the snapshot in force away: true when that is news. */
bool sp_in_force_doubt(struct sp_in_force *f, const struct sp_snapshot *snapshot);
