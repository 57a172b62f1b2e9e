#include "providers/e2b/instance.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/text.h"
#include "providers/lease.h"

enum {
    SPARE_MS = 60000,  /* least of a sandbox's life beside the program's time */
    LATE_MS = 60000,   /* least until a sweep looks for what a failed making left */
    CANCELLED_MS = 500 /* a cancel does not wait for a service that is slow */
};

static void instance_free(struct sp_e2b_instance *i)
{
    sp_e2b_place_clear(&i->place);
    sp_e2b_port_close(&i->envd);
    sp_e2b_port_close(&i->interpreter);
    sp_e2b_sandbox_clear(&i->sandbox);
    free(i);
}

static enum sp_code open_ports(const struct sp_e2b *e, struct sp_e2b_instance *i,
                               struct sp_error *err)
{
    const char *url = e->sandbox_url;

    enum sp_code rc = sp_e2b_port_open(&i->sandbox, url, SP_E2B_ENVD, &i->envd, err);
    if (!rc)
        rc = sp_e2b_port_open(&i->sandbox, url, SP_E2B_INTERPRETER, &i->interpreter, err);
    i->place = (struct sp_e2b_place){
        .limits = e->host->limits,
        .envd = {.http = e->sandboxes, .port = &i->envd, .old = i->sandbox.old},
        .kernels = {.http = e->sandboxes, .port = &i->interpreter},
    };
    return rc;
}

/* What one is made for. */
struct order {
    enum sp_language language;
    const struct sp_run *run;
    int64_t wait_ms; /* most that it waits for its run; 0: it is made for that one */
};

static void put_lease(const struct sp_e2b *e, const struct sp_e2b_instance *i, int64_t ttl_ms)
{
    const struct sp_lease lease = {i->base.id, sp_e2b_control_name(e->control),
                                   i->sandbox.doubled ? "" : i->sandbox.id};

    sp_lease_put(e->host, e->base.ops->name, &lease, ttl_ms);
}

/* One that nobody knows of may be there although making it failed, or come to be yet: the service
 * may go on with what a gateway, the connection or we gave up. So the sweep looks once more. */
static void end_leftover(struct sp_e2b *e, const struct sp_e2b_instance *i, enum sp_code why,
                         const struct sp_run *run)
{
    int64_t ms =
        why == SP_E_CANCELLED && run->teardown_ms > CANCELLED_MS ? CANCELLED_MS : run->teardown_ms;
    struct sp_error error = {0};

    if (sp_e2b_end_labelled(e->control, i->base.id, sp_deadline_in(ms), &error)) {
        sp_log(SP_WARN, "sandbox_left", sp_s("provider", e->base.ops->name),
               sp_s("instance", i->base.id), sp_s("error", error.msg));
    }
    put_lease(e, i, LATE_MS);
}

/* How long one lives: through all that this run may take. */
static int64_t life_s(const struct sp_e2b *e, const struct order *order, int64_t making_ms)
{
    const struct sp_run *run = order->run;
    bool shorter = run->timeout_ms > 0 && run->timeout_ms < e->base.timeout_ms;
    int64_t program_ms = shorter ? run->timeout_ms : e->base.timeout_ms;
    int64_t beside_ms = making_ms + run->teardown_ms;

    if (beside_ms < SPARE_MS)
        beside_ms = SPARE_MS;
    return (program_ms + order->wait_ms + beside_ms + 999) / 1000;
}

static enum sp_code make_sandbox(struct sp_e2b *e, struct sp_e2b_instance *i,
                                 const struct order *order, struct sp_error *err)
{
    const struct sp_run *run = order->run;
    const struct sp_e2b_limits limits = {sp_deadline_min(run->setup_deadline, run->deadline),
                                         run->cancel_fd};
    int64_t making_ms = sp_deadline_left(limits.deadline);
    const struct sp_e2b_creation with = {
        .label = i->base.id, .ttl_s = life_s(e, order, making_ms), .limits = limits};
    int64_t lease_ms = making_ms + with.ttl_s * 1000; /* its life begins somewhere in the making */
    bool left = false;

    put_lease(e, i, lease_ms);
    enum sp_code rc = sp_e2b_create(e->control, &with, &i->sandbox, &left, err);
    if (!rc) {
        put_lease(e, i, lease_ms); /* with its id */
    } else if (left) {
        end_leftover(e, i, rc, run);
    } else {
        sp_lease_drop(e->host, e->base.ops->name, i->base.id);
    }
    return rc;
}

