/*
 * Messages under way. Each has a small `struct letter` as the opaque of its delivery report; when
 * it comes back undelivered, the letter takes the message's bytes along and is judged on the
 * consumer thread: another way, or the same again after a pause.
 */
#include "queue/producer.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "queue/headers.h"

#define PAUSE_FIRST_MS 1000
#define PAUSE_MAX_MS 30000
#define RECREATE_EVERY_MS 1000
#define ROOM_WAIT_MS 20
#define CLOSE_MS 5000
#define SMALL_BYTES 500000 /* half of librdkafka's batch.size */

struct letter {
    struct letter *next;
    struct sp_parcel parcel; /* kind, ticket, partition; the rest only while it is here */
    char *bytes;             /* of the parcel while it is here, one allocation */
    unsigned tries;
    int64_t due_ms;
    rd_kafka_resp_err_t error;
    bool alone; /* was sent by itself, so that a refusal for size means it and not its batch */
    bool too_large;
};

struct list {
    struct letter *first, *last;
};

struct handle {
    rd_kafka_t *rk;
    rd_kafka_queue_t *reports;
    rd_kafka_topic_t *warm; /* keeps the default topic known, so that no first reply waits */
};

struct sp_producer {
    struct sp_producer_options options;
    rd_kafka_conf_t *conf;        /* of every handle */
    pthread_rwlock_t handle_lock; /* guards handle against being replaced while it is used */
    struct handle handle;
    pthread_mutex_t lock; /* guards inbox */
    pthread_cond_t room;
    struct list inbox; /* refused at once, on any thread */
    atomic_int waiting_for_room;
    atomic_int under_way; /* librdkafka has them */
    atomic_bool closed, hurried, fatal;
    /* The consumer's thread only. */
    struct list finished, waiting, suspects; /* suspects: sent one at a time, for their size */
    struct letter *alone;
    int64_t recreated_ms;
    bool failing; /* deliveries; logged once */
    char refused_topic[256], refused[300];
    int64_t delivered, fallbacks, dead_letters;
};

/* The producer that this thread serves: it must not wait for itself. */
static _Thread_local const struct sp_producer *served_here;

enum refusal { NOT_REFUSED, TOPIC_REFUSED, PARTITION_REFUSED, SIZE_REFUSED };

/* What sending the same again to the same place cannot mend. All else is a matter of time. */
static const struct refusal_row {
    rd_kafka_resp_err_t error;
    enum refusal refusal;
    const char *reason;
} refusals[] = {
    {RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, TOPIC_REFUSED, "unknown topic"},
    {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, TOPIC_REFUSED, "unknown topic"},
    {RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, TOPIC_REFUSED, "invalid topic"},
    {RD_KAFKA_RESP_ERR__INVALID_ARG, TOPIC_REFUSED, "invalid topic"},
    {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, TOPIC_REFUSED, "not authorized"},
    {RD_KAFKA_RESP_ERR_POLICY_VIOLATION, TOPIC_REFUSED, "refused by policy"},
    {RD_KAFKA_RESP_ERR_INVALID_RECORD, TOPIC_REFUSED, "invalid record"},
    {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, PARTITION_REFUSED, SP_REASON_PARTITION},
    {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, SIZE_REFUSED, "too large"},
    {RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, SIZE_REFUSED, "too large"},
};

static const struct refusal_row *refusal_of(rd_kafka_resp_err_t error)
{
    static const struct refusal_row none = {0};
    for (size_t i = 0; i < SP_COUNT(refusals); i++) {
        if (refusals[i].error == error)
            return &refusals[i];
    }
    return &none;
}

static void list_push(struct list *list, struct letter *letter)
{
    letter->next = NULL;
    if (list->last) {
        list->last->next = letter;
    } else {
        list->first = letter;
    }
    list->last = letter;
}

static struct letter *list_pop(struct list *list)
{
    struct letter *letter = list->first;
    if (!letter)
        return NULL;
    list->first = letter->next;
    if (!list->first)
        list->last = NULL;
    return letter;
}

