/* `worker`: the daemon. */
#include "worker/worker.h"

#include <limits.h>

#include "cli/commands.h"

struct worker_options {
    struct sp_common_options common;
    int64_t ready_fd; /* 0: none */
};

static int run_worker(const struct sp_call *call)
{
    const struct worker_options *options = call->options;
    sp_auto(sp_config_free) struct sp_config *config = NULL;
    struct sp_error err = {0};
    if (options->ready_fd > INT_MAX)
        return sp_call_misuse(call, &(struct sp_error){.msg = "--ready-fd: no descriptor"});
    if (sp_call_config(call, &config, &err))
        return sp_call_fail(call, &err);
    return sp_worker_run(config, options->ready_fd ? (int)options->ready_fd : -1);
}

static const struct sp_option worker_options[] = {
    SP_CONFIG_OPTIONS(struct worker_options),
    SP_INT_OPTION(struct worker_options, ready_fd, "ready-fd", .value = "N",
                  .help = "write \"ready HOST:PORT\" to descriptor N once everything runs"),
};

const struct sp_command sp_command_worker = {
    .name = "worker",
    .operands = "",
    .summary = "Take requests from Kafka, run them, answer; until SIGTERM.",
    .details =
        "SIGTERM or SIGINT: take nothing new, finish what worker.drain allows, hand the rest\n"
        "back, exit 0; a second one exits at once. SIGHUP: look at the settings again and resolve\n"
        "references to secrets anew.",
    .options = worker_options,
    .n_options = SP_COUNT(worker_options),
    .options_size = sizeof(struct worker_options),
    .run = run_worker,
};
