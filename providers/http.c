/* One HTTP call with libcurl, whose manual pages describe the options: https://curl.se/libcurl/c/.
 */
#include "providers/http.h"

#include <ctype.h>
#include <curl/curl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/text.h"
#include "providers/http_error.h"
#include "providers/http_pool.h"

enum {
    WAIT_MS = 60000,      /* libcurl wakes by itself for its time limits */
    HEAD_BYTES = 1 << 18, /* of an answer, with interim ones and trailers: libcurl keeps them all */
};

struct call {
    const struct sp_http_request *request;
    struct sp_http_response *out;
    struct sp_error *err;
    struct sp_http_handle *handle;
    size_t taken, head_taken; /* of the body; of the head */
    enum sp_code body_rc;
    bool has_head, connected;
    long before_request; /* bytes that went out ahead of it: to a proxy */
    char reason[CURL_ERROR_SIZE];
};

static enum sp_code fail(const struct call *call, enum sp_code code, const char *text)
{
    return sp_http_error(call->err, code, call->request->url, text);
}

static enum sp_code too_long(const struct call *call)
{
    char text[64];

    (void)snprintf(text, sizeof text, "the answer is longer than %zu bytes",
                   call->request->max_body);
    return fail(call, SP_E_LIMIT, text);
}

static bool has_control(const char *text)
{
    while (*text && !iscntrl((unsigned char)*text))
        text++;
    return *text;
}

/* The end of the list silences what libcurl would add: "100-continue", which costs a second where a
 * server does not know it, and a wrong type where the caller gave none. */
static enum sp_code make_headers(const struct call *call, struct curl_slist **out)
{
    static const char *const silence[] = {"Expect:", "Content-Type:", NULL};
    static const char *const none[] = {NULL};
    const char *const *const lists[] = {call->request->headers ? call->request->headers : none,
                                        silence};

    for (size_t i = 0; i < SP_COUNT(lists); i++) {
        for (const char *const *header = lists[i]; *header; header++) {
            if (has_control(*header) || !strchr(*header, ':'))
                return fail(call, SP_E_INVALID, "a request header is not one line \"Name: value\"");
            struct curl_slist *longer = curl_slist_append(*out, *header);
            if (!longer)
                return fail(call, SP_E_NOMEM, "no memory");
            *out = longer;
        }
    }
    return SP_OK;
}

static void headers_free(struct curl_slist *headers)
{
    for (struct curl_slist *h = headers; h; h = h->next)
        explicit_bzero(h->data, strlen(h->data));
    curl_slist_free_all(headers);
}
SP_AUTO(struct curl_slist *, headers_free)

/* Whether a part of the request may have left. libcurl counts what the socket took. */
static bool was_sent(const struct call *call)
{
    long sent = 0;

    (void)curl_easy_getinfo(call->handle->easy, CURLINFO_REQUEST_SIZE, &sent);
    return call->connected && sent > call->before_request;
}

/* Called with a good connection, before each sending: libcurl repeats a request by itself when a
 * kept connection breaks before the answer. */
static int before_sending(void *ctx, char *ip, char *local_ip, int port, int local_port)
{
    struct call *call = ctx;

    (void)ip;
    (void)local_ip;
    (void)port;
    (void)local_port;
    if (was_sent(call))
        return CURL_PREREQFUNC_ABORT;
    (void)curl_easy_getinfo(call->handle->easy, CURLINFO_REQUEST_SIZE, &call->before_request);
    call->connected = true;
    return CURL_PREREQFUNC_OK;
}

static const char *find_header(CURL *easy, const char *name)
{
    struct curl_header *found = NULL;

    return curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &found) ? NULL : found->value;
}

static int64_t read_retry_after(const char *text)
{
    int64_t seconds = 0;
    enum { LONGEST_S = 365 * 24 * 3600 };

    if (!text)
        return -1;
    if (sp_parse_i64(text, 0, LONGEST_S, &seconds))
        return seconds * 1000;
    /* libcurl takes many things for a date; those of HTTP begin with the day's name. */
    time_t date = isalpha((unsigned char)*text) ? curl_getdate(text, NULL) : -1;
    if (date < 0)
        return -1;
    int64_t left = (int64_t)date * 1000 - sp_wall_ms();
    return left > 0 ? left : 0;
}

/* Milliseconds. */
static int64_t read_acs_retry_after(const char *text)
{
    int64_t ms = -1;
    enum { LONGEST_MS = 24 * 3600 * 1000 };

    return text && sp_parse_i64(text, 1, LONGEST_MS, &ms) ? ms : -1;
}