static void letter_free(struct letter *letter)
{
    if (letter->parcel.headers)
        rd_kafka_headers_destroy(letter->parcel.headers);
    free(letter->bytes);
    free(letter);
}

static void list_clear(struct list *list)
{
    struct letter *letter;
    while ((letter = list_pop(list)))
        letter_free(letter);
}

/* librdkafka's struct for values that it copies lacks the const. */
static rd_kafka_vu_t bytes_vu(rd_kafka_vtype_t type, const void *data, size_t len)
{
    return (rd_kafka_vu_t){.vtype = type, .u.mem = {(void *)(uintptr_t)data, len}};
}

/* The headers are librdkafka's once this succeeded. Thread: any. */
static rd_kafka_resp_err_t produce(struct sp_producer *producer, const struct sp_parcel *parcel,
                                   struct letter *letter)
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
    rd_kafka_error_t *failed = rd_kafka_produceva(producer->handle.rk, parts, SP_COUNT(parts));
    (void)pthread_rwlock_unlock(&producer->handle_lock);
    if (!failed)
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    (void)atomic_fetch_sub_explicit(&producer->under_way, 1, memory_order_relaxed);
    rd_kafka_resp_err_t error = rd_kafka_error_code(failed);
    rd_kafka_error_destroy(failed);
    if (error == RD_KAFKA_RESP_ERR__FATAL)
        atomic_store(&producer->fatal, true);
    return error;
}

/* Copies the parcel's bytes into the letter, which has them until it is sent again. */
static void keep(struct letter *letter, const struct sp_parcel *parcel)
{
    size_t topic_size = strlen(parcel->topic) + 1;
    char *bytes = sp_kafka_must(malloc(topic_size + parcel->key_len + parcel->value_len));
    char *key = bytes + topic_size, *value = key + parcel->key_len;
    memcpy(bytes, parcel->topic, topic_size);
    if (parcel->key)
        memcpy(key, parcel->key, parcel->key_len);
    if (parcel->value)
        memcpy(value, parcel->value, parcel->value_len);
    letter->parcel = *parcel;
    letter->parcel.topic = bytes;
    letter->parcel.key = parcel->key ? key : NULL;
    letter->parcel.value = parcel->value ? value : NULL;
    letter->bytes = bytes;
}

/* The buffer empties only where somebody serves the delivery reports. */
static void wait_for_room(struct sp_producer *producer)
{
    if (served_here == producer) {
        (void)rd_kafka_poll(producer->handle.rk, ROOM_WAIT_MS);
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
    struct letter *letter = calloc(1, sizeof(*letter));
    if (!letter) {
        rd_kafka_headers_destroy(parcel->headers);
        return sp_error_set(err, SP_E_NOMEM, "reply");
    }
    letter->parcel.kind = parcel->kind;
    letter->parcel.ticket = parcel->ticket;
    letter->parcel.partition = parcel->partition;
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR__QUEUE_FULL;
    while (!atomic_load(&producer->closed)) {
        error = produce(producer, parcel, letter);
        if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL || atomic_load(&producer->hurried))
            break;
        wait_for_room(producer);
    }
    if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        rd_kafka_headers_destroy(parcel->headers);
        free(letter);
        return sp_error_set(err, SP_E_INTERNAL, "the producer is full or closed");
    }
    if (error) {
        keep(letter, parcel);
        letter->error = error;
        (void)pthread_mutex_lock(&producer->lock);
        list_push(&producer->inbox, letter);
        (void)pthread_mutex_unlock(&producer->lock);
        sp_waker_signal(producer->options.waker);
    }
    return SP_OK; /* NOLINT(clang-analyzer-unix.Malloc): its delivery report has the letter */
}

static void finish(struct sp_producer *producer, struct letter *letter, bool too_large)
{
    letter->too_large = too_large;
    list_push(&producer->finished, letter);
}

/* Sends it again when it is due; at once for pause_ms 0. */
static void wait(struct sp_producer *producer, struct letter *letter, int64_t pause_ms)
{
    letter->due_ms = sp_deadline_in(pause_ms);
    list_push(&producer->waiting, letter);
}

