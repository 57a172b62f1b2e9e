/*
 * The provider `local`: each run is a child process tree on this machine (reference ragflow 2.4,
 * CONTRACT.md 3.4 and 7). The guardian starts and ends the trees; a run has a folder of its own.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/json_out.h"
#include "base/log.h"
#include "base/text.h"
#include "providers/artifacts.h"
#include "providers/local/environment.h"
#include "providers/local/fd.h"
#include "providers/local/interpreter.h"
#include "providers/local/local.h"
#include "providers/local/run.h"
#include "providers/local/workspace.h"
#include "providers/protocol.h"

enum {
    LANGUAGES = SP_JAVASCRIPT + 1,
    OPEN_FILES = 256,
    SWEEP_MS = 30000,
    FIXED_ARGS = 8,
};
#define MIB (INT64_C(1) << 20)
#define FILE_BYTES_MAX (INT64_C(1) << 30) /* of one file of a program's; documented */

struct local_settings {
    char *python_bin, *node_bin, *work_dir;
    int64_t timeout, max_memory_mb, max_output_bytes, max_artifacts, max_artifact_bytes;
    char *isolation;
    char *environment;
};

static const char *const isolation_options[] = {"full", "restricted", "auto", "none", NULL};

static const struct sp_field fields[] = {
    SP_ROW_STR(struct local_settings, python_bin, .def_str = "python3", .label = "Python Binary",
               .help = "Python interpreter: a name in " SP_STANDARD_PATH ", or a full path"),
    SP_ROW_STR(struct local_settings, node_bin, .def_str = "node", .label = "Node.js Binary",
               .help = "Node.js interpreter: a name in " SP_STANDARD_PATH ", or a full path"),
    SP_ROW_STR(struct local_settings, work_dir, .def_str = "/tmp/ragflow-codeexec",
               .label = "Working Directory",
               .help = "folder for the runs' folders; made with mode 0700"),
    SP_ROW_INT(struct local_settings, timeout, .def_int = 30, SP_RANGE(1, 600),
               .label = "Timeout (seconds)", .help = "longest run of a program, seconds"),
    SP_ROW_INT(struct local_settings, max_memory_mb, .def_int = 512, SP_RANGE(1, 65536),
               .label = "Max Memory (MB)",
               .help = "memory of each process, MiB: its data segments and Node's heap"),
    SP_ROW_INT(struct local_settings, max_output_bytes, .def_int = 1048576,
               SP_RANGE(1024, 10485760), .label = "Max Output (bytes)",
               .help = "kept of stdout and of stderr, bytes each"),
    SP_ROW_INT(struct local_settings, max_artifacts, .def_int = 20, SP_RANGE(0, 100),
               .label = "Max Artifacts", .help = "files taken from artifacts/"),
    SP_ROW_INT(struct local_settings, max_artifact_bytes, .def_int = 10485760,
               SP_RANGE(1024, 104857600), .label = "Max Artifact Size (bytes)",
               .help = "size of one of them, bytes"),
    SP_ROW_STR(struct local_settings, isolation, .flags = SP_REQUIRED, .options = isolation_options,
               .label = "Isolation",
               .help = "must be spelled out; this version has `none`: code runs as the worker's "
                       "user"),
    SP_ROW_MAP(struct local_settings, environment, .label = "Environment",
               .help = "variables added to a run's clean environment"),
};

/* What is in force at isolation none. */
static const char *const defences[] = {
    "clean environment", "closed descriptors", "own session", "process tree", "guardian",
    "rlimits",           "bounded output",     NULL};

struct interpreter {
    char *path; /* NULL: there is none, for this reason: */
    struct sp_error reason;
    char *wrapper; /* path */
};

struct local {
    struct sp_provider base;
    struct local_settings *settings; /* owned, once open */
    struct interpreter interpreters[LANGUAGES];
    struct sp_environment *environment;
    struct sp_workspace *workspace;
    struct sp_launcher *launcher;
    struct sp_artifact_rules artifacts;
    int64_t max_result;
};

struct local_instance {
    struct sp_instance base;
    int folder;
    int runs;
};

static const struct {
    const char *name; /* RAGFlow's */
    const char *key;  /* of the setting with its interpreter */
} languages[LANGUAGES] = {
    [SP_PYTHON] = {"python", "python_bin"},
    [SP_JAVASCRIPT] = {"nodejs", "node_bin"},
};

static enum sp_code validate(json_t *settings, struct sp_error *err)
{
    json_t *isolation = json_object_get(settings, "isolation");
    json_t *environment = json_object_get(settings, "environment");

