/*
 * A peer for load tests: answers each HTTP/1.1 request after a fixed delay with what load_answers.c
 * has for its path, and verifies and executes nothing. One thread holds thousands of connections.
 *
 *   load_server SERVICE JOB_MS
 *
 * SERVICE is named as the provider that speaks to it; all calls of a job take JOB_MS together.
 * Listens on a free port of 127.0.0.1 and prints "ready PORT". Ends at SIGTERM and with the process
 * that started it, and prints one line of JSON:
 *
 *   connections       accepted
 *   most_connections  open at one time
 *   requests          answered
 *   most_waiting      delayed answers at one time
 *   cut_off           connections that ended, or were ended, with a request on them
 *   made, ended       sandboxes
 */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"
#include "tests/support/load_answers.h"

enum {
    REQUEST_MAX = 64 * 1024,
    ANSWER_MAX = 4096,
    EVENTS = 256,
    BACKLOG = 4096,
    DESCRIPTORS = 65536,
};

struct server;

/* What epoll watches; the first member of each kind. */
struct source {
    int fd;
    void (*ready)(struct server *server, struct source *source);
};

struct connection {
    struct source source;
    size_t len, whole; /* of the request: what came; all of it, 0: not known yet */
    const struct sp_load_answer *answer; /* of the request whose head came */
    int64_t due_us;                      /* 0: does not wait */
    struct connection *next, *prev;      /* in the queue */
    char request[REQUEST_MAX];           /* NUL-terminated */
};

/* Those that wait for the answer of one row: the first is due first. */
struct queue {
    struct connection *first, *last;
};

struct server {
    int epoll;
    struct source listener, timer, signals;
    const struct sp_load_service *service;
    struct queue queues[SP_LOAD_ROWS];
    struct connection *all[DESCRIPTORS];
    int64_t job_us, armed_us;
    long long connections, open, most_open, requests, waiting, most_waiting, cut_off, made, ended;
    bool stopped;
};

static const struct sp_load_answer no_such_path = {.status = "404 Not Found",
                                                   .body = {"{\"detail\":\"Not Found\"}", 22}};

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(const struct server *server, struct source *source, int fd,
                  void (*ready)(struct server *, struct source *))
{
    *source = (struct source){.fd = fd, .ready = ready};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};
    if (fd < 0 || epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        fail("load_server");
}

static void raise_to(long long value, long long *most)
{
    if (value > *most)
        *most = value;
}

/* The queues */

static struct queue *queue_of(struct server *server, const struct connection *c)
{
    return &server->queues[c->answer - server->service->answers];
}

static void enqueue(struct server *server, struct connection *c)
{
    struct queue *queue = queue_of(server, c);

    c->due_us = sp_mono_us() + server->job_us * c->answer->share / 1000;
    c->prev = queue->last;
    c->next = NULL;
    *(c->prev ? &c->prev->next : &queue->first) = c;
    queue->last = c;
    raise_to(++server->waiting, &server->most_waiting);
}

static void dequeue(struct server *server, struct connection *c)
{
    struct queue *queue = queue_of(server, c);

    *(c->prev ? &c->prev->next : &queue->first) = c->next;
    *(c->next ? &c->next->prev : &queue->last) = c->prev;
    c->due_us = 0;
    server->waiting--;
}

/* Connections */

static void drop(struct server *server, struct connection *c)
{
    if (c->due_us)
        dequeue(server, c);
    server->cut_off += c->len > 0;
    server->open--;
    server->all[c->source.fd] = NULL;
    close(c->source.fd);
    free(c);
}

/* With its head; SP_E_INVALID: the request lacks what is to be repeated. */
static enum sp_code write_answer(const struct server *server, const struct connection *c,
                                 struct sp_buf *out)
{
    const struct sp_load_answer *a = c->answer;
    char repeated[SP_LOAD_REPEATED] = "";

    if (a->repeat && !a->repeat((struct sp_bytes){c->request, c->len}, server->requests, repeated))
        return SP_E_INVALID;
    const char *rest = a->rest ? a->rest : "";
    size_t len = a->body.len + strlen(repeated) + strlen(rest);
    enum sp_code rc = sp_buf_addf(out, "HTTP/1.1 %s\r\n", a->status ? a->status : "200 OK");
    if (!rc && len > 0)
        rc = sp_buf_addf(out, "Content-Type: %s\r\n", a->type ? a->type : "application/json");
    if (!rc) {
        rc = sp_buf_addf(out,
                         a->chunked ? "Transfer-Encoding: chunked\r\n\r\n%zx\r\n"
                                    : "Content-Length: %zu\r\n\r\n",
                         len);
    }
    if (!rc && a->body.len > 0)
        rc = sp_buf_add(out, a->body.data, a->body.len);
    return rc ? rc : sp_buf_addf(out, "%s%s%s", repeated, rest, a->chunked ? "\r\n0\r\n\r\n" : "");
}

/* The socket's buffer is empty, since the client has read the answer before, and holds all of it.
 */
static void answer(struct server *server, struct connection *c)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(ANSWER_MAX);

    if (write_answer(server, c, &text) ||
        send(c->source.fd, text.data, text.len, MSG_NOSIGNAL) != (ssize_t)text.len) {
        drop(server, c);
        return;
    }
    server->requests++;
    server->made += c->answer->sandboxes > 0;
    server->ended += c->answer->sandboxes < 0;
    c->len = c->whole = 0;
    c->answer = NULL;
}

