/*
 * Records of what a provider has made at its service, so that it is ended there even if this worker
 * dies (struct sp_host, provider.h). A host without leases is fine: nothing is recorded then, and
 * the service's own idle time ends what is left.
 */
#pragma once

#include "providers/provider.h"

/* To be called before the thing is made. A failure is logged only: the service ends it, too, later.
 * data: JSON. */
void sp_lease_put(const struct sp_host *host, const char *provider, const char *id,
                  const char *data, int64_t ttl_ms);
/* It is gone at the service. */
void sp_lease_drop(const struct sp_host *host, const char *provider, const char *id);

/* Ends one; SP_OK also where it is gone already. SP_E_UNSUPPORTED: it is of another service, and so
 * its own worker's matter. data: as it was put. */
typedef enum sp_code (*sp_lease_end_fn)(void *ctx, const char *id, const char *data,
                                        int64_t deadline, struct sp_error *err);
/* Ends and drops what has expired, until the deadline. What cannot be ended stays, and is logged. */
void sp_lease_sweep(const struct sp_host *host, const char *provider, sp_lease_end_fn end,
                    void *ctx, int64_t deadline);
