/*
 * Sandboxes of the E2B cloud or of a compatible one (reference e2b): one is made for each run, and
 * always ended. Which way a program runs in it is the setting `mode`.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json_out.h"
#include "base/text.h"
#include "providers/e2b/instance.h"
#include "providers/lease.h"
#include "providers/registry.h"
#include "providers/settings_check.h"

struct e2b_settings {
    char *api_key, *region;
    int64_t timeout;
    char *domain, *api_url, *sandbox_url, *template, *mode;
    bool allow_internet, secure;
    int64_t pool_size;
};

static const char *const modes[] = {"process", "kernel", NULL};
#define DOMAIN "e2b.app"

static const struct sp_field fields[] = {
    SP_ROW_STR(struct e2b_settings, api_key, .flags = SP_REQUIRED | SP_SECRET | SP_NO_DEFAULT,
               .env = "E2B_API_KEY", .label = "API Key", .placeholder = "e2b_sk_...",
               .help = "API key of the team"),
    SP_ROW_STR(struct e2b_settings, region, .def_str = "us", .label = "Region",
               .help = "us or eu, for information: the service has no such switch, see domain"),
    SP_ROW_INT(struct e2b_settings, timeout, SP_RANGE(5, 300), .def_int = 30,
               .label = "Request Timeout (seconds)", .help = "longest run of a program, seconds"),
    SP_ROW_STR(struct e2b_settings, domain, .def_str = DOMAIN, .env = "E2B_DOMAIN",
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

static enum sp_code check_domain(const char *domain, struct sp_error *err)
{
    if (!*domain || sp_e2b_is_host(domain))
        return SP_OK;
    return sp_error_set(err, SP_E_INVALID, "domain: must be a plain host name, as " DOMAIN);
}

static enum sp_code validate(json_t *settings, struct sp_error *err)
{
    enum sp_code rc = check_domain(sp_setting_text(settings, "domain"), err);

    if (!rc)
        rc = sp_setting_check_url(settings, "api_url", err);
    return rc ? rc : sp_setting_check_url(settings, "sandbox_url", err);
}

/* CONTRACT.md 3.5; the provider's page explains each. */
static const char *const process_limits[] = {"supervisor", NULL};
static const char *const kernel_limits[] = {"exit_codes", "signals", "standard_input",
                                            "text_output", NULL};

static const struct sp_e2b_mode mode_rows[] = {
    {"process", "base", NULL, sp_e2b_run_process, process_limits},
    {"kernel", "code-interpreter-v1", sp_e2b_need_context, sp_e2b_run_cell, kernel_limits},
};

static void e2b_close(struct sp_provider *p)
{
    struct sp_e2b *e = (struct sp_e2b *)p;

    sp_warm_pool_free(e->pool);
    sp_e2b_control_free(e->control);
    sp_http_free(e->sandboxes);
    if (e->settings)
        sp_fields_clear(fields, SP_COUNT(fields), e->settings);
    free(e->settings);
    free(e);
}

static const struct sp_e2b_mode *find_mode(const char *name)
{
    const struct sp_e2b_mode *mode = mode_rows;

    while (strcmp(mode->name, name) != 0) /* the field's options are these */
        mode++;
    return mode;
}

/* What the environment gives is checked here only. A user name would be shown where the address
 * is. */
static enum sp_code check_address(const char *key, const char *url, struct sp_error *err)
{
    const char *host = strncmp(url, "https://", 8) == 0  ? url + 8
                       : strncmp(url, "http://", 7) == 0 ? url + 7
                                                         : "";

    if (!*url || (*host && *host != '/' && !host[strcspn(host, "?#@ \t\r\n")]))
        return SP_OK;
    return sp_error_set(err, SP_E_INVALID,
                        "%s: must be https:// or http://, a host, and no more than a port and a "
                        "path",
                        key);
}

static enum sp_code check_addresses(const struct e2b_settings *s, struct sp_error *err)
{
    enum sp_code rc = check_address("api_url", s->api_url, err);

