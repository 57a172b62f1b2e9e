#include "tests/support/http_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"

enum { BACKLOG = 512, READ_SIZE = 16384, WAIT_MS = 20000, STACK = 256 * 1024 };

struct connection {
    struct sp_http_server_state *server;
    struct connection *next;
    pthread_t thread;
    int index, fd; /* fd: -1 once closed; closed under the server's lock only */
};

struct sp_http_server_state {
    sp_exchange_fn handler;
    void *ctx;
    pthread_t acceptor;
    int listener, stop, release; /* stop, release: eventfds, readable from then on */
    pthread_mutex_t lock;        /* guards what follows */
    pthread_cond_t changed;
    struct connection *connections;
    struct sp_exchange **requests; /* their order and contents stay */
    int n_connections, n_requests, n_ended;
};

/* Waits until fd can be read. False when the server stops. */
static bool readable(const struct sp_http_server_state *server, int fd)
{
    struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = server->stop, .events = POLLIN}};

    return poll(fds, 2, -1) > 0 && !fds[1].revents;
}

static bool read_more(const struct connection *c, struct sp_buf *in)
{
    char part[READ_SIZE];

    if (!readable(c->server, c->fd))
        return false;
    ssize_t n = recv(c->fd, part, sizeof part, 0);
    return n > 0 && !sp_buf_add(in, part, (size_t)n);
}

/* The value of a header line, at its first byte; NULL where there is none. */
static const char *find_header(const char *headers, const char *name)
{
    size_t len = strlen(name);

    for (const char *line = headers; *line; line = strstr(line, "\r\n") + 2) {
        if (strncasecmp(line, name, len) == 0 && line[len] == ':')
            return line + len + 1 + strspn(line + len + 1, " \t");
    }
    return NULL;
}

/* Splits "METHOD target HTTP/1.1 CRLF headers CRLF". */
static bool parse_head(char *head, struct sp_exchange *x)
{
    char *target = strchr(head, ' '), *line_end = strstr(head, "\r\n");
    char *version = target ? strchr(target + 1, ' ') : NULL;

    if (!version || !line_end || version > line_end)
        return false;
    *target = *version = '\0';
    x->method = sp_strdup(head);
    x->target = sp_strdup(target + 1);
    x->headers = sp_strdup(line_end + 2);
    return x->method && x->target && x->headers;
}

static void exchange_free(struct sp_exchange *x)
{
    free(x->method);
    free(x->target);
    free(x->headers);
    free(x->body);
    free(x);
}
SP_AUTO(struct sp_exchange *, exchange_free)

/* One request out of `in`, which keeps what follows it. NULL at the end of the connection. */
static struct sp_exchange *read_request(const struct connection *c, struct sp_buf *in)
{
    sp_auto(exchange_free) struct sp_exchange *x = calloc(1, sizeof *x);
    const char *end = NULL;

    while (!(end = strstr(sp_buf_str(in), "\r\n\r\n"))) {
        if (!read_more(c, in))
            return NULL;
    }
    size_t head_len = (size_t)(end - in->data) + 4;
    sp_auto(sp_free_str) char *head = sp_memdup(in->data, head_len);
    if (!x || !head)
        return NULL;
    head[head_len - 2] = '\0'; /* the empty line */
    if (!parse_head(head, x))
        return NULL;
    const char *length = find_header(x->headers, "content-length");
    x->body_len = length ? strtoul(length, NULL, 10) : 0;
    while (in->len < head_len + x->body_len) {
        if (!read_more(c, in))
            return NULL;
    }
    x->body = sp_memdup(in->data + head_len, x->body_len);
    in->len -= head_len + x->body_len;
    memmove(in->data, in->data + head_len + x->body_len, in->len);
    in->data[in->len] = '\0';
    return x->body ? SP_TAKE(x) : NULL;
}

