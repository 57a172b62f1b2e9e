/*
 * The thread that keeps this worker's leases, and has the provider in force end what dead workers
 * left behind: in a minute or so from their death.
 */
#pragma once

#include "settings/watcher.h"
#include "worker/leases.h"

struct sp_keeper;

struct sp_keeper_options {
    struct sp_leases *leases;   /* borrowed until the stop, as is the next */
    struct sp_watcher *watcher; /* its snapshots are providers */
    int64_t every_ms;
};

SP_MUST_CHECK enum sp_code sp_keeper_start(const struct sp_keeper_options *options,
                                           struct sp_keeper **out, struct sp_error *err);
/* Waits for a sweep that is under way: 5 s, or one call to the service. NULL is fine. */
void sp_keeper_stop(struct sp_keeper *keeper);
