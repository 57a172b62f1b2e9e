/*
 * Wakes the one thread that waits for several of librdkafka's queues and for our own threads. It
 * costs a system call only when that thread has looked since the last wake-up.
 */
#pragma once

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/error.h"

struct sp_waker {
    int fd; /* eventfd */
    atomic_bool signalled;
};

SP_MUST_CHECK enum sp_code sp_waker_init(struct sp_waker *waker, struct sp_error *err);
void sp_waker_clear(struct sp_waker *waker);
/* Thread: any. */
void sp_waker_signal(struct sp_waker *waker);
/*
 * Returns at once when there was a signal since the last call, else waits for one, at most
 * timeout_ms. Look at everything after it, and before the next. Thread: the one that waits.
 */
void sp_waker_wait(struct sp_waker *waker, int timeout_ms);
/* Has a queue signal whenever it stops being empty; a NULL waker ends that. */
void sp_waker_watch(struct sp_waker *waker, rd_kafka_queue_t *queue);
