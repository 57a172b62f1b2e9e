/*
 * queue.h over consumer.c and producer.c: one loop that serves both, waits for both, and keeps the
 * global bound in bytes. Callbacks are served at most once a millisecond while there is work, so
 * that a record costs no look at queues that are empty.
 */
#include "queue/queue.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "queue/consumer.h"
#include "queue/headers.h"
#include "queue/producer.h"

#define SERVE_EVERY_US 1000
#define TICK_MS 200 /* commits and the copy of the status */
#define CLOSE_MS 5000

struct sp_queue {
    struct sp_queue_options options;
    char *group;
    struct sp_waker waker;
    struct sp_consumer *consumer;
    struct sp_producer *producer;
    atomic_bool woken, stopped;
    bool left;
    atomic_llong records, bytes; /* taken and not complete */
    /* The consumer thread only. */
    int64_t served_us, ticked_ms;
    pthread_mutex_t lock; /* guards status */
    struct sp_queue_status status;
};

static enum sp_code configure(rd_kafka_type_t type, const struct sp_queue_options *options,
                              rd_kafka_conf_t **out, struct sp_error *err)
{
    sp_auto(rd_kafka_conf_destroy) rd_kafka_conf_t *conf = sp_kafka_conf(type);
    enum sp_code rc = sp_kafka_set(conf, "client.id", options->worker_id, err);
    if (!rc)
        rc = sp_kafka_set(conf, "client.software.version", options->version, err);
    if (!rc)
        rc = sp_kafka_pass(conf, options->kafka, options->n_kafka, err);
    if (!rc)
        *out = SP_TAKE(conf);
    return rc;
}

/* malloc'ed; NULL for a property without a value. */
static char *property_of(const rd_kafka_conf_t *conf, const char *key)
{
    size_t size = 0;
    if (rd_kafka_conf_get(conf, key, NULL, &size) != RD_KAFKA_CONF_OK || size <= 1)
        return NULL;
    char *value = sp_kafka_must(malloc(size));
    (void)rd_kafka_conf_get(conf, key, value, &size);
    return value;
}

static enum sp_code open_producer(struct sp_queue *q, struct sp_error *err)
{
    const struct sp_producer_options options = {
        .waker = &q->waker,
        .default_topic = q->options.topics->reply,
    };
    rd_kafka_conf_t *conf = NULL;
    enum sp_code rc = configure(RD_KAFKA_PRODUCER, &q->options, &conf, err);
    if (rc)
        return rc;
    return sp_producer_open(&options, conf, &q->producer, err);
}

static enum sp_code open_consumer(struct sp_queue *q, struct sp_error *err)
{
    const struct sp_consumer_options options = {
        .topics = q->options.topics,
        .window = q->options.window,
        .waker = &q->waker,
    };
    sp_auto(rd_kafka_conf_destroy) rd_kafka_conf_t *conf = NULL;
    enum sp_code rc = configure(RD_KAFKA_CONSUMER, &q->options, &conf, err);
    if (rc)
        return rc;
    sp_auto(sp_free_str) char *brokers = property_of(conf, "bootstrap.servers");
    if (!brokers)
        return sp_error_set(err, SP_E_INVALID, "kafka.bootstrap.servers: required");
    q->group = property_of(conf, "group.id");
    if (!q->group)
        return sp_error_set(err, SP_E_INVALID, "kafka.group.id: must not be empty");
    return sp_consumer_open(&options, SP_TAKE(conf), &q->consumer, err);
}

enum sp_code sp_queue_open(const struct sp_queue_options *options, struct sp_queue **out,
                           struct sp_error *err)
{
    struct sp_queue *q = calloc(1, sizeof(*q));
    if (!q)
        return sp_error_set(err, SP_E_NOMEM, "queue");
    q->options = *options;
    q->waker.fd = -1;
    (void)pthread_mutex_init(&q->lock, NULL);
    enum sp_code rc = sp_waker_init(&q->waker, err);
    if (!rc)
        rc = open_consumer(q, err);
    if (!rc)
        rc = open_producer(q, err);
    if (!rc)
        rc = sp_consumer_subscribe(q->consumer, err); /* last: a start that fails joins no group */
    if (rc) {
        sp_queue_close(q, 0);
        return rc;
    }
    *out = q;
    return SP_OK;
}

