/*
 * Leases of sandboxes (providers/provider.h, sp_host): what is written down before one is made and
 * struck out once it is ended, so that another worker can end what a dead one left. A lease lives
 * shortly and is renewed while its run goes on. Without a store, or with it away, there are none,
 * and a sandbox ends by its own time.
 */
#pragma once

#include "providers/e2b/control.h"
#include "providers/provider.h"

/* label: see sp_e2b_create(). sandbox: its id, "" where it is not known yet. setup_ms: until the
 * run begins. */
void sp_e2b_lease_put(const struct sp_host *host, const struct sp_e2b_control *control,
                      const char *label, const char *sandbox, int64_t setup_ms);
/* Renews it if that is due; *at is when that was done last (monotonic, 0: never). */
void sp_e2b_lease_renew(const struct sp_host *host, const char *label, int64_t *at);
void sp_e2b_lease_drop(const struct sp_host *host, const char *label);
/* Ends the sandboxes of this service whose lease has run out. Blocks: 20 s at most. */
void sp_e2b_lease_sweep(const struct sp_host *host, struct sp_e2b_control *control);
