/* Start and stop of the worker's parts, in order. */
#include "worker/worker.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "worker/apply.h"
#include "worker/endpoints.h"
#include "worker/executor.h"
#include "worker/fleet.h"
#include "worker/intake.h"
#include "worker/keeper.h"
#include "worker/leases.h"
#include "worker/queue_config.h"
#include "worker/result_store.h"

enum {
    READY_MIN = 256,  /* enough for the executors while the intake waits for a processor */
    GRACE_MS = 12000, /* after worker.drain: ending programs (10 s at most) and telling Kafka */
    FLUSH_MS = 1000,  /* every delivery was waited for already */
    CLAIMS_MS = 2000, /* for what is still to be written to Redis */
    KEEP_MS = 10000,  /* between two rounds at the leases */
};

/* One round may be slow or lost; a settled Redis has been there for two. */
static const struct sp_lease_times lease_times = {.life_ms = 45000, .settle_ms = 25000};

struct sp_worker {
    const struct sp_config *config;
    atomic_bool stopping, cancelled;
    struct sp_topics topics;
    struct sp_queue_property *kafka;
    struct sp_metrics *metrics;
    struct sp_ready *ready, *urgent;
    struct sp_cancels *cancels;
    struct sp_hold *hold;
    struct sp_order *order;
    struct sp_redis_link *link;
    struct sp_result_store store;
    struct sp_part_store parts;
    struct sp_leases *leases;
    struct sp_host host;
    struct sp_apply apply;
    struct sp_queue *queue;
    struct sp_watcher *watcher;
    struct sp_claims *claims;
    struct sp_control *control;
    struct sp_keeper *keeper;
    struct sp_executors *executors;
    struct sp_intake *intake;
    struct sp_fleet *fleet;
    struct sp_endpoints endpoints;
    struct sp_httpd *http;
};

static enum sp_code start_state(struct sp_worker *w, struct sp_error *err)
{
    const struct sp_config *config = w->config;
    size_t capacity = (size_t)config->worker.concurrency * 2;
    w->metrics = sp_metrics_new();
    w->ready = sp_ready_new(capacity > READY_MIN ? capacity : READY_MIN,
                            (size_t)config->worker.concurrency);
    w->urgent = sp_ready_new(1, 1); /* nobody asks it for room */
    w->cancels = sp_cancels_new(SP_CANCELS_MAX);
    w->hold = sp_hold_new(w->cancels);
    bool by_key = strcmp(config->worker.order, "key") == 0;
    if (by_key)
        w->order = sp_order_new();
    if (!w->metrics || !w->ready || !w->urgent || !w->cancels || !w->hold || (by_key && !w->order))
        return sp_error_set(err, SP_E_NOMEM, "no memory for the worker");
    return sp_queue_config_topics(config, &w->topics, err);
}

static enum sp_code start_link(struct sp_worker *w, struct sp_error *err)
{
    sp_auto(sp_redis_free) struct sp_redis *redis = NULL;
    enum sp_code rc = sp_redis_new(w->config, &redis, err);
    if (!rc)
        rc = sp_redis_link_new(redis, &w->link, err);
    if (rc)
        return rc;
    redis = NULL;
    const char *prefix = w->config->redis.prefix;
    w->store = (struct sp_result_store){w->link, prefix, w->config->results.ttl, w->metrics};
    w->parts = sp_result_store_parts(&w->store);
    rc = sp_leases_new(w->link, prefix, &lease_times, &w->leases, err);
    if (rc)
        return rc;
    w->host = sp_leases_host(w->leases, w->config->worker.id, &w->config->limits);
    w->apply.host = &w->host;
    return SP_OK;
}

static enum sp_code start_queue(struct sp_worker *w, struct sp_error *err)
{
    const struct sp_config *config = w->config;
    w->kafka = sp_queue_config_properties(config);
    if (!w->kafka)
        return sp_error_set(err, SP_E_NOMEM, "no memory for the Kafka properties");
    const struct sp_queue_options options = {
        .kafka = w->kafka,
        .n_kafka = config->kafka.n,
        .topics = &w->topics,
        .limits = &config->limits,
        .window = config->queue.window,
        .window_bytes = config->queue.window_bytes,
        .worker_id = config->worker.id,
        .version = SP_VERSION,
    };
    return sp_queue_open(&options, &w->queue, err);
}