    if (!isolation || json_is_null(isolation) || !*(json_string_value(isolation) ?: "-")) {
        return sp_error_set(err, SP_E_INVALID,
                            "isolation: required, because local runs other people's code on this "
                            "machine as the worker's user; if that is wanted, write "
                            "\"isolation\": \"none\"");
    }
    return json_is_object(environment) ? sp_environment_check(environment, err) : SP_OK;
}

static enum sp_code check_isolation(const char *level, struct sp_error *err)
{
    if (!strcmp(level, "none"))
        return SP_OK;
    return sp_error_set(err, SP_E_INVALID,
                        "isolation: this version cannot isolate (\"%s\"); the only level is "
                        "\"none\", which must be spelled out: code then runs as the worker's user",
                        level);
}

/* A language without an interpreter is no failure of the provider: see check(). */
static enum sp_code find_interpreters(struct local *l)
{
    const char *names[LANGUAGES] = {
        [SP_PYTHON] = l->settings->python_bin,
        [SP_JAVASCRIPT] = l->settings->node_bin,
    };

    for (int i = 0; i < LANGUAGES; i++) {
        struct interpreter *in = &l->interpreters[i];
        bool script = false;

        if (sp_interpreter_find(languages[i].key, names[i], &in->path, &script, &in->reason)) {
            sp_log(SP_WARN, "interpreter_missing", sp_s("provider", "local"),
                   sp_s("reason", in->reason.msg));
        }
        if (script) {
            sp_log(SP_WARN, "interpreter_is_script", sp_s("provider", "local"),
                   sp_s("key", languages[i].key), sp_s("path", in->path),
                   sp_s("hint", "every run is slow; give the path of the real program"));
        }
    }
    return SP_OK;
}

static enum sp_code write_wrappers(struct local *l, struct sp_error *err)
{
    for (int i = 0; i < LANGUAGES; i++) {
        const struct sp_wrapper *wrapper = sp_wrapper((enum sp_language)i);
        enum sp_code rc =
            sp_workspace_put(l->workspace, wrapper->file, wrapper->text, wrapper->len, err);

        if (rc)
            return rc;
        if (asprintf(&l->interpreters[i].wrapper, "%s/%s", sp_workspace_path(l->workspace),
                     wrapper->file) < 0) {
            l->interpreters[i].wrapper = NULL;
            return sp_error_set(err, SP_E_NOMEM, "out of memory");
        }
    }
    return SP_OK;
}

static void local_close(struct sp_provider *p)
{
    struct local *l = (struct local *)p;

    if (!l)
        return;
    sp_launcher_close(l->launcher); /* first: nothing may run in a folder that is removed */
    sp_workspace_close(l->workspace);
    sp_environment_free(l->environment);
    for (int i = 0; i < LANGUAGES; i++) {
        free(l->interpreters[i].path);
        free(l->interpreters[i].wrapper);
    }
    if (l->settings)
        sp_fields_clear(fields, SP_COUNT(fields), l->settings);
    free(l->settings);
    free(l);
}

static enum sp_code open_parts(struct local *l, struct sp_error *err)
{
    enum sp_code rc = check_isolation(l->settings->isolation, err);

    if (!rc)
        rc = sp_environment_new(l->settings->environment, &l->environment, err);
    if (!rc)
        rc = find_interpreters(l);
    if (!rc)
        rc = sp_workspace_open(l->settings->work_dir, &l->workspace, err);
    if (!rc)
        rc = write_wrappers(l, err);
    if (!rc)
        rc = sp_launcher_open(&l->launcher, err);
    return rc;
}

static enum sp_code local_open(void *settings, const struct sp_host *host, struct sp_provider **out,
                               struct sp_error *err)
{
    struct local_settings *given = settings;
    struct local *l = calloc(1, sizeof *l);
    enum sp_code rc;

    if (!l)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    l->settings = given; /* lent until all has worked out */
    l->base.ops = &sp_provider_local;
    l->base.timeout_ms = given->timeout * 1000;
    l->max_result = host->limits->response_bytes;
    l->artifacts = (struct sp_artifact_rules){.max_count = given->max_artifacts,
                                              .max_bytes = given->max_artifact_bytes,
                                              .max_total = host->limits->artifacts_total};
    rc = open_parts(l, err);
    if (rc) {
        l->settings = NULL;
        local_close(&l->base);
        return rc;
    }
    sp_log(SP_WARN, "local_without_isolation", sp_s("work_dir", l->settings->work_dir),
           sp_s("hint", "programs run as the worker's user"));
    *out = &l->base;
    return SP_OK;
}

