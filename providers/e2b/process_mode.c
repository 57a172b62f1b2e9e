/*
 * A program as a process: the supervisor, the wrapper and the program go up in one call, the
 * supervisor runs and writes down how it ended, and that and the artifacts are fetched. The same
 * folder and files as over SSH (providers/supervisor.h).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "providers/e2b/artifact_source.h"
#include "providers/e2b/modes.h"
#include "providers/e2b/process.h"
#include "providers/ending.h"
#include "providers/protocol.h"
#include "providers/supervisor.h"

enum { OWN_FILES = 4, HOME_MAX = 64, ARGS = 10 };

static const struct {
    const char *program, *flags;
} interpreters[] = {
    [SP_PYTHON] = {"python3", "-uB"}, /* unbuffered: a time-out keeps output */
    [SP_JAVASCRIPT] = {"node", "--"},
};

/* One run, and what it has at the far end. */
struct job {
    const struct sp_e2b_place *place;
    const struct sp_request *req;
    const struct sp_run *run;
    struct sp_result *out;
    char name[HOME_MAX];                             /* of the home, below the user's */
    char *home;                                      /* absolute */
    char *wrapper, *supervisor, *result, *artifacts; /* in it */
};

static void job_clear(struct job *job)
{
    free(job->home);
    free(job->wrapper);
    free(job->supervisor);
    free(job->result);
    free(job->artifacts);
}
SP_AUTO_CLEAR(struct job, job_clear)

