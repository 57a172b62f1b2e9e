/* An open provider `self_managed` in front of a scripted executor manager. For its tests only. Each
 * test has a process of its own, so the stage may be global. */
#pragma once

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "providers/registry.h"
#include "tests/support.h"
#include "tests/support/http_server.h"
#include "tests/support/provider_job.h"

enum { LONG_MS = 30000 };

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

static struct stage {
    struct sp_http_server server;
    struct sp_limits limits;
    struct sp_host host;
    struct sp_provider *provider;
    struct sp_instance *instance;
    struct sp_request req;
    struct sp_run run;
    struct sp_result result;
    struct sp_error err;
    int cancel; /* an eventfd */
    int64_t took_ms;
} stage;

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
    json_auto_t *settings = json_loads(text, 0, NULL);
    cr_assert(settings != NULL, "%s", text);
    return sp_provider_open(&sp_provider_self_managed, settings, &stage.host, &stage.provider,
                            &stage.err);
}

/* The job prints nothing and has all the time there is; tests change what they are about. more:
 * further settings (",\"max_retries\":0"). */
static inline void set_stage(sp_exchange_fn handler, void *ctx, const char *more)
{
    static char code[] = "print(1)";

    cr_assert(sp_http_server_start(&stage.server, handler, ctx));
    stage.limits = sp_usual_limits;
    stage.host = (struct sp_host){.worker_id = "test", .limits = &stage.limits};
    stage.cancel = eventfd(0, EFD_CLOEXEC);
    stage.req = (struct sp_request){.code = code, .code_len = strlen(code)};
    stage.run = (struct sp_run){.setup_deadline = sp_deadline_in(LONG_MS),
                                .deadline = SP_NEVER,
                                .timeout_ms = 10000,
                                .teardown_ms = 10000,
                                .cancel_fd = stage.cancel};
    cr_assert(eq(int, open_provider(stage.server.url, more), SP_OK), "%s", stage.err.msg);
}

static inline void clear_stage(void)
{
    sp_result_clear(&stage.result);
    sp_provider_destroy(stage.instance, &stage.run);
    sp_provider_close(stage.provider);
    sp_http_server_stop(&stage.server);
    close(stage.cancel);
}

static inline enum sp_code execute(void)
{
    int64_t start = sp_mono_ms();

    sp_result_clear(&stage.result);
    sp_provider_destroy(stage.instance, &stage.run);
    stage.instance = NULL;
    stage.err = (struct sp_error){0};
    enum sp_code rc =
        sp_provider_create(stage.provider, &stage.req, &stage.run, &stage.instance, &stage.err);
    if (!rc) {
        rc = sp_provider_execute(stage.instance, &stage.req, &stage.run, &stage.result, &stage.err);
    }
    stage.took_ms = sp_mono_ms() - start;
    return rc;
}

static inline int requests(void)
{
    return sp_http_server_requests(&stage.server);
}

static inline bool told(const char *what)
{
    return strstr(stage.err.msg, what);
}
