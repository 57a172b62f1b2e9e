/*
 * What providers may need of the outside (struct sp_host): lease records in Redis, so that another
 * worker can end at a peer what a dead one left there. <prefix>:lease:<provider> is a hash of lease
 * id to JSON text; <prefix>:lease:<provider>:<id> lives as long as its holder renews it.
 */
#pragma once

#include "providers/provider.h"
#include "worker/redis_link.h"

/* All borrowed for as long as the host table is used. */
struct sp_lease_store {
    struct sp_redis_link *link;
    const char *prefix;
};

struct sp_host sp_host_make(struct sp_lease_store *leases, const char *worker_id,
                            const struct sp_limits *limits);
