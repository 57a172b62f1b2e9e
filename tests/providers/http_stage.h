/* A scripted server and the HTTP helper in front of it, for the tests of providers/http.h. Each
 * test has a process of its own, so the stage may be global. */
#pragma once

#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "providers/http.h"
#include "tests/support.h"
#include "tests/support/http_server.h"

enum { SOON_MS = 200, LONG_MS = 30000, BODY_MAX = 1000 };

static struct stage {
    struct sp_http_server server;
    struct sp_http *http;
    char url[256];
    int cancel; /* an eventfd */
    struct sp_http_request request;
    struct sp_http_response response;
    struct sp_error err;
    int64_t took_ms;
} stage;

/* request is ready for a GET with all the time there is; tests change what they are about. */
static inline void set_stage(sp_exchange_fn handler, void *ctx)
{
    cr_assert(sp_http_server_start(&stage.server, handler, ctx));
    cr_assert(eq(int, sp_http_new(&stage.http, &stage.err), SP_OK));
    stage.cancel = eventfd(0, EFD_CLOEXEC);
    snprintf(stage.url, sizeof stage.url, "%s/run", stage.server.url);
    stage.request = (struct sp_http_request){
        .method = "GET",
        .url = stage.url,
        .max_body = BODY_MAX,
        .connect_deadline = sp_deadline_in(LONG_MS),
        .deadline = sp_deadline_in(LONG_MS),
        .cancel_fd = stage.cancel,
    };
}

static inline void clear_stage(void)
{
    sp_http_response_clear(&stage.response);
    sp_http_free(stage.http);
    sp_http_server_stop(&stage.server);
    close(stage.cancel);
}

static inline enum sp_code call(void)
{
    int64_t start = sp_mono_ms();

    sp_http_response_clear(&stage.response);
    stage.err = (struct sp_error){0};
    enum sp_code rc = sp_http_do(stage.http, &stage.request, &stage.response, &stage.err);
    stage.took_ms = sp_mono_ms() - start;
    return rc;
}

static inline const char *body(void)
{
    return sp_buf_str(&stage.response.body);
}

static inline bool told(const char *what)
{
    return strstr(stage.err.msg, what);
}

static inline bool answer_ok(void *ctx, struct sp_exchange *x)
{
    (void)ctx;
    return sp_exchange_json(x, 200, "{\"fine\":1}");
}

/* ctx: the whole text to send; then the connection is closed. */
static inline bool answer_text(void *ctx, struct sp_exchange *x)
{
    sp_exchange_sends(x, ctx);
    return false;
}