static enum sp_code end_sandbox(struct sp_e2b_instance *i, const struct sp_run *run,
                                struct sp_error *err)
{
    struct sp_e2b *e = (struct sp_e2b *)i->base.provider;
    int64_t end_by = sp_deadline_in(run->teardown_ms);

    enum sp_code rc = sp_e2b_end(e->control, i->sandbox.id, end_by, err);
    if (!rc && i->sandbox.doubled)
        rc = sp_e2b_end_labelled(e->control, i->base.id, end_by, err);
    sp_lease_settle(e->host, e->base.ops->name, i->base.id, rc);
    return rc;
}

/* A sandbox has hosts of its own, unless there is one for all. */
static void hang_up(const struct sp_e2b_instance *i)
{
    const struct sp_e2b *e = (const struct sp_e2b *)i->base.provider;

    if (*e->sandbox_url)
        return;
    sp_http_forget(e->sandboxes, i->envd.base);
    sp_http_forget(e->sandboxes, i->interpreter.base);
}

enum sp_code sp_e2b_unmake(struct sp_e2b_instance *i, const struct sp_run *run,
                           struct sp_error *err)
{
    hang_up(i);
    enum sp_code rc = end_sandbox(i, run, err);

    instance_free(i);
    return rc;
}

static enum sp_code make_instance(struct sp_e2b *e, const struct order *order,
                                  struct sp_e2b_instance **out, struct sp_error *err)
{
    struct sp_e2b_instance *i = calloc(1, sizeof(*i));

    if (!i)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    i->base.provider = &e->base;
    sp_random_uuid(i->base.id);
    enum sp_code rc = make_sandbox(e, i, order, err);
    if (rc) {
        instance_free(i);
        return rc;
    }
    rc = open_ports(e, i, err);
    if (!rc && order->wait_ms > 0 && e->mode->prepare)
        rc = e->mode->prepare(&i->place, order->language, order->run, err);
    if (rc) {
        (void)sp_e2b_unmake(i, order->run, NULL);
        return rc;
    }
    *out = i;
    return SP_OK;
}

/* ---- ahead of the run ---- */

static enum sp_code make_warm(void *ctx, int kind, const struct sp_run *run, void **out,
                              struct sp_error *err)
{
    const struct order order = {(enum sp_language)kind, run, SP_E2B_WARM_MS};
    struct sp_e2b_instance *i = NULL;

    enum sp_code rc = make_instance(ctx, &order, &i, err);
    if (!rc)
        *out = i;
    return rc;
}

static void end_warm(void *ctx, void *item, const struct sp_run *run)
{
    (void)ctx;
    (void)sp_e2b_unmake(item, run, NULL); /* else its time ends it */
}

const struct sp_warm_ops sp_e2b_warm_ops = {.make = make_warm, .end = end_warm};

/* One that is gone meanwhile is of no use to anybody. */
static struct sp_e2b_instance *take_warm(struct sp_e2b *e, const struct order *order)
{
    /* Where a sandbox takes any language, all are of one kind. */
    int kind = e->mode->prepare ? (int)order->language : 0;
    struct sp_e2b_instance *i = sp_warm_pool_take(e->pool, kind);
    const struct sp_e2b_limits limits = {order->run->setup_deadline, order->run->cancel_fd};

    if (i && sp_envd_look(&i->place.envd, &limits) != SP_ENVD_ALIVE) {
        end_warm(e, i, order->run);
        return NULL;
    }
    return i;
}

enum sp_code sp_e2b_make(struct sp_e2b *e, enum sp_language language, const struct sp_run *run,
                         struct sp_e2b_instance **out, struct sp_error *err)
{
    const struct order order = {language, run, 0};

    *out = take_warm(e, &order);
    return *out ? SP_OK : make_instance(e, &order, out, err);
}
