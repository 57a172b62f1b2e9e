#include "providers/lease.h"

#include "base/log.h"

static void complain(const char *event, const char *provider, const char *id,
                     const struct sp_error *err)
{
    sp_log(SP_WARN, event, sp_s("provider", provider), sp_s("lease", id), sp_s("error", err->msg));
}

void sp_lease_put(const struct sp_host *host, const char *provider, const char *id,
                  const char *data, int64_t ttl_ms)
{
    struct sp_error err = {0};

    if (host->lease_put && host->lease_put(host->ctx, provider, id, data, ttl_ms, &err))
        complain("lease_not_put", provider, id, &err);
}

void sp_lease_drop(const struct sp_host *host, const char *provider, const char *id)
{
    struct sp_error err = {0};

    if (host->lease_drop && host->lease_drop(host->ctx, provider, id, &err))
        complain("lease_not_dropped", provider, id, &err);
}

void sp_lease_sweep(const struct sp_host *host, const char *provider, sp_lease_end_fn end,
                    void *ctx, int64_t deadline)
{
    json_auto_t *list = NULL;
    struct sp_error err = {0};
    size_t index, ended = 0;
    json_t *lease;

    if (!host->lease_list)
        return;
    if (host->lease_list(host->ctx, provider, &list, &err)) {
        complain("leases_not_read", provider, NULL, &err);
        return;
    }
    json_array_foreach (list, index, lease) {
        const char *id = json_string_value(json_object_get(lease, "id"));
        if (!id || !json_is_true(json_object_get(lease, "expired")))
            continue;
        if (sp_deadline_left(deadline) == 0)
            break;
        if (end(ctx, id, deadline, &err)) {
            complain("sweep_failed", provider, id, &err);
            continue;
        }
        sp_lease_drop(host, provider, id);
        ended++;
    }
    if (ended > 0)
        sp_log(SP_INFO, "swept", sp_s("provider", provider), sp_i("ended", (int64_t)ended));
}
