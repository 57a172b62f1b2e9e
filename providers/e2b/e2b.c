/*
 * Sandboxes of the E2B cloud or of a compatible one (reference e2b): one is made for each run, and
 * always ended. Which way a program runs in it is the setting `mode`.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_out.h"
#include "base/text.h"
#include "providers/e2b/control.h"
#include "providers/e2b/lease.h"
#include "providers/e2b/modes.h"
#include "providers/registry.h"
#include "providers/settings_check.h"

enum {
    SPARE_S = 60, /* of a sandbox's life, beside the program's time */
    SWEEP_EVERY_MS = 30000,
};

struct e2b_settings {
    char *api_key, *region;
    int64_t timeout;
    char *domain, *api_url, *sandbox_url, *template, *mode;
    bool allow_internet, secure;
    int64_t pool_size;
};

static const char *const modes[] = {"process", "kernel", NULL};

static const struct sp_field fields[] = {
    SP_ROW_STR(struct e2b_settings, api_key, .flags = SP_REQUIRED | SP_SECRET | SP_NO_DEFAULT,
               .env = "E2B_API_KEY", .label = "API Key", .placeholder = "e2b_sk_...",
               .help = "API key of the team"),
    SP_ROW_STR(struct e2b_settings, region, .def_str = "us", .label = "Region",
               .help = "us or eu, for information: the service has no such switch, see domain"),
    SP_ROW_INT(struct e2b_settings, timeout, SP_RANGE(5, 300), .def_int = 30,
               .label = "Request Timeout (seconds)", .help = "longest run of a program, seconds"),
    SP_ROW_STR(struct e2b_settings, domain, .def_str = "e2b.app", .env = "E2B_DOMAIN",
               .label = "Domain", .help = "domain of the service, a host name"),
    SP_ROW_STR(struct e2b_settings, api_url, .env = "E2B_API_URL", .label = "API URL",
               .placeholder = "https://api.e2b.app",
               .help = "address of the control API; empty: https://api.<domain>"),
    SP_ROW_STR(struct e2b_settings, sandbox_url, .env = "E2B_SANDBOX_URL", .label = "Sandbox URL",
               .help = "one address for all sandboxes; empty: a host for each sandbox and port"),
    SP_ROW_STR(struct e2b_settings, template, .env = "E2B_TEMPLATE", .label = "Template",
               .placeholder = "base",
               .help = "template of the sandboxes; empty: base in process mode, "
                       "code-interpreter-v1 in kernel mode"),
    SP_ROW_STR(struct e2b_settings, mode, .def_str = "process", .options = modes, .label = "Mode",
               .help = "process: a program of its own for each run; kernel: the code interpreter"),
    SP_ROW_BOOL(struct e2b_settings, allow_internet, .def_int = 1, .label = "Allow Internet Access",
                .help = "whether programs may reach the internet"),
    SP_ROW_BOOL(struct e2b_settings, secure, .def_int = 1, .label = "Secure",
                .help = "whether a sandbox asks for its token"),
    SP_ROW_INT(struct e2b_settings, pool_size, SP_RANGE(0, 100), .def_int = 0, .label = "Pool Size",
               .help = "sandboxes kept ready; 0: each is made for its run"),
};

static enum sp_code validate(json_t *settings, struct sp_error *err)
{
    const char *domain = sp_setting_text(settings, "domain");

    if (*domain && !sp_e2b_is_host(domain))
        return sp_error_set(err, SP_E_INVALID, "domain: must be a plain host name, as e2b.app");
    enum sp_code rc = sp_setting_check_url(settings, "api_url", err);
    return rc ? rc : sp_setting_check_url(settings, "sandbox_url", err);
}

/* CONTRACT.md 3.5; the provider's page explains each. */
static const char *const process_limits[] = {"supervisor", NULL};
static const char *const kernel_limits[] = {"exit_codes", "signals", "standard_input",
                                            "text_output", NULL};

static const struct mode {
    const char *name, *template;
    sp_e2b_mode_fn run;
    const char *const *limits;
} mode_rows[] = {
    {"process", "base", sp_e2b_run_process, process_limits},
    {"kernel", "code-interpreter-v1", sp_e2b_run_cell, kernel_limits},
};

struct e2b {
    struct sp_provider base;
    struct e2b_settings *settings; /* owned, once open */
    const struct mode *mode;
    const struct sp_host *host;
    struct sp_e2b_control *control;
    struct sp_http *sandboxes; /* calls to them */
    _Atomic int64_t sweep_at;  /* monotonic: when the next run sweeps behind itself */
};

struct e2b_instance {
    struct sp_instance base;
    struct sp_e2b_sandbox sandbox;
    struct sp_e2b_port envd, interpreter;
    struct sp_e2b_place place;
    int64_t renewed; /* the lease */
    bool spoilt;
};

