/* What happens alike for every provider: settings, time, logging, the echo of the value. */
#include "providers/provider.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "providers/protocol.h"
#include "settings/secret.h"

/* A settings struct of the provider's. */
struct settings {
    const struct sp_provider_ops *ops;
    void *data;
};

static void settings_clear(struct settings *s)
{
    if (s->data)
        sp_fields_clear(s->ops->fields, s->ops->n_fields, s->data);
    free(s->data);
}
SP_AUTO_CLEAR(struct settings, settings_clear)

static enum sp_code read_settings(struct settings *s, json_t *obj, struct sp_error *err)
{
    enum sp_code rc = SP_OK;
    if (s->ops->validate)
        rc = s->ops->validate(obj, err);
    if (rc)
        return rc;
    s->data = calloc(1, s->ops->settings_size);
    if (!s->data)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    return sp_fields_read(s->ops->fields, s->ops->n_fields, obj, s->data, err);
}

enum sp_code sp_provider_validate(const struct sp_provider_ops *ops, json_t *settings,
                                  struct sp_error *err)
{
    sp_auto(settings_clear) struct settings s = {.ops = ops};
    return read_settings(&s, settings, err);
}

enum sp_code sp_provider_open(const struct sp_provider_ops *ops, json_t *settings,
                              const struct sp_host *host, struct sp_provider **out,
                              struct sp_error *err)
{
    sp_auto(settings_clear) struct settings s = {.ops = ops};
    json_auto_t *resolved = NULL;

    enum sp_code rc = sp_secret_resolve(ops->fields, ops->n_fields, settings, &resolved, err);
    if (!rc)
        rc = read_settings(&s, resolved, err);
    if (rc)
        return rc;
    rc = ops->open(s.data, host, out, err);
    if (!rc)
        s.data = NULL; /* the provider has it now */
    return rc;
}

/* One debug line for a step that was taken. */
static enum sp_code log_step(const char *step, const struct sp_provider *p, const char *instance,
                             int64_t since_us, enum sp_code rc)
{
    sp_log(SP_DEBUG, "provider_step", sp_s("step", step), sp_s("provider", p->ops->name),
           sp_s("instance", instance), sp_s("code", sp_code_name(rc)),
           sp_i("took_us", sp_mono_us() - since_us));
    return rc;
}

enum sp_code sp_provider_check(struct sp_provider *p, const struct sp_run *run,
                               struct sp_error *err)
{
    int64_t since = sp_mono_us();
    if (!p->ops->check)
        return SP_OK;
    return log_step("check", p, NULL, since, p->ops->check(p, run, err));
}

enum sp_code sp_provider_create(struct sp_provider *p, const struct sp_request *req,
                                const struct sp_run *run, struct sp_instance **out,
                                struct sp_error *err)
{
    int64_t since = sp_mono_us();
    enum sp_code rc = p->ops->create(p, req, run, out, err);
    return log_step("create", p, rc ? NULL : (*out)->id, since, rc);
}

static bool wants_echo(const struct sp_provider_ops *ops, const struct sp_request *req)
{
    return req->result_in_stdout == SP_UNSET ? ops->result_in_stdout
                                             : req->result_in_stdout == SP_YES;
}

enum sp_code sp_provider_execute(struct sp_instance *i, const struct sp_request *req,
                                 const struct sp_run *run, struct sp_result *out,
                                 struct sp_error *err)
{
    const struct sp_provider *p = i->provider;
    struct sp_run clamped = *run;
    int64_t since = sp_mono_us();

    if (p->timeout_ms > 0 && (clamped.timeout_ms <= 0 || clamped.timeout_ms > p->timeout_ms))
        clamped.timeout_ms = p->timeout_ms;
    enum sp_code rc = p->ops->execute(i, req, &clamped, out, err);
    out->timeout_ms = clamped.timeout_ms;
    if (out->started != SP_STARTED_NO && out->execution_us == 0)
        out->execution_us = sp_mono_us() - since;
    snprintf(out->instance_id, sizeof(out->instance_id), "%s", i->id);
    if (!rc && wants_echo(p->ops, req) && sp_protocol_echo_value(out))
        rc = sp_error_set(err, SP_E_NOMEM, "out of memory for the value in stdout");
    return log_step("execute", p, i->id, since, rc);
}

void sp_provider_destroy(struct sp_instance *i, const struct sp_run *run)
{
    struct sp_error err = {0};
    int64_t since = sp_mono_us();
    char id[sizeof(i->id)];

    if (!i)
        return;
    const struct sp_provider *p = i->provider;
    memcpy(id, i->id, sizeof(id)); /* destroy frees the instance */
    enum sp_code rc = log_step("destroy", p, id, since, p->ops->destroy(i, run, &err));
    if (rc) {
        sp_log(SP_WARN, "destroy_failed", sp_s("provider", p->ops->name), sp_s("instance", id),
               sp_s("error", err.msg));
    }
}

void sp_provider_sweep(struct sp_provider *p)
{
    if (p->ops->sweep)
        p->ops->sweep(p);
}

void sp_provider_close(struct sp_provider *p)
{
    if (p)
        p->ops->close(p);
}