static enum sp_code local_check(struct sp_provider *p, const struct sp_run *run,
                                struct sp_error *err)
{
    struct local *l = (struct local *)p;
    enum sp_code rc;

    if (!l->interpreters[SP_PYTHON].path && !l->interpreters[SP_JAVASCRIPT].path)
        return sp_error_set(err, SP_E_INVALID, "%s", l->interpreters[SP_PYTHON].reason.msg);
    rc = sp_workspace_check(l->workspace, err);
    return rc ? rc : sp_launcher_ping(l->launcher, sp_deadline_left(run->setup_deadline), err);
}

static enum sp_code local_create(struct sp_provider *p, const struct sp_request *req,
                                 const struct sp_run *run, struct sp_instance **out,
                                 struct sp_error *err)
{
    struct local *l = (struct local *)p;
    const struct interpreter *in = &l->interpreters[req->language];
    struct local_instance *i;
    enum sp_code rc;

    (void)run; /* making a folder takes no time worth watching */
    if (!in->path)
        return sp_error_set(err, SP_E_INVALID, "%s", in->reason.msg);
    i = calloc(1, sizeof *i);
    if (!i)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    i->base.provider = p;
    sp_random_uuid(i->base.id);
    rc = sp_workspace_make(l->workspace, i->base.id, &i->folder, err);
    if (rc) {
        free(i);
        return rc;
    }
    *out = &i->base;
    return SP_OK;
}

static enum sp_code local_destroy(struct sp_instance *instance, const struct sp_run *run,
                                  struct sp_error *err)
{
    struct local *l = (struct local *)instance->provider;
    struct local_instance *i = (struct local_instance *)instance;
    enum sp_code rc;

    close(i->folder); /* first, for removing takes descriptors too */
    rc = sp_workspace_remove(l->workspace, i->base.id, sp_deadline_in(run->teardown_ms), err);
    free(i);
    return rc;
}

static enum sp_code put_files(struct local_instance *i, const struct sp_request *req,
                              const struct sp_run *run, struct sp_error *err)
{
    enum sp_code rc = SP_OK;

    if (i->runs++ > 0) /* what an earlier run left is not this one's */
        rc = sp_folder_renew_artifacts(i->folder, run->setup_deadline, err);
    for (size_t n = 0; n < req->n_files && !rc; n++) {
        rc = sp_folder_put(i->folder, req->files[n].name, req->files[n].data, req->files[n].len,
                           err);
    }
    if (!rc) {
        rc = sp_folder_put(i->folder, sp_wrapper(req->language)->program, req->code, req->code_len,
                           err);
    }
    return rc;
}

/* The processor's time is a second line behind the clock: several threads may use several
 * processors. */
static uint64_t cpu_seconds(int64_t timeout_ms)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    return (uint64_t)((timeout_ms + 999) / 1000 + 1) * (uint64_t)(processors > 0 ? processors : 1);
}

static void set_limits(const struct local *l, int64_t timeout_ms, struct guardian_limit *limits)
{
    uint64_t data = (uint64_t)(l->settings->max_memory_mb * MIB), cpu = cpu_seconds(timeout_ms);
    const struct guardian_limit ours[GUARDIAN_LIMITS] = {
        /* Never the address space: Node reserves far more of it than it uses. */
        {RLIMIT_DATA, data, data},
        {RLIMIT_FSIZE, FILE_BYTES_MAX, FILE_BYTES_MAX},
        {RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES},
        {RLIMIT_CORE, 0, 0},
        {RLIMIT_CPU, cpu, cpu + 1}, /* SIGXCPU, which tells; then SIGKILL */
        {-1, 0, 0},
    };

    memcpy(limits, ours, sizeof ours);
}

/*
 * Node has to meet its heap's limit, which it reports, before the kernel's, of which it dies
 * without a word. Its threads and its young heap take some 96 MiB beside the old heap, its own
 * allocations a part of the rest.
 */
static void heap_flag(const struct local *l, char *text, size_t size)
{
    int64_t all = l->settings->max_memory_mb, rest = (all - 96) * 3 / 4;

    snprintf(text, size, "--max-old-space-size=%lld", (long long)(rest > all / 4 ? rest : all / 4));
}

