/* The list of providers, in the order in which RAGFlow shows them. */
#include "providers/registry.h"

#include <assert.h>
#include <string.h>

static const struct sp_provider_ops *const registry[] = {
    &sp_provider_local, &sp_provider_self_managed,
    &sp_provider_ssh,   &sp_provider_aliyun_codeinterpreter,
    &sp_provider_e2b,
};

enum { ADDED_MAX = 8 };
static const struct sp_provider_ops *added[ADDED_MAX]; /* before threads start, then read only */
static size_t n_added;

const struct sp_provider_ops *sp_registry_at(size_t i)
{
    if (i < SP_COUNT(registry))
        return registry[i];
    i -= SP_COUNT(registry);
    return i < n_added ? added[i] : NULL;
}

const struct sp_provider_ops *sp_registry_find(const char *name)
{
    const struct sp_provider_ops *ops;
    for (size_t i = 0; (ops = sp_registry_at(i)) != NULL; i++) {
        if (strcmp(ops->name, name) == 0)
            return ops;
    }
    return NULL;
}

enum sp_code sp_registry_get(const char *name, const struct sp_provider_ops **out,
                             struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf names = SP_BUF_INIT(sizeof(err->msg));
    const struct sp_provider_ops *ops = sp_registry_find(name);
    if (ops) {
        *out = ops;
        return SP_OK;
    }
    for (size_t i = 0; (ops = sp_registry_at(i)) != NULL; i++)
        (void)sp_buf_addf(&names, "%s%s", i > 0 ? ", " : "", ops->name);
    return sp_error_set(err, SP_E_INVALID, "there is no provider \"%.40s\"; there are %s", name,
                        sp_buf_str(&names));
}

void sp_registry_add(const struct sp_provider_ops *ops)
{
    assert(n_added < ADDED_MAX);
    added[n_added++] = ops;
}
