#include "tests/support/tcp_proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

enum { PAIRS = 64, CHUNK = 16 << 10, QUEUE_BYTES = 1 << 20 };

/* Bytes on their way, due at a time. */
struct chunk {
    struct chunk *next;
    int64_t due;
    size_t len, at;
    char data[];
};

/* From one socket to the other. */
struct lane {
    int from, to;
    bool ended;
    struct chunk *first, **last;
    size_t queued;
    atomic_llong *left; /* bytes until everything is cut; 0: no limit */
};

struct pair {
    bool used;
    struct lane up, down;
};

struct sp_tcp_proxy_state {
    pthread_t thread;
    int listener, to_port, wake_fd;
    atomic_bool stopping, cut, stalled;
    atomic_llong delay_ms, up_left, down_left;
    atomic_int accepted, open;
    struct pair pairs[PAIRS]; /* the thread's */
};

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    addr.sin_port = htons((uint16_t)port);
    return addr;
}

static void clear_lane(struct lane *lane)
{
    while (lane->first) {
        struct chunk *next = lane->first->next;

        free(lane->first);
        lane->first = next;
    }
}

/* With a reset, as a broken network or a killed process leaves it. */
static void close_pair(struct sp_tcp_proxy_state *s, struct pair *pair)
{
    const struct linger reset = {.l_onoff = 1};

    for (int i = 0; i < 2; i++) {
        int fd = i ? pair->up.to : pair->up.from;

        if (fd >= 0) {
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
            close(fd);
        }
    }
    clear_lane(&pair->up);
    clear_lane(&pair->down);
    pair->used = false;
    s->open--;
}

