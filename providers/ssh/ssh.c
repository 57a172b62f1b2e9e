/*
 * The provider `ssh`: programs run in an account of another machine (reference ragflow 2.5,
 * CONTRACT.md 3.4 and 3.5). Each run is one command on a shared connection; a supervisor at the far
 * end (providers/supervisor.h) starts the program, ends it and removes what it leaves.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_out.h"
#include "base/log.h"
#include "base/text.h"
#include "providers/protocol.h"
#include "providers/registry.h"
#include "providers/ssh/errand.h"
#include "providers/ssh/key.h"
#include "providers/ssh/run.h"
#include "providers/ssh/settings.h"
#include "providers/supervisor.h"

enum {
    LIFE_EXTRA_S = 30,      /* the program's longest life, should the worker vanish */
    SWEEP_MS = 30000,       /* for one sweep */
    SWEEP_AGE_MINUTES = 30, /* older than any run: the longest time-out, and all around it */
    ABANDONED_MS = 2000,    /* for removing what a broken connection left */
    LANGUAGES = SP_JAVASCRIPT + 1,
};

/* CONTRACT.md 3.5; the provider's page explains each. */
static const char *const limits_of_provider[] = {"far_end_supervisor", "output_end", NULL};

static const struct {
    const char *name; /* RAGFlow's */
    const char *key;  /* of the setting with its interpreter */
    const char *flags;
} languages[LANGUAGES] = {
    [SP_PYTHON] = {"python", "python_bin", " -uB"}, /* unbuffered: a time-out keeps output */
    [SP_JAVASCRIPT] = {"nodejs", "node_bin", ""},
};

struct ssh {
    struct sp_provider base;
    struct sp_ssh_settings *settings; /* owned, once open */
    struct sp_ssh_options options;
    struct sp_ssh_pool *pool;
    struct sp_artifact_rules artifacts;
    int64_t max_result;
};

struct ssh_instance {
    struct sp_instance base;
    struct sp_ssh_link *link; /* NULL: given back */
    struct sp_ssh_home home;
    bool used; /* a program ran in the home */
};

static const char *interpreter(const struct ssh *s, enum sp_language language)
{
    return language == SP_PYTHON ? s->settings->python_bin : s->settings->node_bin;
}

static void ssh_close(struct sp_provider *p)
{
    struct ssh *s = (struct ssh *)p;

    if (!s)
        return;
    sp_ssh_pool_free(s->pool);
    if (s->settings)
        sp_fields_clear(sp_ssh_fields, SP_SSH_FIELDS, s->settings);
    free(s->settings);
    free(s);
}

static struct sp_ssh_options options_of(const struct sp_ssh_settings *given)
{
    return (struct sp_ssh_options){.host = given->host,
                                   .port = given->port,
                                   .username = given->username,
                                   .password = given->password,
                                   .private_key = given->private_key,
                                   .passphrase = given->passphrase,
                                   .known_hosts = given->known_hosts,
                                   .host_key_fingerprint = given->host_key_fingerprint,
                                   .max_sessions = given->max_sessions};
}

/* A key that cannot be read is told at once, not at the first connection. */
static enum sp_code try_key(const struct sp_ssh_options *options, struct sp_error *err)
{
    sp_auto(sp_ssh_key_clear) struct sp_ssh_key key = {0};
    char name[160];

    if (!options->private_key || !*options->private_key)
        return SP_OK;
    snprintf(name, sizeof name, "%s@%s:%lld", options->username, options->host,
             (long long)options->port);
    return sp_ssh_key_load(options, name, &key, err);
}

static enum sp_code ssh_open(void *settings, const struct sp_host *host, struct sp_provider **out,
                             struct sp_error *err)
{
    struct sp_ssh_settings *given = settings;
    struct ssh *s = calloc(1, sizeof *s);

