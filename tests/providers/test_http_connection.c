/* Connections: kept, replaced, given up; and that a request is sent once. */
#include <curl/curl.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "tests/providers/http_stage.h"

enum { THREADS = 8, CALLS = 20, ENOUGH_MS = 1000 /* to connect and send, on a busy machine too */ };

TestSuite(http_connection, .fini = clear_stage);

Test(http_connection, calls_one_after_the_other_share_one_connection)
{
    set_stage(answer_ok, NULL);

    for (int i = 0; i < CALLS; i++)
        cr_assert(eq(int, call(), SP_OK), "%s", stage.err.msg);

    cr_expect(eq(int, sp_http_server_requests(&stage.server), CALLS));
    cr_expect(eq(int, sp_http_server_connections(&stage.server), 1));
}

static void *call_often(void *arg)
{
    for (int i = 0; i < CALLS; i++) {
        sp_auto(sp_http_response_clear) struct sp_http_response response = {0};
        struct sp_error err = {0};
        enum sp_code rc = sp_http_do(stage.http, &stage.request, &response, &err);
        cr_expect(eq(int, rc, SP_OK), "%s", err.msg);
        cr_expect(eq(str, (char *)sp_buf_str(&response.body), "{\"fine\":1}"));
    }
    return arg;
}

static void call_in_threads(void *(*body_fn)(void *))
{
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        cr_assert(eq(int, pthread_create(&threads[i], NULL, body_fn, NULL), 0));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

Test(http_connection, there_are_no_more_connections_than_calls_in_flight)
{
    set_stage(answer_ok, NULL);

    call_in_threads(call_often);

    cr_expect(eq(int, sp_http_server_requests(&stage.server), THREADS *CALLS));
    cr_expect(le(int, sp_http_server_connections(&stage.server), THREADS));
}

/* So that all are in flight at once. */
static bool answer_when_all_are_there(void *ctx, struct sp_exchange *x)
{
    (void)ctx;
    if (x->index == THREADS - 1)
        sp_http_server_release(&stage.server);
    return sp_exchange_hold(x) && sp_exchange_json(x, 200, "{}");
}

static void *call_once(void *arg)
{
    sp_auto(sp_http_response_clear) struct sp_http_response response = {0};
    struct sp_error err = {0};

    cr_expect(eq(int, sp_http_do(stage.http, &stage.request, &response, &err), SP_OK), "%s",
              err.msg);
    return arg;
}

/* To a host of this name, which is this machine. */
static void call_host(const char *name)
{
    snprintf(stage.url, sizeof stage.url, "http://%s.localhost:%d/run", name, stage.server.port);
    cr_assert(eq(int, call(), SP_OK), "%s", stage.err.msg);
}

Test(http_connection, calls_in_turn_to_several_hosts_keep_one_connection_each)
{
    set_stage(answer_ok, NULL);

    for (int i = 0; i < 5; i++) {
        call_host("a");
        call_host("b");
    }

    cr_expect(eq(int, sp_http_server_connections(&stage.server), 2));
    cr_expect(eq(int, sp_http_server_ended(&stage.server), 0));
}

Test(http_connection, a_host_that_is_forgotten_has_none)
{
    set_stage(answer_ok, NULL);
    call_host("a");
    call_host("ab");

    snprintf(stage.url, sizeof stage.url, "http://a.localhost:%d?b", stage.server.port);
    sp_http_forget(stage.http, stage.url);
    sp_http_forget(stage.http, NULL);

    cr_expect(sp_http_server_wait_ended(&stage.server, 1));
    call_host("ab");
    cr_expect(eq(int, sp_http_server_connections(&stage.server), 2));
    call_host("a");
    cr_expect(eq(int, sp_http_server_connections(&stage.server), 3));
}

Test(http_connection, connections_that_were_idle_too_long_are_closed_and_not_used)
{
    set_stage(answer_when_all_are_there, NULL);
    call_in_threads(call_once);
    cr_assert(eq(int, sp_http_server_connections(&stage.server), THREADS));
    cr_assert(eq(int, sp_http_server_ended(&stage.server), 0));

    poll(NULL, 0, 5100); /* the time is what this is about */
    cr_assert(eq(int, call(), SP_OK), "%s", stage.err.msg);

    cr_expect(eq(int, sp_http_server_connections(&stage.server), THREADS + 1));
    cr_expect(sp_http_server_wait_ended(&stage.server, THREADS));
}

/* Ends the connection with RST in place of FIN. */
static bool reset(struct sp_exchange *x)
{
    setsockopt(x->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    return false;
}

static bool answer_then_close(void *ctx, struct sp_exchange *x)
{
    const bool *hard = ctx;
    sp_exchange_json(x, 200, "{}");
    return *hard ? reset(x) : false;
}

static const bool ways[] = {false, true};

SP_TABLE_TEST(http_connection, one_that_the_server_closed_while_idle_is_replaced, ways, hard)
{
    set_stage(answer_then_close, (void *)hard);
    stage.request.method = "POST";

    for (int i = 1; i <= 3; i++) {
        cr_assert(eq(int, call(), SP_OK), "%s", stage.err.msg);
        cr_assert(sp_http_server_wait_ended(&stage.server, i));
        cr_expect(eq(int, sp_http_server_connections(&stage.server), i));
        cr_expect(eq(int, sp_http_server_requests(&stage.server), i));
    }
}

static bool answer_the_first(void *ctx, struct sp_exchange *x)
{
    const bool *hard = ctx;
    if (x->index == 0)
        return sp_exchange_json(x, 200, "{}");
    return *hard ? reset(x) : false;
}

SP_TABLE_TEST(http_connection, a_request_on_a_kept_connection_is_never_sent_twice, ways, hard)
{
    set_stage(answer_the_first, (void *)hard);
    cr_assert(eq(int, call(), SP_OK), "%s", stage.err.msg);
    stage.request.method = "POST";
    stage.request.body = "run me once";
    stage.request.body_len = 11;

    cr_expect(eq(int, call(), SP_E_UNAVAILABLE), "%s", stage.err.msg);

    cr_expect(eq(int, stage.response.sent, SP_STARTED_MAYBE));
    cr_expect(eq(int, stage.response.status, 0));
    cr_expect(eq(int, sp_http_server_requests(&stage.server), 2));
    cr_expect(eq(str, sp_http_server_request(&stage.server, 1)->body, "run me once"));
}

#define FORGED "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"

static bool answer_too_much(void *ctx, struct sp_exchange *x)
{
    (void)ctx;
    return sp_exchange_sends(x, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue" FORGED);
}

Test(http_connection, what_follows_an_answer_is_not_the_next_answer)
{
    set_stage(answer_too_much, NULL);

    for (int i = 0; i < 3; i++) {
        cr_assert(eq(int, call(), SP_OK), "%s", stage.err.msg);
        cr_expect(eq(str, (char *)body(), "true"));
    }
}

static sem_t sent_more;

static bool answer_then_send_more(void *ctx, struct sp_exchange *x)
{
    (void)ctx;
    sp_exchange_json(x, 200, "true");
    if (x->index > 0)
        return true;
    bool good = sp_exchange_hold(x) && sp_exchange_sends(x, FORGED);
    sem_post(&sent_more);
    return good;
}

Test(http_connection, what_comes_on_an_idle_connection_is_not_the_next_answer)
{
    sem_init(&sent_more, 0, 0);
    set_stage(answer_then_send_more, NULL);
    cr_assert(eq(int, call(), SP_OK), "%s", stage.err.msg);

    sp_http_server_release(&stage.server);
    sem_wait(&sent_more);
    cr_assert(eq(int, call(), SP_OK), "%s", stage.err.msg);

    cr_expect(eq(str, (char *)body(), "true"));
    cr_expect(eq(int, sp_http_server_connections(&stage.server), 2));
}

/* A port that refuses (backlog -1), or takes a connection and says nothing. */
static int open_port(int backlog, int *port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert(eq(int, bind(fd, (struct sockaddr *)&addr, len), 0));
    cr_assert(backlog < 0 || listen(fd, backlog) == 0);
    cr_assert(eq(int, getsockname(fd, (struct sockaddr *)&addr, &len), 0));
    *port = ntohs(addr.sin_port);
    return fd;
}

Test(http_connection, a_refused_one_has_sent_nothing)
{
    int port = 0;
    char expected[128];
    set_stage(answer_ok, NULL);
    int fd = open_port(-1, &port);
    snprintf(stage.url, sizeof stage.url, "http://127.0.0.1:%d/run", port);

    cr_expect(eq(int, call(), SP_E_UNAVAILABLE), "%s", stage.err.msg);

    snprintf(expected, sizeof expected, "http://127.0.0.1:%d: no connection: Connection refused",
             port);
    cr_expect(eq(str, stage.err.msg, expected));
    cr_expect(eq(int, stage.response.sent, SP_STARTED_NO));
    cr_expect(eq(int, stage.response.status, 0));
    close(fd);
}

Test(http_connection, a_name_that_nobody_knows_has_sent_nothing)
{
    set_stage(answer_ok, NULL);
    /* Too long for a label, so that no name server is asked. */
    snprintf(stage.url, sizeof stage.url, "https://%064d.invalid/run", 0);

    cr_expect(eq(int, call(), SP_E_UNAVAILABLE), "%s", stage.err.msg);

    cr_expect(told(".invalid:443: the host's name cannot be resolved"), "%s", stage.err.msg);
    cr_expect(eq(int, stage.response.sent, SP_STARTED_NO));
}

Test(http_connection, after_any_failure_the_next_call_is_fine)
{
    int port = 0;
    char refused[64], unknown[128];
    set_stage(answer_ok, NULL);
    int fd = open_port(-1, &port);
    snprintf(refused, sizeof refused, "http://127.0.0.1:%d", port);
    snprintf(unknown, sizeof unknown, "http://%064d.invalid", 0);
    const char *const bad[] = {refused, unknown, "ftp://host", "http://"};

    for (size_t i = 0; i < SP_COUNT(bad); i++) {
        stage.request.url = bad[i];
        cr_expect(call() != SP_OK);
        stage.request.url = stage.url;
        cr_expect(eq(int, call(), SP_OK), "after %s: %s", bad[i], stage.err.msg);
    }

    close(fd);
}

/* Where a call can be stuck. */
enum place { AT_NAME, AT_TCP, AT_TLS, WAITING, READING };

static const enum place places[] = {AT_NAME, AT_TCP, AT_TLS, WAITING, READING};
static sem_t name_server;

/* In place of the C library's, which libcurl calls from a thread of its own: a name server that
 * does not answer. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **out)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = NULL;

    if (name && strcmp(name, "slow.invalid") == 0) {
        sem_wait(&name_server);
        return EAI_AGAIN;
    }
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    return real(name, service, hints, out);
}

static struct {
    int listener, clients[8];
} silent = {.listener = -1};

/* Fills the queue of a listening socket, so that further connections are neither made nor refused.
 */
static void fill_queue(int port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                               .sin_port = htons((uint16_t)port)};

    for (size_t i = 0; i < SP_COUNT(silent.clients); i++) {
        silent.clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(silent.clients[i], (struct sockaddr *)&addr, sizeof addr);
    }
}

static bool hold_at(void *ctx, struct sp_exchange *x)
{
    if (*(const enum place *)ctx == READING)
        sp_exchange_sends(x, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
    return sp_exchange_hold(x);
}

static void set_stuck_stage(const enum place *place)
{
    int port = 0;

    set_stage(hold_at, (void *)place);
    if (*place > AT_TLS)
        return;
    if (*place == AT_NAME) {
        sem_init(&name_server, 0, 0);
        snprintf(stage.url, sizeof stage.url, "http://slow.invalid/run");
        return;
    }
    silent.listener = open_port(*place == AT_TCP ? 0 : 8, &port);
    if (*place == AT_TCP)
        fill_queue(port);
    snprintf(stage.url, sizeof stage.url, "%s://127.0.0.1:%d/run",
             *place == AT_TCP ? "http" : "https", port);
}

static void expect_stuck(enum place place, enum sp_code rc, const char *before, const char *after)
{
    bool connecting = place <= AT_TLS;

    cr_expect(eq(int, rc, stage.err.code), "%s", stage.err.msg);
    cr_expect(told(connecting ? before : after), "%s", stage.err.msg);
    cr_expect(strncmp(stage.err.msg, "http", 4) == 0, "%s", stage.err.msg);
    cr_expect(eq(int, stage.response.sent, connecting ? SP_STARTED_NO : SP_STARTED_MAYBE));
    cr_expect(eq(int, stage.response.status, place == READING ? 200 : 0));
    cr_expect(eq(str, (char *)body(), place == READING ? "abc" : ""));
    cr_expect(lt(i64, stage.took_ms, LONG_MS / 2));
    if (place == AT_NAME)
        sem_post(&name_server); /* the forgotten thread ends */
}

SP_TABLE_TEST(http_connection, a_call_ends_at_its_deadline, places, place)
{
    set_stuck_stage(place);
    stage.request.deadline = sp_deadline_in(*place > AT_TLS ? ENOUGH_MS : SOON_MS);

    enum sp_code rc = call();

    cr_expect(eq(int, rc, SP_E_TIMEOUT), "%s", stage.err.msg);
    expect_stuck(*place, rc, ": no connection in time", ": no whole answer in time");
}

static const enum place connecting[] = {AT_NAME, AT_TCP, AT_TLS};

/* Later than libcurl wakes by itself at the start of a call. */
enum { MOMENT_MS = 500 };

static int in_a_moment(void)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    struct itimerspec soon = {.it_value.tv_nsec = MOMENT_MS * 1000000L};

    cr_assert(eq(int, timerfd_settime(fd, 0, &soon, NULL), 0));
    return fd;
}

SP_TABLE_TEST(http_connection, a_call_that_connects_can_be_cancelled, connecting, place)
{
    set_stuck_stage(place);
    stage.request.cancel_fd = in_a_moment();

    enum sp_code rc = call();

    cr_expect(eq(int, rc, SP_E_CANCELLED), "%s", stage.err.msg);
    expect_stuck(*place, rc, ": cancelled", NULL);
    close(stage.request.cancel_fd);
}

static bool cancel_and_hold(void *ctx, struct sp_exchange *x)
{
    (void)ctx;
    poll(NULL, 0, MOMENT_MS);
    eventfd_write(stage.cancel, 1);
    return sp_exchange_hold(x);
}

Test(http_connection, a_call_that_waits_can_be_cancelled)
{
    set_stage(cancel_and_hold, NULL);

    enum sp_code rc = call();

    cr_expect(eq(int, rc, SP_E_CANCELLED), "%s", stage.err.msg);
    expect_stuck(WAITING, rc, NULL, ": cancelled");
    cr_expect(sp_http_server_wait_ended(&stage.server, 1)); /* it learns that nobody waits */
}

static enum sp_code keep_and_cancel(void *ctx, const char *data, size_t len, struct sp_error *err)
{
    (void)ctx;
    (void)err;
    eventfd_write(stage.cancel, 1);
    return sp_buf_add(&stage.response.body, data, len);
}

Test(http_connection, a_call_that_reads_can_be_cancelled)
{
    static const enum place reading = READING;
    set_stuck_stage(&reading);
    stage.request.on_body = keep_and_cancel;

    enum sp_code rc = call();

    cr_expect(eq(int, rc, SP_E_CANCELLED), "%s", stage.err.msg);
    expect_stuck(READING, rc, NULL, ": cancelled");
    cr_expect(sp_http_server_wait_ended(&stage.server, 1));
}

SP_TABLE_TEST(http_connection, making_one_has_its_own_deadline, connecting, place)
{
    set_stuck_stage(place);
    stage.request.connect_deadline = sp_deadline_in(SOON_MS);

    enum sp_code rc = call();

    cr_expect(eq(int, rc, SP_E_TIMEOUT), "%s", stage.err.msg);
    expect_stuck(*place, rc, ": no connection in time", NULL);
}

Test(http_connection, authorities_that_cannot_be_read_are_named)
{
    static const enum place tls = AT_TLS;
    setenv("SSL_CERT_FILE", "/nonexistent", 1);
    set_stuck_stage(&tls);

    cr_expect(eq(int, call(), SP_E_INVALID), "%s", stage.err.msg);

    cr_expect(told(": the authorities of SSL_CERT_FILE or SSL_CERT_DIR cannot be read"), "%s",
              stage.err.msg);
    cr_expect(eq(int, stage.response.sent, SP_STARTED_NO));
}

static bool answer_late(void *ctx, struct sp_exchange *x)
{
    poll(NULL, 0, ENOUGH_MS + SOON_MS); /* longer than a connection may take */
    return answer_ok(ctx, x);
}

Test(http_connection, its_deadline_is_over_once_it_is_there)
{
    set_stage(answer_late, NULL);
    stage.request.connect_deadline = sp_deadline_in(ENOUGH_MS);

    cr_expect(eq(int, call(), SP_OK), "%s", stage.err.msg);
}

static struct {
    int64_t deadline;
    sem_t sent, taken;
    bool was_busy;
} late = {.deadline = SP_NEVER};

/* In place of libcurl's: the machine has no time for the thread that waits, until bytes have come
 * and the deadline has passed. */
CURLMcode curl_multi_poll(CURLM *multi, struct curl_waitfd *fds, unsigned n, int ms, int *ready)
{
    CURLMcode (*real)(CURLM *, struct curl_waitfd *, unsigned, int, int *) = NULL;
    bool busy = stage.request.moving == &late.deadline && !late.was_busy;

    *(void **)&real = dlsym(RTLD_NEXT, "curl_multi_poll");
    CURLMcode rc = real(multi, fds, n, busy ? 1 : ms, ready);
    if (busy && sp_http_server_requests(&stage.server) > 0) {
        sp_http_server_release(&stage.server);
        sem_wait(&late.sent);
        late.deadline = sp_mono_ms();
        late.was_busy = true;
    }
    return rc;
}

static bool answer_whole(void *ctx, struct sp_exchange *x)
{
    return sp_exchange_hold(x) && answer_ok(ctx, x) && !sem_post(&late.sent) && false;
}

static bool answer_in_parts(void *ctx, struct sp_exchange *x)
{
    (void)ctx;
    return sp_exchange_hold(x) &&
           sp_exchange_sends(x, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na") &&
           !sem_post(&late.sent) && !sem_wait(&late.taken) && sp_exchange_sends(x, "b") && false;
}

static enum sp_code take_and_give_time(void *ctx, const char *data, size_t len,
                                       struct sp_error *err)
{
    (void)ctx;
    (void)data;
    (void)len;
    (void)err;
    late.deadline = SP_NEVER;
    sem_post(&late.taken);
    return SP_OK;
}

static const struct {
    sp_exchange_fn answer;
    sp_http_body_fn on_body;
} late_answers[] = {
    {answer_whole, NULL},
    {answer_in_parts, take_and_give_time},
};

SP_TABLE_TEST(http_connection, what_came_in_time_counts_however_late_it_is_read, late_answers, row)
{
    sem_init(&late.sent, 0, 0);
    sem_init(&late.taken, 0, 0);
    set_stage(row->answer, NULL);
    stage.request.moving = &late.deadline;
    stage.request.on_body = row->on_body;

    cr_expect(eq(int, call(), SP_OK), "%s", stage.err.msg);

    cr_expect(late.was_busy);
    sem_post(&late.taken);
}

Test(http_connection, a_call_without_time_or_already_cancelled_does_nothing)
{
    set_stage(answer_ok, NULL);
    cr_assert(eq(int, call(), SP_OK), "%s", stage.err.msg);

    eventfd_write(stage.cancel, 1);
    cr_expect(eq(int, call(), SP_E_CANCELLED), "%s", stage.err.msg);
    cr_expect(eq(int, stage.response.status, 0));
    cr_expect(eq(str, stage.response.content_type, "")); /* of the call before */

    stage.request.cancel_fd = -1;
    stage.request.deadline = sp_mono_ms() - 1;
    cr_expect(eq(int, call(), SP_E_TIMEOUT), "%s", stage.err.msg);

    cr_expect(eq(int, stage.response.sent, SP_STARTED_NO));
    cr_expect(eq(int, sp_http_server_requests(&stage.server), 1));
}

Test(http_connection, a_call_may_have_no_deadline)
{
    set_stage(answer_ok, NULL);
    stage.request.connect_deadline = stage.request.deadline = SP_NEVER;
    stage.request.cancel_fd = -1;

    cr_expect(eq(int, call(), SP_OK), "%s", stage.err.msg);
}

static bool hold_the_first(void *ctx, struct sp_exchange *x)
{
    return x->index == 0 ? sp_exchange_hold(x) : answer_ok(ctx, x);
}

Test(http_connection, one_with_an_open_answer_is_not_used_again)
{
    set_stage(hold_the_first, NULL);
    stage.request.deadline = sp_deadline_in(ENOUGH_MS);
    cr_assert(eq(int, call(), SP_E_TIMEOUT), "%s", stage.err.msg);

    stage.request.deadline = sp_deadline_in(LONG_MS);
    cr_expect(eq(int, call(), SP_OK), "%s", stage.err.msg);

    cr_expect(eq(str, (char *)body(), "{\"fine\":1}"));
    cr_expect(eq(int, sp_http_server_connections(&stage.server), 2));
}
