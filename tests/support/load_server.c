/*
 * A peer for load tests: answers every HTTP/1.1 request after a fixed delay with the constant body
 * that load_answers.c has for its path, and executes nothing. One thread holds thousands of
 * connections; since the delay is the same for all, what waits is a queue and needs no sorting.
 *
 *   load_server [DELAY_MS]      default 200
 *
 * Listens on a free port of 127.0.0.1 and prints "ready PORT". Ends at SIGTERM and with the process
 * that started it, and prints one line of JSON:
 *
 *   connections   accepted
 *   requests      answered
 *   most_waiting  delayed answers at one time
 *   cut_off       connections that ended, or were ended, with a request on them
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

#include "base/clock.h"
#include "base/text.h"
#include "tests/support/load_answers.h"

enum { HEAD_MAX = 4096, EVENTS = 256, BACKLOG = 4096, DESCRIPTORS = 65536 };

struct server;

/* What epoll watches; the first member of each kind. */
struct source {
    int fd;
    void (*ready)(struct server *server, struct source *source);
};

struct connection {
    struct source source;
    size_t head_len, body_left;
    const struct sp_load_answer *answer; /* of the request that came whole */
    int64_t due_us;
    struct connection *next, *prev; /* in the queue */
    char head[HEAD_MAX];            /* of the request, NUL-terminated */
};

struct server {
    int epoll;
    struct source listener, timer, signals;
    struct connection *first, *last; /* wait for their moment; the first is due first */
    struct connection *all[DESCRIPTORS];
    int64_t delay_us, armed_us;
    long long connections, requests, waiting, most_waiting, cut_off;
    bool ended;
};

static const struct sp_load_answer no_such_path = {"", false, "{\"detail\":\"Not Found\"}"};

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

/* The queue */

static void enqueue(struct server *server, struct connection *c)
{
    c->due_us = sp_mono_us() + server->delay_us;
    c->prev = server->last;
    c->next = NULL;
    *(c->prev ? &c->prev->next : &server->first) = c;
    server->last = c;
    if (++server->waiting > server->most_waiting)
        server->most_waiting = server->waiting;
}

static void dequeue(struct server *server, struct connection *c)
{
    *(c->prev ? &c->prev->next : &server->first) = c->next;
    *(c->next ? &c->next->prev : &server->last) = c->prev;
    c->due_us = 0;
    server->waiting--;
}

/* Connections */

static void drop(struct server *server, struct connection *c)
{
    if (c->due_us)
        dequeue(server, c);
    server->cut_off += c->head_len > 0;
    server->all[c->source.fd] = NULL;
    close(c->source.fd);
    free(c);
}

/* The socket's buffer is empty, since the client has read the answer before, and holds all of it.
 */
static void answer(struct server *server, struct connection *c)
{
    char text[HEAD_MAX];
    int len = snprintf(text, sizeof text,
                       "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                       "\r\n%s",
                       c->answer == &no_such_path ? "404 Not Found" : "200 OK",
                       strlen(c->answer->body), c->answer->body);
    if ((size_t)len >= sizeof text || send(c->source.fd, text, (size_t)len, MSG_NOSIGNAL) != len) {
        drop(server, c);
        return;
    }
    c->head_len = 0;
    c->answer = NULL;
    server->requests++;
}

/* The head is whole: finds the answer and the length of the body; false: it is none of ours. */
static bool read_head(struct connection *c)
{
    char method[16], path[256], request[sizeof method + sizeof path];
    if (sscanf(c->head, "%15s %255s", method, path) != 2)
        return false;
    snprintf(request, sizeof request, "%s %s", method, path);
    c->answer = sp_load_answer_find(request);
    if (!c->answer)
        c->answer = &no_such_path;
    const char *length = strcasestr(c->head, "\r\nContent-Length:");
    c->body_left = length ? strtoul(strchr(length, ':') + 1, NULL, 10) : 0;
    return length || !strcasestr(c->head, "\r\nTransfer-Encoding:");
}

/* Takes what belongs to the head and says how much that is; -1: no head that this can be. */
static ssize_t take_head(struct connection *c, const char *data, size_t len)
{
    size_t had = c->head_len, room = sizeof c->head - 1 - had;
    size_t taken = len < room ? len : room;
    memcpy(c->head + had, data, taken);
    c->head_len += taken;
    c->head[c->head_len] = '\0';
    const char *end = strstr(c->head, "\r\n\r\n");
    if (!end)
        return taken < len ? -1 : (ssize_t)taken;
    if (!read_head(c))
        return -1;
    return end + 4 - (c->head + had);
}

/* Part of a request, at most to its end: a client that sends the next one before it has the answer
 * is not served. */
static bool take(struct server *server, struct connection *c, const char *data, size_t len)
{
    size_t taken = 0;
    if (!c->answer) {
        ssize_t n = take_head(c, data, len);
        if (n < 0)
            return false;
        taken = (size_t)n;
        if (!c->answer)
            return true;
    }
    if (c->due_us || len - taken > c->body_left)
        return false;
    c->body_left -= len - taken;
    if (c->body_left > 0)
        return true;
    if (c->answer->delayed) {
        enqueue(server, c);
    } else {
        answer(server, c);
    }
    return true;
}

static void on_request(struct server *server, struct source *source)
{
    static char data[65536];
    struct connection *c = (struct connection *)source;
    ssize_t n = read(source->fd, data, sizeof data);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || !take(server, c, data, (size_t)n))
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
    int64_t now = sp_mono_us();
    for (struct connection *c = server->first; c && c->due_us <= now; c = server->first) {
        dequeue(server, c);
        answer(server, c);
    }
    if (!server->first || server->first->due_us == server->armed_us)
        return;
    server->armed_us = server->first->due_us;
    const struct itimerspec when = {.it_value = {.tv_sec = server->armed_us / 1000000,
                                                 .tv_nsec = server->armed_us % 1000000 * 1000}};
    if (timerfd_settime(server->timer.fd, TFD_TIMER_ABSTIME, &when, NULL) != 0)
        fail("timerfd_settime");
}

static void on_signal(struct server *server, struct source *source)
{
    (void)source;
    server->ended = true;
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
    while (!server->ended) {
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
    int64_t delay_ms = 200;
    if (argc > 2 || (argc == 2 && !sp_parse_i64(argv[1], 0, 3600000, &delay_ms))) {
        fprintf(stderr, "usage: load_server [DELAY_MS]\n");
        return 2;
    }
    /* A parent that is gone already does not read the line "ready", which ends this, too. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    setvbuf(stdout, NULL, _IOLBF, 0);
    allow_many_descriptors();
    static struct server server;
    server.epoll = epoll_create1(EPOLL_CLOEXEC);
    server.delay_us = delay_ms * 1000;
    watch(&server, &server.signals, signal_fd(), on_signal);
    watch(&server, &server.timer, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
          on_timer);
    watch(&server, &server.listener, listen_somewhere(), on_connection);

    serve(&server);
    for (size_t fd = 0; fd < DESCRIPTORS; fd++) {
        if (server.all[fd])
            drop(&server, server.all[fd]);
    }

    printf("{\"connections\": %lld, \"requests\": %lld, \"most_waiting\": %lld, \"cut_off\": "
           "%lld}\n",
           server.connections, server.requests, server.most_waiting, server.cut_off);
    return 0;
}
