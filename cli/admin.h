/* What the commands that look at Redis share: the connection, the stored settings, the fleet. */
#pragma once

#include "cli/command.h"
#include "providers/registry.h"
#include "settings/store.h"

struct sp_admin {
    struct sp_config *config;
    struct sp_redis *redis;
    struct sp_document doc;
};

/* Loads the configuration and reads the settings. SP_E_UNAVAILABLE: Redis, with what to do. */
SP_MUST_CHECK enum sp_code sp_admin_open(const struct sp_call *call, struct sp_admin *out,
                                         struct sp_error *err);
/* Reads the settings again. */
SP_MUST_CHECK enum sp_code sp_admin_read(struct sp_admin *admin, struct sp_error *err);
void sp_admin_clear(struct sp_admin *admin);
SP_AUTO_CLEAR(struct sp_admin, sp_admin_clear)

/* The fleet's records (CONTRACT.md 6), sorted by id. New reference. */
SP_MUST_CHECK enum sp_code sp_admin_fleet(struct sp_admin *admin, json_t **workers,
                                          struct sp_error *err);
/* The provider that the settings make active. */
const char *sp_admin_active(const struct sp_admin *admin);

/* Waits until every worker has applied `version`, or says that it cannot. SP_E_TIMEOUT, and
 * SP_E_INVALID naming a worker and its reason. *n: workers seen. */
SP_MUST_CHECK enum sp_code sp_admin_converge(struct sp_admin *admin, int64_t version,
                                             int64_t timeout_ms, size_t *n, struct sp_error *err);