static enum sp_code start_watcher(struct sp_worker *w, struct sp_error *err)
{
    sp_auto(sp_redis_free) struct sp_redis *polls = NULL;
    sp_auto(sp_redis_free) struct sp_redis *subscribes = NULL;
    w->apply.cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->apply.cancel_fd < 0)
        return sp_error_set(err, SP_E_INTERNAL, "no descriptor for the settings thread");
    enum sp_code rc = sp_redis_new(w->config, &polls, err);
    if (!rc)
        rc = sp_redis_new(w->config, &subscribes, err);
    if (!rc) {
        rc = sp_watcher_start(polls, subscribes, w->config->redis.prefix, &sp_apply_ops, &w->apply,
                              &w->watcher, err);
    }
    if (!rc)
        polls = subscribes = NULL;
    return rc;
}

static enum sp_code start_claims(struct sp_worker *w, struct sp_error *err)
{
    const struct sp_config *config = w->config;
    sp_auto(sp_redis_free) struct sp_redis *redis = NULL;
    enum sp_code rc = sp_redis_new(config, &redis, err);
    const struct sp_claims_options options = {
        .redis = redis,
        .prefix = config->redis.prefix,
        .worker_id = config->worker.id,
        .liveness_ms = config->worker.liveness,
        .results_ttl_ms = config->results.ttl,
        .max_attempts = config->worker.max_attempts,
        .pause = strcmp(config->redis.outage, "pause") == 0,
    };
    if (!rc)
        rc = sp_claims_start(&options, &w->claims, err);
    if (!rc)
        redis = NULL;
    return rc;
}

/* Thread: control. */
static void on_cancel(void *ctx, const char *id)
{
    struct sp_worker *w = ctx;
    (void)id;
    atomic_store(&w->cancelled, true);
    sp_queue_wake(w->queue);
}

static enum sp_code start_control(struct sp_worker *w, struct sp_error *err)
{
    const struct sp_config *config = w->config;
    sp_auto(sp_redis_free) struct sp_redis *redis = NULL;
    const struct sp_control_options options = {
        .kafka = w->kafka,
        .n_kafka = config->kafka.n,
        .topic = w->topics.control,
        .prefix = config->redis.prefix,
        .cancel_ttl_ms = config->cancel.ttl,
        .cancels = w->cancels,
        .watcher = w->watcher,
        .on_cancel = on_cancel,
        .ctx = w,
    };
    enum sp_code rc = sp_redis_new(config, &redis, err);
    if (!rc)
        rc = sp_control_start(&options, redis, &w->control, err);
    if (!rc)
        redis = NULL;
    return rc;
}

static enum sp_code start_keeper(struct sp_worker *w, struct sp_error *err)
{
    const struct sp_keeper_options options = {w->leases, w->watcher, KEEP_MS};

    return sp_keeper_start(&options, &w->keeper, err);
}

static enum sp_code start_executors(struct sp_worker *w, struct sp_error *err)
{
    const struct sp_executors_options options = {
        .config = w->config,
        .ready = w->ready,
        .urgent = w->urgent,
        .hold = w->hold,
        .watcher = w->watcher,
        .admission = {.claims = w->claims,
                      .cancels = w->cancels,
                      .hold_ms = w->config->worker.hold},
        .finish = {.queue = w->queue,
                   .claims = w->claims,
                   .parts = &w->parts,
                   .worker_id = w->config->worker.id},
        .stopping = &w->stopping,
    };
    return sp_executors_start(&options, &w->executors, err);
}

static enum sp_code start_fleet(struct sp_worker *w, struct sp_error *err)
{
    sp_auto(sp_redis_free) struct sp_redis *redis = NULL;
    const struct sp_fleet_options options = {
        .prefix = w->config->redis.prefix,
        .worker_id = w->config->worker.id,
        .concurrency = w->config->worker.concurrency,
        .watcher = w->watcher,
        .queue = w->queue,
        .hold = w->hold,
        .executors = w->executors,
        .stopping = &w->stopping,
    };
    enum sp_code rc = sp_redis_new(w->config, &redis, err);
    if (!rc)
        rc = sp_fleet_start(&options, redis, &w->fleet, err);
    if (!rc)
        redis = NULL;
    return rc;
}

static enum sp_code start_intake(struct sp_worker *w, struct sp_error *err)
{
    const struct sp_intake_options options = {
        .queue = w->queue,
        .watcher = w->watcher,
        .ready = w->ready,
        .urgent = w->urgent,
        .hold = w->hold,
        .claims = w->claims,
        .cancels = w->cancels,
        .cancelled = &w->cancelled,
        .control = w->control,
        .executors = w->executors,
        .order = w->order,
        .metrics = w->metrics,
        .limits = &w->config->limits,
        .topics = &w->topics,
        .stopping = &w->stopping,
    };
    return sp_intake_start(&options, &w->intake, err);
}

