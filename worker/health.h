/* Is the worker fit for work? The rules of CONTRACT.md 4 for /readyz. */
#pragma once

#include "base/buf.h"
#include "queue/queue.h"
#include "settings/watcher.h"
#include "worker/claims/claims.h"
#include "worker/control.h"

/* All borrowed for the call. */
struct sp_health {
    const char *worker_id;
    const struct sp_queue_status *queue;
    const struct sp_settings_status *settings;
    const struct sp_claims_status *claims;
    const struct sp_control_status *control;
    bool redis_required;        /* redis.outage = pause */
    const char *policy_warning; /* "": none */
    bool stopping;
};

/* Appends {"ready", "reasons", "warnings", ...}. *ready: 200 or 503. SP_E_NOMEM, SP_E_LIMIT. */
SP_MUST_CHECK enum sp_code sp_health_write(const struct sp_health *health, struct sp_buf *out,
                                           bool *ready);