/* Others read a copy, so that nothing of this thread's is shared. */
static void publish_status(struct sp_queue *q)
{
    (void)pthread_mutex_lock(&q->lock);
    sp_consumer_status(q->consumer, &q->status);
    sp_producer_status(q->producer, &q->status);
    (void)pthread_mutex_unlock(&q->lock);
}

bool sp_queue_is_leaving(const struct sp_queue *q)
{
    return sp_consumer_is_leaving(q->consumer);
}

static void serve(struct sp_queue *q, int64_t now_us)
{
    bool was_leaving = sp_queue_is_leaving(q);
    q->served_us = now_us;
    sp_producer_serve(q->producer);
    sp_consumer_serve(q->consumer);
    if (!was_leaving && sp_queue_is_leaving(q))
        atomic_store(&q->woken, true); /* the caller has something to hand back */
    if (now_us / 1000 - q->ticked_ms < TICK_MS)
        return;
    q->ticked_ms = now_us / 1000;
    publish_status(q);
}

/* The bound is passed by one record at most, and a record that alone is over it can be taken. */
static struct sp_record *take(struct sp_queue *q)
{
    if (atomic_load(&q->stopped) || atomic_load(&q->bytes) >= q->options.window_bytes ||
        sp_producer_behind(q->producer))
        return NULL;
    struct sp_record *record = sp_consumer_take(q->consumer);
    if (record) {
        (void)atomic_fetch_add(&q->records, 1);
        (void)atomic_fetch_add(&q->bytes, (long long)record->bytes);
    }
    return record;
}

static int wait_ms(const struct sp_queue *q, int64_t until_ms)
{
    int64_t due = sp_deadline_min(sp_producer_due_ms(q->producer), q->ticked_ms + TICK_MS);
    return sp_deadline_left(sp_deadline_min(until_ms, due));
}

/* What waits for no peer. SP_QUEUE_IDLE: nothing. */
static enum sp_queue_event next_ticket(struct sp_queue *q, void **ticket)
{
    bool too_large = false, committed = false;
    if (sp_producer_next(q->producer, &too_large, ticket))
        return too_large ? SP_QUEUE_TOO_LARGE : SP_QUEUE_DELIVERED;
    if (sp_consumer_next_ticket(q->consumer, ticket, &committed))
        return committed ? SP_QUEUE_COMMITTED : SP_QUEUE_FORGOTTEN;
    return SP_QUEUE_IDLE;
}

enum sp_queue_event sp_queue_next(struct sp_queue *q, bool want_records, int64_t timeout_ms,
                                  struct sp_record **record, void **ticket)
{
    int64_t until_ms = 0;
    bool idle = false; /* nothing was found since the callbacks were last served */
    if (q->left)
        return next_ticket(q, ticket);
    for (;;) {
        int64_t now_us = sp_mono_us();
        if (idle || now_us - q->served_us >= SERVE_EVERY_US)
            serve(q, now_us);
        enum sp_queue_event event = next_ticket(q, ticket);
        if (event != SP_QUEUE_IDLE)
            return event;
        struct sp_record *taken = want_records ? take(q) : NULL;
        if (taken) {
            *record = taken;
            return SP_QUEUE_RECORD;
        }
        if (!idle) {
            idle = true;
            until_ms = sp_deadline_in(timeout_ms);
            continue;
        }
        if (atomic_exchange(&q->woken, false) || sp_deadline_left(until_ms) == 0)
            return SP_QUEUE_IDLE;
        sp_waker_wait(&q->waker, wait_ms(q, until_ms));
    }
}

