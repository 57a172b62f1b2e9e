/* Heads of answers that lie, flood or ask for time, and addresses that go out as they are. */
#include <stdio.h>
#include <unistd.h>

#include "tests/providers/http_stage.h"

TestSuite(http_head, .fini = clear_stage);

#define OK_HEAD "HTTP/1.1 200 OK\r\n"
#define HEAD_BYTES (4 << 20) /* far beyond what any service sends */

/* Sends one text over and over; ctx: what to begin with, and that text. */
struct flood {
    const char *begin, *again;
    _Atomic size_t sent;
};

static bool send_without_end(void *ctx, struct sp_exchange *x)
{
    struct flood *flood = ctx;
    bool ok = sp_exchange_sends(x, flood->begin);

    for (flood->sent = 0; ok && flood->sent < HEAD_BYTES; flood->sent += strlen(flood->again))
        ok = sp_exchange_sends(x, flood->again);
    return ok && sp_exchange_hold(x);
}

#define FILL "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static const struct {
    const char *name, *begin, *again;
} floods[] = {
    {"headers without end", OK_HEAD, "X-Header: " FILL "\r\n"},
    {"one header without end", OK_HEAD "X-Header: ", FILL},
    {"interim answers without end", "", "HTTP/1.1 100 Continue\r\nX-Header: " FILL "\r\n\r\n"},
    {"trailers without end", OK_HEAD "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n",
     "X-Header: " FILL "\r\n"},
};

SP_TABLE_TEST(http_head, a_head_without_end_ends_the_call, floods, row)
{
    static struct flood flood; /* the server's thread outlives this function */
    flood = (struct flood){.begin = row->begin, .again = row->again};
    set_stage(send_without_end, &flood);

    enum sp_code rc = call();

    cr_expect(rc != SP_OK && rc != SP_E_TIMEOUT, "%s: %d", row->name, (int)rc);
    cr_expect(stage.took_ms < LONG_MS / 2, "%s", row->name);
    cr_expect(flood.sent < HEAD_BYTES, "%s", row->name);
    cr_expect(strstr(stage.err.msg, "xxx") == NULL, "%s: %s", row->name, stage.err.msg);
}

static const char *const paths[] = {"/a/../b", "/a/.", "/..", "/a//b", "/%2e%2e/a"};

/* A signature covers the path as it was written. */
SP_TABLE_TEST(http_head, a_path_goes_out_as_it_is, paths, path)
{
    set_stage(answer_ok, NULL);
    snprintf(stage.url, sizeof stage.url, "%s%s", stage.server.url, *path);

    cr_assert(eq(int, call(), SP_OK), "%s", stage.err.msg);

    cr_expect(eq(str, sp_http_server_request(&stage.server, 0)->target, (char *)(uintptr_t)*path));
}

static bool answer_headers(void *ctx, struct sp_exchange *x)
{
    return sp_exchange_reply(x, 400, ctx, "{}", 2);
}

static const struct {
    const char *headers;
    int64_t ms;
    bool throttles;
} retries[] = {
    {"x-acs-retry-after: 250\r\n", 250, true},
    {"X-Acs-Retry-After: 2000\r\nRetry-After: 1\r\n", 2000, true},
    {"x-acs-retry-after: 0\r\n", -1, false},
    {"x-acs-retry-after: soon\r\nRetry-After: 1\r\n", 1000, false},
    {"x-acs-retry-after: -7\r\n", -1, false},
    {"Retry-After: 1\r\n", 1000, false},
};

SP_TABLE_TEST(http_head, a_gateway_s_wish_for_time_is_read, retries, row)
{
    set_stage(answer_headers, (void *)(uintptr_t)row->headers);

    cr_assert(eq(int, call(), SP_OK), "%s", stage.err.msg);

    cr_expect(eq(i64, stage.response.retry_after_ms, row->ms), "%s", row->headers);
    cr_expect(eq(int, stage.response.throttled, row->throttles), "%s", row->headers);
}
