/* How an instance of aliyun_codeinterpreter is made and ended. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "providers/aliyun_codeinterpreter/aliyun.h"
#include "providers/lease.h"

/* A run at its longest, fetching, destroying, and something for slow clocks. */
#define LEASE_AFTER_SETUP_MS ((SP_ALIYUN_TIMEOUT_S + 40) * 1000LL)
#define CLEAN_UP_MS 5000
#define HEALTH_MS 3000

/* What is to be made. */
struct order {
    enum sp_language language;
    const struct sp_run *run;
    int64_t wait_ms; /* that it may wait for its run */
};

static void put_lease(const struct aliyun *a, const char *id, const struct order *order)
{
    const struct sp_lease lease = {id, sp_agentrun_address(a->service), ""};

    sp_lease_put(a->host, a->base.ops->name, &lease,
                 sp_deadline_left(order->run->setup_deadline) + order->wait_ms +
                     LEASE_AFTER_SETUP_MS);
}

enum sp_code sp_aliyun_end(struct aliyun *a, const char *id, const struct sp_run *run,
                           struct sp_error *err)
{
    const struct sp_agentrun_time time = {sp_deadline_in(run->teardown_ms), run->cancel_fd};

    enum sp_code rc = sp_sandbox_delete(a->service, id, &time, NULL, err);
    sp_lease_settle(a->host, a->base.ops->name, id, rc);
    return rc;
}

/* One that is not known to be made may be on its way at the service yet, and come to be behind its
 * deletion: then the lease stays for the sweep. */
static void clean_up(struct aliyun *a, const char *id, const struct order *order, bool made)
{
    struct sp_error why = {0};
    int64_t ms = order->run->teardown_ms < CLEAN_UP_MS ? order->run->teardown_ms : CLEAN_UP_MS;
    /* The pool's runs are cancelled when it closes, which takes its time. */
    int cancel_fd = order->wait_ms > 0 ? -1 : order->run->cancel_fd;
    const struct sp_agentrun_time time = {sp_deadline_in(ms), cancel_fd};
    bool found = false;

    if (sp_sandbox_delete(a->service, id, &time, &found, &why)) {
        sp_log(SP_WARN, "sandbox_left", sp_s("provider", a->base.ops->name), sp_s("instance", id),
               sp_s("error", why.msg));
        if (made)
            sp_lease_leave(a->host, a->base.ops->name, id);
    } else if (made || found) {
        sp_lease_drop(a->host, a->base.ops->name, id);
    }
}

static enum sp_code create_sandbox(struct aliyun *a, const struct order *order, const char *id,
                                   const struct sp_agentrun_time *time, struct sp_error *err)
{
    const char *template_name = sp_template_name(a->templates, order->language);
    struct sp_sandbox_loss loss = {0};

    put_lease(a, id, order);
    enum sp_code rc = sp_sandbox_create(
        a->service, id, template_name, SP_SANDBOX_IDLE_S + order->wait_ms / 1000, time, &loss, err);
    if (!rc)
        return SP_OK;
    if (loss.no_template)
        sp_template_forget(a->templates, order->language);
    if (loss.maybe_there) {
        clean_up(a, id, order, false);
    } else {
        sp_lease_drop(a->host, a->base.ops->name, id);
    }
    return rc;
}

/* With a kernel that waits for the program. */
static enum sp_code make(struct aliyun *a, const struct order *order, struct aliyun_instance *i,
                         struct sp_error *err)
{
    const struct sp_agentrun_time time = {order->run->setup_deadline, order->run->cancel_fd};
    const char *id = i->base.id;

    enum sp_code rc = sp_template_ready(a->templates, order->language, &time, err);
    if (!rc)
        rc = create_sandbox(a, order, id, &time, err);
    if (rc)
        return rc;
    rc = sp_sandbox_wait(a->service, id, &time, err);
    if (!rc) {
        rc = sp_context_create(a->service, id, order->language, &time,
                               &i->contexts[order->language], err);
    }
    if (rc)
        clean_up(a, id, order, true);
    return rc;
}

static enum sp_code make_instance(struct aliyun *a, const struct order *order,
                                  struct aliyun_instance **out, struct sp_error *err)
{
    struct aliyun_instance *i = calloc(1, sizeof *i);
    if (!i)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    i->base.provider = &a->base;
    sp_sandbox_new_id(i->base.id);
    enum sp_code rc = make(a, order, i, err);
    if (rc) {
        free(i);
        return rc;
    }
    *out = i;
    return SP_OK;
}

/* ---- ahead of the run ---- */

static enum sp_code make_warm(void *ctx, int kind, const struct sp_run *run, void **out,
                              struct sp_error *err)
{
    const struct order order = {(enum sp_language)kind, run, SP_ALIYUN_WARM_MS};
    struct aliyun_instance *i = NULL;

    enum sp_code rc = make_instance(ctx, &order, &i, err);
    if (!rc)
        *out = i;
    return rc;
}

static void end_warm(void *ctx, void *item, const struct sp_run *run)
{
    const struct order order = {.run = run, .wait_ms = SP_ALIYUN_WARM_MS};
    struct aliyun_instance *i = item;

    clean_up(ctx, i->base.id, &order, true);
    free(i);
}

const struct sp_warm_ops sp_aliyun_warm_ops = {.make = make_warm, .end = end_warm};

/* One that is not well is of no use to anybody. */
static struct aliyun_instance *take_warm(struct aliyun *a, const struct order *order)
{
    struct aliyun_instance *i = sp_warm_pool_take(a->pool, (int)order->language);
    const struct sp_agentrun_time time = {
        sp_deadline_min(order->run->setup_deadline, sp_deadline_in(HEALTH_MS)),
        order->run->cancel_fd};

    if (!i || sp_sandbox_is_well(a->service, i->base.id, &time))
        return i;
    clean_up(a, i->base.id, order, true);
    free(i);
    return NULL;
}

enum sp_code sp_aliyun_make(struct aliyun *a, enum sp_language language, const struct sp_run *run,
                            struct aliyun_instance **out, struct sp_error *err)
{
    const struct order order = {language, run, 0};

    *out = take_warm(a, &order);
    return *out ? SP_OK : make_instance(a, &order, out, err);
}
