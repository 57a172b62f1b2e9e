#include "worker/endpoints.h"

#include <stdlib.h>
#include <string.h>

#include "worker/health.h"

static unsigned answer_alive(void *ctx, struct sp_buf *out)
{
    (void)ctx;
    return sp_buf_adds(out, "ok\n") ? 500 : 200;
}

static unsigned answer_ready(void *ctx, struct sp_buf *out)
{
    const struct sp_endpoints *e = ctx;
    struct sp_queue_status queue = {0};
    struct sp_settings_status settings;
    struct sp_claims_status claims;
    struct sp_control_status control;
    char policy[160];
    bool ready = false;
    sp_queue_status(e->queue, &queue);
    sp_watcher_status(e->watcher, &settings);
    sp_claims_status(e->claims, &claims);
    sp_control_status(e->control, &control);
    sp_fleet_policy_warning(e->fleet, policy);
    const struct sp_health health = {
        .worker_id = e->config->worker.id,
        .queue = &queue,
        .settings = &settings,
        .claims = &claims,
        .control = &control,
        .redis_required = strcmp(e->config->redis.outage, "pause") == 0,
        .policy_warning = policy,
        .stopping = atomic_load(e->stopping),
    };
    enum sp_code rc = sp_health_write(&health, out, &ready);
    free(queue.partitions);
    if (rc)
        return 500;
    return ready ? 200 : 503;
}

static unsigned answer_metrics(void *ctx, struct sp_buf *out)
{
    const struct sp_endpoints *e = ctx;
    struct sp_queue_status queue = {0};
    struct sp_settings_status settings;
    struct sp_claims_status claims;
    struct sp_control_status control;
    sp_queue_status(e->queue, &queue);
    sp_watcher_status(e->watcher, &settings);
    sp_claims_status(e->claims, &claims);
    sp_control_status(e->control, &control);
    const struct sp_metrics_view view = {
        .queue = &queue,
        .settings = &settings,
        .claims = &claims,
        .control = &control,
        .ready = sp_ready_len(e->ready),
        .held = sp_hold_len(e->hold),
        .running = sp_executors_running(e->executors),
    };
    enum sp_code rc = sp_metrics_write(e->metrics, &view, out);
    free(queue.partitions);
    return rc ? 500 : 200;
}

static const struct sp_httpd_route routes[] = {
    {"/healthz", "text/plain", answer_alive},
    {"/readyz", "application/json", answer_ready},
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8", answer_metrics},
};

enum sp_code sp_endpoints_start(struct sp_endpoints *endpoints, struct sp_httpd **out,
                                struct sp_error *err)
{
    const char *at = endpoints->config->http.listen;
    if (!at || at[0] == '\0')
        return SP_OK;
    return sp_httpd_start(at, routes, SP_COUNT(routes), endpoints, out, err);
}
