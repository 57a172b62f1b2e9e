/* The one list of providers. Nothing else compares their names. */
#pragma once

#include "providers/provider.h"

/* What settings without a provider_type mean, as in RAGFlow. */
#define SP_PROVIDER_DEFAULT "self_managed"

/* NULL: no such provider. */
const struct sp_provider_ops *sp_registry_find(const char *name);
/* The same for a name that somebody wrote; SP_E_INVALID lists the names there are. */
SP_MUST_CHECK enum sp_code sp_registry_get(const char *name, const struct sp_provider_ops **out,
                                           struct sp_error *err);
/* The i-th, NULL past the end; in the order in which they are shown. */
const struct sp_provider_ops *sp_registry_at(size_t i);
/* Adds one for a test or a benchmark. Call before threads start; at most 8. */
void sp_registry_add(const struct sp_provider_ops *ops);

/* The rows, for registry.c and the files that define them; everybody else asks the registry. */
extern const struct sp_provider_ops sp_provider_aliyun_codeinterpreter;
extern const struct sp_provider_ops sp_provider_e2b;
extern const struct sp_provider_ops sp_provider_local;
extern const struct sp_provider_ops sp_provider_self_managed;
extern const struct sp_provider_ops sp_provider_ssh;
