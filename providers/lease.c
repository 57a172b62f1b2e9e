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

/* Whether it is ended now. */
static bool sweep_one(const struct sp_host *host, const char *provider, json_t *lease,
                      sp_lease_end_fn end, void *ctx, int64_t deadline)
{
    const char *id = NULL, *data = NULL;
    struct sp_error err = {0};
    int expired = 0;

    if (json_unpack(lease, "{s:s, s:s, s:b}", "id", &id, "data", &data, "expired", &expired) ||
        !expired)
        return false;
    enum sp_code rc = end(ctx, id, data, deadline, &err);
    if (!rc) {
        sp_lease_drop(host, provider, id);
    } else if (rc != SP_E_UNSUPPORTED) {
        complain("sweep_failed", provider, id, &err);
    }
    return !rc;
}

void sp_lease_sweep(const struct sp_host *host, const char *provider, sp_lease_end_fn end,
                    void *ctx, int64_t deadline)
{
    json_auto_t *list = NULL;
    struct sp_error err = {0};
    int64_t ended = 0;

    if (!host->lease_list)
        return;
    if (host->lease_list(host->ctx, provider, &list, &err))
        complain("leases_not_read", provider, NULL, &err);
    for (size_t i = 0; i < json_array_size(list) && sp_deadline_left(deadline) > 0; i++)
        ended += sweep_one(host, provider, json_array_get(list, i), end, ctx, deadline);
    if (ended > 0)
        sp_log(SP_INFO, "swept", sp_s("provider", provider), sp_i("ended", ended));
}