    if (!s)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    s->base.ops = &sp_provider_ssh;
    s->base.timeout_ms = given->timeout * 1000;
    s->options = options_of(given);
    s->max_result = host->limits->response_bytes;
    s->artifacts = (struct sp_artifact_rules){.max_count = given->max_artifacts,
                                              .max_bytes = given->max_artifact_bytes,
                                              .max_total = host->limits->artifacts_total};
    enum sp_code rc = try_key(&s->options, err);
    if (!rc)
        rc = sp_ssh_pool_new(&s->options, &s->pool, err);
    if (rc) {
        free(s); /* the settings stay the caller's */
        return rc;
    }
    s->settings = given;
    *out = &s->base;
    return SP_OK;
}

static enum sp_code ssh_check(struct sp_provider *p, const struct sp_run *run, struct sp_error *err)
{
    const struct ssh *s = (struct ssh *)p;
    const struct sp_ssh_wait wait = {run->setup_deadline, run->cancel_fd};

    return sp_ssh_probe(s->pool, s->settings, &wait, err);
}

static struct sp_ssh_wait setup_wait(const struct sp_run *run)
{
    return (struct sp_ssh_wait){sp_deadline_min(run->setup_deadline, run->deadline),
                                run->cancel_fd};
}

/* A connection that broke under a step which surely started nothing: the step is made once more. */
static bool take_again(struct ssh_instance *i, enum sp_code rc, const struct sp_ssh_wait *wait)
{
    struct ssh *s = (struct ssh *)i->base.provider;

    if (rc != SP_E_UNAVAILABLE || !sp_ssh_lost(i->link))
        return false;
    sp_ssh_give(SP_TAKE(i->link));
    return !sp_ssh_take(s->pool, wait, &i->link, NULL);
}

static enum sp_code put_run(struct ssh_instance *i, const struct sp_request *req,
                            const struct sp_ssh_wait *wait, struct sp_error *err)
{
    enum sp_code rc = SP_OK;

    if (i->home.begun)
        rc = sp_ssh_home_remove(&i->home, i->link, wait, err);
    return rc ? rc : sp_ssh_home_make(&i->home, i->link, req, wait, err);
}

static enum sp_code prepare(struct ssh_instance *i, const struct sp_request *req,
                            const struct sp_run *run, struct sp_error *err)
{
    const struct sp_ssh_wait wait = setup_wait(run);
    enum sp_code rc = put_run(i, req, &wait, err);

    return take_again(i, rc, &wait) ? put_run(i, req, &wait, err) : rc;
}

/* The supervisor goes when its standard input ends, and removes what is left of its home. False:
 * the home may still be there. */
static bool dismiss(struct ssh_instance *i, const struct sp_ssh_wait *wait)
{
    struct sp_ssh_exit end = {.status = -1};
    enum sp_code rc = sp_ssh_home_unmake(&i->home, i->link, wait, NULL);

    if (!rc && !i->home.begun) {
        sp_ssh_close(i->link);
        return true;
    }
    rc = sp_ssh_write_eof(i->link, wait, NULL);
    if (!rc)
        rc = sp_ssh_wait_exit(i->link, wait, &end, NULL);
    i->home.begun = rc || end.status != 0;
    return !i->home.begun;
}

/* With a lost connection the supervisor goes, too, unless it was killed itself: a look tells. */
static enum sp_code leave_home(struct ssh_instance *i, const struct sp_ssh_wait *wait,
                               struct sp_error *err)
{
    struct ssh *s = (struct ssh *)i->base.provider;
    const struct sp_ssh_wait soon = {sp_deadline_min(wait->deadline, sp_deadline_in(ABANDONED_MS)),
                                     wait->cancel_fd};
    bool watched = i->home.watched;
    enum sp_code rc = SP_OK;

    i->home.watched = false;
    if (!i->home.begun || (watched && !sp_ssh_lost(i->link) && dismiss(i, wait)))
        return SP_OK;
    if (i->link && sp_ssh_lost(i->link))
        sp_ssh_give(SP_TAKE(i->link));
    if (!i->link)
        rc = sp_ssh_take(s->pool, &soon, &i->link, err);
    return rc ? rc : sp_ssh_home_remove(&i->home, i->link, wait, err);
}

/* Also for an instance that could not be made. */
static enum sp_code end_instance(struct ssh_instance *i, int64_t teardown_ms, struct sp_error *err)
{
    const struct sp_ssh_wait wait = {sp_deadline_in(teardown_ms), -1};
    enum sp_code rc = leave_home(i, &wait, err);

