/* Metrics: what is counted here, and what is read from the parts when somebody asks. Format:
 * https://prometheus.io/docs/instrumenting/exposition_formats/ */
#include "worker/metrics.h"

#include <dirent.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "providers/registry.h"

enum { PROVIDERS_MAX = 16 }; /* labels; the last one is for no provider */

static const struct {
    int64_t us;
    const char *le; /* the same in seconds */
} bounds[] = {
    {1000, "0.001"},    {2500, "0.0025"},   {5000, "0.005"},     {10000, "0.01"},  {25000, "0.025"},
    {50000, "0.05"},    {100000, "0.1"},    {250000, "0.25"},    {500000, "0.5"},  {1000000, "1"},
    {2500000, "2.5"},   {5000000, "5"},     {10000000, "10"},    {30000000, "30"}, {60000000, "60"},
    {300000000, "300"}, {600000000, "600"}, {INT64_MAX, "+Inf"},
};
enum { BUCKETS = SP_COUNT(bounds) };

struct histogram {
    atomic_llong buckets[BUCKETS], sum_us; /* each bucket for itself; summed up when written */
};

struct sp_metrics {
    atomic_llong jobs[SP_STATUS_COUNT][PROVIDERS_MAX];
    struct histogram queue, run;
    atomic_llong stored, cut;
};

struct sp_metrics *sp_metrics_new(void)
{
    return calloc(1, sizeof(struct sp_metrics));
}

void sp_metrics_free(struct sp_metrics *metrics)
{
    free(metrics);
}

