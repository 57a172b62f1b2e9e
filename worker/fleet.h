/*
 * The fleet record <prefix>:worker:<id> (CONTRACT.md 6), by which an administrator sees who runs
 * what: renewed every 4 s and with every change of the settings by a thread of its own, which is
 * also the one reader of sp_watcher_fd() and has held jobs tried again then.
 */
#pragma once

#include <stdatomic.h>

#include "settings/redis.h"
#include "settings/watcher.h"
#include "worker/executor.h"
#include "worker/hold.h"

/* All borrowed until sp_fleet_stop(). */
struct sp_fleet_options {
    const char *prefix, *worker_id;
    int64_t concurrency;
    struct sp_watcher *watcher;
    struct sp_queue *queue;
    struct sp_hold *hold;
    const struct sp_executors *executors;
    const atomic_bool *stopping;
};

struct sp_fleet;

/* Takes redis on SP_OK. Does not wait for Redis. */
SP_MUST_CHECK enum sp_code sp_fleet_start(const struct sp_fleet_options *options,
                                          struct sp_redis *redis, struct sp_fleet **out,
                                          struct sp_error *err);
/* Writes the record now. Thread: any. */
void sp_fleet_poke(struct sp_fleet *fleet);
/* Deletes the record and ends the thread. Blocks: 4 s at most. */
void sp_fleet_stop(struct sp_fleet *fleet);

/* What is wrong with Redis's maxmemory-policy, "" for nothing; asked for with each connection.
 * out holds 160. Thread: any. */
void sp_fleet_policy_warning(struct sp_fleet *fleet, char *out);
