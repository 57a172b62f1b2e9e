/* An open provider in front of a scripted service, for the tests of one provider. Each test has a
 * process of its own, so the stage may be global. */
#pragma once

#include <stdio.h>
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

static inline enum sp_code open_at_stage(const struct sp_provider_ops *ops, const char *text)
{
    json_auto_t *settings = json_loads(text, 0, NULL);
    cr_assert(settings != NULL, "%s", text);
    return sp_provider_open(ops, settings, &stage.host, &stage.provider, &stage.err);
}

/* All but the provider. The job prints nothing and has all the time there is; tests change what
 * they are about. */
static inline void prepare_stage(sp_exchange_fn handler, void *ctx)
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
}

static inline void destroy(void)
{
    sp_provider_destroy(stage.instance, &stage.run);
    stage.instance = NULL;
}

static inline void clear_stage(void)
{
    sp_result_clear(&stage.result);
    destroy();
    sp_provider_close(stage.provider);
    sp_http_server_stop(&stage.server);
    close(stage.cancel);
}

static inline enum sp_code create(void)
{
    stage.err = (struct sp_error){0};
    return sp_provider_create(stage.provider, &stage.req, &stage.run, &stage.instance, &stage.err);
}

/* On the instance that there is, else on a new one. */
static inline enum sp_code execute(void)
{
    int64_t start = sp_mono_ms();

    sp_result_clear(&stage.result);
    stage.err = (struct sp_error){0};
    enum sp_code rc = stage.instance ? SP_OK : create();
    if (!rc)
        rc = sp_provider_execute(stage.instance, &stage.req, &stage.run, &stage.result, &stage.err);
    stage.took_ms = sp_mono_ms() - start;
    return rc;
}

static inline bool told(const char *what)
{
    return strstr(stage.err.msg, what);
}