/* Takes x. */
static bool record(const struct connection *c, struct sp_exchange *x)
{
    struct sp_http_server_state *server = c->server;

    pthread_mutex_lock(&server->lock);
    size_t size = ((size_t)server->n_requests + 1) * sizeof *server->requests;
    struct sp_exchange **more = realloc(server->requests, size);
    if (more) {
        x->index = server->n_requests;
        x->connection = c->index;
        x->server = server;
        x->fd = c->fd;
        server->requests = more;
        server->requests[server->n_requests++] = x;
        pthread_cond_broadcast(&server->changed);
    } else {
        exchange_free(x);
    }
    pthread_mutex_unlock(&server->lock);
    return more;
}

static void *serve(void *arg)
{
    struct connection *c = arg;
    struct sp_http_server_state *server = c->server;
    sp_auto(sp_buf_clear) struct sp_buf in = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_exchange *x = NULL;

    while ((x = read_request(c, &in))) {
        if (!record(c, x) || !server->handler(server->ctx, x))
            break;
    }
    pthread_mutex_lock(&server->lock);
    close(c->fd);
    c->fd = -1;
    server->n_ended++;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

static void start_connection(struct sp_http_server_state *server, int fd)
{
    struct connection *c = calloc(1, sizeof *c);
    pthread_attr_t small;

    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, STACK); /* hundreds of connections under a memory limit */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    pthread_mutex_lock(&server->lock);
    if (c)
        *c = (struct connection){.server = server, .index = server->n_connections, .fd = fd};
    if (c && !pthread_create(&c->thread, &small, serve, c)) {
        c->next = server->connections;
        server->connections = c;
        server->n_connections++;
    } else {
        close(fd);
        free(c);
    }
    pthread_mutex_unlock(&server->lock);
    pthread_attr_destroy(&small);
}

static void *accept_all(void *arg)
{
    struct sp_http_server_state *server = arg;

    while (readable(server, server->listener)) {
        int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            start_connection(server, fd);
    }
    return NULL;
}

static bool start_listening(struct sp_http_server *server)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    server->state->listener = fd;
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, len) || listen(fd, BACKLOG) ||
        getsockname(fd, (struct sockaddr *)&addr, &len))
        return false;
    server->port = ntohs(addr.sin_port);
    snprintf(server->url, sizeof server->url, "http://127.0.0.1:%d", server->port);
    return true;
}