static void wait_longer(struct sp_producer *producer, struct letter *letter)
{
    int64_t pause = PAUSE_MAX_MS;
    if (letter->tries < 5)
        pause = (int64_t)PAUSE_FIRST_MS << letter->tries;
    letter->tries++;
    wait(producer, letter, pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS);
}

static void fall_back(struct sp_producer *producer, struct letter *letter, const char *reason)
{
    struct sp_parcel *parcel = &letter->parcel;
    char text[300];
    (void)snprintf(text, sizeof(text), "%s: %s", parcel->topic, reason);
    sp_log(SP_WARN, "reply_fallback", sp_s("topic", parcel->topic), sp_s("reason", reason));
    (void)rd_kafka_header_remove(parcel->headers, SP_HEADER_REPLY_PARTITION);
    (void)rd_kafka_header_remove(parcel->headers, SP_HEADER_FALLBACK); /* about its partition */
    (void)rd_kafka_header_add(parcel->headers, SP_HEADER_FALLBACK, -1, text, -1);
    parcel->topic = producer->options.default_topic;
    parcel->partition = RD_KAFKA_PARTITION_UA;
    letter->alone = false;
    producer->fallbacks++;
    wait(producer, letter, 0);
}

static void by_key(struct sp_producer *producer, struct letter *letter)
{
    struct sp_parcel *parcel = &letter->parcel;
    if (parcel->kind == SP_PARCEL_REPLY) {
        (void)rd_kafka_header_remove(parcel->headers, SP_HEADER_REPLY_PARTITION);
        (void)rd_kafka_header_add(parcel->headers, SP_HEADER_FALLBACK, -1, SP_REASON_PARTITION, -1);
    }
    parcel->partition = RD_KAFKA_PARTITION_UA;
    wait(producer, letter, 0);
}

/* There is nowhere else to go: it is kept, and with it its offset. */
static void hold(struct sp_producer *producer, struct letter *letter, const char *reason)
{
    const char *topic = letter->parcel.topic;
    if (!producer->refused_topic[0])
        sp_log(SP_ERROR, "topic_refused", sp_s("topic", topic), sp_s("reason", reason));
    (void)snprintf(producer->refused_topic, sizeof(producer->refused_topic), "%s", topic);
    (void)snprintf(producer->refused, sizeof(producer->refused), "%s: %s", producer->refused_topic,
                   reason);
    wait_longer(producer, letter);
}

static void too_large(struct sp_producer *producer, struct letter *letter, bool to_default,
                      const char *reason)
{
    struct sp_parcel *parcel = &letter->parcel;
    if (parcel->kind == SP_PARCEL_REPLY && to_default) {
        finish(producer, letter, true);
    } else if (parcel->kind == SP_PARCEL_REPLY) {
        fall_back(producer, letter, reason);
    } else if (parcel->value) {
        sp_log(SP_WARN, "dead_letter_value_dropped", sp_s("topic", parcel->topic),
               sp_i("bytes", (int64_t)parcel->value_len));
        (void)rd_kafka_header_add(parcel->headers, SP_HEADER_DLQ_VALUE, -1, "dropped", -1);
        parcel->value = NULL;
        parcel->value_len = 0;
        wait(producer, letter, 0);
    } else {
        hold(producer, letter, reason);
    }
}

/* A broker refuses a batch as a whole. */
static bool is_suspect(const struct letter *letter)
{
    return !letter->alone && letter->parcel.key_len + letter->parcel.value_len < SMALL_BYTES;
}

