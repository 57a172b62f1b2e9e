#include "tests/worker/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "tests/support.h"

struct sp_job *job_of(const char *value, int64_t timestamp_ms)
{
    static const struct sp_limits limits = {
        .code_bytes = 1 << 20, .files_bytes = 1 << 20, .reply_bytes = 900000, .timeout_ms = 600000};
    static struct sp_topics topics;
    struct sp_job *job = NULL;
    if (!topics.reply)
        cr_assert(not(sp_topics_init(
            &topics,
            &(struct sp_topic_names){"requests", "results", "control", "", "sandpiper.reply.*"},
            NULL)));
    const struct sp_record view = {.topic = "requests",
                                   .partition = 0,
                                   .offset = 7,
                                   .timestamp_ms = timestamp_ms,
                                   .value = value,
                                   .value_len = strlen(value)};
    struct sp_record *record = sp_record_copy(&view);
    cr_assert(not(sp_job_new(record, &limits, &topics, &job, NULL)));
    return job;
}

void job_drop(struct sp_job *job)
{
    sp_record_free(job->record);
    sp_job_free(job);
}

struct sp_config *config_with(const char *const *overrides, size_t n)
{
    struct sp_config *config = NULL;
    struct sp_error err = {0};
    enum sp_code rc = sp_config_load("/dev/null", overrides, n, &config, &err);
    cr_assert(eq(int, rc, SP_OK), "%s", err.msg);
    return config;
}

void redis_rig_open(struct redis_rig *rig)
{
    struct sp_redis *own = NULL;
    char url[160];
    cr_assert(sp_redis_server_start(&rig->server, NULL));
    snprintf(url, sizeof url, "redis.url=%s", rig->server.url);
    rig->config = config_with((const char *const[]){url}, 1);
    cr_assert(not(sp_redis_new(rig->config, &rig->redis, NULL)));
    cr_assert(not(sp_redis_new(rig->config, &own, NULL)));
    cr_assert(not(sp_redis_link_new(own, &rig->link, NULL)));
}

void redis_rig_close(struct redis_rig *rig)
{
    sp_redis_link_free(rig->link);
    sp_redis_free(rig->redis);
    sp_config_free(rig->config);
    sp_redis_server_stop(&rig->server);
}