static enum sp_code start(struct local *l, struct local_instance *i, const struct sp_request *req,
                          const struct sp_run *run, const char *folder, struct sp_slot *slot,
                          struct sp_error *err)
{
    const struct interpreter *in = &l->interpreters[req->language];
    const char **env = sp_environment_of_run(l->environment, folder);
    char heap[48];
    const char *args[FIXED_ARGS] = {in->path}, **arg = args + 1;
    struct sp_launch launch = {.args = args, .env = env};
    enum sp_code rc;

    if (!env)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    heap_flag(l, heap, sizeof heap);
    *arg++ = req->language == SP_PYTHON ? "-uB" : heap; /* unbuffered: a time-out keeps output */
    *arg++ = in->wrapper;
    *arg++ = sp_wrapper(req->language)->program;
    if (req->strict_result)
        *arg++ = "strict";
    set_limits(l, run->timeout_ms, launch.limits);
    rc = sp_slot_start(l->launcher, &launch, i->folder, run, slot, err);
    free(env);
    return rc;
}

static enum sp_code add_metadata(const struct sp_request *req, const char *folder,
                                 struct sp_result *out)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_buf_clear) struct sp_buf path = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_out j = SP_JSON_OUT(&text);
    bool ok = out->outcome == SP_OUTCOME_EXITED && out->exit_code == 0;

    if (sp_buf_addf(&path, "%s/%s", folder, sp_wrapper(req->language)->program))
        return SP_E_NOMEM;
    sp_json_str(&j, "script_path", sp_buf_str(&path));
    sp_json_str(&j, "status", ok ? "ok" : "error");
    if (j.rc)
        return j.rc;
    out->metadata = sp_buf_take(&text, NULL);
    return out->metadata ? SP_OK : SP_E_NOMEM;
}

static enum sp_code run_slot(struct local *l, struct local_instance *i,
                             const struct sp_request *req, const struct sp_run *run,
                             struct sp_slot *slot, struct sp_result *out, struct sp_error *err)
{
    const struct sp_slot_job job = {.data = req->arguments,
                                    .len = req->arguments ? req->arguments_len : 0,
                                    .max_output = l->settings->max_output_bytes,
                                    .max_result = l->max_result};
    enum sp_code rc = sp_slot_run(l->launcher, slot, &job, run, out, err);
    int64_t limit = sp_deadline_min(run->deadline, sp_deadline_in(run->teardown_ms));

    if (rc)
        return rc;
    rc = sp_artifacts_collect(i->folder, &l->artifacts, limit, out);
    return rc ? sp_error_set(err, rc, "no memory for the artifacts") : SP_OK;
}

static enum sp_code local_execute(struct sp_instance *instance, const struct sp_request *req,
                                  const struct sp_run *run, struct sp_result *out,
                                  struct sp_error *err)
{
    struct local *l = (struct local *)instance->provider;
    struct local_instance *i = (struct local_instance *)instance;
    sp_auto(sp_slot_clear) struct sp_slot slot = SP_SLOT_INIT;
    sp_auto(sp_buf_clear) struct sp_buf folder = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    enum sp_code rc = put_files(i, req, run, err);

    out->language = languages[req->language].name;
    out->isolation = "none";
    out->defences = defences;
    snprintf(out->instance_id, sizeof out->instance_id, "%s", i->base.id);
    if (!rc && sp_buf_addf(&folder, "%s/%s", sp_workspace_path(l->workspace), i->base.id))
        rc = sp_error_set(err, SP_E_NOMEM, "out of memory");
    if (!rc)
        rc = start(l, i, req, run, sp_buf_str(&folder), &slot, err);
    if (!rc)
        rc = run_slot(l, i, req, run, &slot, out, err);
    if (!rc && add_metadata(req, sp_buf_str(&folder), out))
        rc = sp_error_set(err, SP_E_NOMEM, "out of memory");
    return rc;
}

static void local_sweep(struct sp_provider *p)
{
    struct local *l = (struct local *)p;

    sp_workspace_sweep(l->workspace, sp_deadline_in(SWEEP_MS));
}

static const char *const tags[] = {"local", "child process", NULL};
static const char *const language_names[] = {"python", "javascript", "nodejs", NULL};

const struct sp_provider_ops sp_provider_local = {
    .name = "local",
    .title = "Local",
    .description = "Runs code as child processes of the worker, on its machine and as its user",
    .tags = tags,
    .languages = language_names,
    .fields = fields,
    .n_fields = SP_COUNT(fields),
    .settings_size = sizeof(struct local_settings),
    .validate = validate,
    .open = local_open,
    .check = local_check,
    .create = local_create,
    .execute = local_execute,
    .destroy = local_destroy,
    .sweep = local_sweep,
    .close = local_close,
};
