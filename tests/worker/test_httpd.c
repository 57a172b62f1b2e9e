#include "worker/httpd.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/support.h"

SP_AUTO(struct sp_httpd *, sp_httpd_stop)

static unsigned good(void *ctx, struct sp_buf *out)
{
    (void)sp_buf_adds(out, ctx);
    return 200;
}

static unsigned bad(void *ctx, struct sp_buf *out)
{
    (void)ctx;
    (void)sp_buf_adds(out, "{}");
    return 503;
}

static const struct sp_httpd_route routes[] = {
    {"/good", "text/plain", good},
    {"/bad", "application/json", bad},
};

static struct sp_httpd *started(void)
{
    struct sp_httpd *http = NULL;
    struct sp_error err = {0};
    cr_assert(
        not(sp_httpd_start("127.0.0.1:0", routes, SP_COUNT(routes), (void *)"hello", &http, &err)),
        "%s", err.msg);
    return http;
}

/* A connection from a loopback address: 127.0.0.<host>. */
static int dial(const struct sp_httpd *http, uint32_t host)
{
    int port = atoi(strrchr(sp_httpd_address(http), ':') + 1);
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + host);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(not(bind(fd, (struct sockaddr *)&from, sizeof from)));
    cr_assert(not(connect(fd, (struct sockaddr *)&to, sizeof to)));
    return fd;
}

/* Sends a request as it stands and reads until the server closes. */
static void ask_from(const struct sp_httpd *http, uint32_t host, const char *request, char *answer,
                     size_t size)
{
    int fd = dial(http, host);
    size_t len = 0;
    cr_assert(write(fd, request, strlen(request)) > 0);
    for (ssize_t n = 0; len + 1 < size && (n = read(fd, answer + len, size - 1 - len)) > 0;)
        len += (size_t)n;
    answer[len] = '\0';
    close(fd);
}

static void ask(const struct sp_httpd *http, const char *request, char *answer, size_t size)
{
    ask_from(http, 1, request, answer, size);
}

static const struct {
    const char *request, *status, *shown;
} exchanges[] = {
    {"GET /good HTTP/1.0\r\n\r\n", "200", "\r\n\r\nhello"},
    {"GET /good?x=1 HTTP/1.0\r\n\r\n", "200", "\r\n\r\nhello"},
    {"GET /bad HTTP/1.0\r\n\r\n", "503", "Content-Type: application/json"},
    {"HEAD /good HTTP/1.0\r\n\r\n", "200", "Content-Length: 5"},
    {"GET /other HTTP/1.0\r\n\r\n", "404", "not found"},
    {"POST /good HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", "405", "Allow: GET, HEAD"},
    {"DELETE /good HTTP/1.0\r\n\r\n", "405", "method not allowed"},
};

SP_TABLE_TEST(httpd, a_request_gets_its_answer, exchanges, row)
{
    sp_auto(sp_httpd_stop) struct sp_httpd *http = started();
    char answer[2048];

    ask(http, row->request, answer, sizeof answer);

    cr_expect(eq(int, strncmp(answer + 9, row->status, 3), 0), "%s: %s", row->request, answer);
    cr_expect(strstr(answer, row->shown) != NULL, "%s: %s", row->request, answer);
}

Test(httpd, endless_headers_are_refused)
{
    sp_auto(sp_httpd_stop) struct sp_httpd *http = started();
    static char request[40000];
    char answer[2048];
    strcpy(request, "GET /good HTTP/1.0\r\nx: ");
    memset(request + strlen(request), 'a', 32000);
    strcat(request, "\r\n\r\n");

    ask(http, request, answer, sizeof answer);

    cr_expect(ne(int, strncmp(answer + 9, "200", 3), 0));
}

static const struct {
    const char *listen;
    enum sp_code rc;
} wrong[] = {
    {"9470", SP_E_INVALID},
    {":9470", SP_E_INVALID},
    {"127.0.0.1:", SP_E_INVALID},
    {"127.0.0.1:http", SP_E_INVALID},
    {"192.0.2.1:1", SP_E_UNAVAILABLE},
};

SP_TABLE_TEST(httpd, a_wrong_address_is_named, wrong, row)
{
    struct sp_httpd *http = NULL;
    struct sp_error err = {0};

    enum sp_code rc = sp_httpd_start(row->listen, routes, SP_COUNT(routes), NULL, &http, &err);

    cr_expect(eq(int, rc, row->rc), "%s: %s", row->listen, err.msg);
    cr_expect(strstr(err.msg, "http.listen") && strstr(err.msg, row->listen), "%s", err.msg);
}

Test(httpd, a_port_in_use_is_a_clear_error)
{
    sp_auto(sp_httpd_stop) struct sp_httpd *first = started();
    struct sp_httpd *second = NULL;
    struct sp_error err = {0};

    enum sp_code rc =
        sp_httpd_start(sp_httpd_address(first), routes, SP_COUNT(routes), NULL, &second, &err);

    cr_expect(eq(int, rc, SP_E_UNAVAILABLE));
    cr_expect(strstr(err.msg, "in use") != NULL, "%s", err.msg);
}

Test(httpd, one_address_cannot_take_all_connections)
{
    sp_auto(sp_httpd_stop) struct sp_httpd *http = started();
    int idle[80];
    char answer[2048];
    for (size_t i = 0; i < SP_COUNT(idle); i++)
        idle[i] = dial(http, 1);

    int64_t from = sp_mono_ms();
    ask_from(http, 2, "GET /good HTTP/1.0\r\n\r\n", answer, sizeof answer);

    cr_expect(strstr(answer, "hello") != NULL, "%s", answer);
    cr_expect(lt(i64, sp_mono_ms() - from, 8000), "not only after the idle ones timed out");
    for (size_t i = 0; i < SP_COUNT(idle); i++)
        close(idle[i]);
}
