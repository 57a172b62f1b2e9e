/* The provider's own struct, and its instances: a sandbox each, made for a run or ahead of it. */
#pragma once

#include "providers/e2b/control.h"
#include "providers/e2b/modes.h"
#include "providers/warm_pool.h"

/* Most that a sandbox which is made ahead of its run waits for it. */
#define SP_E2B_WARM_MS 120000

struct sp_e2b {
    struct sp_provider base;
    struct e2b_settings *settings; /* owned, once open; known to e2b.c */
    const char *sandbox_url;       /* in them */
    const struct sp_e2b_mode *mode;
    const struct sp_host *host;
    struct sp_e2b_control *control;
    struct sp_http *sandboxes; /* calls to them */
    struct sp_warm_pool *pool;
};

struct sp_e2b_instance {
    struct sp_instance base; /* its id is the sandbox's label */
    struct sp_e2b_sandbox sandbox;
    struct sp_e2b_port envd, interpreter;
    struct sp_e2b_place place;
    bool spoilt;
};

/* As create() of a provider: one of the pool's, else a new one. */
SP_MUST_CHECK enum sp_code sp_e2b_make(struct sp_e2b *e, enum sp_language language,
                                       const struct sp_run *run, struct sp_e2b_instance **out,
                                       struct sp_error *err);
/* Ends the sandbox and frees, whatever happens; a failure is for the log. */
enum sp_code sp_e2b_unmake(struct sp_e2b_instance *i, const struct sp_run *run,
                           struct sp_error *err);
extern const struct sp_warm_ops sp_e2b_warm_ops; /* their context is the provider */
