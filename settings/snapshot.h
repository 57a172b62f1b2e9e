/* What is behind a struct sp_snapshot: for settings/judge.c and settings/in_force.c alone. */
#pragma once

#include <stdatomic.h>

#include "settings/watcher.h"

/* What ops->open() made. Settings that were saved again unchanged share it under two versions. */
struct sp_opened {
    atomic_size_t refs;
    const struct sp_apply_ops *ops;
    void *ctx, *value;
};
/* Takes the value on success only. NULL without memory. */
struct sp_opened *sp_opened_new(const struct sp_apply_ops *ops, void *ctx, void *value);
void sp_opened_unref(struct sp_opened *o);
SP_AUTO(struct sp_opened *, sp_opened_unref)

struct sp_entry {
    struct sp_snapshot snapshot; /* first: its address is the entry's */
    atomic_size_t refs;
    struct sp_opened *opened;
};
/* Adds a reference to o. NULL without memory. */
struct sp_entry *sp_entry_new(struct sp_opened *o, const struct sp_snapshot *snapshot);