static void e2b_close(struct sp_provider *p)
{
    struct e2b *e = (struct e2b *)p;

    sp_e2b_control_free(e->control);
    sp_http_free(e->sandboxes);
    if (e->settings)
        sp_fields_clear(fields, SP_COUNT(fields), e->settings);
    free(e->settings);
    free(e);
}

static const struct mode *find_mode(const char *name)
{
    const struct mode *mode = mode_rows;

    while (strcmp(mode->name, name) != 0) /* the field's options are these */
        mode++;
    return mode;
}

static enum sp_code open_parts(struct e2b *e, const struct e2b_settings *s, struct sp_error *err)
{
    const struct sp_e2b_control_options options = {
        .api_key = s->api_key,
        .domain = s->domain,
        .api_url = s->api_url,
        .template = *s->template ? s->template : e->mode->template,
        .worker_id = e->host->worker_id,
        .allow_internet = s->allow_internet,
        .secure = s->secure,
    };

    enum sp_code rc = sp_e2b_control_new(&options, &e->control, err);
    return rc ? rc : sp_http_new(&e->sandboxes, err);
}

static enum sp_code e2b_open(void *settings, const struct sp_host *host, struct sp_provider **out,
                             struct sp_error *err)
{
    struct e2b_settings *given = settings;
    struct e2b *e = calloc(1, sizeof(*e));

    if (!e)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    e->base.ops = &sp_provider_e2b;
    e->base.timeout_ms = given->timeout * 1000;
    e->mode = find_mode(given->mode);
    e->host = host;
    enum sp_code rc = open_parts(e, given, err);
    if (rc) {
        e2b_close(&e->base);
        return rc;
    }
    e->settings = given;
    *out = &e->base;
    return SP_OK;
}

static enum sp_code e2b_check(struct sp_provider *p, const struct sp_run *run, struct sp_error *err)
{
    const struct sp_e2b_limits limits = {run->setup_deadline, run->cancel_fd};

    enum sp_code rc = sp_e2b_check(((struct e2b *)p)->control, &limits, err);
    return rc == SP_E_DENIED ? sp_error_wrap(err, rc, "api_key: refused by the service") : rc;
}

/* ---- instances ---- */

static void instance_free(struct e2b_instance *i)
{
    sp_e2b_place_clear(&i->place);
    sp_e2b_port_close(&i->envd);
    sp_e2b_port_close(&i->interpreter);
    sp_e2b_sandbox_clear(&i->sandbox);
    free(i);
}

static void while_running(void *ctx)
{
    struct e2b_instance *i = ctx;
    const struct e2b *e = (const struct e2b *)i->base.provider;

    sp_e2b_lease_renew(e->host, i->base.id, &i->renewed);
}

static enum sp_code open_ports(const struct e2b *e, struct e2b_instance *i, struct sp_error *err)
{
    const char *url = e->settings->sandbox_url;

    enum sp_code rc = sp_e2b_port_open(&i->sandbox, url, SP_E2B_ENVD, &i->envd, err);
    if (!rc)
        rc = sp_e2b_port_open(&i->sandbox, url, SP_E2B_INTERPRETER, &i->interpreter, err);
    i->place = (struct sp_e2b_place){
        .limits = e->host->limits,
        .envd = {.http = e->sandboxes, .port = &i->envd, .old = i->sandbox.old},
        .kernels = {.http = e->sandboxes, .port = &i->interpreter},
        .alive = while_running,
        .ctx = i,
    };
    return rc;
}

/* One that nobody knows of may be there although making it failed. What cannot be looked after now
 * is left to the sweep, and to its own time. */
static void end_leftover(struct e2b *e, const struct e2b_instance *i, enum sp_code why,
                         const struct sp_run *run)
{
    struct sp_error ignored;
    enum sp_code rc =
        sp_e2b_end_labelled(e->control, i->base.id, sp_deadline_in(run->teardown_ms), &ignored);
    bool answered = why != SP_E_TIMEOUT && why != SP_E_CANCELLED;

    if (!rc && answered)
        sp_e2b_lease_drop(e->host, i->base.id);
}

static int64_t left_ms(int64_t deadline)
{
    return sp_deadline_left(deadline) < 0 ? 0 : sp_deadline_left(deadline);
}

static enum sp_code make_sandbox(struct e2b *e, struct e2b_instance *i, const struct sp_run *run,
                                 struct sp_error *err)
{
    bool shorter = run->timeout_ms > 0 && run->timeout_ms < e->base.timeout_ms;
    int64_t timeout_ms = shorter ? run->timeout_ms : e->base.timeout_ms;
    const struct sp_e2b_creation with = {
        .label = i->base.id,
        .ttl_s = (timeout_ms + 999) / 1000 + SPARE_S,
        .limits = {sp_deadline_min(run->setup_deadline, run->deadline), run->cancel_fd},
    };
    bool left = false;

