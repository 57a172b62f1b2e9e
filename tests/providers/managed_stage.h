/* An open provider `self_managed` in front of a scripted executor manager. For its tests only. Each
 * test has a process of its own, so the stage may be global. */
#pragma once

#include "tests/providers/provider_stage.h"

#define FINE "{\"status\":\"success\",\"stdout\":\"\",\"stderr\":\"\",\"exit_code\":0}"
#define NO_CONTAINER                                                                               \
    "{\"status\":\"program_runner_error\",\"stdout\":\"\",\"stderr\":\"Container pool is busy\","  \
    "\"exit_code\":-10,\"detail\":\"no_available_container\"}"

/* What one request gets; a script's last step is for all the rest. */
struct step {
    int status;          /* 0: the connection is closed without an answer; -1: no answer at all */
    const char *body;    /* of an answer */
    const char *headers; /* further ones; may be NULL */
};

static inline bool play(struct sp_exchange *x, const struct step *step)
{
    if (step->status < 0)
        return sp_exchange_hold(x);
    if (step->status == 0)
        return false;
    const char *body = step->body ? step->body : "";
    return sp_exchange_reply(x, step->status, step->headers, body, strlen(body));
}

/* ctx: steps, ended by one whose status is not followed by another. */
static inline bool play_steps(void *ctx, struct sp_exchange *x)
{
    const struct step *step = ctx;
    for (int i = 0; i < x->index && step[1].status != 0; i++)
        step++;
    return play(x, step);
}

static inline enum sp_code open_provider(const char *endpoint, const char *more)
{
    char text[512];
    snprintf(text, sizeof(text), "{\"endpoint\":\"%s\"%s}", endpoint, more);
    return open_at_stage(&sp_provider_self_managed, text);
}

/* more: further settings (",\"max_retries\":0"). */
static inline void set_stage(sp_exchange_fn handler, void *ctx, const char *more)
{
    prepare_stage(handler, ctx);
    cr_assert(eq(int, open_provider(stage.server.url, more), SP_OK), "%s", stage.err.msg);
}

static inline enum sp_code execute_anew(void)
{
    destroy();
    return execute();
}

static inline int requests(void)
{
    return sp_http_server_requests(&stage.server);
}
