/* The load server itself: what it counts and how it waits is what the load tests rely on. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/support.h"
#include "tests/support/load_peer.h"

#define FOREVER_MS 3600000
#define MANY 900
#define RUN "POST /run HTTP/1.1\r\nHost: a\r\ncontent-length: 2\r\n\r\n"
#define HEALTH "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"

static int connect_to(const struct sp_load_peer *peer)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)peer->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0);
    return fd;
}

static void tell(int fd, const char *text)
{
    cr_assert(send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

/* Its answer begins and ends like this. */
static void hear(int fd, const char *first, const char *last)
{
    char text[4096];
    ssize_t n = recv(fd, text, sizeof text - 1, 0);
    cr_assert(n > (ssize_t)strlen(last), "no answer");
    text[n] = '\0';
    cr_expect(strncmp(text, first, strlen(first)) == 0, "%s", text);
    cr_expect(strcmp(text + n - strlen(last), last) == 0, "%s", text);
}

Test(load_server, a_run_is_answered_after_the_delay_on_a_connection_that_stays)
{
    struct sp_load_peer peer = sp_load_peer_start("self_managed", 50);
    int fd = connect_to(&peer);
    int64_t from = sp_mono_us();

    for (int i = 0; i < 3; i++) {
        tell(fd, RUN "{}");
        hear(fd, "HTTP/1.1 200 OK\r\n", "\"result\":null}");
    }

    cr_expect(sp_mono_us() - from >= 150000);
    close(fd);
    struct sp_load_count count = sp_load_peer_end(&peer);
    cr_expect(count.connections == 1 && count.requests == 3 && count.cut_off == 0);
}

/* The calls of a job in their order, and how the answers begin and end. */
static const struct {
    const char *service;
    struct {
        const char *line, *body, *first, *last;
    } calls[8];
} jobs[] = {
    {"aliyun_codeinterpreter",
     {{"POST /sandboxes", "{\"sandboxId\":\"0A\"}", "HTTP/1.1 200 OK\r\n",
       "\"data\":{\"sandboxId\":\"0A\",\"templateId\":\"tpl-1\",\"templateName\":"
       "\"ragflow-python-default\",\"status\":\"READY\",\"sandboxIdleTimeoutSeconds\":60}}"},
      {"GET /sandboxes/0A/health", "", "HTTP/1.1 200 OK\r\n", "}"},
      {"POST /sandboxes/0A/contexts", "{}", "HTTP/1.1 200 OK\r\n", "}"},
      {"POST /sandboxes/0A/contexts/execute", "{\"code\":\"{'JOB': 'eyJtYXJrZXIiOiJNOiJ9'}\"}",
       "HTTP/1.1 200 OK\r\n", "\"contextId\":\"ctx-1\"}"},
      {"GET /sandboxes/0A/filesystem?path=%2Fa", "", "HTTP/1.1 200 OK\r\n", "\"entries\":[]}"},
      {"DELETE /sandboxes/0A", "", "HTTP/1.1 200 OK\r\n", "}"}}},
    {"e2b",
     {{"POST /sandboxes", "{}", "HTTP/1.1 201 Created\r\n", "}"},
      {"POST /files", "filename=\"a/b\"", "HTTP/1.1 200 OK\r\n", "\"path\":\"/home/user/a/b\"}]"},
      {"POST /process.Process/Start", "{}", "HTTP/1.1 200 OK\r\n", "\x02{}\r\n0\r\n\r\n"},
      {"GET /files?path=%2Fa", "", "HTTP/1.1 200 OK\r\n", "\"value\":\"hello\"}"},
      {"POST /filesystem.Filesystem/Stat", "{}", "HTTP/1.1 200 OK\r\n", "}}"},
      {"POST /filesystem.Filesystem/ListDir", "{}", "HTTP/1.1 200 OK\r\n", "\r\n\r\n{}"},
      {"DELETE /sandboxes/i1", "", "HTTP/1.1 204 No Content\r\n", "\r\n\r\n"}}},
};

