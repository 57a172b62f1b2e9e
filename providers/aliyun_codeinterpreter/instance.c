/* How an instance of aliyun_codeinterpreter is made and ended. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json_out.h"
#include "base/log.h"
#include "providers/aliyun_codeinterpreter/aliyun.h"
#include "providers/lease.h"

/* A run at its longest, fetching, destroying, and something for slow clocks. */
#define LEASE_AFTER_SETUP_MS ((SP_ALIYUN_TIMEOUT_S + 40) * 1000LL)
#define CLEAN_UP_MS 5000

static void put_lease(const struct aliyun *a, const char *id, int64_t setup_deadline)
{
    sp_auto(sp_buf_clear) struct sp_buf data = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_out j = SP_JSON_OUT(&data);
    int64_t setup_ms = setup_deadline - sp_mono_ms();

    sp_json_object(&j, NULL);
    sp_json_str(&j, "worker", a->host->worker_id);
    sp_json_str(&j, "service", sp_agentrun_address(a->service));
    sp_json_object_end(&j);
    sp_lease_put(a->host, a->base.ops->name, id, sp_buf_str(&data),
                 (setup_ms > 0 ? setup_ms : 0) + LEASE_AFTER_SETUP_MS);
}

enum sp_code sp_aliyun_end(struct aliyun *a, const char *id, int64_t deadline, struct sp_error *err)
{
    enum sp_code rc = sp_sandbox_delete(a->service, id, deadline, err);
    if (!rc)
        sp_lease_drop(a->host, a->base.ops->name, id);
    return rc;
}

/* Whatever went wrong, it may be there. */
static void clean_up(struct aliyun *a, const char *id, const struct sp_run *run)
{
    struct sp_error why = {0};
    int64_t ms = run->teardown_ms < CLEAN_UP_MS ? run->teardown_ms : CLEAN_UP_MS;

    if (sp_aliyun_end(a, id, sp_deadline_in(ms), &why)) {
        sp_log(SP_WARN, "sandbox_left", sp_s("provider", a->base.ops->name), sp_s("instance", id),
               sp_s("error", why.msg));
    }
}

static enum sp_code create_sandbox(struct aliyun *a, enum sp_language language,
                                   const struct sp_run *run, const char *id, struct sp_error *err)
{
    const struct sp_agentrun_time time = {run->setup_deadline, run->cancel_fd};
    struct sp_sandbox_loss loss = {0};

    put_lease(a, id, run->setup_deadline);
    enum sp_code rc = sp_sandbox_create(a->service, id, sp_template_name(a->templates, language),
                                        SP_SANDBOX_IDLE_S, &time, &loss, err);
    if (!rc)
        return SP_OK;
    if (loss.no_template)
        sp_template_forget(a->templates, language);
    if (loss.maybe_there) {
        clean_up(a, id, run);
    } else {
        sp_lease_drop(a->host, a->base.ops->name, id);
    }
    return rc;
}

static enum sp_code make_context(struct aliyun *a, struct aliyun_instance *i,
                                 enum sp_language language, const struct sp_agentrun_time *time,
                                 struct sp_error *err)
{
    return sp_context_create(a->service, i->base.id, language, time, &i->contexts[language], err);
}

enum sp_code sp_aliyun_make(struct aliyun *a, enum sp_language language, const struct sp_run *run,
                            struct aliyun_instance *i, struct sp_error *err)
{
    const struct sp_agentrun_time time = {run->setup_deadline, run->cancel_fd};

    sp_sandbox_new_id(i->base.id);
    enum sp_code rc = sp_template_ready(a->templates, language, &time, err);
    if (!rc)
        rc = create_sandbox(a, language, run, i->base.id, err);
    if (rc)
        return rc;
    rc = sp_sandbox_wait(a->service, i->base.id, &time, err);
    if (!rc)
        rc = make_context(a, i, language, &time, err);
    if (rc)
        clean_up(a, i->base.id, run);
    return rc;
}