/* Decides what becomes of a letter that is here because of letter->error. */
static void judge(struct sp_producer *producer, struct letter *letter)
{
    const struct refusal_row *row = refusal_of(letter->error);
    bool to_default = letter->parcel.kind == SP_PARCEL_REPLY &&
                      strcmp(letter->parcel.topic, producer->options.default_topic) == 0;
    if (row->refusal == NOT_REFUSED) {
        if (!producer->failing) {
            sp_log(SP_WARN, "delivery_failed", sp_s("topic", letter->parcel.topic),
                   sp_s("error", rd_kafka_err2name(letter->error)));
        }
        producer->failing = true;
        wait_longer(producer, letter);
    } else if (row->refusal == SIZE_REFUSED && is_suspect(letter)) {
        list_push(&producer->suspects, letter);
    } else if (row->refusal == SIZE_REFUSED) {
        too_large(producer, letter, to_default, row->reason);
    } else if (row->refusal == PARTITION_REFUSED &&
               letter->parcel.partition != RD_KAFKA_PARTITION_UA) {
        by_key(producer, letter);
    } else if (letter->parcel.kind == SP_PARCEL_REPLY && !to_default) {
        fall_back(producer, letter, row->reason);
    } else {
        hold(producer, letter, row->reason);
    }
}

static void delivered(struct sp_producer *producer, struct letter *letter, const char *topic)
{
    producer->failing = false;
    if (producer->refused_topic[0] && strcmp(producer->refused_topic, topic) == 0)
        producer->refused_topic[0] = producer->refused[0] = '\0';
    if (letter->parcel.kind == SP_PARCEL_REPLY) {
        producer->delivered++;
    } else {
        producer->dead_letters++;
    }
    finish(producer, letter, false);
}

/* Called on the thread that polls, which is the consumer's. */
static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct sp_producer *producer = opaque;
    struct letter *letter = message->_private;
    const char *topic = rd_kafka_topic_name(message->rkt);
    (void)rk;
    (void)atomic_fetch_sub_explicit(&producer->under_way, 1, memory_order_relaxed);
    if (producer->alone == letter)
        producer->alone = NULL;
    if (!message->err) {
        delivered(producer, letter, topic);
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
    keep(letter, &parcel);
    letter->error = message->err;
    judge(producer, letter);
}

static void on_error(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
    struct sp_producer *producer = opaque;
    char text[256] = "";
    if (err != RD_KAFKA_RESP_ERR__FATAL) {
        sp_log(SP_DEBUG, "kafka_error", sp_s("error", rd_kafka_err2name(err)),
               sp_s("reason", reason));
        return;
    }
    (void)rd_kafka_fatal_error(rk, text, sizeof(text));
    sp_log(SP_ERROR, "producer_fatal", sp_s("error", text));
    atomic_store(&producer->fatal, true);
}

static void send_again(struct sp_producer *producer, struct letter *letter)
{
    rd_kafka_resp_err_t error = produce(producer, &letter->parcel, letter);
    if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        wait(producer, letter, ROOM_WAIT_MS);
    } else if (error) {
        letter->error = error;
        if (producer->alone == letter)
            producer->alone = NULL;
        judge(producer, letter);
    } else {
        letter->parcel.headers = NULL; /* librdkafka's now, as a copy of the bytes is */
        free(SP_TAKE(letter->bytes));
    }
}

static void send_due(struct sp_producer *producer)
{
    struct list waiting = producer->waiting;
    producer->waiting = (struct list){0};
    int64_t now = sp_mono_ms();
    struct letter *letter;
    while ((letter = list_pop(&waiting))) {
        if (letter->due_ms <= now) {
            send_again(producer, letter);
        } else {
            list_push(&producer->waiting, letter);
        }
    }
    if (!producer->alone && (letter = list_pop(&producer->suspects))) {
        letter->alone = true;
        producer->alone = letter;
        wait(producer, letter, 0);
    }
}

static void judge_inbox(struct sp_producer *producer)
{
    (void)pthread_mutex_lock(&producer->lock);
    struct list inbox = producer->inbox;
    producer->inbox = (struct list){0};
    (void)pthread_mutex_unlock(&producer->lock);
    struct letter *letter;
    while ((letter = list_pop(&inbox)))
        judge(producer, letter);
}