    sp_e2b_lease_put(e->host, e->control, i->base.id, "", left_ms(with.limits.deadline));
    enum sp_code rc = sp_e2b_create(e->control, &with, &i->sandbox, &left, err);
    if (!rc) {
        sp_e2b_lease_put(e->host, e->control, i->base.id, i->sandbox.id,
                         left_ms(with.limits.deadline));
    } else if (left) {
        end_leftover(e, i, rc, run);
    } else {
        sp_e2b_lease_drop(e->host, i->base.id);
    }
    return rc;
}

static enum sp_code end_sandbox(struct e2b_instance *i, const struct sp_run *run,
                                struct sp_error *err)
{
    struct e2b *e = (struct e2b *)i->base.provider;

    enum sp_code rc = sp_e2b_end(e->control, i->sandbox.id, sp_deadline_in(run->teardown_ms), err);
    if (!rc)
        sp_e2b_lease_drop(e->host, i->base.id);
    return rc;
}

static enum sp_code e2b_create(struct sp_provider *p, const struct sp_request *req,
                               const struct sp_run *run, struct sp_instance **out,
                               struct sp_error *err)
{
    struct e2b *e = (struct e2b *)p;
    struct e2b_instance *i = calloc(1, sizeof(*i));

    (void)req; /* a sandbox takes either language */
    if (!i)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    i->base.provider = p;
    sp_random_uuid(i->base.id);
    enum sp_code rc = make_sandbox(e, i, run, err);
    if (!rc) {
        rc = open_ports(e, i, err);
        if (rc)
            (void)end_sandbox(i, run, NULL);
    }
    if (rc) {
        instance_free(i);
        return rc;
    }
    *out = &i->base;
    return SP_OK;
}

static enum sp_code add_metadata(const struct e2b_instance *i, struct sp_result *out)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_out j = SP_JSON_OUT(&text);
    bool ok = out->outcome == SP_OUTCOME_EXITED && out->exit_code == 0;

    sp_json_str(&j, "sandbox_id", i->sandbox.id);
    sp_json_str(&j, "status", ok ? "ok" : "error");
    if (j.rc)
        return j.rc;
    out->metadata = sp_buf_take(&text, NULL);
    return out->metadata ? SP_OK : SP_E_NOMEM;
}

static enum sp_code e2b_execute(struct sp_instance *instance, const struct sp_request *req,
                                const struct sp_run *run, struct sp_result *out,
                                struct sp_error *err)
{
    struct e2b_instance *i = (struct e2b_instance *)instance;
    const struct e2b *e = (const struct e2b *)instance->provider;

    out->language = req->language == SP_PYTHON ? "python" : "nodejs";
    out->limits_of_provider = e->mode->limits;
    if (i->spoilt)
        return sp_error_set(err, SP_E_UNAVAILABLE, "an earlier program may still run in it");
    enum sp_code rc = e->mode->run(&i->place, req, run, out, &i->spoilt, err);
    if (!rc && add_metadata(i, out))
        rc = sp_error_set(err, SP_E_NOMEM, "out of memory");
    return rc;
}

static void e2b_sweep(struct sp_provider *p)
{
    struct e2b *e = (struct e2b *)p;

    atomic_store(&e->sweep_at, sp_deadline_in(SWEEP_EVERY_MS));
    sp_e2b_lease_sweep(e->host, e->control);
}

/* Another worker may have died meanwhile. One run of many sweeps. */
static void sweep_now_and_then(struct e2b *e)
{
    int64_t at = atomic_load(&e->sweep_at);

    if (sp_deadline_left(at) == 0 &&
        atomic_compare_exchange_strong(&e->sweep_at, &at, sp_deadline_in(SWEEP_EVERY_MS)))
        sp_e2b_lease_sweep(e->host, e->control);
}

static enum sp_code e2b_destroy(struct sp_instance *instance, const struct sp_run *run,
                                struct sp_error *err)
{
    struct e2b_instance *i = (struct e2b_instance *)instance;
    struct e2b *e = (struct e2b *)instance->provider;

    enum sp_code rc = end_sandbox(i, run, err);
    instance_free(i);
    sweep_now_and_then(e);
    return rc;
}

const struct sp_provider_ops sp_provider_e2b = {
    .name = "e2b",
    .title = "E2B",
    .description = "Micro virtual machines of the E2B cloud or of a compatible service",
    .tags = (const char *const[]){"saas", "fast", "global", NULL},
    .languages = (const char *const[]){"python", "nodejs", "javascript", NULL},
    .fields = fields,
    .n_fields = SP_COUNT(fields),
    .settings_size = sizeof(struct e2b_settings),
    .validate = validate,
    .open = e2b_open,
    .check = e2b_check,
    .create = e2b_create,
    .execute = e2b_execute,
    .destroy = e2b_destroy,
    .sweep = e2b_sweep,
    .close = e2b_close,
};
