/* The provider's own structs, and its parts. */
#pragma once

#include <stdatomic.h>

#include "providers/aliyun_codeinterpreter/sandbox.h"
#include "providers/aliyun_codeinterpreter/template.h"
#include "providers/provider.h"

struct aliyun_settings {
    char *access_key_id, *access_key_secret, *account_id, *region, *template_name;
    int64_t timeout;
    char *security_token, *control_endpoint, *data_endpoint;
    int64_t pool_size;
};

enum { SP_ALIYUN_TIMEOUT_S = 30 }; /* the service's longest run */

struct aliyun {
    struct sp_provider base;
    struct aliyun_settings *settings; /* owned, once open */
    const struct sp_host *host;
    struct sp_agentrun *service;
    struct sp_templates *templates;
    _Atomic int64_t swept_at; /* the last look at the leases */
};

/* One sandbox. base.id is its name at the service. */
struct aliyun_instance {
    struct sp_instance base;
    struct sp_context contexts[2]; /* of each language; made when first used */
};

/* create(): makes the sandbox, or leaves nothing behind. */
SP_MUST_CHECK enum sp_code sp_aliyun_make(struct aliyun *a, enum sp_language language,
                                          const struct sp_run *run, struct aliyun_instance *i,
                                          struct sp_error *err);
/* destroy(): the sandbox and its lease. */
SP_MUST_CHECK enum sp_code sp_aliyun_end(struct aliyun *a, const char *id, int64_t deadline,
                                         struct sp_error *err);
/* The operation of the provider. */
SP_MUST_CHECK enum sp_code sp_aliyun_execute(struct sp_instance *instance,
                                             const struct sp_request *req, const struct sp_run *run,
                                             struct sp_result *out, struct sp_error *err);
