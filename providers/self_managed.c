/* RAGFlow's executor_manager, reached over HTTP (reference ragflow 2.1, 4): settings only. */
#include "providers/registry.h"
#include "providers/settings_check.h"

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
               .help = "containers for each language that the executor manager keeps"),
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
               .label = "Pool Size", .help = "requests in flight at the manager at once"),
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
};
