/* The provider's own structs, and its parts. */
#pragma once

#include "providers/aliyun_codeinterpreter/sandbox.h"
#include "providers/aliyun_codeinterpreter/template.h"
#include "providers/provider.h"
#include "providers/warm_pool.h"

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
    struct sp_warm_pool *pool;
};

/* One sandbox. base.id is its name at the service. */
struct aliyun_instance {
    struct sp_instance base;
    struct sp_context contexts[2]; /* of each language; made when first used */
};

/* One that is ready, or was made for this run; after a failure nothing is left behind. */
SP_MUST_CHECK enum sp_code sp_aliyun_make(struct aliyun *a, enum sp_language language,
                                          const struct sp_run *run, struct aliyun_instance **out,
                                          struct sp_error *err);
extern const struct sp_warm_ops sp_aliyun_warm_ops;
/* How long a sandbox that was made ahead may wait for its run. */
#define SP_ALIYUN_WARM_MS 240000
/* destroy(): the sandbox and its lease. */
SP_MUST_CHECK enum sp_code sp_aliyun_end(struct aliyun *a, const char *id, const struct sp_run *run,
                                         struct sp_error *err);
/* The operation of the provider. */
SP_MUST_CHECK enum sp_code sp_aliyun_execute(struct sp_instance *instance,
                                             const struct sp_request *req, const struct sp_run *run,
                                             struct sp_result *out, struct sp_error *err);
