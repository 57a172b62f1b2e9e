/* What the worker's HTTP server answers: /healthz, /readyz, /metrics. */
#pragma once

#include <stdatomic.h>

#include "settings/config.h"
#include "settings/watcher.h"
#include "worker/control.h"
#include "worker/executor.h"
#include "worker/fleet.h"
#include "worker/httpd.h"
#include "worker/metrics.h"

/* The parts that are asked; all borrowed until the server has stopped. */
struct sp_endpoints {
    const struct sp_config *config;
    const atomic_bool *stopping;
    struct sp_queue *queue;
    struct sp_watcher *watcher;
    struct sp_claims *claims;
    struct sp_control *control;
    struct sp_fleet *fleet;
    struct sp_metrics *metrics;
    struct sp_ready *ready;
    struct sp_hold *hold;
    struct sp_executors *executors;
};

/* As sp_httpd_start(), at http.listen; *out stays as it is where that is empty. endpoints is
 * borrowed as its members are. */
SP_MUST_CHECK enum sp_code sp_endpoints_start(struct sp_endpoints *endpoints, struct sp_httpd **out,
                                              struct sp_error *err);