/* NULL without memory. */
static char *join(const char *folder, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

/* ---- upload ---- */

/* The paths are the caller's to free, also on failure. */
static enum sp_code add_file(struct sp_envd_file *files, size_t *n, const char *folder,
                             const char *name, struct sp_bytes data)
{
    files[*n] = (struct sp_envd_file){.path = join(folder, name), .data = data};
    return files[(*n)++].path ? SP_OK : SP_E_NOMEM;
}

static enum sp_code list_files(const struct job *job, const char *work, struct sp_envd_file *files,
                               size_t *n)
{
    const struct sp_wrapper *wrapper = sp_wrapper(job->req->language);
    const struct sp_request *req = job->req;
    enum sp_code rc = add_file(files, n, job->name, SP_SUPERVISOR_FILE, sp_supervisor());

    if (!rc) {
        rc = add_file(files, n, job->name, wrapper->file,
                      (struct sp_bytes){wrapper->text, wrapper->len});
    }
    if (!rc && req->arguments) {
        rc = add_file(files, n, job->name, SP_SUPERVISOR_ARGUMENTS,
                      (struct sp_bytes){req->arguments, req->arguments_len});
    }
    if (!rc) {
        rc =
            add_file(files, n, work, wrapper->program, (struct sp_bytes){req->code, req->code_len});
    }
    for (size_t i = 0; i < req->n_files && !rc; i++) {
        rc = add_file(files, n, work, req->files[i].name,
                      (struct sp_bytes){req->files[i].data, req->files[i].len});
    }
    return rc;
}

/* supervisor: where it was put, absolute. */
static enum sp_code name_paths(struct job *job, struct sp_error *err)
{
    size_t tail = strlen(job->name) + strlen("/" SP_SUPERVISOR_FILE);
    size_t len = strlen(job->supervisor);
    char *slash = strrchr(job->supervisor, '/');

    if (len < tail || strncmp(job->supervisor + len - tail, job->name, strlen(job->name)) != 0 ||
        strcmp(slash, "/" SP_SUPERVISOR_FILE) != 0)
        return sp_error_set(err, SP_E_INVALID, "upload: the sandbox put a file somewhere else");
    job->home = sp_memdup(job->supervisor, (size_t)(slash - job->supervisor));
    if (job->home) {
        job->wrapper = join(job->home, sp_wrapper(job->req->language)->file);
        job->result = join(job->home, SP_SUPERVISOR_RESULT);
        job->artifacts = join(job->home, SP_SUPERVISOR_WORK "/artifacts");
    }
    return job->wrapper && job->result && job->artifacts
               ? SP_OK
               : sp_error_set(err, SP_E_NOMEM, "out of memory");
}

static enum sp_code upload(struct job *job, const struct sp_e2b_limits *limits,
                           struct sp_error *err)
{
    struct sp_envd_file files[OWN_FILES + SP_FILES_MAX];
    char work[HOME_MAX + sizeof(SP_SUPERVISOR_WORK) + 1];
    size_t n = 0;

    snprintf(work, sizeof(work), "%s/" SP_SUPERVISOR_WORK, job->name);
    enum sp_code rc = list_files(job, work, files, &n);
    rc = rc ? sp_error_set(err, rc, "out of memory")
            : sp_envd_put(&job->place->envd, files, n, limits, &job->supervisor, err);
    for (size_t i = 0; i < n; i++)
        free((char *)(uintptr_t)files[i].path);
    return rc ? rc : name_paths(job, err);
}

/* ---- run ---- */

static enum sp_code run_program(struct job *job, struct sp_e2b_process_end *end,
                                struct sp_error *err)
{
    const struct sp_run *run = job->run;
    const enum sp_language language = job->req->language;
    char seconds[24];
    const char *const argv[ARGS] = {"/bin/sh",
                                    job->supervisor,
                                    "once",
                                    seconds,
                                    interpreters[language].program,
                                    interpreters[language].flags,
                                    job->wrapper,
                                    sp_wrapper(language)->program,
                                    job->req->strict_result ? "strict" : NULL};
    const struct sp_e2b_process process = {
        .argv = argv,
        .cwd = job->home,
        .tag = job->name,
        .timeout_ms = run->timeout_ms,
        .start_deadline = run->setup_deadline,
        .limits = {run->deadline, run->cancel_fd},
    };

    snprintf(seconds, sizeof(seconds), "%" PRId64, run->timeout_ms / 1000 + 2);
    return sp_e2b_process_run(&job->place->envd, &process, end, err);
}

static enum sp_code keep_output(struct sp_e2b_process_end *end, struct sp_result *out,
                                struct sp_error *err)
{
    out->started = end->started;
    out->outcome = end->outcome;
    out->exit_code = end->exit_code;
    if (end->started_us > 0 && end->ended_us > 0)
        out->execution_us = end->ended_us - end->started_us;
    if (sp_output_finish(&end->out, &out->out) || sp_output_finish(&end->err, &out->err))
        return sp_error_set(err, SP_E_NOMEM, "no memory for the program's output");
    return SP_OK;
}

/* ---- how it ended ---- */

static enum sp_code refused(struct job *job, const struct sp_supervisor_end *end,
                            struct sp_error *err)
{
    job->out->started = SP_STARTED_NO;
    if (strcmp(end->why, "interpreter") == 0) {
        return sp_error_set(err, SP_E_INVALID, "the template has no %s",
                            interpreters[job->req->language].program);
    }
    return sp_error_set(err, SP_E_INVALID, "the sandbox does not start programs (%s)", end->why);
}

/* The program ended the supervisor along with itself. What lies in the place of the result is its
 * own then, of whatever kind, and not opened. */
static void settle_killed(struct job *job, const struct sp_e2b_process_end *end)
{
    static const struct {
        const char *status;
        int signal;
    } signals[] = {{"signal: killed", 9}, {"signal: terminated", 15}, {"signal: hangup", 1}};

    for (size_t i = 0; i < SP_COUNT(signals); i++) {
        if (strcmp(end->status, signals[i].status) == 0)
            job->out->signal = signals[i].signal;
    }
    if (job->out->signal > 0)
        job->out->exit_code = -job->out->signal;
    sp_result_warn(job->out, "the program's end was not recorded: its supervisor was killed");
}

static enum sp_code settle(struct job *job, const struct sp_supervisor_end *how,
                           const struct sp_e2b_process_end *end, struct sp_error *err)
{
    switch (how->how) {
    case SP_FAR_EXIT:
        job->out->exit_code = how->number;
        break;
    case SP_FAR_SIGNAL:
        job->out->signal = how->number;
        job->out->exit_code = -how->number;
        break;
    case SP_FAR_REFUSED:
        return refused(job, how, err);
    case SP_FAR_UNKNOWN:
        return sp_error_set(err, SP_E_INVALID,
                            "the supervisor does not work in the sandbox, or the program took its "
                            "folder away (%s)",
                            end->status);
    }
    return SP_OK;
}

/* A time-out here is not the program's. */
static enum sp_code not_fetched(const struct sp_run *run, enum sp_code rc, struct sp_error *err)
{
    if (rc == SP_E_TIMEOUT && sp_deadline_left(run->deadline) != 0)
        rc = SP_E_UNAVAILABLE;
    return sp_error_wrap(err, rc, "the program ended, its result cannot be fetched");
}

static enum sp_code read_end(struct job *job, const struct sp_e2b_process_end *end,
                             const struct sp_e2b_limits *limits, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf file =
        SP_BUF_INIT((size_t)job->place->limits->response_bytes);
    struct sp_supervisor_end how;
    struct sp_bytes document = {"", 0};
    bool missing = false;

    if (!end->exited) {
        settle_killed(job, end);
        return sp_ending_read(job->out, document, false, err);
    }
    enum sp_code rc = sp_envd_get(&job->place->envd, job->result, limits, &file, &missing, err);
    if (rc == SP_E_LIMIT)
        return sp_ending_read(job->out, document, true, err);
    if (rc)
        return not_fetched(job->run, rc, err);
    sp_supervisor_read(sp_buf_str(&file), file.len, &how, &document);
    rc = settle(job, &how, end, err);
    return rc ? rc : sp_ending_read(job->out, document, false, err);
}

static enum sp_code fetch(struct job *job, const struct sp_e2b_process_end *end,
                          struct sp_error *err)
{
    const struct sp_artifact_rules rules = sp_artifact_rules_of(job->place->limits);
    const struct sp_e2b_limits wait = {
        sp_deadline_min(job->run->deadline, sp_deadline_in(job->run->teardown_ms)),
        job->run->cancel_fd};

    enum sp_code rc = read_end(job, end, &wait, err);
    if (rc)
        return rc;
    rc = sp_e2b_artifacts(&job->place->envd, job->artifacts, NULL, &rules, &wait, job->out);
    return rc ? sp_error_set(err, rc, "no memory for the artifacts") : SP_OK;
}

enum sp_code sp_e2b_run_process(struct sp_e2b_place *place, const struct sp_request *req,
                                const struct sp_run *run, struct sp_result *out, bool *spoilt,
                                struct sp_error *err)
{
    sp_auto(job_clear) struct job job = {.place = place, .req = req, .run = run, .out = out};
    const struct sp_e2b_limits setup = {sp_deadline_min(run->setup_deadline, run->deadline),
                                        run->cancel_fd};
    struct sp_e2b_process_end end = {.exit_code = -1};
    char uuid[37];

    sp_random_uuid(uuid);
    snprintf(job.name, sizeof(job.name), SP_SUPERVISOR_HOME "%s", uuid);
    enum sp_code rc = upload(&job, &setup, err);
    if (rc)
        return rc;
    sp_output_init(&end.out, place->limits->output_bytes);
    sp_output_init(&end.err, place->limits->output_bytes);
    rc = run_program(&job, &end, err);
    struct sp_error ignored;
    enum sp_code kept = keep_output(&end, out, rc ? &ignored : err);
    rc = rc ? rc : kept;
    *spoilt = rc || out->outcome != SP_OUTCOME_EXITED;
    sp_output_clear(&end.out);
    sp_output_clear(&end.err);
    return *spoilt ? rc : fetch(&job, &end, err);
}
