/* The connection test of a provider: opens it here, in this process, and runs a small program on it
 * (reference: RAGFlow's admin API, "test connection"). */
#pragma once

#include "providers/provider.h"

struct sp_probe {
    const char *step; /* the one that failed: "open", "check", ..., "result"; NULL: none */
    struct sp_error error;
    struct sp_result result;
};

struct sp_probe_watch {
    const void *ctx;
    /* After each step; error is NULL where it went well. */
    void (*step)(const void *ctx, const char *step, int64_t took_ms, const struct sp_error *error);
};

/* True when every step went well. Blocks: about a minute at most. *out is filled either way;
 * sp_result_clear(&out->result) frees. */
bool sp_probe_run(const struct sp_provider_ops *ops, json_t *settings, const struct sp_host *host,
                  const struct sp_probe_watch *watch, struct sp_probe *out);
/* RAGFlow's answer: {success, message, details: {exit_code, execution_time, stdout, stderr}} with
 * provider_type and failed_step beside it. New reference. */
json_t *sp_probe_json(const struct sp_provider_ops *ops, const struct sp_probe *probe);
