#include "providers/e2b/instance.h"

#include <stdlib.h>

#include "base/text.h"
#include "providers/lease.h"

enum { SPARE_S = 60 }; /* of a sandbox's life, beside the program's time */

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

/* One that nobody knows of may be there although making it failed. What cannot be looked after now
 * is left to the sweep, and to its own time. */
static void end_leftover(struct sp_e2b *e, const struct sp_e2b_instance *i, enum sp_code why,
                         const struct sp_run *run)
{
    struct sp_error ignored;
    enum sp_code rc =
        sp_e2b_end_labelled(e->control, i->base.id, sp_deadline_in(run->teardown_ms), &ignored);
    bool answered = why != SP_E_TIMEOUT && why != SP_E_CANCELLED;

    if (!rc && answered)
        sp_lease_drop(e->host, e->base.ops->name, i->base.id);
}

/* Its life begins somewhere in the making. */
static void put_lease(const struct sp_e2b *e, const struct sp_e2b_instance *i,
                      const struct sp_e2b_creation *with)
{
    const struct sp_lease lease = {i->base.id, sp_e2b_control_name(e->control), i->sandbox.id};

    sp_lease_put(e->host, e->base.ops->name, &lease,
                 sp_deadline_left(with->limits.deadline) + with->ttl_s * 1000);
}

/* What one is made for. */
struct order {
    enum sp_language language;
    const struct sp_run *run;
    int64_t wait_ms; /* most that it waits for its run; 0: it is made for that one */
};

static enum sp_code make_sandbox(struct sp_e2b *e, struct sp_e2b_instance *i,
                                 const struct order *order, struct sp_error *err)
{
    const struct sp_run *run = order->run;
    bool shorter = run->timeout_ms > 0 && run->timeout_ms < e->base.timeout_ms;
    int64_t timeout_ms = shorter ? run->timeout_ms : e->base.timeout_ms;
    const struct sp_e2b_creation with = {
        .label = i->base.id,
        .ttl_s = (timeout_ms + order->wait_ms + 999) / 1000 + SPARE_S,
        .limits = {sp_deadline_min(run->setup_deadline, run->deadline), run->cancel_fd},
    };
    bool left = false;

    put_lease(e, i, &with);
    enum sp_code rc = sp_e2b_create(e->control, &with, &i->sandbox, &left, err);
    if (!rc) {
        put_lease(e, i, &with); /* with its id */
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

    enum sp_code rc = sp_e2b_end(e->control, i->sandbox.id, sp_deadline_in(run->teardown_ms), err);
    if (rc) {
        sp_lease_leave(e->host, e->base.ops->name, i->base.id);
    } else {
        sp_lease_drop(e->host, e->base.ops->name, i->base.id);
    }
    return rc;
}

enum sp_code sp_e2b_unmake(struct sp_e2b_instance *i, const struct sp_run *run,
                           struct sp_error *err)
{
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
