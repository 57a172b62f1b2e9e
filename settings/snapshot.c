#include "settings/snapshot.h"

#include <stdlib.h>

struct sp_opened *sp_opened_new(const struct sp_apply_ops *ops, void *ctx, void *value)
{
    struct sp_opened *o = calloc(1, sizeof *o);

    if (!o)
        return NULL;
    *o = (struct sp_opened){.refs = 1, .ops = ops, .ctx = ctx, .value = value};
    return o;
}

void sp_opened_unref(struct sp_opened *o)
{
    if (atomic_fetch_sub(&o->refs, 1) > 1)
        return;
    o->ops->close(o->ctx, o->value);
    free(o);
}

struct sp_entry *sp_entry_new(struct sp_opened *o, const struct sp_snapshot *snapshot)
{
    struct sp_entry *e = calloc(1, sizeof *e);

    if (!e)
        return NULL;
    atomic_fetch_add(&o->refs, 1);
    *e = (struct sp_entry){.snapshot = *snapshot, .refs = 1, .opened = o};
    e->snapshot.value = o->value;
    return e;
}

void sp_snapshot_unref(struct sp_snapshot *snapshot)
{
    struct sp_entry *e = (struct sp_entry *)snapshot;

    if (!e || atomic_fetch_sub(&e->refs, 1) > 1)
        return;
    sp_opened_unref(e->opened);
    free(e);
}