static void add(atomic_llong *counter, int64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static int64_t value_of(const atomic_llong *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void observe(struct histogram *h, int64_t us)
{
    size_t i = 0;
    while (us > bounds[i].us)
        i++;
    add(&h->buckets[i], 1);
    add(&h->sum_us, us);
}

static size_t provider_index(const char *provider)
{
    for (size_t i = 0; provider && i < PROVIDERS_MAX - 1; i++) {
        const struct sp_provider_ops *ops = sp_registry_at(i);
        if (ops && strcmp(ops->name, provider) == 0)
            return i;
    }
    return PROVIDERS_MAX - 1;
}

void sp_metrics_job(struct sp_metrics *metrics, enum sp_status status, const char *provider,
                    int64_t queue_us, int64_t run_us)
{
    add(&metrics->jobs[status][provider_index(provider)], 1);
    if (queue_us >= 0)
        observe(&metrics->queue, queue_us);
    if (run_us >= 0)
        observe(&metrics->run, run_us);
}

void sp_metrics_attachment(struct sp_metrics *metrics, bool stored)
{
    add(stored ? &metrics->stored : &metrics->cut, 1);
}

/* What is written as one number without labels: a bool or an int64_t. */
struct numbers {
    struct sp_queue_status queue;
    struct sp_settings_status settings;
    struct sp_control_status control;
    struct sp_claims_status claims;
    int64_t ready, held, running, claims_open, claims_pending, commit_age, stored, cut, rss, fds;
};

#define IS_BOOL(number) _Generic((number), bool : true, int64_t : false)
#define NUMBER(name, type, member, help)                                                           \
    {                                                                                              \
        name, type, help, offsetof(struct numbers, member), IS_BOOL(((struct numbers *)0)->member) \
    }
#define GAUGE(name, member, help) NUMBER(name, "gauge", member, help)
#define COUNTER(name, member, help) NUMBER(name, "counter", member, help)
static const struct {
    const char *name, *type, *help;
    size_t offset;
    bool is_bool;
} rows[] = {
    GAUGE("sandpiper_jobs_running", running, "Jobs that an executor has in hand."),
    GAUGE("sandpiper_jobs_ready", ready, "Jobs that wait for an executor."),
    GAUGE("sandpiper_jobs_held", held, "Jobs held while their provider is unavailable."),
    GAUGE("sandpiper_settings_version", settings.version, "Version of the settings in force."),
    COUNTER("sandpiper_settings_changes_total", settings.changes, "Settings applied."),
    COUNTER("sandpiper_settings_failures_total", settings.failures, "Settings refused."),
    GAUGE("sandpiper_control_read", control.complete,
          "Whether the control topic has been read to its end."),
    GAUGE("sandpiper_control_missing", control.missing,
          "Whether there is no control topic, or we may not read it."),
    COUNTER("sandpiper_control_settings_total", control.settings_records, "Settings records read."),
    COUNTER("sandpiper_control_cancels_total", control.cancel_records,
            "Cancellations and their tombstones read."),
    COUNTER("sandpiper_control_invalid_total", control.invalid_records,
            "Records of the control topic that are invalid."),
    COUNTER("sandpiper_control_applied_total", control.settings_applied,
            "Settings that this worker wrote to Redis."),
    COUNTER("sandpiper_control_tombstones_total", control.tombstones,
            "Tombstones that this worker wrote for cancellations that are over."),
    GAUGE("sandpiper_provider_up", settings.provider_up,
          "Whether the active provider's check passed."),
    GAUGE("sandpiper_redis_up", settings.redis_up, "Whether Redis answers."),
    GAUGE("sandpiper_kafka_up", queue.kafka_up, "Whether a broker is connected."),
    GAUGE("sandpiper_topic_refused", queue.reply_topic_refused,
          "Whether the broker refuses the default reply topic or a DLQ."),
    COUNTER("sandpiper_records_total", queue.consumed, "Records taken from the request topics."),
    COUNTER("sandpiper_deliveries_total", queue.delivered, "Records that Kafka acknowledged."),
    COUNTER("sandpiper_reply_fallbacks_total", queue.fallbacks,
            "Replies that went to the default topic because their own was refused."),
    COUNTER("sandpiper_dead_letters_total", queue.dead_letters, "Records put on a DLQ."),
    COUNTER("sandpiper_redeliveries_total", queue.redeliveries, "Records seen again."),
    COUNTER("sandpiper_rebalances_total", queue.rebalances, "Changes of the assignment."),
    COUNTER("sandpiper_commits_total", queue.commits, "Offset commits."),
    COUNTER("sandpiper_commit_errors_total", queue.commit_errors, "Offset commits that failed."),
    GAUGE("sandpiper_commit_age_seconds", commit_age,
          "Time since the last offset commit; -1 before the first."),
    GAUGE("sandpiper_window_records", queue.records, "Records taken and not complete."),
    GAUGE("sandpiper_window_bytes", queue.bytes, "Bytes of the records taken and not complete."),
    GAUGE("sandpiper_producer_queue", queue.producer_queue,
          "Records that Kafka has not acknowledged."),
    GAUGE("sandpiper_claims_up", claims.up, "Whether Redis answers the claims."),
    GAUGE("sandpiper_degraded", claims.degraded, "Whether jobs go on without claims."),
    GAUGE("sandpiper_claims_open", claims_open, "Claims held."),
    GAUGE("sandpiper_claims_pending", claims_pending, "Ends of claims still to be written."),
    COUNTER("sandpiper_claims_total", claims.taken, "Claims taken."),
    COUNTER("sandpiper_claims_degraded_total", claims.degraded_total,
            "Jobs whose claim or result could not be recorded."),
    COUNTER("sandpiper_claims_republished_total", claims.republished, "Stored replies sent again."),
    COUNTER("sandpiper_claims_parked_total", claims.parked,
            "Times that a job waited for another run of its id."),
    COUNTER("sandpiper_claims_conflicts_total", claims.conflicts,
            "Requests refused because their id belongs to other content."),
    COUNTER("sandpiper_claims_died_total", claims.died,
            "Jobs given up because workers died while running them."),
    COUNTER("sandpiper_claims_lost_total", claims.lost,
            "Results dropped because another worker had taken the job."),
    COUNTER("sandpiper_claims_dropped_total", claims.dropped,
            "Ends of claims that an outage was too long for."),
    COUNTER("sandpiper_attachments_total", stored, "Parts of replies moved to the result store."),
    COUNTER("sandpiper_attachments_failed_total", cut,
            "Parts of replies cut because the result store was away."),
    GAUGE("process_resident_memory_bytes", rss, "Resident memory."),
    GAUGE("process_open_fds", fds, "Open descriptors."),
};

static int64_t resident_bytes(void)
{
    long long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return 0;
    if (fscanf(f, "%lld %lld", &pages, &resident) != 2) /* NOLINT(cert-err34-c): the kernel's */
        resident = 0;
    fclose(f);
    return resident * sysconf(_SC_PAGESIZE);
}

static int64_t open_descriptors(void)
{
    int64_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return 0;
    while (readdir(dir)) /* NOLINT(concurrency-mt-unsafe): a stream of this thread's own */
        n++;
    closedir(dir);
    return n - 3; /* ".", "..", and the folder's own */
}

static struct numbers collect(const struct sp_metrics *metrics, const struct sp_metrics_view *view)
{
    int64_t last_commit_ms = view->queue->last_commit_ms;
    return (struct numbers){
        .queue = *view->queue,
        .settings = *view->settings,
        .control = *view->control,
        .claims = *view->claims,
        .ready = (int64_t)view->ready,
        .held = (int64_t)view->held,
        .running = (int64_t)view->running,
        .claims_open = (int64_t)view->claims->open,
        .claims_pending = (int64_t)view->claims->pending,
        .commit_age = last_commit_ms > 0 ? (sp_mono_ms() - last_commit_ms) / 1000 : -1,
        .stored = value_of(&metrics->stored),
        .cut = value_of(&metrics->cut),
        .rss = resident_bytes(),
        .fds = open_descriptors(),
    };
}

static enum sp_code write_head(struct sp_buf *out, const char *name, const char *type,
                               const char *help)
{
    return sp_buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static enum sp_code write_jobs(const struct sp_metrics *metrics, struct sp_buf *out)
{
    enum sp_code rc = write_head(out, "sandpiper_jobs_total", "counter",
                                 "Jobs whose reply is in Kafka, by status and provider.");
    for (size_t s = 0; s < SP_STATUS_COUNT; s++) {
        for (size_t p = 0; p < PROVIDERS_MAX && !rc; p++) {
            int64_t n = value_of(&metrics->jobs[s][p]);
            const struct sp_provider_ops *ops = p < PROVIDERS_MAX - 1 ? sp_registry_at(p) : NULL;
            if (n > 0) {
                rc = sp_buf_addf(out, "sandpiper_jobs_total{status=\"%s\",provider=\"%s\"} %lld\n",
                                 sp_status_name((enum sp_status)s), ops ? ops->name : "none",
                                 (long long)n);
            }
        }
    }
    return rc;
}

static enum sp_code write_histogram(const struct histogram *h, const char *name, const char *help,
                                    struct sp_buf *out)
{
    int64_t total = 0;
    enum sp_code rc = write_head(out, name, "histogram", help);
    for (size_t i = 0; i < BUCKETS && !rc; i++) {
        total += value_of(&h->buckets[i]);
        rc = sp_buf_addf(out, "%s_bucket{le=\"%s\"} %lld\n", name, bounds[i].le, (long long)total);
    }
    if (rc)
        return rc;
    return sp_buf_addf(out, "%s_sum %.6f\n%s_count %lld\n", name,
                       (double)value_of(&h->sum_us) / 1e6, name, (long long)total);
}

static const struct {
    const char *name, *help;
} partition_rows[] = {
    {"sandpiper_consumer_lag", "Records behind the end of the partition; -1: unknown."},
    {"sandpiper_watermark", "Next offset to commit."},
    {"sandpiper_partition_window", "Offsets from the watermark to the last one taken."},
    {"sandpiper_partition_done", "Records in the window that are complete."},
    {"sandpiper_partition_head_seconds",
     "Time for which the first record that is not complete has been that."},
    {"sandpiper_partition_blocked", "Whether that one holds up a window full of complete ones."},
    {"sandpiper_partition_idle_seconds",
     "Time without a record taken or completed, where some are to be."},
};

/* In the order of the rows. */
static void count_partition(const struct sp_partition_status *p, int64_t now_ms,
                            int64_t out[SP_COUNT(partition_rows)])
{
    const int64_t numbers[] = {
        p->lag,
        p->watermark,
        p->window_used,
        p->done,
        p->head_offset >= 0 ? (now_ms - p->head_since_ms) / 1000 : 0,
        p->blocked,
        (now_ms - p->last_progress_ms) / 1000,
    };
    _Static_assert(SP_COUNT(numbers) == SP_COUNT(partition_rows), "a number for each row");
    memcpy(out, numbers, sizeof numbers);
}

static enum sp_code write_partitions(const struct sp_queue_status *q, struct sp_buf *out)
{
    enum sp_code rc = SP_OK;
    int64_t now_ms = sp_mono_ms();
    for (size_t row = 0; row < SP_COUNT(partition_rows) && !rc; row++) {
        const char *name = partition_rows[row].name;
        rc = write_head(out, name, "gauge", partition_rows[row].help);
        for (size_t i = 0; i < q->n_partitions && !rc; i++) {
            int64_t numbers[SP_COUNT(partition_rows)];
            count_partition(&q->partitions[i], now_ms, numbers);
            rc = sp_buf_addf(out, "%s{partition=\"%s\"} %lld\n", name, q->partitions[i].name,
                             (long long)numbers[row]);
        }
    }
    return rc;
}

static enum sp_code write_numbers(const struct numbers *numbers, struct sp_buf *out)
{
    enum sp_code rc = SP_OK;
    for (size_t i = 0; i < SP_COUNT(rows) && !rc; i++) {
        const void *at = (const char *)numbers + rows[i].offset;
        int64_t n = rows[i].is_bool ? *(const bool *)at : *(const int64_t *)at;
        rc = write_head(out, rows[i].name, rows[i].type, rows[i].help);
        if (!rc)
            rc = sp_buf_addf(out, "%s %lld\n", rows[i].name, (long long)n);
    }
    return rc;
}

enum sp_code sp_metrics_write(const struct sp_metrics *metrics, const struct sp_metrics_view *view,
                              struct sp_buf *out)
{
    const struct numbers numbers = collect(metrics, view);
    enum sp_code rc = write_jobs(metrics, out);
    if (!rc) {
        rc = write_histogram(&metrics->queue, "sandpiper_queue_seconds",
                             "Time from a record's timestamp to its start.", out);
    }
    if (!rc) {
        rc = write_histogram(&metrics->run, "sandpiper_run_seconds",
                             "Execution time of the programs.", out);
    }
    if (!rc)
        rc = write_partitions(view->queue, out);
    return rc ? rc : write_numbers(&numbers, out);
}
