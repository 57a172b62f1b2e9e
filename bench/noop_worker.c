/*
 * A worker with one more provider, `noop`, which returns at once, or after its setting delay_ms:
 * what the way of a job costs without the job.
 *
 *   noop_worker KEY=VALUE ...    as `sandpiper worker -X KEY=VALUE ...`
 */
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "providers/registry.h"
#include "worker/worker.h"

struct noop_settings {
    int64_t timeout, delay_ms;
};

struct noop_provider {
    struct sp_provider base; /* first */
    int64_t delay_ms;
};

static const struct sp_field fields[] = {
    SP_ROW_INT(struct noop_settings, timeout, .def_int = 30, SP_RANGE(1, 600),
               .help = "longest run, seconds"),
    SP_ROW_INT(struct noop_settings, delay_ms, .def_int = 0, SP_RANGE(0, 60000),
               .help = "how long each run takes"),
};

static const char *const languages[] = {"python", "javascript", NULL};
static const char *const tags[] = {"bench", NULL};

static enum sp_code noop_open(void *settings, const struct sp_host *host, struct sp_provider **out,
                              struct sp_error *err);

static enum sp_code noop_create(struct sp_provider *p, const struct sp_request *req,
                                const struct sp_run *run, struct sp_instance **out,
                                struct sp_error *err)
{
    (void)req;
    (void)run;
    struct sp_instance *i = calloc(1, sizeof(*i));
    if (!i)
        return sp_error_set(err, SP_E_NOMEM, "instance");
    i->provider = p;
    *out = i;
    return SP_OK;
}

static enum sp_code noop_execute(struct sp_instance *i, const struct sp_request *req,
                                 const struct sp_run *run, struct sp_result *out,
                                 struct sp_error *err)
{
    (void)req;
    (void)run;
    (void)err;
    const struct noop_provider *p = (const struct noop_provider *)i->provider;
    if (p->delay_ms > 0)
        poll(NULL, 0, (int)p->delay_ms);
    out->started = SP_STARTED_YES;
    out->language = "python";
    return SP_OK;
}

static enum sp_code noop_destroy(struct sp_instance *i, const struct sp_run *run,
                                 struct sp_error *err)
{
    (void)run;
    (void)err;
    free(i);
    return SP_OK;
}

static void noop_close(struct sp_provider *p)
{
    free(p);
}

static const struct sp_provider_ops noop = {
    .name = "noop",
    .title = "No-op",
    .description = "Returns at once; for measuring.",
    .tags = tags,
    .languages = languages,
    .fields = fields,
    .n_fields = SP_COUNT(fields),
    .settings_size = sizeof(struct noop_settings),
    .open = noop_open,
    .create = noop_create,
    .execute = noop_execute,
    .destroy = noop_destroy,
    .close = noop_close,
};

static enum sp_code noop_open(void *settings, const struct sp_host *host, struct sp_provider **out,
                              struct sp_error *err)
{
    (void)host;
    const struct noop_settings *given = settings;
    struct noop_provider *p = calloc(1, sizeof(*p));
    if (!p)
        return sp_error_set(err, SP_E_NOMEM, "provider");
    p->base = (struct sp_provider){.ops = &noop, .timeout_ms = given->timeout * 1000};
    p->delay_ms = given->delay_ms;
    sp_fields_clear(fields, SP_COUNT(fields), settings);
    *out = &p->base;
    return SP_OK;
}

int main(int argc, char **argv)
{
    json_object_seed(0);
    sp_registry_add(&noop);
    struct sp_config *config = NULL;
    struct sp_error err = {0};
    if (sp_config_load(NULL, (const char *const *)argv + 1, (size_t)argc - 1, &config, &err) !=
        SP_OK) {
        fprintf(stderr, "noop_worker: %s\n", err.msg);
        return 2;
    }
    int code = sp_worker_run(config, -1);
    sp_config_free(config);
    return code;
}