void sp_queue_wake(struct sp_queue *q)
{
    atomic_store(&q->woken, true);
    sp_waker_signal(&q->waker);
}

enum sp_code sp_queue_reply(struct sp_queue *q, const struct sp_send *send, struct sp_error *err)
{
    const struct sp_record *record = send->record;
    const struct sp_parcel parcel = {
        .kind = SP_PARCEL_REPLY,
        .topic = send->env->reply_topic,
        .partition = send->env->reply_partition,
        .key = record->key ? record->key : send->request_id,
        .key_len = record->key ? record->key_len : strlen(send->request_id),
        .value = send->value,
        .value_len = send->len,
        .headers = sp_headers_of_reply(send, q->options.worker_id),
        .ticket = send->ticket,
    };
    return sp_producer_send(q->producer, &parcel, err);
}

enum sp_code sp_queue_dead_letter(struct sp_queue *q, const struct sp_record *record,
                                  const char *reason, int64_t attempts, void *ticket,
                                  struct sp_error *err)
{
    const struct sp_dead_letter letter = {
        .record = record,
        .reason = reason,
        .group = q->group,
        .worker_id = q->options.worker_id,
        .attempts = attempts,
        .first_seen_ms = sp_wall_ms(),
    };
    char topic[260];
    sp_topic_dlq(q->options.topics, record->topic, topic, sizeof(topic));
    const struct sp_parcel parcel = {
        .kind = SP_PARCEL_DEAD_LETTER,
        .topic = topic,
        .partition = record->partition,
        .key = record->key,
        .key_len = record->key_len,
        .value = record->value,
        .value_len = record->value_len,
        .headers = sp_headers_of_dead_letter(&letter),
        .ticket = ticket,
    };
    return sp_producer_send(q->producer, &parcel, err);
}

static void release(struct sp_queue *q, struct sp_record *record)
{
    (void)atomic_fetch_sub(&q->records, 1);
    (void)atomic_fetch_sub(&q->bytes, (long long)record->bytes);
    sp_record_free(record);
}

void sp_queue_abandon(struct sp_queue *q, struct sp_record *record)
{
    sp_consumer_hand_back(q->consumer, record);
    release(q, record);
}

void sp_queue_complete(struct sp_queue *q, struct sp_record *record, void *ticket)
{
    sp_consumer_complete(q->consumer, record, ticket);
    release(q, record);
}

void sp_queue_stop_intake(struct sp_queue *q)
{
    atomic_store(&q->stopped, true);
}

void sp_queue_hurry(struct sp_queue *q)
{
    sp_producer_hurry(q->producer);
}

void sp_queue_status(struct sp_queue *q, struct sp_queue_status *out)
{
    (void)pthread_mutex_lock(&q->lock);
    *out = q->status;
    out->partitions = NULL;
    if (out->n_partitions > 0) {
        size_t bytes = out->n_partitions * sizeof(*out->partitions);
        out->partitions = sp_kafka_must(malloc(bytes));
        memcpy(out->partitions, q->status.partitions, bytes);
    }
    (void)pthread_mutex_unlock(&q->lock);
    out->records = atomic_load(&q->records);
    out->bytes = atomic_load(&q->bytes);
}

void sp_queue_leave(struct sp_queue *q, int64_t flush_ms)
{
    if (q->left)
        return;
    q->left = true;
    if (q->producer)
        sp_producer_flush(q->producer, flush_ms);
    if (q->consumer)
        sp_consumer_leave(q->consumer, CLOSE_MS);
}

void sp_queue_close(struct sp_queue *q, int64_t flush_ms)
{
    if (!q)
        return;
    sp_queue_leave(q, flush_ms);
    sp_producer_close(q->producer);
    sp_consumer_close(q->consumer);
    sp_waker_clear(&q->waker);
    (void)pthread_mutex_destroy(&q->lock);
    free(q->status.partitions);
    free(q->group);
    free(q);
}
