/* HTTP on libmicrohttpd. The socket is bound here, because the library does not tell why it could
 * not. */
#include "worker/httpd.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BACKLOG = 64,
    CONNECTIONS_MAX = 64,
    CONNECTIONS_OF_ONE = 16,       /* from one address, so that a neighbour cannot take them all */
    CONNECTION_MEMORY = 16 * 1024, /* headers beyond it are refused by the library */
    IDLE_SECONDS = 10,
    STACK_BYTES = 256 * 1024,
    BODY_MAX = 4 * 1024 * 1024,
};

struct sp_httpd {
    struct MHD_Daemon *daemon;
    const struct sp_httpd_route *routes;
    size_t n;
    void *ctx;
    char address[280];
};

static enum MHD_Result respond(struct MHD_Connection *connection, unsigned status,
                               const char *content_type, const char *allow, void *body, size_t len,
                               enum MHD_ResponseMemoryMode mode)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(len, body, mode);
    if (!response) {
        if (mode == MHD_RESPMEM_MUST_FREE)
            free(body);
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    if (allow)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow);
    enum MHD_Result rc = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return rc;
}

static enum MHD_Result respond_text(struct MHD_Connection *connection, unsigned status,
                                    const char *allow, const char *text)
{
    char body[64];
    int n = snprintf(body, sizeof body, "%s\n", text);
    return respond(connection, status, "text/plain", allow, body, (size_t)n, MHD_RESPMEM_MUST_COPY);
}

static enum MHD_Result serve(struct sp_httpd *http, struct MHD_Connection *connection,
                             const struct sp_httpd_route *route)
{
    struct sp_buf body = SP_BUF_INIT(BODY_MAX);
    unsigned status = route->answer(http->ctx, &body);
    size_t len = 0;
    char *text = sp_buf_take(&body, &len);
    if (!text)
        return MHD_NO;
    return respond(connection, status, route->content_type, NULL, text, len, MHD_RESPMEM_MUST_FREE);
}

static enum MHD_Result handle(void *ctx, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_len, void **state)
{
    (void)version, (void)upload, (void)state;
    struct sp_httpd *http = ctx;
    if (*upload_len > 0) { /* a body is of no use here; it is read and dropped */
        *upload_len = 0;
        return MHD_YES;
    }
    for (size_t i = 0; i < http->n; i++) {
        if (strcmp(url, http->routes[i].path) != 0)
            continue;
        if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
            return respond_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET, HEAD",
                                "method not allowed");
        }
        return serve(http, connection, &http->routes[i]);
    }
    return respond_text(connection, MHD_HTTP_NOT_FOUND, NULL, "not found");
}

/* "host:port" or "[v6]:port" in two parts. */
static bool split(const char *listen_at, char *host, size_t size, const char **port)
{
    const char *colon = strrchr(listen_at, ':');
    if (!colon || colon[1] == '\0')
        return false;
    size_t len = (size_t)(colon - listen_at);
    const char *from = listen_at;
    if (len >= 2 && from[0] == '[' && from[len - 1] == ']') {
        from++;
        len -= 2;
    }
    if (len == 0 || len >= size)
        return false;
    memcpy(host, from, len);
    host[len] = '\0';
    *port = colon + 1;
    return true;
}

static int listen_on(const struct addrinfo *address)
{
    int on = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static enum sp_code open_socket(const char *listen_at, int *out, struct sp_error *err)
{
    char host[256];
    const char *port = NULL;
    if (!split(listen_at, host, sizeof host, &port)) {
        return sp_error_set(err, SP_E_INVALID, "http.listen: expected host:port, got \"%.80s\"",
                            listen_at);
    }
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *address = NULL;
    int failed = getaddrinfo(host, port, &hints, &address);
    if (failed) {
        return sp_error_set(err, SP_E_INVALID, "http.listen: %.80s: %s", listen_at,
                            gai_strerror(failed));
    }
    *out = listen_on(address);
    freeaddrinfo(address);
    if (*out < 0) {
        return sp_error_errno(err, SP_E_UNAVAILABLE, errno, "http.listen: cannot listen on %.80s",
                              listen_at);
    }
    return SP_OK;
}

static void name_address(int fd, char *out, size_t size)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    char host[128] = "?", port[16] = "?";
    getsockname(fd, (struct sockaddr *)&address, &len);
    getnameinfo((struct sockaddr *)&address, len, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(out, size, address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

enum sp_code sp_httpd_start(const char *listen_at, const struct sp_httpd_route *routes, size_t n,
                            void *ctx, struct sp_httpd **out, struct sp_error *err)
{
    int fd = -1;
    enum sp_code rc = open_socket(listen_at, &fd, err);
    if (rc)
        return rc;
    struct sp_httpd *http = calloc(1, sizeof *http);
    if (http) {
        *http = (struct sp_httpd){.routes = routes, .n = n, .ctx = ctx};
        name_address(fd, http->address, sizeof http->address);
        http->daemon = MHD_start_daemon(
            MHD_USE_POLL_INTERNAL_THREAD, 0, NULL, NULL, handle, http, MHD_OPTION_LISTEN_SOCKET, fd,
            MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
            MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)CONNECTIONS_OF_ONE,
            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_THREAD_STACK_SIZE,
            (size_t)STACK_BYTES, MHD_OPTION_END);
    }
    if (!http || !http->daemon) {
        close(fd);
        free(http);
        return sp_error_set(err, SP_E_INTERNAL, "the HTTP server does not start");
    }
    *out = http;
    return SP_OK;
}

void sp_httpd_stop(struct sp_httpd *http)
{
    if (!http)
        return;
    MHD_stop_daemon(http->daemon); /* closes the socket too */
    free(http);
}

const char *sp_httpd_address(const struct sp_httpd *http)
{
    return http->address;
}