    if (rc)
        (void)sp_error_wrap(err, rc, "%s may be left on the host", i->home.path);
    if (i->link)
        sp_ssh_give(i->link);
    sp_ssh_home_clear(&i->home);
    free(i);
    return rc;
}

static enum sp_code ssh_create(struct sp_provider *p, const struct sp_request *req,
                               const struct sp_run *run, struct sp_instance **out,
                               struct sp_error *err)
{
    struct ssh *s = (struct ssh *)p;
    const struct sp_ssh_wait wait = setup_wait(run);
    struct ssh_instance *i = calloc(1, sizeof *i);

    if (!i)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    i->base.provider = p;
    sp_random_uuid(i->base.id);
    enum sp_code rc = sp_ssh_home_init(&i->home, s->settings->work_dir, i->base.id, err);
    if (!rc)
        rc = sp_ssh_take(s->pool, &wait, &i->link, err);
    if (!rc)
        rc = prepare(i, req, run, err);
    if (rc) {
        (void)end_instance(i, run->teardown_ms, NULL);
        return rc;
    }
    *out = &i->base;
    return SP_OK;
}

static enum sp_code ssh_destroy(struct sp_instance *instance, const struct sp_run *run,
                                struct sp_error *err)
{
    return end_instance((struct ssh_instance *)instance, run->teardown_ms, err);
}

/* Its longest life covers the time-out; the worker ends it at its deadline, long before. */
static enum sp_code write_command(const struct ssh_instance *i, const struct sp_request *req,
                                  const struct sp_run *run, struct sp_buf *out)
{
    const struct ssh *s = (const struct ssh *)i->base.provider;
    const struct sp_wrapper *wrapper = sp_wrapper(req->language);
    int64_t life = (run->timeout_ms + 999) / 1000 + LIFE_EXTRA_S;
    enum sp_code rc = sp_ssh_home_command(&i->home, "run", out);

    if (!rc)
        rc = sp_buf_addf(out, " %lld ", (long long)life);
    if (!rc)
        rc = sp_ssh_quote(out, interpreter(s, req->language));
    if (!rc) {
        rc = sp_buf_addf(out, "%s ../%s %s%s", languages[req->language].flags, wrapper->file,
                         wrapper->program, req->strict_result ? " strict" : "");
    }
    return rc;
}

static enum sp_code start(struct ssh_instance *i, const char *command, const struct sp_run *run,
                          enum sp_started *started, struct sp_error *err)
{
    const struct sp_ssh_wait wait = setup_wait(run);
    enum sp_code rc = sp_ssh_exec(i->link, command, &wait, started, err);

    if (*started == SP_STARTED_NO && take_again(i, rc, &wait))
        rc = sp_ssh_exec(i->link, command, &wait, started, err);
    i->home.watched = *started != SP_STARTED_NO;
    return rc;
}

static enum sp_code add_metadata(const struct ssh_instance *i, const struct sp_request *req,
                                 const char *command, struct sp_result *out, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_buf_clear) struct sp_buf path = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_out j = SP_JSON_OUT(&text);
    bool ok = out->outcome == SP_OUTCOME_EXITED && out->exit_code == 0;

    j.rc = sp_buf_addf(&path, "%s/" SP_SUPERVISOR_WORK, i->home.path);
    sp_json_str(&j, "remote_work_dir", sp_buf_str(&path));
    if (!j.rc)
        j.rc = sp_buf_addf(&path, "/%s", sp_wrapper(req->language)->program);
    sp_json_str(&j, "script_path", sp_buf_str(&path));
    sp_json_str(&j, "command", command);
    sp_json_str(&j, "status", ok ? "ok" : "error");
    out->metadata = j.rc ? NULL : sp_buf_take(&text, NULL);
    return out->metadata ? SP_OK : sp_error_set(err, SP_E_NOMEM, "out of memory");
}

