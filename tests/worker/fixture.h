/* What the tests of the worker share. */
#pragma once

#include "settings/config.h"
#include "tests/support/fake_provider.h"
#include "tests/support/redis_server.h"
#include "worker/job.h"
#include "worker/redis_link.h"

/* A job made of a record with this value and timestamp; freed by job_drop(). Asserts. */
struct sp_job *job_of(const char *value, int64_t timestamp_ms);
void job_drop(struct sp_job *job);
SP_AUTO(struct sp_job *, job_drop)

/* The default configuration of the worker; freed by sp_config_free(). */
struct sp_config *config_with(const char *const *overrides, size_t n);

/* A private Redis, a connection of the test's own, and the link that the tested part uses. */
struct redis_rig {
    struct sp_redis_server server;
    struct sp_config *config;
    struct sp_redis *redis;
    struct sp_redis_link *link;
};
void redis_rig_open(struct redis_rig *rig);
void redis_rig_close(struct redis_rig *rig);
