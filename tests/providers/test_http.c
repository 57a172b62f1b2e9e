/* What goes out and what is made of the answer: heads, bodies, errors. */
#include "providers/http.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tests/providers/http_stage.h"

#define SECRET "hunter2"

TestSuite(http, .fini = clear_stage);

Test(http, a_request_carries_what_it_was_given_and_nothing_made_up)
{
    static char data[200 * 1024]; /* more than one buffer, with every byte */
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i % 256);
    const char *headers[] = {"Content-Type: application/json", "X-Token: t1", NULL};
    set_stage(answer_ok, NULL);
    stage.request.method = "POST";
    stage.request.headers = headers;
    stage.request.body = data;
    stage.request.body_len = sizeof data;

    cr_assert(eq(int, call(), SP_OK), "%s", stage.err.msg);

    const struct sp_exchange *seen = sp_http_server_request(&stage.server, 0);
    char value[64];
    cr_expect(eq(str, seen->method, "POST"));
    cr_expect(eq(str, seen->target, "/run"));
    cr_expect(eq(sz, seen->body_len, sizeof data));
    cr_expect(memcmp(seen->body, data, sizeof data) == 0);
    cr_expect(sp_exchange_header(seen, "content-type", value, sizeof value));
    cr_expect(eq(str, value, "application/json"));
    cr_expect(sp_exchange_header(seen, "x-token", value, sizeof value));
    cr_expect(eq(str, value, "t1"));
    cr_expect(sp_exchange_header(seen, "user-agent", value, sizeof value));
    cr_expect(strncmp(value, "sandpiper/", 10) == 0);
    cr_expect(not(sp_exchange_header(seen, "expect", value, sizeof value)));
    cr_expect(eq(int, stage.response.status, 200));
    cr_expect(eq(str, (char *)body(), "{\"fine\":1}"));
    cr_expect(eq(int, stage.response.sent, SP_STARTED_MAYBE));
}

static const struct {
    const char *method, *body, *length;
} methods[] = {
    {"GET", NULL, ""},     {"POST", NULL, "0"}, {"POST", "", "0"},     {"PUT", "abc", "3"},
    {"DELETE", NULL, "0"}, {"PATCH", "a", "1"}, {"DELETE", "ab", "2"},
};

SP_TABLE_TEST(http, any_method_goes_with_or_without_a_body, methods, row)
{
    char value[64];
    set_stage(answer_ok, NULL);
    stage.request.method = row->method;
    stage.request.body = row->body;
    stage.request.body_len = row->body ? strlen(row->body) : 0;

    cr_assert(eq(int, call(), SP_OK), "%s", stage.err.msg);

    const struct sp_exchange *seen = sp_http_server_request(&stage.server, 0);
    cr_expect(eq(str, seen->method, (char *)row->method));
    cr_expect(eq(str, seen->body, row->body ? (char *)row->body : ""));
    sp_exchange_header(seen, "content-length", value, sizeof value);
    cr_expect(eq(str, value, (char *)row->length));
    cr_expect(not(sp_exchange_header(seen, "content-type", value, sizeof value)));
}

#define OK_HEAD "HTTP/1.1 200 OK\r\n"