static void state_free(struct sp_http_server_state *s)
{
    for (struct connection *c = s->connections, *next = NULL; c; c = next) {
        next = c->next;
        free(c);
    }
    for (int i = 0; i < s->n_requests; i++)
        exchange_free(s->requests[i]);
    free(s->requests);
    const int fds[] = {s->listener, s->stop, s->release};
    for (size_t i = 0; i < SP_COUNT(fds); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    free(s);
}

bool sp_http_server_start(struct sp_http_server *server, sp_exchange_fn handler, void *ctx)
{
    struct sp_http_server_state *s = calloc(1, sizeof *s);

    if (!s)
        return false;
    s->handler = handler;
    s->ctx = ctx;
    s->stop = eventfd(0, EFD_CLOEXEC);
    s->release = eventfd(0, EFD_CLOEXEC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    server->state = s;
    if (s->stop >= 0 && s->release >= 0 && start_listening(server) &&
        !pthread_create(&s->acceptor, NULL, accept_all, s))
        return true;
    server->state = NULL;
    state_free(s);
    return false;
}

void sp_http_server_stop(struct sp_http_server *server)
{
    struct sp_http_server_state *s = server->state;

    if (!s)
        return;
    eventfd_write(s->stop, 1);
    pthread_join(s->acceptor, NULL);
    pthread_mutex_lock(&s->lock);
    for (struct connection *c = s->connections; c; c = c->next) {
        if (c->fd >= 0)
            shutdown(c->fd, SHUT_RDWR); /* for a handler that is sending */
    }
    pthread_mutex_unlock(&s->lock);
    for (struct connection *c = s->connections; c; c = c->next)
        pthread_join(c->thread, NULL);
    state_free(s);
    *server = (struct sp_http_server){0};
}

static int get(const struct sp_http_server *server, const int *count)
{
    pthread_mutex_lock(&server->state->lock);
    int value = *count;
    pthread_mutex_unlock(&server->state->lock);
    return value;
}

int sp_http_server_connections(const struct sp_http_server *server)
{
    return get(server, &server->state->n_connections);
}

int sp_http_server_requests(const struct sp_http_server *server)
{
    return get(server, &server->state->n_requests);
}

int sp_http_server_ended(const struct sp_http_server *server)
{
    return get(server, &server->state->n_ended);
}

static bool wait_for(struct sp_http_server_state *s, const int *count, int n)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += WAIT_MS / 1000;
    pthread_mutex_lock(&s->lock);
    while (*count < n && !pthread_cond_clockwait(&s->changed, &s->lock, CLOCK_MONOTONIC, &until)) {
    }
    bool there = *count >= n;
    pthread_mutex_unlock(&s->lock);
    return there;
}

bool sp_http_server_wait_requests(const struct sp_http_server *server, int n)
{
    return wait_for(server->state, &server->state->n_requests, n);
}

bool sp_http_server_wait_ended(const struct sp_http_server *server, int n)
{
    return wait_for(server->state, &server->state->n_ended, n);
}

const struct sp_exchange *sp_http_server_request(const struct sp_http_server *server, int index)
{
    struct sp_http_server_state *s = server->state;

    pthread_mutex_lock(&s->lock);
    const struct sp_exchange *x = index < s->n_requests ? s->requests[index] : NULL;
    pthread_mutex_unlock(&s->lock);
    return x;
}

void sp_http_server_release(const struct sp_http_server *server)
{
    eventfd_write(server->state->release, 1);
}

bool sp_exchange_send(struct sp_exchange *x, const void *data, size_t len)
{
    for (size_t sent = 0; sent < len;) {
        ssize_t n = send(x->fd, (const char *)data + sent, len - sent, MSG_NOSIGNAL);
        if (n < 0)
            return false;
        sent += (size_t)n;
    }
    return true;
}

bool sp_exchange_sends(struct sp_exchange *x, const char *text)
{
    return sp_exchange_send(x, text, strlen(text));
}

bool sp_exchange_reply(struct sp_exchange *x, int status, const char *headers, const void *body,
                       size_t len)
{
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    return !sp_buf_addf(&out, "HTTP/1.1 %d Scripted\r\nContent-Length: %zu\r\n%s\r\n", status, len,
                        headers ? headers : "") &&
           !sp_buf_add(&out, body, len) && sp_exchange_send(x, out.data, out.len);
}

bool sp_exchange_json(struct sp_exchange *x, int status, const char *json)
{
    return sp_exchange_reply(x, status, "Content-Type: application/json\r\n", json, strlen(json));
}

bool sp_exchange_chunk(struct sp_exchange *x, const void *data, size_t len)
{
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    return !sp_buf_addf(&out, "%zx\r\n", len) && !sp_buf_add(&out, data, len) &&
           !sp_buf_adds(&out, "\r\n") && sp_exchange_send(x, out.data, out.len);
}

bool sp_exchange_hold(struct sp_exchange *x)
{
    struct pollfd fds[] = {{.fd = x->fd, .events = POLLRDHUP},
                           {.fd = x->server->stop, .events = POLLIN},
                           {.fd = x->server->release, .events = POLLIN}};

    return poll(fds, SP_COUNT(fds), -1) > 0 && !fds[0].revents && !fds[1].revents;
}

bool sp_exchange_header(const struct sp_exchange *x, const char *name, char *out, size_t size)
{
    const char *value = find_header(x->headers, name);
    size_t len = value ? strcspn(value, "\r") : 0;

    snprintf(out, size, "%.*s", (int)len, value ? value : "");
    return value;
}
