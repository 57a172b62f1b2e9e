/*
 * Messages under way. Each has a small letter as the opaque of its delivery report; when it comes
 * back undelivered, the letter takes the message's bytes along and is judged on the consumer
 * thread: queue/outbox.h.
 */
#include "queue/producer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/outbox.h"

#define RENEW_EVERY_MS 1000
#define ROOM_WAIT_MS 20
#define CLOSE_MS 5000

struct handle {
    rd_kafka_t *rk;
    rd_kafka_queue_t *reports;
    rd_kafka_topic_t *warm; /* keeps the default topic known, so that no first reply waits */
};

/* Of letters that may share a batch, and of those that are sent alone: made when first needed. */
enum { TOGETHER, ALONE, HANDLES };

struct sp_producer {
    struct sp_producer_options options;
    rd_kafka_conf_t *conf;        /* of every handle */
    pthread_rwlock_t handle_lock; /* guards handles against being replaced while they are used */
    struct handle handles[HANDLES];
    pthread_mutex_t lock; /* guards inbox */
    pthread_cond_t room;
    struct sp_letters inbox; /* refused at once, on any thread */
    atomic_int waiting_for_room;
    atomic_int under_way; /* librdkafka has them */
    atomic_bool closed, hurried;
    /* The consumer's thread only. */
    struct sp_outbox outbox;
    int64_t renewed_ms;
};

/* The producer that this thread serves: it must not wait for itself. */
static _Thread_local const struct sp_producer *served_here;

/* librdkafka's struct for values that it copies lacks the const. */
static rd_kafka_vu_t bytes_vu(rd_kafka_vtype_t type, const void *data, size_t len)
{
    return (rd_kafka_vu_t){.vtype = type, .u.mem = {(void *)(uintptr_t)data, len}};
}

/* The headers are librdkafka's once this succeeded. Thread: any. */
static rd_kafka_resp_err_t produce(struct sp_producer *producer, const struct sp_parcel *parcel,
                                   struct sp_letter *letter)
{
    rd_kafka_vu_t parts[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = parcel->topic},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = parcel->partition},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        bytes_vu(RD_KAFKA_VTYPE_VALUE, parcel->value, parcel->value_len),
        bytes_vu(RD_KAFKA_VTYPE_KEY, parcel->key, parcel->key_len),
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = parcel->headers},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = letter},
    };
    (void)atomic_fetch_add_explicit(&producer->under_way, 1, memory_order_relaxed);
    (void)pthread_rwlock_rdlock(&producer->handle_lock);
    rd_kafka_error_t *failed =
        rd_kafka_produceva(producer->handles[letter->alone].rk, parts, SP_COUNT(parts));
    (void)pthread_rwlock_unlock(&producer->handle_lock);
    if (!failed)
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    (void)atomic_fetch_sub_explicit(&producer->under_way, 1, memory_order_relaxed);
    rd_kafka_resp_err_t error = rd_kafka_error_code(failed);
    rd_kafka_error_destroy(failed);
    return error;
}

/* The buffer empties only where somebody serves the delivery reports. */
static void wait_for_room(struct sp_producer *producer)
{
    if (served_here == producer) {
        (void)rd_kafka_poll(producer->handles[TOGETHER].rk, ROOM_WAIT_MS);
        return;
    }
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += ROOM_WAIT_MS * 1000000L;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)atomic_fetch_add(&producer->waiting_for_room, 1);
    (void)pthread_mutex_lock(&producer->lock);
    (void)pthread_cond_timedwait(&producer->room, &producer->lock, &until);
    (void)pthread_mutex_unlock(&producer->lock);
    (void)atomic_fetch_sub(&producer->waiting_for_room, 1);
}

enum sp_code sp_producer_send(struct sp_producer *producer, const struct sp_parcel *parcel,
                              struct sp_error *err)
{
    struct sp_letter *letter = sp_letter_new(parcel);
    if (!letter) {
        rd_kafka_headers_destroy(parcel->headers);
        return sp_error_set(err, SP_E_NOMEM, "reply");
    }
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR__QUEUE_FULL;
    while (!atomic_load(&producer->closed)) {
        error = produce(producer, parcel, letter);
        if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL || atomic_load(&producer->hurried))
            break;
        wait_for_room(producer);
    }
    if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        rd_kafka_headers_destroy(parcel->headers);
        sp_letter_free(letter);
        return sp_error_set(err, SP_E_INTERNAL, "the producer is full or closed");
    }
    if (error) {
        sp_letter_keep(letter, parcel);
        letter->error = error;
        letter->alone = error == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; /* was in no batch yet */
        (void)pthread_mutex_lock(&producer->lock);
        sp_letters_push(&producer->inbox, letter);
        (void)pthread_mutex_unlock(&producer->lock);
        sp_waker_signal(producer->options.waker);
    }
    return SP_OK; /* NOLINT(clang-analyzer-unix.Malloc): its delivery report has the letter */
}

