#include "worker/metrics.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "tests/support.h"

SP_AUTO(struct sp_metrics *, sp_metrics_free)

static char *written(const struct sp_metrics *metrics)
{
    struct sp_partition_status partitions[] = {{.name = "requests-0",
                                                .lag = 5,
                                                .watermark = 12,
                                                .window_used = 13,
                                                .done = 11,
                                                .head_offset = 12,
                                                .head_since_ms = sp_mono_ms() - 3600000,
                                                .blocked = true,
                                                .last_progress_ms = sp_mono_ms() - 7200000}};
    const struct sp_queue_status queue = {.kafka_up = true,
                                          .partitions = partitions,
                                          .n_partitions = 1,
                                          .dead_letters = 2,
                                          .fallbacks = 3};
    const struct sp_settings_status settings = {.version = 4, .failures = 1};
    const struct sp_claims_status claims = {.up = true, .died = 9};
    const struct sp_control_status control = {.missing = true, .tombstones = 5};
    const struct sp_metrics_view view = {.queue = &queue,
                                         .settings = &settings,
                                         .claims = &claims,
                                         .control = &control,
                                         .ready = 6,
                                         .held = 7,
                                         .running = 8};
    struct sp_buf out = SP_BUF_INIT(1 << 20);
    cr_assert(not(sp_metrics_write(metrics, &view, &out)));
    return sp_buf_take(&out, NULL);
}

static const char *const lines[] = {
    "sandpiper_jobs_total{status=\"ok\",provider=\"local\"} 2\n",
    "sandpiper_jobs_total{status=\"rejected\",provider=\"none\"} 1\n",
    "sandpiper_queue_seconds_bucket{le=\"0.001\"} 1\n",
    "sandpiper_queue_seconds_bucket{le=\"0.0025\"} 2\n",
    "sandpiper_queue_seconds_bucket{le=\"+Inf\"} 2\n",
    "sandpiper_queue_seconds_sum 0.003000\n",
    "sandpiper_queue_seconds_count 2\n",
    "sandpiper_run_seconds_bucket{le=\"600\"} 1\n",
    "sandpiper_run_seconds_bucket{le=\"+Inf\"} 2\n",
    "sandpiper_consumer_lag{partition=\"requests-0\"} 5\n",
    "sandpiper_watermark{partition=\"requests-0\"} 12\n",
    "sandpiper_partition_window{partition=\"requests-0\"} 13\n",
    "sandpiper_partition_done{partition=\"requests-0\"} 11\n",
    "sandpiper_partition_head_seconds{partition=\"requests-0\"} 36", /* and what the test took */
    "sandpiper_partition_blocked{partition=\"requests-0\"} 1\n",
    "sandpiper_partition_idle_seconds{partition=\"requests-0\"} 72",
    "sandpiper_jobs_ready 6\n",
    "sandpiper_jobs_held 7\n",
    "sandpiper_jobs_running 8\n",
    "sandpiper_settings_version 4\n",
    "sandpiper_settings_failures_total 1\n",
    "sandpiper_control_missing 1\n",
    "sandpiper_control_read 0\n",
    "sandpiper_control_tombstones_total 5\n",
    "sandpiper_kafka_up 1\n",
    "sandpiper_redis_up 0\n",
    "sandpiper_reply_fallbacks_total 3\n",
    "sandpiper_dead_letters_total 2\n",
    "sandpiper_commit_age_seconds -1\n",
    "sandpiper_attachments_total 1\n",
    "sandpiper_claims_up 1\n",
    "sandpiper_claims_died_total 9\n",
    "# TYPE sandpiper_run_seconds histogram\n",
    "# TYPE sandpiper_jobs_total counter\n",
};

SP_TABLE_TEST(metrics, what_happened_is_shown, lines, line)
{
    sp_auto(sp_metrics_free) struct sp_metrics *metrics = sp_metrics_new();
    sp_metrics_job(metrics, SP_STATUS_OK, "local", 1000, 20);
    sp_metrics_job(metrics, SP_STATUS_OK, "local", 2000, 601000000);
    sp_metrics_job(metrics, SP_STATUS_REJECTED, NULL, -1, -1);
    sp_metrics_attachment(metrics, true);

    sp_auto(sp_free_str) char *text = written(metrics);

    cr_expect(strstr(text, *line) != NULL, "%s is not in\n%s", *line, text);
}

Test(metrics, every_family_has_one_help_and_one_type_before_its_samples)
{
    sp_auto(sp_metrics_free) struct sp_metrics *metrics = sp_metrics_new();
    sp_auto(sp_free_str) char *text = written(metrics);
    char family[128] = "";
    char *save = NULL;

    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char name[128] = "";
        if (sscanf(line, "# HELP %127s", name) == 1) {
            cr_expect(ne(str, name, family));
            strcpy(family, name);
        } else if (sscanf(line, "# TYPE %127s", name) == 1) {
            cr_expect(eq(str, name, family));
        } else {
            cr_expect(eq(int, strncmp(line, family, strlen(family)), 0), "%s", line);
        }
    }
}

Test(metrics, the_process_is_measured)
{
    sp_auto(sp_metrics_free) struct sp_metrics *metrics = sp_metrics_new();
    long long rss = 0, fds = 0;

    sp_auto(sp_free_str) char *text = written(metrics);

    cr_assert(eq(int,
                 sscanf(strstr(text, "\nprocess_resident_memory_bytes "),
                        "\nprocess_resident_memory_bytes %lld", &rss),
                 1));
    cr_assert(
        eq(int, sscanf(strstr(text, "\nprocess_open_fds "), "\nprocess_open_fds %lld", &fds), 1));
    cr_expect(rss > 100000);
    cr_expect(fds >= 3);
}
