/*
 * Records of what a provider has made at its service, so that it is ended there even if this worker
 * dies (struct sp_host, provider.h). A record is put before the thing is made, and dropped once it
 * is known to be gone. Its data is a JSON object: {"worker", "service", "sandbox"?}, the worker for
 * people, see below. A host without leases is fine: nothing is recorded then, and the service's own
 * time ends what is left. A failure is no reason not to run; it is logged, save that the host's
 * store is away, which the host says itself. Thread: any.
 */
#pragma once

#include "providers/provider.h"

struct sp_lease {
    const char *id;      /* what we call it */
    const char *service; /* where it is, address and account: nobody else can end it */
    const char *sandbox; /* what the service calls it; "": not known, or the same */
};

/* ttl_ms: as long as it can live, then it is gone, or forgotten. */
void sp_lease_put(const struct sp_host *host, const char *provider, const struct sp_lease *lease,
                  int64_t ttl_ms);
/* It is gone at the service. */
void sp_lease_drop(const struct sp_host *host, const char *provider, const char *id);
/* It could not be ended here: any worker's next sweep tries. */
void sp_lease_leave(const struct sp_host *host, const char *provider, const char *id);
/* The one or the other, by what came of ending it. */
void sp_lease_settle(const struct sp_host *host, const char *provider, const char *id,
                     enum sp_code ended);

/* Ends one; SP_OK also where it is gone already. The message is logged. */
typedef enum sp_code (*sp_lease_end_fn)(void *ctx, const struct sp_lease *lease, int64_t deadline,
                                        struct sp_error *err);
/* Ends and drops what has run out at this service. What cannot be ended is logged, and stays for a
 * later sweep. Blocks: 5 s at most. */
void sp_lease_sweep(const struct sp_host *host, const char *provider, const char *service,
                    sp_lease_end_fn end, void *ctx);
