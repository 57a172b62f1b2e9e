#include "providers/e2b/lease.h"

#include <jansson.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"

enum {
    LEASE_MS = 90000, /* as long as a stream may be silent */
    RENEW_MS = 20000,
    SWEEP_MS = 20000,
};
#define PROVIDER "e2b"

static void complain(const char *label, enum sp_code rc, const struct sp_error *err)
{
    if (rc) {
        sp_log(SP_WARN, "lease_failed", sp_s("provider", PROVIDER), sp_s("lease", label),
               sp_s("error", err->msg));
    }
}

void sp_e2b_lease_put(const struct sp_host *host, const struct sp_e2b_control *control,
                      const char *label, const char *sandbox, int64_t setup_ms)
{
    struct sp_error err = {0};

    if (!host->lease_put)
        return;
    json_auto_t *root =
        json_pack("{s:s, s:s}", "service", sp_e2b_control_name(control), "sandbox", sandbox);
    sp_auto(sp_free_str) char *json = root ? json_dumps(root, JSON_COMPACT) : NULL;
    enum sp_code rc =
        json ? host->lease_put(host->ctx, PROVIDER, label, json, setup_ms + LEASE_MS, &err)
             : sp_error_set(&err, SP_E_NOMEM, "out of memory");
    complain(label, rc, &err);
}

void sp_e2b_lease_renew(const struct sp_host *host, const char *label, int64_t *at)
{
    struct sp_error err = {0};
    int64_t now = sp_mono_ms();

    if (!host->lease_renew || now - *at < RENEW_MS)
        return;
    *at = now;
    complain(label, host->lease_renew(host->ctx, PROVIDER, label, LEASE_MS, &err), &err);
}

void sp_e2b_lease_drop(const struct sp_host *host, const char *label)
{
    struct sp_error err = {0};

    if (host->lease_drop)
        complain(label, host->lease_drop(host->ctx, PROVIDER, label, &err), &err);
}

/* One that ran out. */
static void end_one(const struct sp_host *host, struct sp_e2b_control *control, const char *label,
                    const char *data, int64_t deadline)
{
    json_auto_t *root = json_loads(data, 0, NULL);
    const char *service = "", *sandbox = "";
    struct sp_error err = {0};

    (void)json_unpack(root, "{s?s, s?s}", "service", &service, "sandbox", &sandbox);
    if (strcmp(service, sp_e2b_control_name(control)) != 0)
        return; /* of another service or team: its own workers' matter */
    enum sp_code rc = *sandbox ? sp_e2b_end(control, sandbox, deadline, &err)
                               : sp_e2b_end_labelled(control, label, deadline, &err);
    sp_log(rc ? SP_WARN : SP_INFO, rc ? "sweep_failed" : "swept", sp_s("provider", PROVIDER),
           sp_s("lease", label), sp_s("sandbox", sandbox), sp_s("error", rc ? err.msg : NULL));
    if (!rc)
        sp_e2b_lease_drop(host, label);
}

void sp_e2b_lease_sweep(const struct sp_host *host, struct sp_e2b_control *control)
{
    int64_t deadline = sp_deadline_in(SWEEP_MS);
    json_auto_t *list = NULL;
    struct sp_error err = {0};
    json_t *one = NULL;
    size_t i = 0;

    if (!host->lease_list)
        return;
    enum sp_code rc = host->lease_list(host->ctx, PROVIDER, &list, &err);
    complain("", rc, &err);
    json_array_foreach (list, i, one) {
        const char *label = NULL, *data = NULL;
        int expired = 0;
        if (!json_unpack(one, "{s:s, s:s, s:b}", "id", &label, "data", &data, "expired",
                         &expired) &&
            expired && sp_deadline_left(deadline) > 0)
            end_one(host, control, label, data, deadline);
    }
}