static int connect_on(const struct sp_tcp_proxy_state *s)
{
    struct sockaddr_in addr = loopback(s->to_port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static void init_lane(struct lane *lane, int from, int to, atomic_llong *left)
{
    const int on = 1;

    *lane = (struct lane){.from = from, .to = to, .left = left};
    lane->last = &lane->first;
    if (from >= 0) {
        fcntl(from, F_SETFL, O_NONBLOCK);
        setsockopt(from, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
}

static void accept_one(struct sp_tcp_proxy_state *s)
{
    int client = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
    struct pair *pair = s->pairs;

    if (client < 0)
        return;
    while (pair < s->pairs + PAIRS && pair->used)
        pair++;
    int server = s->to_port ? connect_on(s) : -1;
    s->accepted++;
    if (pair == s->pairs + PAIRS || (s->to_port && server < 0)) {
        close(client);
        return;
    }
    pair->used = true;
    s->open++;
    init_lane(&pair->up, client, server, &s->up_left);
    init_lane(&pair->down, server, client, &s->down_left);
}

/* False: the connection broke. */
static bool read_lane(struct sp_tcp_proxy_state *s, struct lane *lane)
{
    struct chunk *chunk = malloc(sizeof *chunk + CHUNK);
    ssize_t n = chunk ? read(lane->from, chunk->data, CHUNK) : -1;

    if (n <= 0) {
        free(chunk);
        lane->ended = n == 0;
        return n == 0 || errno == EAGAIN;
    }
    *chunk = (struct chunk){.due = sp_mono_ms() + s->delay_ms, .len = (size_t)n};
    *lane->last = chunk;
    lane->last = &chunk->next;
    lane->queued += (size_t)n;
    return true;
}

/* Whether so many bytes more may pass; when the last of them has, everything is cut. */
static void note_passed(struct sp_tcp_proxy_state *s, struct lane *lane, ssize_t n)
{
    if (*lane->left > 0 && atomic_fetch_sub(lane->left, n) <= n) {
        *lane->left = 0;
        s->cut = true;
    }
}

static bool write_lane(struct sp_tcp_proxy_state *s, struct lane *lane)
{
    while (lane->first && lane->first->due <= sp_mono_ms() && !s->cut) {
        struct chunk *chunk = lane->first;
        ssize_t n = send(lane->to, chunk->data + chunk->at, chunk->len - chunk->at, MSG_NOSIGNAL);

        if (n < 0)
            return errno == EAGAIN;
        chunk->at += (size_t)n;
        note_passed(s, lane, n);
        if (chunk->at < chunk->len)
            continue;
        lane->queued -= chunk->len;
        lane->first = chunk->next;
        if (!lane->first)
            lane->last = &lane->first;
        free(chunk);
    }
    if (lane->ended && !lane->first)
        shutdown(lane->to, SHUT_WR);
    return true;
}

/* What to poll of a lane's two ends; *until: when its next bytes are due. */
static void want(const struct lane *lane, struct pollfd *from, struct pollfd *to, int64_t *until)
{
    if (!lane->ended && lane->queued < QUEUE_BYTES)
        from->events |= POLLIN;
    if (!lane->first)
        return;
    if (lane->first->due <= sp_mono_ms())
        to->events |= POLLOUT;
    else
        *until = sp_deadline_min(*until, lane->first->due);
}

static bool move(struct sp_tcp_proxy_state *s, struct lane *lane, short events)
{
    bool ok = true;

    if (!lane->ended && (events & (POLLIN | POLLHUP | POLLERR)) && lane->queued < QUEUE_BYTES)
        ok = read_lane(s, lane);
    return ok && write_lane(s, lane);
}

static void turn(struct sp_tcp_proxy_state *s)
{
    struct pollfd fds[2 + 2 * PAIRS] = {{.fd = s->listener, .events = POLLIN},
                                        {.fd = s->wake_fd, .events = POLLIN}};
    int64_t until = SP_NEVER;
    eventfd_t ignored;

    for (size_t i = 0; i < PAIRS; i++) {
        struct pair *pair = &s->pairs[i];
        struct pollfd *ends = &fds[2 + 2 * i];

        ends[0].fd = ends[1].fd = -1;
        if (!pair->used || pair->up.to < 0 || s->stalled)
            continue;
        ends[0].fd = pair->up.from;
        ends[1].fd = pair->up.to;
        want(&pair->up, &ends[0], &ends[1], &until);
        want(&pair->down, &ends[1], &ends[0], &until);
    }
    poll(fds, 2 + 2 * PAIRS, sp_deadline_left(until));
    eventfd_read(s->wake_fd, &ignored);
    if (fds[0].revents)
        accept_one(s);
    for (size_t i = 0; i < PAIRS; i++) {
        struct pair *pair = &s->pairs[i];
        const struct pollfd *ends = &fds[2 + 2 * i];

        if (pair->used && ends[0].fd >= 0 && !s->stalled &&
            (!move(s, &pair->up, ends[0].revents) || !move(s, &pair->down, ends[1].revents) ||
             (pair->up.ended && pair->down.ended && !pair->up.first && !pair->down.first)))
            close_pair(s, pair);
    }
}

static void *serve(void *arg)
{
    struct sp_tcp_proxy_state *s = arg;

    while (!s->stopping) {
        turn(s);
        for (size_t i = 0; i < PAIRS && (s->cut || s->stopping); i++) {
            if (s->pairs[i].used)
                close_pair(s, &s->pairs[i]);
        }
        s->cut = false;
    }
    return NULL;
}

bool sp_tcp_proxy_start(struct sp_tcp_proxy *proxy, int to_port)
{
    struct sp_tcp_proxy_state *s = calloc(1, sizeof *s);
    struct sockaddr_in addr = loopback(0);
    socklen_t size = sizeof addr;

    if (!s)
        return false;
    s->to_port = to_port;
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (bind(s->listener, (struct sockaddr *)&addr, sizeof addr) || listen(s->listener, PAIRS) ||
        getsockname(s->listener, (struct sockaddr *)&addr, &size) ||
        pthread_create(&s->thread, NULL, serve, s)) {
        close(s->listener);
        close(s->wake_fd);
        free(s);
        return false;
    }
    *proxy = (struct sp_tcp_proxy){.port = ntohs(addr.sin_port), .state = s};
    return true;
}

static void wake(const struct sp_tcp_proxy *proxy)
{
    eventfd_write(proxy->state->wake_fd, 1);
}

void sp_tcp_proxy_stop(struct sp_tcp_proxy *proxy)
{
    struct sp_tcp_proxy_state *s = proxy->state;

    if (!s)
        return;
    s->stopping = true;
    wake(proxy);
    pthread_join(s->thread, NULL);
    close(s->listener);
    close(s->wake_fd);
    free(s);
    proxy->state = NULL;
}

int sp_tcp_proxy_connections(const struct sp_tcp_proxy *proxy)
{
    return proxy->state->accepted;
}

int sp_tcp_proxy_open(const struct sp_tcp_proxy *proxy)
{
    return proxy->state->open;
}

void sp_tcp_proxy_cut(struct sp_tcp_proxy *proxy)
{
    proxy->state->cut = true;
    wake(proxy);
}

void sp_tcp_proxy_cut_after(struct sp_tcp_proxy *proxy, int64_t up_bytes, int64_t down_bytes)
{
    proxy->state->up_left = up_bytes;
    proxy->state->down_left = down_bytes;
}

void sp_tcp_proxy_stall(struct sp_tcp_proxy *proxy, bool stalled)
{
    proxy->state->stalled = stalled;
    wake(proxy);
}

void sp_tcp_proxy_delay(struct sp_tcp_proxy *proxy, int64_t delay_ms)
{
    proxy->state->delay_ms = delay_ms;
}