SP_TABLE_TEST(load_server, all_calls_of_a_job_take_its_time_together, jobs, row)
{
    struct sp_load_peer peer = sp_load_peer_start(row->service, 400);
    int fd = connect_to(&peer);
    int64_t from = sp_mono_us();
    long long calls = 0;

    for (; row->calls[calls].line; calls++) {
        char request[512];
        snprintf(request, sizeof request, "%s HTTP/1.1\r\nContent-Length: %zu\r\n\r\n%s",
                 row->calls[calls].line, strlen(row->calls[calls].body), row->calls[calls].body);
        tell(fd, request);
        hear(fd, row->calls[calls].first, row->calls[calls].last);
    }

    cr_expect(sp_mono_us() - from >= 400000);
    close(fd);
    struct sp_load_count count = sp_load_peer_end(&peer);
    cr_expect(count.requests == calls && count.made == 1 && count.ended == 1);
}

Test(load_server, what_is_not_delayed_does_not_wait_behind_what_is)
{
    struct sp_load_peer peer = sp_load_peer_start("self_managed", FOREVER_MS);
    int waits = connect_to(&peer), asks = connect_to(&peer);
    tell(waits, RUN "{}");

    tell(asks, HEALTH);
    hear(asks, "HTTP/1.1 200 OK\r\n", "{\"status\":\"ok\"}");
    tell(asks, "GET /nothing HTTP/1.1\r\n\r\n");
    hear(asks, "HTTP/1.1 404 Not Found\r\n", "}");

    struct sp_load_count count = sp_load_peer_end(&peer);
    cr_expect(count.requests == 2 && count.most_waiting == 1 && count.cut_off == 1);
    close(waits);
    close(asks);
}

Test(load_server, a_request_may_come_in_pieces)
{
    struct sp_load_peer peer = sp_load_peer_start("self_managed", 0);
    int pieces = connect_to(&peer), other = connect_to(&peer);
    const char *request = RUN "{}";

    for (const char *c = request; *c; c++) {
        tell(pieces, (char[]){*c, '\0'});
        tell(other, HEALTH); /* its answer shows that the piece was read alone */
        hear(other, "HTTP/1.1 200 OK\r\n", "}");
    }

    hear(pieces, "HTTP/1.1 200 OK\r\n", "}");
    close(pieces);
    close(other);
    struct sp_load_count count = sp_load_peer_end(&peer);
    cr_expect(count.requests == 1 + (long long)strlen(request));
}

Test(load_server, many_connections_wait_at_one_time)
{
    static int fds[MANY];
    struct sp_load_peer peer = sp_load_peer_start("self_managed", 1000);

    for (int i = 0; i < MANY; i++) {
        fds[i] = connect_to(&peer);
        tell(fds[i], RUN "{}");
    }
    for (int i = 0; i < MANY; i++) {
        hear(fds[i], "HTTP/1.1 200 OK\r\n", "}");
        close(fds[i]);
    }

    struct sp_load_count count = sp_load_peer_end(&peer);
    cr_expect(count.connections == MANY && count.requests == MANY && count.cut_off == 0);
    cr_expect(count.most_waiting > 1 && count.most_waiting <= MANY);
}

Test(load_server, a_client_that_goes_away_or_hurries_ahead_is_cut_off)
{
    struct sp_load_peer peer = sp_load_peer_start("self_managed", FOREVER_MS);
    int gone = connect_to(&peer), hurries = connect_to(&peer), asks = connect_to(&peer);
    char byte;

    tell(gone, RUN "{}");
    close(gone);
    tell(hurries, RUN "{}" RUN "{}");
    cr_expect(recv(hurries, &byte, 1, 0) <= 0, "the connection is over");
    tell(asks, HEALTH);
    hear(asks, "HTTP/1.1 200 OK\r\n", "}");

    close(hurries);
    close(asks);
    struct sp_load_count count = sp_load_peer_end(&peer);
    cr_expect(count.connections == 3 && count.requests == 1 && count.cut_off == 2);
}