/* Called on the thread that polls, which is the consumer's. */
static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct sp_producer *producer = opaque;
    struct sp_letter *letter = message->_private;
    const char *topic = rd_kafka_topic_name(message->rkt);
    (void)rk;
    (void)atomic_fetch_sub_explicit(&producer->under_way, 1, memory_order_relaxed);
    if (!message->err) {
        sp_outbox_delivered(&producer->outbox, letter, topic);
        return;
    }
    struct sp_parcel parcel = {
        .kind = letter->parcel.kind,
        .topic = topic,
        .partition = letter->parcel.partition, /* the message's is where it would have gone */
        .key = message->key,
        .key_len = message->key_len,
        .value = message->payload,
        .value_len = message->len,
        .ticket = letter->parcel.ticket,
    };
    /* librdkafka declares the message const, and takes its headers away all the same. */
    (void)rd_kafka_message_detach_headers((rd_kafka_message_t *)(uintptr_t)message,
                                          &parcel.headers);
    sp_letter_keep(letter, &parcel);
    letter->error = message->err;
    sp_outbox_judge(&producer->outbox, letter);
}

static void on_error(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
    (void)rk;
    (void)opaque;
    sp_log(SP_DEBUG, "kafka_error", sp_s("error", rd_kafka_err2name(err)), sp_s("reason", reason));
}

/* ---- handles ---- */

static enum sp_code open_handle(struct sp_producer *producer, size_t which, struct handle *out,
                                struct sp_error *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_dup(producer->conf);
    struct handle handle = {0};
    enum sp_code rc = which == ALONE ? sp_kafka_set(conf, "batch.num.messages", "1", err) : SP_OK;
    if (!rc)
        rc = sp_kafka_open(RD_KAFKA_PRODUCER, conf, &handle.rk, err);
    if (rc) {
        rd_kafka_conf_destroy(conf);
        return rc;
    }
    handle.reports = rd_kafka_queue_get_main(handle.rk);
    sp_waker_watch(producer->options.waker, handle.reports);
    handle.warm = rd_kafka_topic_new(handle.rk, producer->options.default_topic, NULL);
    *out = handle;
    return SP_OK;
}

/* What is under way comes back to on_delivery() first. */
static void close_handle(const struct handle *handle)
{
    int64_t until = sp_deadline_in(CLOSE_MS);
    if (!handle->rk)
        return;
    (void)rd_kafka_purge(handle->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    while (rd_kafka_outq_len(handle->rk) > 0 && sp_deadline_left(until) > 0)
        (void)rd_kafka_poll(handle->rk, 10);
    sp_waker_watch(NULL, handle->reports);
    rd_kafka_queue_destroy(handle->reports);
    if (handle->warm)
        rd_kafka_topic_destroy(handle->warm);
    sp_kafka_destroy(handle->rk, CLOSE_MS);
}

/* Another handle sends what the old one, if there was one, has not delivered. False: none was made.
 */
static bool renew(struct sp_producer *producer, size_t which)
{
    struct handle fresh, old = producer->handles[which];
    struct sp_error err = {0};
    producer->renewed_ms = sp_mono_ms();
    if (open_handle(producer, which, &fresh, &err)) {
        sp_log(SP_ERROR, "producer_recreate_failed", sp_s("error", err.msg));
        return false;
    }
    (void)pthread_rwlock_wrlock(&producer->handle_lock);
    producer->handles[which] = fresh;
    (void)pthread_rwlock_unlock(&producer->handle_lock);
    close_handle(&old);
    return true;
}

/* After a fatal error a handle sends nothing more. */
static void mend(struct sp_producer *producer, size_t which)
{
    char text[256] = "";
    if (!rd_kafka_fatal_error(producer->handles[which].rk, text, sizeof(text)) ||
        sp_mono_ms() - producer->renewed_ms < RENEW_EVERY_MS)
        return;
    sp_log(SP_ERROR, "producer_fatal", sp_s("error", text));
    if (!renew(producer, which))
        return;
    for (struct sp_letter *letter = producer->outbox.waiting.first; letter; letter = letter->next)
        letter->due_ms = 0;
    sp_log(SP_WARN, "producer_recreated");
}

/* ---- serving ---- */

static void send_again(struct sp_producer *producer, struct sp_letter *letter)
{
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR__FAIL;
    if (producer->handles[letter->alone].rk || renew(producer, letter->alone))
        error = produce(producer, &letter->parcel, letter);
    if (!error) {
        sp_letter_sent(letter);
    } else if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        sp_outbox_wait(&producer->outbox, letter, ROOM_WAIT_MS);
    } else {
        letter->error = error;
        sp_outbox_judge(&producer->outbox, letter);
    }
}

static void send_due(struct sp_producer *producer)
{
    struct sp_letters waiting = producer->outbox.waiting;
    producer->outbox.waiting = (struct sp_letters){0};
    int64_t now = sp_mono_ms();
    struct sp_letter *letter;
    while ((letter = sp_letters_pop(&waiting))) {
        if (letter->due_ms <= now) {
            send_again(producer, letter);
        } else {
            sp_letters_push(&producer->outbox.waiting, letter);
        }
    }
}

