/* One job on an open provider, with all that a worker would give it. */
#pragma once

#include <string.h>

#include "base/clock.h"
#include "providers/provider.h"

/* Zero members take the usual values. */
struct sp_provider_job {
    const char *code, *arguments;
    enum sp_language language;
    int64_t timeout_ms;  /* 20 s */
    int64_t setup_ms;    /* 30 s */
    int64_t deadline;    /* monotonic; none */
    int64_t teardown_ms; /* 10 s */
    int cancel_fd;       /* none */
    bool strict, quiet;  /* quiet: the value does not go to stdout */
    const struct sp_file *files;
    size_t n_files;
};

/* The defaults of a worker (CONTRACT.md 8). */
static const struct sp_limits sp_usual_limits = {.output_bytes = 1 << 20,
                                                 .response_bytes = 64 << 20,
                                                 .artifacts = 20,
                                                 .artifact_bytes = 10 << 20,
                                                 .artifacts_total = 50 << 20,
                                                 .timeout_ms = 600000};

static inline struct sp_run sp_provider_job_limits(const struct sp_provider_job *job)
{
    return (struct sp_run){.setup_deadline = sp_deadline_in(job->setup_ms ? job->setup_ms : 30000),
                           .deadline = job->deadline ? job->deadline : SP_NEVER,
                           .timeout_ms = job->timeout_ms ? job->timeout_ms : 20000,
                           .teardown_ms = job->teardown_ms ? job->teardown_ms : 10000,
                           .cancel_fd = job->cancel_fd ? job->cancel_fd : -1};
}

/* Borrows from the job. */
static inline struct sp_request sp_provider_job_request(const struct sp_provider_job *job)
{
    return (struct sp_request){.language = job->language,
                               .code = (char *)(uintptr_t)job->code,
                               .code_len = job->code ? strlen(job->code) : 0,
                               .arguments = (char *)(uintptr_t)job->arguments,
                               .arguments_len = job->arguments ? strlen(job->arguments) : 0,
                               .strict_result = job->strict,
                               .result_in_stdout = job->quiet ? SP_NO : SP_UNSET,
                               .files = (struct sp_file *)(uintptr_t)job->files,
                               .n_files = job->n_files};
}

/* create, execute, destroy. The caller clears out. Thread: any. */
static inline enum sp_code sp_provider_job_run(struct sp_provider *p,
                                               const struct sp_provider_job *job,
                                               struct sp_result *out, struct sp_error *err)
{
    struct sp_run run = sp_provider_job_limits(job);
    struct sp_request req = sp_provider_job_request(job);
    struct sp_instance *instance = NULL;

    enum sp_code rc = sp_provider_create(p, &req, &run, &instance, err);
    if (!rc)
        rc = sp_provider_execute(instance, &req, &run, out, err);
    sp_provider_destroy(instance, &run);
    return rc;
}

/* What it wrote; "" for nothing. */
static inline const char *sp_provider_job_out(const struct sp_result *result)
{
    return result->out.text ? result->out.text : "";
}

static inline const char *sp_provider_job_err(const struct sp_result *result)
{
    return result->err.text ? result->err.text : "";
}

static inline enum sp_code sp_provider_job_check(struct sp_provider *p, struct sp_error *err)
{
    const struct sp_run run = {
        .setup_deadline = sp_deadline_in(SP_CHECK_MS), .deadline = SP_NEVER, .cancel_fd = -1};

    return sp_provider_check(p, &run, err);
}