/* Why the supervisor did not start the program. */
static enum sp_code say_refused(const struct ssh *s, enum sp_language language, const char *why,
                                struct sp_error *err)
{
    if (strcmp(why, "interpreter") != 0) {
        return sp_error_set(err, SP_E_INVALID, "host %s: the run could not be prepared (%s)",
                            s->settings->host, why);
    }
    return sp_error_set(err, SP_E_INVALID,
                        "%s: host %s has no program %.80s; install it, or give its full path (a "
                        "bare name is looked for in /usr/local/bin:/usr/bin:/bin)",
                        languages[language].key, s->settings->host, interpreter(s, language));
}

static enum sp_code run_program(struct ssh_instance *i, const struct sp_request *req,
                                const struct sp_run *run, struct sp_result *out,
                                struct sp_error *err)
{
    const struct ssh *s = (const struct ssh *)i->base.provider;
    const struct sp_ssh_program program = {.pool = s->pool,
                                           .link = i->link,
                                           .home = &i->home,
                                           .artifacts = &s->artifacts,
                                           .max_output = s->settings->max_output_bytes,
                                           .max_result = s->max_result};
    char refused[24] = "";
    enum sp_code rc = sp_ssh_watch(&program, run, out, refused, err);

    if (!rc && out->started == SP_STARTED_NO)
        return say_refused(s, req->language, refused, err);
    return rc;
}

/* What an earlier run left is not this one's. The home has a new name, because the supervisor of
 * the old one may be about to remove it. */
static enum sp_code move_on(struct ssh_instance *i, const struct sp_request *req,
                            const struct sp_run *run, struct sp_error *err)
{
    const struct ssh *s = (const struct ssh *)i->base.provider;
    const struct sp_ssh_wait wait = setup_wait(run);
    char id[64];
    enum sp_code rc = leave_home(i, &wait, err);

    if (rc)
        return rc;
    sp_random_uuid(id);
    sp_ssh_home_clear(&i->home);
    rc = sp_ssh_home_init(&i->home, s->settings->work_dir, id, err);
    return rc ? rc : prepare(i, req, run, err);
}

static enum sp_code ssh_execute(struct sp_instance *instance, const struct sp_request *req,
                                const struct sp_run *run, struct sp_result *out,
                                struct sp_error *err)
{
    struct ssh_instance *i = (struct ssh_instance *)instance;
    sp_auto(sp_buf_clear) struct sp_buf command = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    enum sp_code rc = SP_OK;

    out->language = languages[req->language].name;
    out->limits_of_provider = limits_of_provider;
    if (i->used)
        rc = move_on(i, req, run, err);
    i->used = true;
    if (!rc && write_command(i, req, run, &command))
        rc = sp_error_set(err, SP_E_NOMEM, "out of memory");
    if (!rc)
        rc = start(i, sp_buf_str(&command), run, &out->started, err);
    if (!rc)
        rc = run_program(i, req, run, out, err);
    return rc ? rc : add_metadata(i, req, sp_buf_str(&command), out, err);
}

static void ssh_sweep(struct sp_provider *p)
{
    const struct ssh *s = (struct ssh *)p;
    const struct sp_ssh_wait wait = {sp_deadline_in(SWEEP_MS), -1};
    struct sp_error err = {0};

    if (sp_ssh_sweep(s->pool, s->settings, SWEEP_AGE_MINUTES, &wait, &err))
        sp_log(SP_WARN, "sweep_failed", sp_s("provider", "ssh"), sp_s("error", err.msg));
}

const struct sp_provider_ops sp_provider_ssh = {
    .name = "ssh",
    .title = "SSH",
    .description = "Programs run on a machine that is reached over SSH, with its own interpreters",
    .tags = (const char *const[]){"remote", "ssh", "custom-runtime", NULL},
    .languages = (const char *const[]){"python", "javascript", "nodejs", NULL},
    .fields = sp_ssh_fields,
    .n_fields = SP_SSH_FIELDS,
    .settings_size = sizeof(struct sp_ssh_settings),
    .validate = sp_ssh_settings_check,
    .open = ssh_open,
    .check = ssh_check,
    .create = ssh_create,
    .execute = ssh_execute,
    .destroy = ssh_destroy,
    .sweep = ssh_sweep,
    .close = ssh_close,
};