static void judge_inbox(struct sp_producer *producer)
{
    (void)pthread_mutex_lock(&producer->lock);
    struct sp_letters inbox = producer->inbox;
    producer->inbox = (struct sp_letters){0};
    (void)pthread_mutex_unlock(&producer->lock);
    struct sp_letter *letter;
    while ((letter = sp_letters_pop(&inbox)))
        sp_outbox_judge(&producer->outbox, letter);
}

void sp_producer_serve(struct sp_producer *producer)
{
    served_here = producer;
    judge_inbox(producer);
    for (size_t i = 0; i < HANDLES && producer->handles[i].rk; i++) {
        (void)rd_kafka_poll(producer->handles[i].rk, 0);
        mend(producer, i);
    }
    send_due(producer);
    if (atomic_load(&producer->waiting_for_room) > 0)
        (void)pthread_cond_broadcast(&producer->room);
}

bool sp_producer_next(struct sp_producer *producer, bool *too_large, void **ticket)
{
    struct sp_letter *letter = sp_letters_pop(&producer->outbox.finished);
    if (!letter)
        return false;
    *too_large = letter->too_large;
    *ticket = letter->parcel.ticket;
    sp_letter_free(letter);
    return true;
}

bool sp_producer_behind(const struct sp_producer *producer)
{
    return atomic_load_explicit(&producer->under_way, memory_order_relaxed) >= SP_UNDER_WAY_MAX;
}

int64_t sp_producer_due_ms(const struct sp_producer *producer)
{
    int64_t due = SP_NEVER;
    const struct sp_letter *letter = producer->outbox.waiting.first;
    for (; letter; letter = letter->next)
        due = sp_deadline_min(due, letter->due_ms);
    return due;
}

/* Messages that librdkafka has. */
static int queued(const struct sp_producer *producer)
{
    int n = 0;
    for (size_t i = 0; i < HANDLES && producer->handles[i].rk; i++)
        n += rd_kafka_outq_len(producer->handles[i].rk);
    return n;
}

void sp_producer_status(const struct sp_producer *producer, struct sp_queue_status *out)
{
    const struct sp_outbox *outbox = &producer->outbox;
    out->reply_topic_refused = outbox->refused_topic[0] != '\0';
    memcpy(out->refused, outbox->refused, sizeof(out->refused));
    out->delivered = outbox->delivered;
    out->fallbacks = outbox->fallbacks;
    out->dead_letters = outbox->dead_letters;
    out->producer_queue = queued(producer);
}

/* ---- start and end ---- */

static void init_locks(struct sp_producer *producer)
{
    pthread_condattr_t clock;
    (void)pthread_condattr_init(&clock);
    (void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&producer->room, &clock);
    (void)pthread_condattr_destroy(&clock);
    (void)pthread_mutex_init(&producer->lock, NULL);
    (void)pthread_rwlock_init(&producer->handle_lock, NULL);
}

static void free_producer(struct sp_producer *producer)
{
    sp_letters_clear(&producer->inbox);
    sp_outbox_clear(&producer->outbox);
    (void)pthread_cond_destroy(&producer->room);
    (void)pthread_mutex_destroy(&producer->lock);
    (void)pthread_rwlock_destroy(&producer->handle_lock);
    rd_kafka_conf_destroy(producer->conf);
    free(producer);
}

enum sp_code sp_producer_open(const struct sp_producer_options *options, rd_kafka_conf_t *conf,
                              struct sp_producer **out, struct sp_error *err)
{
    struct sp_producer *producer = calloc(1, sizeof(*producer));
    if (!producer) {
        rd_kafka_conf_destroy(conf);
        return sp_error_set(err, SP_E_NOMEM, "producer");
    }
    producer->options = *options;
    producer->outbox.default_topic = options->default_topic;
    producer->conf = conf;
    init_locks(producer);
    rd_kafka_conf_set_opaque(conf, producer);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_error_cb(conf, on_error);
    enum sp_code rc = open_handle(producer, TOGETHER, &producer->handles[TOGETHER], err);
    if (rc) {
        free_producer(producer);
        return rc;
    }
    *out = producer;
    return SP_OK;
}

void sp_producer_hurry(struct sp_producer *producer)
{
    atomic_store(&producer->hurried, true);
}

void sp_producer_flush(struct sp_producer *producer, int64_t flush_ms)
{
    if (!producer)
        return;
    atomic_store(&producer->closed, true);
    int64_t until = sp_deadline_in(flush_ms);
    do {
        sp_producer_serve(producer);
        for (size_t i = 0; i < HANDLES && producer->handles[i].rk; i++)
            (void)rd_kafka_flush(producer->handles[i].rk, ROOM_WAIT_MS);
    } while (sp_deadline_left(until) > 0 &&
             (queued(producer) > 0 || producer->outbox.waiting.first));
    for (size_t i = 0; i < HANDLES; i++)
        close_handle(&producer->handles[i]);
    served_here = NULL; /* the next one may get the same address */
}

void sp_producer_close(struct sp_producer *producer)
{
    if (producer)
        free_producer(producer);
}
