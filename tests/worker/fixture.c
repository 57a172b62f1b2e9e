#include "tests/worker/fixture.h"

#include <poll.h>
#include <stdatomic.h>
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
        cr_assert(not(sp_topics_init(&topics, "requests", "results", "control", "",
                                     "sandpiper.reply.*", NULL)));
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

static atomic_int instances, created;

int fake_instances(void)
{
    return atomic_load(&instances);
}

int fake_created(void)
{
    return atomic_load(&created);
}

struct fake_settings {
    bool down;
    char *token;
};

struct fake {
    struct sp_provider base;
    bool down;
};

static const struct sp_field fake_fields[] = {
    SP_ROW_BOOL(struct fake_settings, down, .help = "The check fails as unavailable"),
    SP_ROW_STR(struct fake_settings, token, .flags = SP_SECRET, .help = "Not used"),
};

static enum sp_code fake_open(void *settings, const struct sp_host *host, struct sp_provider **out,
                              struct sp_error *err)
{
    (void)host, (void)err;
    struct fake *fake = calloc(1, sizeof *fake);
    fake->down = ((struct fake_settings *)settings)->down;
    sp_fields_clear(fake_fields, SP_COUNT(fake_fields), settings);
    free(settings);
    fake->base.ops = &fake_provider;
    fake->base.timeout_ms = 60000;
    *out = &fake->base;
    return SP_OK;
}

static enum sp_code fake_check(struct sp_provider *p, const struct sp_run *run,
                               struct sp_error *err)
{
    (void)run;
    return ((struct fake *)p)->down ? sp_error_set(err, SP_E_UNAVAILABLE, "it is down") : SP_OK;
}

static enum sp_code fake_create(struct sp_provider *p, const struct sp_request *req,
                                const struct sp_run *run, struct sp_instance **out,
                                struct sp_error *err)
{
    (void)run;
    atomic_fetch_add(&created, 1);
    if (strcmp(req->code, "away") == 0)
        return sp_error_set(err, SP_E_UNAVAILABLE, "nobody there");
    struct sp_instance *instance = calloc(1, sizeof *instance);
    instance->provider = p;
    atomic_fetch_add(&instances, 1);
    *out = instance;
    return SP_OK;
}

static void fake_wait(const struct sp_run *run, struct sp_result *out)
{
    struct pollfd cancel = {.fd = run->cancel_fd, .events = POLLIN};
    int n = poll(&cancel, 1, (int)run->timeout_ms);
    out->outcome = n > 0 ? SP_OUTCOME_CANCELLED : SP_OUTCOME_TIMEOUT;
    out->exit_code = -1;
}

static enum sp_code fake_execute(struct sp_instance *i, const struct sp_request *req,
                                 const struct sp_run *run, struct sp_result *out,
                                 struct sp_error *err)
{
    (void)i, (void)err;
    out->started = SP_STARTED_YES;
    out->language = sp_language_name(req->language);
    if (strcmp(req->code, "wait") == 0) {
        fake_wait(run, out);
        return SP_OK;
    }
    if (strncmp(req->code, "exit ", 5) == 0)
        out->exit_code = req->code[5] - '0';
    bool big = strcmp(req->code, "big") == 0;
    out->out.len = big ? BIG_BYTES : 5;
    out->out.text = big ? malloc(BIG_BYTES + 1) : sp_strdup("done\n");
    if (big)
        snprintf(out->out.text, BIG_BYTES + 1, "%0*d", BIG_BYTES, 0);
    out->out.bytes = (int64_t)out->out.len;
    return SP_OK;
}

static enum sp_code fake_destroy(struct sp_instance *i, const struct sp_run *run,
                                 struct sp_error *err)
{
    (void)run, (void)err;
    atomic_fetch_sub(&instances, 1);
    free(i);
    return SP_OK;
}

static void fake_close(struct sp_provider *p)
{
    free(p);
}

static const char *const none[] = {NULL};

const struct sp_provider_ops fake_provider = {
    .name = "fake",
    .title = "Fake",
    .description = "For tests",
    .tags = none,
    .languages = none,
    .fields = fake_fields,
    .n_fields = SP_COUNT(fake_fields),
    .settings_size = sizeof(struct fake_settings),
    .open = fake_open,
    .check = fake_check,
    .create = fake_create,
    .execute = fake_execute,
    .destroy = fake_destroy,
    .close = fake_close,
};
