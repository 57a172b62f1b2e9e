/*
 * RAGFlow's executor_manager, reached over HTTP (reference ragflow 2.1, 4; CONTRACT.md 3.5): one
 * POST /run per job, sent again only where surely nothing ran. An instance is a name; nothing is
 * kept at the service.
 */
#include <stdlib.h>

#include "base/text.h"
#include "providers/registry.h"
#include "providers/self_managed/program.h"
#include "providers/self_managed/service.h"
#include "providers/settings_check.h"

#define GRACE_MS 5000 /* CONTRACT.md 3.5: the call outlasts the program by it */

struct self_managed_settings {
    char *endpoint;
    int64_t timeout;
    char *executor_manager_image;
    int64_t executor_manager_pool_size;
    char *base_python_image, *base_nodejs_image;
    int64_t executor_manager_port;
    bool enable_seccomp;
    char *max_memory, *sandbox_timeout, *api_token, *container_network;
    int64_t max_retries, pool_size;
};

#define DEPLOYMENT .flags = SP_SCOPED | SP_DEPLOYMENT | SP_READONLY
#define DEPLOYMENT_RANGE(low, high)                                                                \
    .flags = SP_SCOPED | SP_DEPLOYMENT | SP_READONLY | SP_RANGED, .min = (low), .max = (high)
#define RUNTIME_RANGE(low, high) .flags = SP_SCOPED | SP_RANGED, .min = (low), .max = (high)

static const struct sp_field fields[] = {
    SP_ROW_STR(struct self_managed_settings, endpoint, .flags = SP_REQUIRED | SP_SCOPED,
               .def_str = "http://sandbox-executor-manager:9385",
               .label = "Executor Manager Endpoint",
               .placeholder = "http://sandbox-executor-manager:9385",
               .help = "address of the executor manager, http:// or https://"),
    SP_ROW_INT(struct self_managed_settings, timeout, RUNTIME_RANGE(5, 300), .def_int = 30,
               .label = "Request Timeout (seconds)", .help = "longest run of a program, seconds"),
    SP_ROW_STR(struct self_managed_settings, executor_manager_image, DEPLOYMENT,
               .def_str = "infiniflow/sandbox-executor-manager:latest",
               .env = "SANDBOX_EXECUTOR_MANAGER_IMAGE", .label = "Executor Manager Image",
               .help = "container image of the executor manager, as deployed"),
    SP_ROW_INT(struct self_managed_settings, executor_manager_pool_size, DEPLOYMENT_RANGE(1, 100),
               .def_int = 3, .env = "SANDBOX_EXECUTOR_MANAGER_POOL_SIZE",
               .label = "Container Pool Size",
               .help = "containers for each language that the executor manager keeps; for "
                       "information"),
    SP_ROW_STR(struct self_managed_settings, base_python_image, DEPLOYMENT,
               .def_str = "infiniflow/sandbox-base-python:latest",
               .env = "SANDBOX_BASE_PYTHON_IMAGE", .label = "Base Python Image",
               .help = "container image in which Python programs run, as deployed"),
    SP_ROW_STR(struct self_managed_settings, base_nodejs_image, DEPLOYMENT,
               .def_str = "infiniflow/sandbox-base-nodejs:latest",
               .env = "SANDBOX_BASE_NODEJS_IMAGE", .label = "Base Node.js Image",
               .help = "container image in which JavaScript programs run, as deployed"),
    SP_ROW_INT(struct self_managed_settings, executor_manager_port, DEPLOYMENT_RANGE(1, 65535),
               .def_int = 9385, .env = "SANDBOX_EXECUTOR_MANAGER_PORT",
               .label = "Executor Manager Port", .help = "port on which the manager listens"),
    SP_ROW_BOOL(struct self_managed_settings, enable_seccomp, DEPLOYMENT,
                .env = "SANDBOX_ENABLE_SECCOMP", .label = "Enable Seccomp",
                .help = "whether the containers run under the manager's seccomp profile"),
    SP_ROW_STR(struct self_managed_settings, max_memory, DEPLOYMENT, .def_str = "256m",
               .env = "SANDBOX_MAX_MEMORY", .label = "Max Memory",
               .help = "memory of one container, with unit (256m)"),
    SP_ROW_STR(struct self_managed_settings, sandbox_timeout, DEPLOYMENT, .def_str = "10s",
               .env = "SANDBOX_TIMEOUT", .label = "Sandbox Timeout",
               .help = "the manager's own limit of one run, with unit (10s)"),
    SP_ROW_STR(struct self_managed_settings, api_token,
               .flags = SP_SCOPED | SP_SECRET | SP_NO_DEFAULT,
               .env = "SANDBOX_EXECUTOR_MANAGER_API_TOKEN", .label = "API Token",
               .help = "token that the executor manager asks for; empty: none. Falls back to "
                       "SANDBOX_EXECUTOR_MANAGER_API_TOKEN"),
    SP_ROW_STR(struct self_managed_settings, container_network, DEPLOYMENT, .def_str = "none",
               .env = "SANDBOX_CONTAINER_NETWORK", .label = "Container Network",
               .help = "network mode of the containers, as deployed"),
    SP_ROW_INT(struct self_managed_settings, max_retries, RUNTIME_RANGE(0, 10), .def_int = 3,
               .label = "Max Retries",
               .help = "repeats of a request that the manager surely did not start"),
    SP_ROW_INT(struct self_managed_settings, pool_size, RUNTIME_RANGE(1, 100), .def_int = 3,
               .label = "Pool Size",
               .help = "the same under its older name; worker.concurrency bounds the requests in "
                       "flight"),
};

