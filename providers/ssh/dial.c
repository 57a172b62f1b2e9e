#include "providers/ssh/dial.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"
#include "providers/local/fd.h"
#include "providers/ssh/conn.h"

/* Shared by the caller and the thread that looks the name up; the last one frees it. */
struct lookup {
    atomic_int refs;
    char *host;
    char port[24];
    int done_fd; /* eventfd */
    struct addrinfo *found;
    int os_error;
    atomic_int failure; /* EAI_*; written last */
};

static void lookup_unref(struct lookup *l)
{
    if (--l->refs > 0)
        return;
    if (l->found)
        freeaddrinfo(l->found);
    if (l->done_fd >= 0)
        close(l->done_fd);
    free(l->host);
    free(l);
}
SP_AUTO(struct lookup *, lookup_unref)

static void *look_up(void *arg)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct lookup *l = arg;

    int failure = getaddrinfo(l->host, l->port, &hints, &l->found);
    l->os_error = errno;
    l->failure = failure;
    eventfd_write(l->done_fd, 1);
    lookup_unref(l);
    return NULL;
}

static struct lookup *new_lookup(const char *host, int64_t port)
{
    struct lookup *l = calloc(1, sizeof *l);

    if (!l)
        return NULL;
    l->refs = 1;
    l->host = sp_strdup(host);
    l->done_fd = eventfd(0, EFD_CLOEXEC);
    snprintf(l->port, sizeof l->port, "%lld", (long long)port);
    if (l->host && l->done_fd >= 0)
        return l;
    lookup_unref(l);
    return NULL;
}

static enum sp_code start(const char *host, int64_t port, struct lookup **out)
{
    sp_auto(lookup_unref) struct lookup *l = new_lookup(host, port);
    pthread_attr_t attributes;
    pthread_t thread;

    if (!l)
        return SP_E_NOMEM;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    l->refs++;
    int failure = pthread_create(&thread, &attributes, look_up, l);
    pthread_attr_destroy(&attributes);
    if (failure) {
        l->refs--;
        return SP_E_UNAVAILABLE;
    }
    *out = SP_TAKE(l);
    return SP_OK;
}

/* The time for one of `left` addresses. */
static struct sp_ssh_wait share(const struct sp_ssh_wait *wait, int left)
{
    struct sp_ssh_wait part = *wait;

    if (wait->deadline != SP_NEVER)
        part.deadline = sp_deadline_in(sp_deadline_left(wait->deadline) / left);
    return part;
}

/* 0, or an errno. *rc: given up. */
static int try_address(const struct addrinfo *a, const struct sp_ssh_wait *wait, int *out,
                       enum sp_code *rc)
{
    const int on = 1;
    sp_auto(sp_fd_close) int fd =
        socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    int failure = 0;
    socklen_t size = sizeof failure;

    if (fd < 0)
        return errno;
    if (connect(fd, a->ai_addr, a->ai_addrlen) && errno != EINPROGRESS)
        return errno;
    *rc = sp_ssh_poll(fd, POLLOUT, wait);
    if (*rc)
        return ETIMEDOUT;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (!failure)
        *out = SP_FD_TAKE(fd);
    return failure;
}

static enum sp_code try_addresses(const struct addrinfo *list, const char *name,
                                  const struct sp_ssh_wait *wait, int *fd, struct sp_error *err)
{
    int left = 0, failure = 0;

    for (const struct addrinfo *a = list; a; a = a->ai_next)
        left++;
    for (const struct addrinfo *a = list; a; a = a->ai_next, left--) {
        struct sp_ssh_wait part = share(wait, left);
        enum sp_code rc = SP_OK;

        failure = try_address(a, &part, fd, &rc);
        if (!failure)
            return SP_OK;
        rc = sp_ssh_may_wait(wait);
        if (rc)
            return sp_ssh_gave_up(name, "connect", rc, err);
    }
    return sp_error_errno(err, SP_E_UNAVAILABLE, failure, "%s: connect", name);
}

enum sp_code sp_ssh_dial(const char *host, int64_t port, const char *name,
                         const struct sp_ssh_wait *wait, int *fd, struct sp_error *err)
{
    sp_auto(lookup_unref) struct lookup *l = NULL;
    enum sp_code rc = start(host, port, &l);

    if (rc)
        return sp_error_set(err, rc, "%s: host name: no memory or thread to look it up", name);
    rc = sp_ssh_poll(l->done_fd, POLLIN, wait);
    if (rc)
        return sp_ssh_gave_up(name, "host name", rc, err);
    int failure = l->failure;
    if (failure) {
        return sp_error_set(err, SP_E_UNAVAILABLE, "%s: host name: %s", name,
                            failure == EAI_SYSTEM ? strerrordesc_np(l->os_error)
                                                  : gai_strerror(failure));
    }
    return try_addresses(l->found, name, wait, fd, err);
}