static const struct {
    const char *name, *text;
    int status;
    const char *body;
} answers[] = {
    {"a length", OK_HEAD "Content-Length: 3\r\n\r\nabc", 200, "abc"},
    {"a length of none", OK_HEAD "Content-Length: 0\r\n\r\n", 200, ""},
    {"no content", "HTTP/1.1 204 No Content\r\n\r\n", 204, ""},
    {"chunks", OK_HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", 200,
     "abc"},
    {"to the end of the connection", OK_HEAD "Connection: close\r\n\r\nabc", 200, "abc"},
    {"the oldest version", "HTTP/1.0 200 OK\r\n\r\nabc", 200, "abc"},
    {"an early hint",
     "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK_HEAD "Content-Length: 1\r\n\r\na", 200, "a"},
    {"an error", "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy", 503, "busy"},
    {"elsewhere", "HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n", 302, ""},
};

/* At once, then a byte at a time. */
static bool answer_bytewise(void *ctx, struct sp_exchange *x)
{
    size_t step = x->index == 0 ? strlen(ctx) : 1;

    for (const char *at = ctx; *at; at += step)
        sp_exchange_send(x, at, step);
    return false;
}

SP_TABLE_TEST(http, an_answer_is_read_whole_however_it_comes, answers, row)
{
    set_stage(answer_bytewise, (void *)row->text);

    for (int i = 0; i < 2; i++) {
        cr_assert(eq(int, call(), SP_OK), "%s: %s", row->name, stage.err.msg);
        cr_expect(eq(int, stage.response.status, row->status), "%s", row->name);
        cr_expect(eq(str, (char *)body(), (char *)row->body), "%s", row->name);
        cr_expect(eq(int, sp_http_server_requests(&stage.server), i + 1), "%s", row->name);
        cr_assert(sp_http_server_wait_ended(&stage.server, i + 1));
    }
}

static const struct {
    const char *name, *text;
    enum sp_code code;
    const char *message;
} broken[] = {
    {"no answer", "", SP_E_UNAVAILABLE, "the connection was closed without an answer"},
    {"a body cut short", OK_HEAD "Content-Length: 9\r\n\r\nabc", SP_E_UNAVAILABLE,
     "the connection was closed within the answer"},
    {"a chunk cut short", OK_HEAD "Transfer-Encoding: chunked\r\n\r\n9\r\nabc", SP_E_UNAVAILABLE,
     "the connection was closed within the answer"},
    {"chunks without the last", OK_HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
     SP_E_UNAVAILABLE, "the connection was closed within the answer"},
    {"chunks that are none", OK_HEAD "Transfer-Encoding: chunked\r\n\r\nwhat\r\n", SP_E_UNAVAILABLE,
     "the connection broke"},
    {"another protocol", "SSH-2.0-" SECRET "\r\n", SP_E_INVALID, "the answer is not HTTP/1"},
    {"bytes", "\x01\x02" SECRET, SP_E_INVALID, "the answer is not HTTP/1"},
    {"a later version", "HTTP/7.5 200 " SECRET "\r\n\r\n", SP_E_INVALID,
     "the answer is not HTTP/1"},
    {"a length that is none", OK_HEAD "Content-Length: " SECRET "\r\n\r\n", SP_E_INVALID,
     "the answer is not HTTP/1"},
};

SP_TABLE_TEST(http, a_broken_answer_is_an_error_that_names_the_peer, broken, row)
{
    char expected[256];
    set_stage(answer_text, (void *)row->text);
    snprintf(expected, sizeof expected, "%s: %s", stage.server.url, row->message);

    cr_expect(eq(int, call(), row->code), "%s", row->name);

    cr_expect(eq(str, stage.err.msg, expected), "%s", row->name);
    cr_expect(eq(int, stage.response.sent, SP_STARTED_MAYBE), "%s", row->name);
    cr_expect(eq(int, sp_http_server_requests(&stage.server), 1), "%s", row->name);
}

Test(http, a_head_that_is_cut_short_is_no_answer)
{
    set_stage(answer_text, (void *)(OK_HEAD "Content-Le"));

    cr_expect(eq(int, call(), SP_E_UNAVAILABLE), "%s", stage.err.msg);
}

static const struct {
    const char *headers, *id;
} ids[] = {
    {"", ""},
    {"X-Request-Id: 4f0a\r\n", "4f0a"},
    {"x-acs-request-id: A1\r\n", "A1"},
    {"X-AgentRun-Request-Id: B2\r\n", "B2"},
    {"X-Fc-Request-Id: C3\r\n", "C3"},
    {"X-Request-Id: proxy\r\nX-Acs-Request-Id: service\r\n", "service"},
    {"X-Request-Id: two words\r\n", "two"},
    {"X-Request-Id: \xff\xfe\r\n", ""},
    {"X-Request-Id: "
     "012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012"
     "3456789"
     "\r\n",
     "012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012"
     "34"},
};

static bool answer_headers(void *ctx, struct sp_exchange *x)
{
    return sp_exchange_reply(x, 200, ctx, "", 0);
}

SP_TABLE_TEST(http, the_services_name_for_a_call_is_kept, ids, row)
{
    set_stage(answer_headers, (void *)row->headers);

    cr_assert(eq(int, call(), SP_OK), "%s", stage.err.msg);

    cr_expect(eq(str, stage.response.request_id, (char *)row->id));
}

static const struct {
    const char *headers, *type;
} types[] = {
    {"", ""},
    {"Content-Type: application/json\r\n", "application/json"},
    {"content-type: Text/HTML; charset=UTF-8\r\n", "text/html"},
    {"Content-Type: text/plain;charset=x\r\n", "text/plain"},
};

SP_TABLE_TEST(http, the_content_type_is_plain, types, row)
{
    set_stage(answer_headers, (void *)row->headers);

    cr_assert(eq(int, call(), SP_OK), "%s", stage.err.msg);

    cr_expect(eq(str, stage.response.content_type, (char *)row->type));
}

static const struct {
    const char *headers;
    int64_t ms;
} retries[] = {
    {"", -1},
    {"Retry-After: 7\r\n", 7000},
    {"retry-after: 0\r\n", 0},
    {"Retry-After: 86400\r\n", 86400000},
    {"Retry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n", 0},
    {"Retry-After: soon\r\n", -1},
    {"Retry-After: -5\r\n", -1},
    {"Retry-After: 1.5\r\n", -1},
    {"Retry-After: 99999999999999999999\r\n", -1},
    {"Retry-After: \r\n", -1},
};

SP_TABLE_TEST(http, the_time_until_a_retry_is_read, retries, row)
{
    set_stage(answer_headers, (void *)row->headers);

    cr_assert(eq(int, call(), SP_OK), "%s", stage.err.msg);

    cr_expect(eq(i64, stage.response.retry_after_ms, row->ms), "%s", row->headers);
}

Test(http, the_time_until_a_retry_may_be_a_date)
{
    char header[80];
    time_t then = time(NULL) + 60;
    struct tm utc;
    strftime(header, sizeof header, "Retry-After: %a, %d %b %Y %H:%M:%S GMT\r\n",
             gmtime_r(&then, &utc));
    set_stage(answer_headers, header);

    cr_assert(eq(int, call(), SP_OK), "%s", stage.err.msg);

    cr_expect(le(i64, stage.response.retry_after_ms, 60000));
    cr_expect(le(i64, 30000, stage.response.retry_after_ms));
}

static const struct {
    const char *headers;
    int want;
} wishes[] = {{"", -1},
              {"Should-Retry: true\r\n", 1},
              {"should-retry: FALSE\r\n", 0},
              {"Should-Retry: maybe\r\n", -1}};

SP_TABLE_TEST(http, the_wish_for_a_retry_is_read, wishes, row)
{
    set_stage(answer_headers, (void *)row->headers);

    cr_assert(eq(int, call(), SP_OK), "%s", stage.err.msg);

    cr_expect(eq(int, stage.response.should_retry, row->want), "%s", row->headers);
}

/* ctx: how many bytes. */
static bool answer_length(void *ctx, struct sp_exchange *x)
{
    static const char data[BODY_MAX + 1];

    return sp_exchange_reply(x, 200, NULL, data, *(const size_t *)ctx);
}

static bool answer_chunks(void *ctx, struct sp_exchange *x)
{
    bool ok = sp_exchange_sends(x, OK_HEAD "Transfer-Encoding: chunked\r\n\r\n");

    for (size_t i = 0; ok && i < *(const size_t *)ctx; i++)
        ok = sp_exchange_chunk(x, "x", 1);
    return ok && sp_exchange_chunk(x, "", 0);
}

static const struct {
    sp_exchange_fn handler;
    size_t len;
    enum sp_code code;
} lengths[] = {
    {answer_length, BODY_MAX, SP_OK},
    {answer_length, BODY_MAX + 1, SP_E_LIMIT},
    {answer_chunks, BODY_MAX, SP_OK},
    {answer_chunks, BODY_MAX + 1, SP_E_LIMIT},
};

SP_TABLE_TEST(http, a_body_fits_exactly_or_not_at_all, lengths, row)
{
    set_stage(row->handler, (void *)&row->len);

    cr_assert(eq(int, call(), row->code), "%s", stage.err.msg);

    cr_expect(eq(int, stage.response.status, 200));
    if (row->code == SP_OK)
        cr_expect(eq(sz, stage.response.body.len, row->len));
    else
        cr_expect(told(": the answer is longer than 1000 bytes"), "%s", stage.err.msg);
}

static bool announce_much_and_hold(void *ctx, struct sp_exchange *x)
{
    (void)ctx;
    return sp_exchange_sends(x, OK_HEAD "Content-Length: 1001\r\n\r\n") && sp_exchange_hold(x);
}

Test(http, a_body_that_is_announced_too_long_is_not_waited_for)
{
    set_stage(announce_much_and_hold, NULL);

    cr_expect(eq(int, call(), SP_E_LIMIT), "%s", stage.err.msg);

    cr_expect(told(": the answer is longer than 1000 bytes"), "%s", stage.err.msg);
    cr_expect(lt(i64, stage.took_ms, LONG_MS / 2));
    cr_expect(eq(int, stage.response.sent, SP_STARTED_MAYBE));
}

static bool answer_without_end(void *ctx, struct sp_exchange *x)
{
    static const char part[16384];
    bool ok = sp_exchange_sends(x, OK_HEAD "Transfer-Encoding: chunked\r\n\r\n");

    (void)ctx;
    while (ok)
        ok = sp_exchange_chunk(x, part, sizeof part);
    return false;
}

Test(http, an_endless_body_ends_at_the_limit)
{
    set_stage(answer_without_end, NULL);
    stage.request.max_body = 1024 * 1024;

    cr_expect(eq(int, call(), SP_E_LIMIT), "%s", stage.err.msg);

    cr_expect(le(sz, stage.response.body.len, stage.request.max_body));
}

/* Collects, and tells at which status the first part came. */
struct sink {
    char data[64];
    size_t len;
    int status;
    enum sp_code answer;
};

static bool announce_and_hold(void *ctx, struct sp_exchange *x)
{
    (void)ctx;
    return sp_exchange_sends(x, OK_HEAD "Content-Length: 3\r\n\r\na") && sp_exchange_hold(x);
}

static enum sp_code take(void *ctx, const char *data, size_t len, struct sp_error *err)
{
    struct sink *sink = ctx;

    sink->status = stage.response.status;
    if (sink->answer)
        return sp_error_set(err, sink->answer, "enough");
    memcpy(sink->data + sink->len, data, len);
    sink->len += len;
    return SP_OK;
}

Test(http, a_body_can_be_taken_as_it_comes)
{
    struct sink sink = {0};
    set_stage(answer_bytewise,
              (void *)("HTTP/1.1 201 Made\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc"
                       "\r\n0\r\n\r\n"));
    stage.request.on_body = take;
    stage.request.on_body_ctx = &sink;

    cr_assert(eq(int, call(), SP_OK), "%s", stage.err.msg);

    cr_expect(eq(str, sink.data, "abc"));
    cr_expect(eq(int, sink.status, 201));
    cr_expect(eq(sz, stage.response.body.len, 0));
}

Test(http, who_takes_the_body_can_end_the_call)
{
    struct sink sink = {.answer = SP_E_BUSY};
    set_stage(announce_and_hold, NULL);
    stage.request.on_body = take;
    stage.request.on_body_ctx = &sink;

    cr_expect(eq(int, call(), SP_E_BUSY));

    cr_expect(eq(str, stage.err.msg, "enough"));
    cr_expect(eq(int, stage.response.sent, SP_STARTED_MAYBE));
}

/* ctx: the deadline, which the first byte brings near. */
static enum sp_code take_and_hurry(void *ctx, const char *data, size_t len, struct sp_error *err)
{
    (void)data;
    (void)len;
    (void)err;
    *(int64_t *)ctx = sp_deadline_in(SOON_MS);
    return SP_OK;
}

Test(http, who_takes_the_body_can_move_a_deadline)
{
    int64_t moving = SP_NEVER;
    set_stage(announce_and_hold, NULL);
    stage.request.on_body = take_and_hurry;
    stage.request.on_body_ctx = &moving;
    stage.request.moving = &moving;

    cr_expect(eq(int, call(), SP_E_TIMEOUT), "%s", stage.err.msg);

    cr_expect(le(i64, SOON_MS, stage.took_ms));
    cr_expect(lt(i64, stage.took_ms, LONG_MS));
    cr_expect(eq(int, stage.response.status, 200));
}

static const struct {
    const char *url, *message;
} bad_urls[] = {
    {"", "the URL: not a valid URL"},
    {"http://", "the URL: not a valid URL"},
    {"http://host:port/" SECRET, "the URL: not a valid URL"},
    {"http://user:" SECRET "@ho st/", "the URL: not a valid URL"},
    {"http://127.0.0.1:1/a\r\nX-Made-Up: " SECRET, "the URL: not a valid URL"},
    {"http://127.0.0.1:1/a\nb", "the URL: not a valid URL"},
    {"ftp://user:" SECRET "@127.0.0.1/" SECRET,
     "ftp://127.0.0.1:21: the URL must begin with http:// or https://"},
    {"file:///etc/" SECRET, "the URL: the URL must begin with http:// or https://"},
};

SP_TABLE_TEST(http, a_bad_url_is_refused_unseen, bad_urls, row)
{
    set_stage(answer_ok, NULL);
    stage.request.url = row->url;

    cr_expect(eq(int, call(), SP_E_INVALID), "%s", row->url);

    cr_expect(eq(str, stage.err.msg, (char *)row->message));
    cr_expect(eq(int, stage.response.sent, SP_STARTED_NO));
}

static const char *const bad_headers[] = {
    "X-Token: a\r\nX-Made-Up: " SECRET,
    "X-Token: a\n" SECRET,
    "X-Token: \x7f" SECRET,
    "X-Token " SECRET,
    "",
};

SP_TABLE_TEST(http, a_header_that_is_more_than_one_line_is_refused, bad_headers, row)
{
    const char *headers[] = {"Accept: */*", *row, NULL};
    set_stage(answer_ok, NULL);
    stage.request.headers = headers;

    cr_expect(eq(int, call(), SP_E_INVALID), "%s", *row);

    cr_expect(told(": a request header is not one line \"Name: value\""), "%s", stage.err.msg);
    cr_expect(not(told(SECRET)));
    cr_expect(eq(int, sp_http_server_connections(&stage.server), 0));
}

static bool answer_secrets_without_end(void *ctx, struct sp_exchange *x)
{
    (void)ctx;
    sp_exchange_sends(x, OK_HEAD "X-Secret: " SECRET "\r\nContent-Length: 900\r\n\r\n" SECRET);
    return sp_exchange_hold(x);
}

static const struct {
    sp_exchange_fn handler;
    void *ctx;
    int64_t time_ms;
} leaks[] = {
    {answer_text, (void *)"", LONG_MS},
    {answer_text, (void *)(SECRET " " SECRET "\r\n" SECRET), LONG_MS},
    {answer_text, (void *)("HTTP/1.1 " SECRET "\r\n" SECRET ":" SECRET "\r\n\r\n"), LONG_MS},
    {answer_text, (void *)(OK_HEAD SECRET ": " SECRET "\r\nContent-Length: 9\r\n\r\n" SECRET),
     LONG_MS},
    {answer_text, (void *)(OK_HEAD "Transfer-Encoding: " SECRET "\r\n\r\n" SECRET), LONG_MS},
    {answer_without_end, NULL, LONG_MS},
    {answer_secrets_without_end, NULL, SOON_MS},
};

SP_TABLE_TEST(http, no_secret_is_in_an_error, leaks, row)
{
    char url[256];
    const char *headers[] = {"Authorization: Bearer " SECRET, NULL};
    set_stage(row->handler, row->ctx);
    snprintf(url, sizeof url,
             "http://user:" SECRET "@127.0.0.1:%d/" SECRET "?key=" SECRET "#" SECRET,
             stage.server.port);
    stage.request = (struct sp_http_request){
        .method = "POST",
        .url = url,
        .headers = headers,
        .body = SECRET,
        .body_len = strlen(SECRET),
        .max_body = BODY_MAX,
        .connect_deadline = sp_deadline_in(LONG_MS),
        .deadline = sp_deadline_in(row->time_ms),
        .cancel_fd = -1,
    };

    enum sp_code rc = call();

    cr_expect(rc != SP_OK || row->handler == answer_text);
    cr_expect(not(told(SECRET)), "%s", stage.err.msg);
    cr_expect(rc == SP_OK ||
                  strncmp(stage.err.msg, stage.server.url, strlen(stage.server.url)) == 0,
              "%s", stage.err.msg);
}

Test(http, a_proxy_of_the_environment_is_asked)
{
    char proxy[64];
    set_stage(answer_ok, NULL);
    snprintf(proxy, sizeof proxy, "http://u:%s@127.0.0.1:%d", SECRET, stage.server.port);
    setenv("http_proxy", proxy, 1);
    setenv("no_proxy", "127.0.0.1", 1);
    stage.request.url = "http://service.invalid/run";

    cr_expect(eq(int, call(), SP_OK), "%s", stage.err.msg);
    const struct sp_exchange *seen = sp_http_server_request(&stage.server, 0);
    cr_expect(eq(str, seen->target, "http://service.invalid/run"));

    stage.request.url = stage.url;
    cr_expect(eq(int, call(), SP_OK), "%s", stage.err.msg);
    cr_expect(eq(str, sp_http_server_request(&stage.server, 1)->target, "/run"));

    setenv("http_proxy", "nonsense://u:" SECRET "@x", 1);
    stage.request.url = "http://service.invalid/run";
    cr_expect(call() != SP_OK);
    cr_expect(not(told(SECRET)), "%s", stage.err.msg);
}