static enum sp_code start_http(struct sp_worker *w, struct sp_error *err)
{
    w->endpoints = (struct sp_endpoints){
        .config = w->config,
        .stopping = &w->stopping,
        .queue = w->queue,
        .watcher = w->watcher,
        .claims = w->claims,
        .control = w->control,
        .fleet = w->fleet,
        .metrics = w->metrics,
        .ready = w->ready,
        .hold = w->hold,
        .executors = w->executors,
    };
    return sp_endpoints_start(&w->endpoints, &w->http, err);
}

/* The order of the start; a part uses only those above it. HTTP comes before the intake, so that a
 * port in use stops the start before a record is taken. */
static enum sp_code (*const parts[])(struct sp_worker *, struct sp_error *) = {
    start_state,   start_link,      start_queue, start_watcher, start_keeper, start_claims,
    start_control, start_executors, start_fleet, start_http,    start_intake,
};

/* A check of a provider may be under way, which is of no use any more. */
static void stop_watcher(struct sp_worker *w)
{
    if (w->apply.cancel_fd >= 0)
        (void)eventfd_write(w->apply.cancel_fd, 1);
    sp_watcher_stop(w->watcher);
    if (w->apply.cancel_fd >= 0)
        close(w->apply.cancel_fd);
}

/* The other way round; every part may be missing. */
static void take_down(struct sp_worker *w)
{
    sp_intake_join(w->intake);
    sp_httpd_stop(w->http);
    sp_fleet_stop(w->fleet);
    if (w->queue)
        sp_queue_hurry(w->queue); /* nobody makes room for replies any more */
    if (w->ready)
        sp_ready_close(w->ready);
    if (w->urgent)
        sp_ready_close(w->urgent);
    sp_executors_free(w->executors);
    sp_control_stop(w->control);
    sp_intake_leave(w->intake, FLUSH_MS);
    sp_claims_stop(w->claims, CLAIMS_MS); /* it may still have a job to tell of */
    sp_intake_free(w->intake);
    if (w->queue)
        sp_queue_close(w->queue, 0);
    sp_keeper_stop(w->keeper);
    stop_watcher(w);
    sp_leases_free(w->leases);
    sp_redis_link_free(w->link);
    sp_order_free(w->order);
    sp_hold_free(w->hold);
    sp_cancels_free(w->cancels);
    sp_ready_free(w->urgent);
    sp_ready_free(w->ready);
    sp_metrics_free(w->metrics);
    sp_topics_clear(&w->topics);
    free(w->kafka);
    free(w);
}

enum sp_code sp_worker_start(const struct sp_config *config, struct sp_worker **out,
                             struct sp_error *err)
{
    struct sp_worker *w = calloc(1, sizeof *w);
    if (!w) {
        sp_error_set(err, SP_E_NOMEM, "no memory for the worker");
        return SP_E_NOMEM;
    }
    w->config = config;
    w->apply.cancel_fd = -1;
    for (size_t i = 0; i < SP_COUNT(parts); i++) {
        enum sp_code rc = parts[i](w, err);
        if (rc) {
            take_down(w);
            return rc;
        }
    }
    sp_log(SP_INFO, "worker_started", sp_s("worker", config->worker.id),
           sp_s("version", SP_VERSION), sp_i("concurrency", config->worker.concurrency),
           sp_s("topics", config->queue.request_topics), sp_s("http", sp_worker_http(w)));
    *out = w;
    return SP_OK;
}

void sp_worker_reload(struct sp_worker *worker)
{
    sp_watcher_poke(worker->watcher, true);
}

void sp_worker_stop(struct sp_worker *worker)
{
    const struct sp_config *config = worker->config;
    const char *id = config->worker.id;
    sp_log(SP_INFO, "worker_stopping", sp_s("worker", id),
           sp_i("running", (int64_t)sp_executors_running(worker->executors)));
    atomic_store(&worker->stopping, true);
    sp_queue_stop_intake(worker->queue);
    sp_queue_wake(worker->queue);
    sp_fleet_poke(worker->fleet);

    bool back = sp_intake_wait(worker->intake, sp_deadline_in(config->worker.drain));
    if (!back) {
        sp_log(SP_WARN, "drain_over", sp_s("worker", id),
               sp_i("running", (int64_t)sp_executors_running(worker->executors)));
        sp_executors_end(worker->executors);
        back = sp_intake_wait(worker->intake, sp_deadline_in(GRACE_MS));
    }
    take_down(worker);
    sp_log(back ? SP_INFO : SP_WARN, "worker_stopped", sp_s("worker", id),
           sp_s("unanswered", back ? "none" : "some"));
}

const char *sp_worker_http(const struct sp_worker *worker)
{
    return worker->http ? sp_httpd_address(worker->http) : "";
}