static enum sp_code open_handle(struct sp_producer *producer, struct handle *out,
                                struct sp_error *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_dup(producer->conf);
    struct handle handle = {0};
    enum sp_code rc = sp_kafka_open(RD_KAFKA_PRODUCER, conf, &handle.rk, err);
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
    (void)rd_kafka_purge(handle->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    while (rd_kafka_outq_len(handle->rk) > 0 && sp_deadline_left(until) > 0)
        (void)rd_kafka_poll(handle->rk, 10);
    sp_waker_watch(NULL, handle->reports);
    rd_kafka_queue_destroy(handle->reports);
    if (handle->warm)
        rd_kafka_topic_destroy(handle->warm);
    sp_kafka_destroy(handle->rk, CLOSE_MS);
}

/* After a fatal error a handle sends nothing more; another one sends what it has not delivered. */
static void recreate(struct sp_producer *producer)
{
    struct handle fresh, old = producer->handle;
    struct sp_error err = {0};
    producer->recreated_ms = sp_mono_ms();
    if (open_handle(producer, &fresh, &err)) {
        sp_log(SP_ERROR, "producer_recreate_failed", sp_s("error", err.msg));
        return;
    }
    (void)pthread_rwlock_wrlock(&producer->handle_lock);
    producer->handle = fresh;
    (void)pthread_rwlock_unlock(&producer->handle_lock);
    atomic_store(&producer->fatal, false);
    close_handle(&old);
    for (struct letter *letter = producer->waiting.first; letter; letter = letter->next)
        letter->due_ms = 0;
    sp_log(SP_WARN, "producer_recreated");
}

void sp_producer_serve(struct sp_producer *producer)
{
    served_here = producer;
    (void)rd_kafka_poll(producer->handle.rk, 0);
    judge_inbox(producer);
    if (atomic_load(&producer->fatal) && sp_mono_ms() - producer->recreated_ms >= RECREATE_EVERY_MS)
        recreate(producer);
    send_due(producer);
    if (atomic_load(&producer->waiting_for_room) > 0)
        (void)pthread_cond_broadcast(&producer->room);
}

bool sp_producer_next(struct sp_producer *producer, bool *was_too_large, void **ticket)
{
    struct letter *letter = list_pop(&producer->finished);
    if (!letter)
        return false;
    *was_too_large = letter->too_large;
    *ticket = letter->parcel.ticket;
    letter_free(letter);
    return true;
}

bool sp_producer_behind(const struct sp_producer *producer)
{
    return atomic_load_explicit(&producer->under_way, memory_order_relaxed) >= SP_UNDER_WAY_MAX;
}

int64_t sp_producer_due_ms(const struct sp_producer *producer)
{
    int64_t due = producer->suspects.first && !producer->alone ? 0 : SP_NEVER;
    for (const struct letter *letter = producer->waiting.first; letter; letter = letter->next)
        due = sp_deadline_min(due, letter->due_ms);
    return due;
}

void sp_producer_status(const struct sp_producer *producer, struct sp_queue_status *out)
{
    out->reply_topic_refused = producer->refused_topic[0] != '\0';
    memcpy(out->refused, producer->refused, sizeof(out->refused));
    out->delivered = producer->delivered;
    out->fallbacks = producer->fallbacks;
    out->dead_letters = producer->dead_letters;
    out->producer_queue = rd_kafka_outq_len(producer->handle.rk);
}

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
    list_clear(&producer->inbox);
    list_clear(&producer->waiting);
    list_clear(&producer->suspects);
    list_clear(&producer->finished);
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
    producer->conf = conf;
    init_locks(producer);
    rd_kafka_conf_set_opaque(conf, producer);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_error_cb(conf, on_error);
    enum sp_code rc = open_handle(producer, &producer->handle, err);
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
        (void)rd_kafka_flush(producer->handle.rk, ROOM_WAIT_MS);
    } while (sp_deadline_left(until) > 0 && (rd_kafka_outq_len(producer->handle.rk) > 0 ||
                                             producer->waiting.first || producer->suspects.first));
    close_handle(&producer->handle);
    served_here = NULL; /* the next one may get the same address */
}

void sp_producer_close(struct sp_producer *producer)
{
    if (producer)
        free_producer(producer);
}