/* RAGFlow's validation says 1 to 600 seconds, its form 5 to 300: the form's range holds. */
static const struct sp_setting_range ranges[] = {
    {"executor_manager_pool_size", "Pool size", ""},
    {"pool_size", "Pool size", ""},
    {"timeout", "Timeout", " seconds"},
    {"max_retries", "Max retries", ""},
};

static enum sp_code validate(json_t *settings, struct sp_error *err)
{
    enum sp_code rc = sp_setting_check_url(settings, "endpoint", err);
    return rc ? rc : sp_setting_check_ranges(settings, fields, ranges, SP_COUNT(ranges), err);
}

/* CONTRACT.md 3.5; the provider's page explains each. */
static const char *const limits_of_provider[] = {
    "partial_output", "early_end", "service_time_limit",  "main_guard", "es_modules",
    "files",          "signals",   "negative_exit_codes", NULL};

struct self_managed {
    struct sp_provider base;
    struct self_managed_settings *settings; /* owned, once open */
    struct sp_service *service;
};

static void self_managed_close(struct sp_provider *p)
{
    struct self_managed *s = (struct self_managed *)p;

    if (!s)
        return;
    sp_service_free(s->service);
    sp_fields_clear(fields, SP_COUNT(fields), s->settings);
    free(s->settings);
    free(s);
}

static enum sp_code self_managed_open(void *settings, const struct sp_host *host,
                                      struct sp_provider **out, struct sp_error *err)
{
    struct self_managed *s = calloc(1, sizeof *s);

    if (!s)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    s->settings = settings;
    s->base.ops = &sp_provider_self_managed;
    s->base.timeout_ms = s->settings->timeout * 1000;
    enum sp_code rc = sp_service_new(s->settings->endpoint, s->settings->api_token, host->limits,
                                     &s->service, err);
    if (rc) {
        free(s); /* the settings stay the caller's */
        return rc;
    }
    *out = &s->base;
    return SP_OK;
}

static enum sp_code self_managed_check(struct sp_provider *p, const struct sp_run *run,
                                       struct sp_error *err)
{
    return sp_service_check(((struct self_managed *)p)->service, run, err);
}

/* What the service cannot take at all; both are named to the user. */
static enum sp_code check_request(const struct sp_request *req, struct sp_error *err)
{
    if (req->n_files > 0) {
        return sp_error_set(err, SP_E_UNSUPPORTED,
                            "files: the provider self_managed cannot put files beside a program");
    }
    if (!sp_utf8_valid(req->code, req->code_len)) {
        return sp_error_set(err, SP_E_UNSUPPORTED,
                            "code: the provider self_managed cannot run code that is not UTF-8");
    }
    return SP_OK;
}

static enum sp_code self_managed_create(struct sp_provider *p, const struct sp_request *req,
                                        const struct sp_run *run, struct sp_instance **out,
                                        struct sp_error *err)
{
    (void)run; /* nothing goes over the wire */
    enum sp_code rc = check_request(req, err);
    if (rc)
        return rc;
    struct sp_instance *i = calloc(1, sizeof *i);
    if (!i)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    i->provider = p;
    sp_random_uuid(i->id);
    *out = i;
    return SP_OK;
}

static enum sp_code self_managed_destroy(struct sp_instance *instance, const struct sp_run *run,
                                         struct sp_error *err)
{
    (void)run;
    (void)err; /* nothing at the service is ours */
    free(instance);
    return SP_OK;
}

static int64_t later(int64_t deadline, int64_t ms)
{
    return deadline > SP_NEVER - ms ? SP_NEVER : deadline + ms;
}

/* Waiting for a container is the service's queue: a program's time does not count it. */
static enum sp_code self_managed_execute(struct sp_instance *instance, const struct sp_request *req,
                                         const struct sp_run *run, struct sp_result *out,
                                         struct sp_error *err)
{
    const struct self_managed *s = (const struct self_managed *)instance->provider;
    int64_t queued = run->queue_deadline ? run->queue_deadline : run->setup_deadline;
    int64_t answered = later(queued, run->timeout_ms + GRACE_MS);
    const struct sp_service_call call = {
        .req = req,
        .id = instance->id,
        .timeout_ms = run->timeout_ms,
        .send_deadline = sp_deadline_min(run->setup_deadline, run->deadline),
        .deadline = sp_deadline_min(answered, run->deadline),
        .max_retries = s->settings->max_retries,
        .cancel_fd = run->cancel_fd,
    };

    out->language = sp_program_language(req->language);
    out->limits_of_provider = limits_of_provider;
    return sp_service_run(s->service, &call, out, err);
}

const struct sp_provider_ops sp_provider_self_managed = {
    .name = "self_managed",
    .title = "Self-Managed",
    .description = "Containers on machines of your own, kept by RAGFlow's executor manager",
    .tags = (const char *const[]){"self-hosted", "low-latency", "secure", NULL},
    .languages = (const char *const[]){"python", "nodejs", "javascript", NULL},
    .fields = fields,
    .n_fields = SP_COUNT(fields),
    .settings_size = sizeof(struct self_managed_settings),
    .validate = validate,
    .open = self_managed_open,
    .check = self_managed_check,
    .create = self_managed_create,
    .execute = self_managed_execute,
    .destroy = self_managed_destroy,
    .close = self_managed_close,
};
