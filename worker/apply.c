#include "worker/apply.h"

#include "providers/registry.h"

static enum sp_code apply_open(void *ctx, const struct sp_document *doc, void **value,
                               const char **name, struct sp_error *err)
{
    struct sp_apply *apply = ctx;
    const char *type = doc->provider_type ? doc->provider_type : SP_PROVIDER_DEFAULT;
    const struct sp_provider_ops *ops = NULL;
    enum sp_code rc = sp_registry_get(type, &ops, err);
    if (rc)
        return sp_error_wrap(err, rc, "sandbox.provider_type");

    json_auto_t *settings = NULL;
    struct sp_provider *provider = NULL;
    rc = sp_document_provider(doc, ops->name, &settings, err);
    if (!rc)
        rc = sp_provider_open(ops, settings, apply->host, &provider, err);
    if (rc)
        return sp_error_wrap(err, rc, "sandbox.%s", ops->name);
    if (provider == apply->swept) /* the same address, but another provider */
        apply->swept = NULL;
    *value = provider;
    *name = ops->name;
    return SP_OK;
}

static enum sp_code apply_check(void *ctx, void *value, struct sp_error *err)
{
    struct sp_apply *apply = ctx;
    struct sp_provider *provider = value;
    const struct sp_run run = {.setup_deadline = sp_deadline_in(SP_CHECK_MS),
                               .deadline = SP_NEVER,
                               .cancel_fd = apply->cancel_fd};
    enum sp_code rc = sp_provider_check(provider, &run, err);
    if (rc)
        return sp_error_wrap(err, rc, "%s", provider->ops->name);
    if (provider != apply->swept)
        sp_provider_sweep(provider);
    apply->swept = provider;
    return SP_OK;
}

static void apply_close(void *ctx, void *value)
{
    (void)ctx;
    sp_provider_close(value);
}

const struct sp_apply_ops sp_apply_ops = {
    .open = apply_open, .check = apply_check, .close = apply_close};