/* Its body begins at `body`. Finds the answer and the length of all; false: it is none of ours. */
static bool read_head(const struct server *server, struct connection *c, size_t body)
{
    char method[16], path[512], request[sizeof method + sizeof path];
    if (sscanf(c->request, "%15s %511s", method, path) != 2)
        return false;
    snprintf(request, sizeof request, "%s %s", method, path);
    c->answer = sp_load_answer_find(server->service, request);
    if (!c->answer)
        c->answer = &no_such_path;
    const char *length = strcasestr(c->request, "\r\nContent-Length:");
    bool here = length && length < c->request + body;
    c->whole = body + (here ? strtoul(strchr(length, ':') + 1, NULL, 10) : 0);
    return here || !strcasestr(c->request, "\r\nTransfer-Encoding:");
}

/* n more bytes of the request are there. A client that sends the next one before it has the answer
 * is not served. */
static bool take(struct server *server, struct connection *c, size_t n)
{
    c->len += n;
    c->request[c->len] = '\0';
    if (!c->whole) {
        const char *end = strstr(c->request, "\r\n\r\n");
        if (!end)
            return true;
        if (!read_head(server, c, (size_t)(end + 4 - c->request)))
            return false;
    }
    if (c->due_us || c->len > c->whole)
        return false;
    if (c->len < c->whole)
        return true;
    if (c->answer->share > 0) {
        enqueue(server, c);
    } else {
        answer(server, c);
    }
    return true;
}

static void on_request(struct server *server, struct source *source)
{
    struct connection *c = (struct connection *)source;
    ssize_t n = read(source->fd, c->request + c->len, sizeof c->request - 1 - c->len);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || !take(server, c, (size_t)n)) /* 0, too, where there is no room */
        drop(server, c);
}

static void on_connection(struct server *server, struct source *source)
{
    int fd = accept4(source->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    struct connection *c = calloc(1, sizeof *c);
    if (!c)
        fail("load_server");
    watch(server, &c->source, fd, on_request);
    server->all[fd] = c;
    server->connections++;
    raise_to(++server->open, &server->most_open);
}

/* Time and the end */

static void on_timer(struct server *server, struct source *source)
{
    uint64_t times = 0;
    (void)server;
    (void)!read(source->fd, &times, sizeof times);
}

static void answer_what_is_due(struct server *server)
{
    int64_t now = sp_mono_us(), next = INT64_MAX;
    for (size_t i = 0; i < SP_LOAD_ROWS; i++) {
        struct queue *queue = &server->queues[i];
        while (queue->first && queue->first->due_us <= now) {
            struct connection *c = queue->first;
            dequeue(server, c);
            answer(server, c);
        }
        if (queue->first && queue->first->due_us < next)
            next = queue->first->due_us;
    }
    if (next == INT64_MAX || next == server->armed_us)
        return;
    server->armed_us = next;
    const struct itimerspec when = {
        .it_value = {.tv_sec = next / 1000000, .tv_nsec = next % 1000000 * 1000}};
    if (timerfd_settime(server->timer.fd, TFD_TIMER_ABSTIME, &when, NULL) != 0)
        fail("load_server");
}

static void on_signal(struct server *server, struct source *source)
{
    (void)source;
    server->stopped = true;
}

static int listen_somewhere(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) != 0 || listen(fd, BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        fail("load_server");
    printf("ready %d\n", ntohs(at.sin_port));
    return fd;
}

static int signal_fd(void)
{
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    sigprocmask(SIG_BLOCK, &ending, NULL);
    return signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void serve(struct server *server)
{
    struct epoll_event events[EVENTS];
    while (!server->stopped) {
        int n = epoll_wait(server->epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct source *source = events[i].data.ptr;
            source->ready(server, source);
        }
        answer_what_is_due(server);
    }
}

static void allow_many_descriptors(void)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < DESCRIPTORS ? files.rlim_max : DESCRIPTORS;
    setrlimit(RLIMIT_NOFILE, &files);
}

int main(int argc, char **argv)
{
    static struct server server;
    int64_t job_ms = 0;
    server.service = argc == 3 ? sp_load_service_find(argv[1]) : NULL;
    if (!server.service || !sp_parse_i64(argv[2], 0, 3600000, &job_ms)) {
        fprintf(stderr, "usage: load_server SERVICE JOB_MS\n");
        return 2;
    }
    /* A parent that is gone already does not read the line "ready", which ends this, too. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    setvbuf(stdout, NULL, _IOLBF, 0);
    allow_many_descriptors();
    server.epoll = epoll_create1(EPOLL_CLOEXEC);
    server.job_us = job_ms * 1000;
    watch(&server, &server.signals, signal_fd(), on_signal);
    watch(&server, &server.timer, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
          on_timer);
    watch(&server, &server.listener, listen_somewhere(), on_connection);

    serve(&server);
    for (size_t fd = 0; fd < DESCRIPTORS; fd++) {
        if (server.all[fd])
            drop(&server, server.all[fd]);
    }

    printf("{\"connections\": %lld, \"most_connections\": %lld, \"requests\": %lld, "
           "\"most_waiting\": %lld, \"cut_off\": %lld, \"made\": %lld, \"ended\": %lld}\n",
           server.connections, server.most_open, server.requests, server.most_waiting,
           server.cut_off, server.made, server.ended);
    return 0;
}
