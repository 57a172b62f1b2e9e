/* An eventfd with a flag before it, so that a busy reader makes its writers skip the system call.
 */
#include "queue/waker.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum sp_code sp_waker_init(struct sp_waker *waker, struct sp_error *err)
{
    atomic_init(&waker->signalled, false);
    waker->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (waker->fd < 0)
        return sp_error_errno(err, SP_E_UNAVAILABLE, errno, "eventfd");
    return SP_OK;
}

void sp_waker_clear(struct sp_waker *waker)
{
    if (waker->fd >= 0)
        close(waker->fd);
    waker->fd = -1;
}

void sp_waker_signal(struct sp_waker *waker)
{
    if (!atomic_exchange(&waker->signalled, true))
        (void)eventfd_write(waker->fd, 1); /* fails only where it is readable anyway */
}

void sp_waker_wait(struct sp_waker *waker, int timeout_ms)
{
    if (!atomic_load(&waker->signalled)) {
        struct pollfd fd = {.fd = waker->fd, .events = POLLIN};
        (void)poll(&fd, 1, timeout_ms);
    }
    /* Read first: a signal between the two leaves the descriptor readable, which costs one look. */
    eventfd_t count;
    (void)eventfd_read(waker->fd, &count);
    atomic_store(&waker->signalled, false);
}

static void on_event(rd_kafka_t *rk, void *waker)
{
    (void)rk;
    sp_waker_signal(waker);
}

void sp_waker_watch(struct sp_waker *waker, rd_kafka_queue_t *queue)
{
    rd_kafka_queue_cb_event_enable(queue, waker ? on_event : NULL, waker);
}
