#include "providers/lease.h"

#include <string.h>

#include "base/json_out.h"
#include "base/log.h"

enum {
    SWEEP_MS = 5000,
    RETRY_MS = 60000, /* so that one that cannot be ended does not stand before the others */
};

/* That the store is away the host tells, once for all. */
static void complain(const char *event, const char *provider, const char *id,
                     const struct sp_error *err)
{
    sp_log(err->code == SP_E_UNAVAILABLE ? SP_DEBUG : SP_WARN, event, sp_s("provider", provider),
           sp_s("lease", id), sp_s("error", err->msg));
}

static enum sp_code put(const struct sp_host *host, const char *provider,
                        const struct sp_lease *lease, int64_t ttl_ms, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf data = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_out j = SP_JSON_OUT(&data);

    sp_json_object(&j, NULL);
    sp_json_str(&j, "worker", host->worker_id);
    sp_json_str(&j, "service", lease->service);
    if (*lease->sandbox)
        sp_json_str(&j, "sandbox", lease->sandbox);
    sp_json_object_end(&j);
    if (j.rc)
        return sp_error_set(err, j.rc, "no memory for a lease");
    return host->lease_put(host->ctx, provider, lease->id, sp_buf_str(&data), ttl_ms, err);
}

void sp_lease_put(const struct sp_host *host, const char *provider, const struct sp_lease *lease,
                  int64_t ttl_ms)
{
    struct sp_error err = {0};

    if (host->lease_put && put(host, provider, lease, ttl_ms, &err))
        complain("lease_not_put", provider, lease->id, &err);
}

void sp_lease_drop(const struct sp_host *host, const char *provider, const char *id)
{
    struct sp_error err = {0};

    if (host->lease_drop && host->lease_drop(host->ctx, provider, id, &err))
        complain("lease_not_dropped", provider, id, &err);
}

static void postpone(const struct sp_host *host, const char *provider, const char *id, int64_t ms)
{
    struct sp_error err = {0};

    if (host->lease_renew && host->lease_renew(host->ctx, provider, id, ms, &err))
        complain("lease_not_renewed", provider, id, &err);
}

void sp_lease_leave(const struct sp_host *host, const char *provider, const char *id)
{
    postpone(host, provider, id, 0);
}

void sp_lease_settle(const struct sp_host *host, const char *provider, const char *id,
                     enum sp_code ended)
{
    if (ended) {
        sp_lease_leave(host, provider, id);
    } else {
        sp_lease_drop(host, provider, id);
    }
}

/* What a sweep does with each. */
struct sweep {
    const struct sp_host *host;
    const char *provider, *service;
    sp_lease_end_fn end;
    void *ctx;
    int64_t deadline;
};

/* Whether it is ended now. */
static bool sweep_one(const struct sweep *s, json_t *listed)
{
    const char *data = "";
    struct sp_lease lease = {.sandbox = ""};
    struct sp_error err = {0};

    if (json_unpack(listed, "{s:s, s:s}", "id", &lease.id, "data", &data))
        return false;
    json_auto_t *root = json_loads(data, 0, NULL);
    if (json_unpack(root, "{s:s, s?s}", "service", &lease.service, "sandbox", &lease.sandbox) ||
        strcmp(lease.service, s->service) != 0)
        return false; /* its own workers' matter */
    if (s->end(s->ctx, &lease, s->deadline, &err)) {
        sp_log(SP_WARN, "sweep_failed", sp_s("provider", s->provider), sp_s("lease", lease.id),
               sp_s("error", err.msg));
        postpone(s->host, s->provider, lease.id, RETRY_MS);
        return false;
    }
    sp_lease_drop(s->host, s->provider, lease.id);
    return true;
}

void sp_lease_sweep(const struct sp_host *host, const char *provider, const char *service,
                    sp_lease_end_fn end, void *ctx)
{
    const struct sweep s = {host, provider, service, end, ctx, sp_deadline_in(SWEEP_MS)};
    json_auto_t *list = NULL;
    struct sp_error err = {0};
    int64_t ended = 0;

    if (!host->lease_list)
        return;
    if (host->lease_list(host->ctx, provider, &list, &err))
        complain("leases_not_read", provider, NULL, &err);
    for (size_t i = 0; i < json_array_size(list) && sp_deadline_left(s.deadline) > 0; i++)
        ended += sweep_one(&s, json_array_get(list, i));
    if (ended > 0)
        sp_log(SP_INFO, "swept", sp_s("provider", provider), sp_i("ended", ended));
}