static void read_retry(CURL *easy, struct sp_http_response *out)
{
    int64_t ms = read_acs_retry_after(find_header(easy, "x-acs-retry-after"));

    out->throttled = ms > 0;
    out->retry_after_ms = out->throttled ? ms : read_retry_after(find_header(easy, "retry-after"));
}

static int read_should_retry(const char *text)
{
    bool yes = text && strcasecmp(text, "true") == 0;

    return yes ? 1 : text && strcasecmp(text, "false") == 0 ? 0 : -1;
}

/* The printable ASCII that text begins with. */
static void copy_word(const char *text, char *out, size_t size)
{
    size_t n = 0;

    while (text && n + 1 < size && isgraph((unsigned char)text[n])) {
        out[n] = text[n];
        n++;
    }
    out[n] = '\0';
}

static void read_head(CURL *easy, struct sp_http_response *out)
{
    /* The specific names first: a proxy may add the general one. */
    static const char *const ids[] = {"x-agentrun-request-id", "x-acs-request-id",
                                      "x-fc-request-id", "x-request-id"};
    const char *id = NULL;
    long status = 0;

    (void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    if (status == 0)
        return; /* the headers that libcurl has are those of the call before */
    out->status = (int)status;
    for (size_t i = 0; !id && i < SP_COUNT(ids); i++)
        id = find_header(easy, ids[i]);
    copy_word(id, out->request_id, sizeof out->request_id);
    copy_word(find_header(easy, "content-type"), out->content_type, sizeof out->content_type);
    out->content_type[strcspn(out->content_type, ";")] = '\0';
    for (char *c = out->content_type; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    read_retry(easy, out);
    out->should_retry = read_should_retry(find_header(easy, "should-retry"));
}

/* Called with each line, the empty one too. A head may follow that of an interim answer. */
static size_t take_head(char *line, size_t size, size_t n, void *ctx)
{
    struct call *call = ctx;

    call->head_taken += size * n;
    if (call->head_taken > HEAD_BYTES) {
        call->body_rc = fail(call, SP_E_INVALID, "the answer's head is too long");
        return CURL_WRITEFUNC_ERROR;
    }
    if (*line == '\r' || *line == '\n') {
        read_head(call->handle->easy, call->out);
        call->has_head = call->out->status >= 200;
    }
    return size * n;
}

static size_t take_body(char *data, size_t size, size_t n, void *ctx)
{
    struct call *call = ctx;
    const struct sp_http_request *request = call->request;
    size_t len = size * n;

    if (len > request->max_body - call->taken) {
        call->body_rc = too_long(call);
        return CURL_WRITEFUNC_ERROR;
    }
    call->taken += len;
    if (request->on_body) {
        call->body_rc = request->on_body(request->on_body_ctx, data, len, call->err);
    } else if (sp_buf_add(&call->out->body, data, len)) {
        call->body_rc = fail(call, SP_E_NOMEM, "no memory");
    }
    return call->body_rc ? CURL_WRITEFUNC_ERROR : len;
}

/* For libcurl, to which 0 means "no limit". The caller has looked that some time is left. */
static long time_left(int64_t deadline)
{
    int left = sp_deadline_left(deadline);

    return left > 0 ? left : left < 0 ? INT_MAX : 1;
}

/* Not copied. Every method but GET tells a length, also of nothing. */
static CURLcode set_body(CURL *easy, const struct sp_http_request *request)
{
    CURLcode rc = CURLE_OK;

    if (!request->body && strcmp(request->method, "GET") == 0)
        return CURLE_OK;
    rc = curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_len);
    return rc ? rc : curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body ? request->body : "");
}

static CURLcode set_up(struct call *call, const struct curl_slist *headers)
{
    const struct sp_http_request *request = call->request;
    CURL *easy = call->handle->easy;
    const struct {
        CURLoption option;
        const void *value;
    } pointers[] = {
        {CURLOPT_URL, request->url},   {CURLOPT_CUSTOMREQUEST, request->method},
        {CURLOPT_HTTPHEADER, headers}, {CURLOPT_ERRORBUFFER, call->reason},
        {CURLOPT_PREREQDATA, call},    {CURLOPT_HEADERDATA, call},
        {CURLOPT_WRITEDATA, call},
    };
    int64_t connect_deadline = sp_deadline_min(request->connect_deadline, request->deadline);
    curl_off_t most = request->max_body > INT64_MAX ? INT64_MAX : (curl_off_t)request->max_body;
    CURLcode rc = CURLE_OK;

    for (size_t i = 0; !rc && i < SP_COUNT(pointers); i++)
        rc = curl_easy_setopt(easy, pointers[i].option, pointers[i].value);
    if (rc || (rc = curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_sending)) ||
        (rc = curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_head)) ||
        (rc = curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body)) ||
        (rc = curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, most)) ||
        (rc = curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, time_left(connect_deadline))))
        return rc;
    return set_body(easy, request);
}