    if (!rc)
        rc = check_address("sandbox_url", s->sandbox_url, err);
    return rc ? rc : check_domain(s->domain, err);
}

static enum sp_code open_parts(struct sp_e2b *e, const struct e2b_settings *s, struct sp_error *err)
{
    const struct sp_e2b_control_options options = {
        .api_key = s->api_key,
        .domain = *s->domain ? s->domain : DOMAIN, /* a form that was left empty */
        .api_url = s->api_url,
        .template = *s->template ? s->template : e->mode->template,
        .worker_id = e->host->worker_id,
        .allow_internet = s->allow_internet,
        .secure = s->secure,
    };
    const struct sp_warm_options pool = {.ops = &sp_e2b_warm_ops,
                                         .ctx = e,
                                         .provider = sp_provider_e2b.name,
                                         .size = s->pool_size,
                                         .max_age_ms = SP_E2B_WARM_MS};

    enum sp_code rc = check_addresses(s, err);
    if (!rc)
        rc = sp_e2b_control_new(&options, &e->control, err);
    if (!rc)
        rc = sp_http_new(&e->sandboxes, err);
    return rc ? rc : sp_warm_pool_new(&pool, &e->pool, err);
}

static enum sp_code e2b_open(void *settings, const struct sp_host *host, struct sp_provider **out,
                             struct sp_error *err)
{
    struct e2b_settings *given = settings;
    struct sp_e2b *e = calloc(1, sizeof(*e));

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
    e->sandbox_url = given->sandbox_url;
    *out = &e->base;
    return SP_OK;
}

static enum sp_code e2b_check(struct sp_provider *p, const struct sp_run *run, struct sp_error *err)
{
    const struct sp_e2b_limits limits = {run->setup_deadline, run->cancel_fd};

    enum sp_code rc = sp_e2b_check(((struct sp_e2b *)p)->control, &limits, err);
    return rc == SP_E_DENIED ? sp_error_wrap(err, rc, "api_key: refused by the service") : rc;
}

static enum sp_code e2b_create(struct sp_provider *p, const struct sp_request *req,
                               const struct sp_run *run, struct sp_instance **out,
                               struct sp_error *err)
{
    struct sp_e2b_instance *i = NULL;

    enum sp_code rc = sp_e2b_make((struct sp_e2b *)p, req->language, run, &i, err);
    if (!rc)
        *out = &i->base;
    return rc;
}

static enum sp_code add_metadata(const struct sp_e2b_instance *i, struct sp_result *out)
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
    struct sp_e2b_instance *i = (struct sp_e2b_instance *)instance;
    const struct sp_e2b *e = (const struct sp_e2b *)instance->provider;

    out->language = req->language == SP_PYTHON ? "python" : "nodejs";
    out->limits_of_provider = e->mode->limits;
    if (i->spoilt)
        return sp_error_set(err, SP_E_UNAVAILABLE, "an earlier program may still run in it");
    enum sp_code rc = e->mode->run(&i->place, req, run, out, &i->spoilt, err);
    if (!rc && add_metadata(i, out))
        rc = sp_error_set(err, SP_E_NOMEM, "out of memory");
    return rc;
}

static enum sp_code end_lease(void *ctx, const struct sp_lease *lease, int64_t deadline,
                              struct sp_error *err)
{
    const struct sp_e2b *e = ctx;

    return *lease->sandbox ? sp_e2b_end(e->control, lease->sandbox, deadline, err)
                           : sp_e2b_end_labelled(e->control, lease->id, deadline, err);
}

static void e2b_sweep(struct sp_provider *p)
{
    struct sp_e2b *e = (struct sp_e2b *)p;

    sp_lease_sweep(e->host, p->ops->name, sp_e2b_control_name(e->control), end_lease, e);
}

static enum sp_code e2b_destroy(struct sp_instance *instance, const struct sp_run *run,
                                struct sp_error *err)
{
    return sp_e2b_unmake((struct sp_e2b_instance *)instance, run, err);
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
