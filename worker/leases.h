/*
 * What providers may need of the outside (struct sp_host): lease records in Redis, so that another
 * worker can end at a peer what a dead one left there. <prefix>:lease:<provider> is a hash of lease
 * id to JSON text, and <prefix>:lease:<provider>:until a sorted set of the same ids by the moment
 * (Redis's clock, epoch ms) from which on anybody may end it.
 *
 * A record lives shortly, and for as long as its holder keeps it: sp_leases_keep() gives all that
 * are held here their life anew. What could not be written is written then, and what a Redis lost.
 */
#pragma once

#include "providers/provider.h"
#include "worker/redis_link.h"

struct sp_leases;

/*
 * life: of a record that nobody keeps, since its holder is dead or cut off for so long. settle:
 * from a failure of Redis, or the start, until a record that has run out is taken for nobody's;
 * before, its holder may not have been able to keep it.
 */
struct sp_lease_times {
    int64_t life_ms, settle_ms;
};

/* link and prefix are borrowed. SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_leases_new(struct sp_redis_link *link, const char *prefix,
                                         const struct sp_lease_times *times, struct sp_leases **out,
                                         struct sp_error *err);
void sp_leases_free(struct sp_leases *leases);
SP_AUTO(struct sp_leases *, sp_leases_free)
/* Thread: any. Blocks: as long as Redis takes for one command each; ends with the first that
 * fails. */
SP_MUST_CHECK enum sp_code sp_leases_keep(struct sp_leases *leases, struct sp_error *err);
/* Whether there is something for the sweep of this provider. Thread: any. */
bool sp_leases_have_expired(struct sp_leases *leases, const char *provider);

/* All borrowed for as long as the host table is used. */
struct sp_host sp_leases_host(struct sp_leases *leases, const char *worker_id,
                              const struct sp_limits *limits);