static bool is_cancelled(int fd)
{
    return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) > 0;
}

/* Milliseconds until the first of the two deadlines, at most WAIT_MS. */
static int time_to_wait(const struct call *call)
{
    const int64_t *moving = call->request->moving;
    int left =
        sp_deadline_left(sp_deadline_min(call->request->deadline, moving ? *moving : SP_NEVER));

    return left < 0 || left > WAIT_MS ? WAIT_MS : left;
}

/* Until there is a result. What came in time counts, however late this thread gets to read it: time
 * is over only if it was so before the last look, too. libcurl would not look again by itself. */
static enum sp_code drive(const struct call *call, CURLcode *result)
{
    CURLM *multi = call->handle->multi;
    int fd = call->request->cancel_fd, running = 1, left = 0;
    struct curl_waitfd cancel = {.fd = fd, .events = CURL_WAIT_POLLIN};
    CURLMcode rc = curl_multi_add_handle(multi, call->handle->easy);

    if (!rc && is_cancelled(fd))
        return fail(call, SP_E_CANCELLED, "cancelled");
    while (!rc && running) {
        bool late = time_to_wait(call) == 0;
        rc = curl_multi_perform(multi, &running);
        if (rc || !running)
            break;
        if (cancel.revents)
            return fail(call, SP_E_CANCELLED, "cancelled");
        if (late && time_to_wait(call) == 0) {
            *result = CURLE_OPERATION_TIMEDOUT;
            return SP_OK;
        }
        rc = curl_multi_poll(multi, &cancel, fd >= 0, time_to_wait(call), NULL);
    }
    const CURLMsg *message = rc ? NULL : curl_multi_info_read(multi, &left);
    if (!message)
        return fail(call, SP_E_INTERNAL, curl_multi_strerror(rc));
    *result = message->data.result;
    return SP_OK;
}

static enum sp_code judge(const struct call *call, CURLcode result)
{
    long os_error = 0;

    if (call->body_rc)
        return call->body_rc;
    if (result == CURLE_FILESIZE_EXCEEDED)
        return too_long(call);
    (void)curl_easy_getinfo(call->handle->easy, CURLINFO_OS_ERRNO, &os_error);
    return sp_http_curl_error(call->err, result, call->request->url,
                              &(struct sp_http_failure){.connected = call->connected,
                                                        .os_error = (int)os_error,
                                                        .reason = call->reason});
}

/* With a handle and with checked headers. */
static enum sp_code do_call(struct call *call, const struct curl_slist *headers)
{
    CURLcode result = set_up(call, headers);
    enum sp_code rc = result ? SP_OK : drive(call, &result);

    if (!rc && !result && !call->has_head)
        result = CURLE_PARTIAL_FILE; /* libcurl takes a head that was cut short for an answer */
    read_head(call->handle->easy, call->out);
    call->out->sent = was_sent(call) ? SP_STARTED_MAYBE : SP_STARTED_NO;
    return rc || !result ? rc : judge(call, result);
}

enum sp_code sp_http_do(struct sp_http *http, const struct sp_http_request *request,
                        struct sp_http_response *out, struct sp_error *err)
{
    struct call call = {.request = request, .out = out, .err = err};
    sp_auto(headers_free) struct curl_slist *headers = NULL;

    out->body.max = request->max_body;
    out->retry_after_ms = -1;
    out->should_retry = -1;
    out->sent = SP_STARTED_NO;
    enum sp_code rc = make_headers(&call, &headers);
    if (rc)
        return rc;
    if (sp_deadline_left(sp_deadline_min(request->connect_deadline, request->deadline)) == 0)
        return fail(&call, SP_E_TIMEOUT, "no time was left to begin");
    rc = sp_http_take(http, request->url, &call.handle, err);
    if (rc)
        return rc;
    rc = do_call(&call, headers);
    if (rc) {
        sp_http_drop(call.handle);
    } else {
        sp_http_give(http, call.handle);
    }
    return rc;
}

void sp_http_response_clear(struct sp_http_response *response)
{
    sp_buf_clear(&response->body);
    *response = (struct sp_http_response){0};
}
