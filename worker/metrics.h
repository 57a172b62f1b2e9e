/* Counters and histograms of the jobs, and the text that Prometheus reads. */
#pragma once

#include "base/buf.h"
#include "base/status.h"
#include "queue/queue.h"
#include "settings/watcher.h"
#include "worker/claims/claims.h"
#include "worker/control.h"

struct sp_metrics;

/* NULL without memory. */
struct sp_metrics *sp_metrics_new(void);
void sp_metrics_free(struct sp_metrics *metrics);

/* One job whose reply is in Kafka. provider NULL: none. queue_us, run_us < 0: nothing started.
 * Thread: any, as for all below. */
void sp_metrics_job(struct sp_metrics *metrics, enum sp_status status, const char *provider,
                    int64_t queue_us, int64_t run_us);
/* One part of a reply for the result store. */
void sp_metrics_attachment(struct sp_metrics *metrics, bool stored);

/* The state of the worker at this moment; all borrowed for the call. */
struct sp_metrics_view {
    const struct sp_queue_status *queue;
    const struct sp_settings_status *settings;
    const struct sp_claims_status *claims;
    const struct sp_control_status *control;
    size_t ready, held, running;
};
/* Appends the text exposition format, version 0.0.4. SP_E_NOMEM, SP_E_LIMIT. */
SP_MUST_CHECK enum sp_code sp_metrics_write(const struct sp_metrics *metrics,
                                            const struct sp_metrics_view *view, struct sp_buf *out);
