/*
 * Split partition queues: each assigned partition's queue is cut off from the consumer's own one
 * before the assignment starts, and read by itself. Everything runs on the one thread that serves
 * the consumer, librdkafka's callbacks too; only a partition's reference count and its flags are
 * touched elsewhere.
 */
#include "queue/consumer.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/tracker.h"

#define COMMIT_EVERY_MS 200
#define LOOK_EVERY_MS 1000
#define COMMIT_LOST_MS 10000 /* an answer that did not come by then is not waited for */
#define REVOKE_COMMIT_MS 5000
#define SILENT_US 15000000 /* a broker is asked something several times within this */

/* How far a partition was read by this process, in whatever assignment. */
struct history {
    struct history *older;
    struct sp_partition *lost; /* taken away with work that its tracker knows of; or NULL */
    int64_t next;              /* offset */
    int32_t number;
    char topic[];
};

/*
 * A partition, assigned or lost with work under way. When it comes back (a session that a slow
 * broker let pass, a member that came and went) its records come a second time: what is out or
 * complete here is not taken again.
 */
struct sp_partition {
    atomic_int refs;
    atomic_bool revoked;
    atomic_bool ready; /* its queue may hold something */
    struct sp_waker *waker;
    /* The consumer's thread only. */
    rd_kafka_queue_t *queue;
    struct sp_tracker tracker;
    struct history *history;
    int64_t position;  /* the least offset that this assignment can read; -1: unknown, come back */
    int64_t committed; /* or where reading began; -1 before that */
    int64_t lag;       /* -1: unknown */
    int32_t number;
    char topic[];
};

struct sp_consumer {
    rd_kafka_t *rk;
    struct sp_consumer_options options;
    rd_kafka_queue_t *queue; /* everything but records */
    struct sp_partition **partitions;
    size_t n_partitions, turn;
    struct history *history;
    struct sp_tickets tickets;
    struct sp_header *headers; /* room for those of the record that is being copied */
    size_t headers_cap;
    bool rebalanced; /* ever */
    bool committing;
    int64_t commit_ms; /* when one was last sent */
    int64_t looked_ms; /* when every partition's queue was last looked at */
    bool up;
    char problem[300], problem_topic[256];
    int64_t consumed, commits, commit_errors, rebalances, redeliveries, last_commit_ms;
};

void sp_partition_unref(struct sp_partition *partition)
{
    if (!partition || atomic_fetch_sub(&partition->refs, 1) != 1)
        return;
    sp_tracker_clear(&partition->tracker);
    free(partition);
}

bool sp_partition_is_ours(const struct sp_partition *partition)
{
    return !atomic_load(&partition->revoked);
}

static struct history *history_of(struct sp_consumer *consumer, const char *topic, int32_t number)
{
    for (struct history *h = consumer->history; h; h = h->older) {
        if (h->number == number && strcmp(h->topic, topic) == 0)
            return h;
    }
    size_t size = strlen(topic) + 1;
    struct history *h = sp_kafka_must(calloc(1, sizeof(*h) + size));
    memcpy(h->topic, topic, size);
    h->number = number;
    h->older = consumer->history;
    consumer->history = h;
    return h;
}

static struct sp_partition *partition_new(struct sp_consumer *consumer, const char *topic,
                                          int32_t number)
{
    size_t size = strlen(topic) + 1;
    struct sp_partition *partition = sp_kafka_must(calloc(1, sizeof(*partition) + size));
    atomic_init(&partition->refs, 1);
    atomic_init(&partition->ready, true);
    memcpy(partition->topic, topic, size);
    partition->number = number;
    partition->waker = consumer->options.waker;
    partition->tracker = SP_TRACKER_INIT(consumer->options.window, &consumer->tickets);
    partition->history = history_of(consumer, topic, number);
    partition->committed = -1;
    partition->lag = -1;
    return partition;
}

/* One that comes back keeps its tracker, and the records that are out. */
static struct sp_partition *partition_of(struct sp_consumer *consumer, const char *topic,
                                         int32_t number)
{
    struct sp_partition *partition = SP_TAKE(history_of(consumer, topic, number)->lost);
    if (!partition)
        return partition_new(consumer, topic, number);
    partition->position = partition->committed = partition->lag = -1;
    atomic_store(&partition->ready, true);
    atomic_store(&partition->revoked, false);
    return partition;
}

static struct sp_partition **find(const struct sp_consumer *consumer, const char *topic,
                                  int32_t number)
{
    for (size_t i = 0; i < consumer->n_partitions; i++) {
        struct sp_partition *partition = consumer->partitions[i];
        if (partition->number == number && strcmp(partition->topic, topic) == 0)
            return &consumer->partitions[i];
    }
    return NULL;
}

/* On librdkafka's threads, whenever the partition's queue stops being empty. */
static void on_ready(rd_kafka_t *rk, void *opaque)
{
    struct sp_partition *partition = opaque;
    (void)rk;
    atomic_store(&partition->ready, true);
    sp_waker_signal(partition->waker);
}

/* Before the assignment starts: records that came earlier would be in the consumer's own queue. */
static void attach(struct sp_consumer *consumer, const char *topic, int32_t number)
{
    struct sp_partition *partition = partition_of(consumer, topic, number);
    partition->queue = sp_kafka_must(rd_kafka_queue_get_partition(consumer->rk, topic, number));
    rd_kafka_queue_forward(partition->queue, NULL);
    rd_kafka_queue_cb_event_enable(partition->queue, on_ready, partition);
    size_t n = consumer->n_partitions + 1;
    consumer->partitions =
        sp_kafka_must(realloc(consumer->partitions, n * sizeof(struct sp_partition *)));
    consumer->partitions[consumer->n_partitions++] = partition;
    if (strcmp(consumer->problem_topic, topic) == 0)
        consumer->problem[0] = '\0';
    sp_log(SP_INFO, "partition_assigned", sp_s("topic", topic), sp_i("partition", number));
}

static void detach(struct sp_consumer *consumer, struct sp_partition **place)
{
    struct sp_partition *partition = *place;
    *place = consumer->partitions[--consumer->n_partitions];
    atomic_store(&partition->revoked, true);
    rd_kafka_queue_cb_event_enable(partition->queue, NULL, NULL);
    rd_kafka_queue_destroy(SP_TAKE(partition->queue));
    sp_log(SP_INFO, "partition_revoked", sp_s("topic", partition->topic),
           sp_i("partition", partition->number), sp_i("watermark", partition->tracker.watermark),
           sp_i("out", (int64_t)partition->tracker.open));
    sp_tracker_forget(&partition->tracker);
    if (partition->tracker.count > 0) {
        partition->history->lost = partition;
    } else {
        sp_partition_unref(partition);
    }
}

/*
 * The offsets went back within an assignment: the log was cut off or the topic made anew. What is
 * out still gets its reply, but its offsets mean nothing any more.
 */
static struct sp_partition *restart(struct sp_consumer *consumer, struct sp_partition **place,
                                    int64_t offset)
{
    struct sp_partition *old = *place;
    sp_log(SP_WARN, "partition_went_back", sp_s("topic", old->topic),
           sp_i("partition", old->number), sp_i("expected", old->tracker.next),
           sp_i("offset", offset));
    struct sp_partition *fresh = partition_new(consumer, old->topic, old->number);
    fresh->queue = SP_TAKE(old->queue);
    rd_kafka_queue_cb_event_enable(fresh->queue, on_ready, fresh);
    *place = fresh;
    sp_tracker_forget(&old->tracker);
    sp_partition_unref(old);
    return fresh;
}

/* Before the first record of an assignment nobody knows what others committed meanwhile. */
static bool is_dirty(const struct sp_partition *partition)
{
    return partition->position >= 0 && partition->tracker.watermark > partition->committed;
}

/* NULL: nothing to commit. With a list, only of its partitions. */
static rd_kafka_topic_partition_list_t *dirty(const struct sp_consumer *consumer,
                                              const rd_kafka_topic_partition_list_t *only)
{
    rd_kafka_topic_partition_list_t *list = NULL;
    for (size_t i = 0; i < consumer->n_partitions; i++) {
        const struct sp_partition *p = consumer->partitions[i];
        if (!is_dirty(p) ||
            (only && !rd_kafka_topic_partition_list_find(only, p->topic, p->number)))
            continue;
        if (!list)
            list = rd_kafka_topic_partition_list_new((int)consumer->n_partitions);
        rd_kafka_topic_partition_list_add(list, p->topic, p->number)->offset = p->tracker.watermark;
    }
    return list;
}

/* A partition that was refused stays dirty, and is tried again at the next turn. */
static void on_committed(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                         rd_kafka_topic_partition_list_t *offsets, void *opaque)
{
    struct sp_consumer *consumer = opaque;
    (void)rk;
    consumer->committing = false;
    for (int i = 0; offsets && i < offsets->cnt; i++) {
        const rd_kafka_topic_partition_t *result = &offsets->elems[i];
        if (err || result->err) {
            consumer->commit_errors++;
            sp_log(SP_WARN, "commit_failed", sp_s("topic", result->topic),
                   sp_i("partition", result->partition), sp_i("offset", result->offset),
                   sp_s("error", rd_kafka_err2str(err ? err : result->err)));
            continue;
        }
        struct sp_partition **place = find(consumer, result->topic, result->partition);
        /* The answer may belong to what was before the offsets went back. */
        if (place && result->offset <= (*place)->tracker.watermark) {
            (*place)->committed = result->offset;
            sp_tracker_committed(&(*place)->tracker, result->offset);
        }
        consumer->commits++;
        consumer->last_commit_ms = sp_mono_ms();
        consumer->up = true;
    }
}

static void commit(struct sp_consumer *consumer)
{
    int64_t since = sp_mono_ms() - consumer->commit_ms;
    if (since < COMMIT_EVERY_MS || (consumer->committing && since < COMMIT_LOST_MS))
        return;
    rd_kafka_topic_partition_list_t *list = dirty(consumer, NULL);
    if (!list)
        return;
    consumer->commit_ms = sp_mono_ms();
    consumer->committing = true;
    rd_kafka_resp_err_t failed = rd_kafka_commit(consumer->rk, list, 1);
    if (failed)
        on_committed(consumer->rk, failed, list, consumer);
    /* Every element refers to its partition, and a leaked list hangs the end of the handle. */
    rd_kafka_topic_partition_list_destroy(list);
}

/* Waits for the answer on a queue of its own, because rd_kafka_commit() may wait for ever. */
static void commit_now(struct sp_consumer *consumer, const rd_kafka_topic_partition_list_t *only,
                       int64_t limit_ms)
{
    rd_kafka_topic_partition_list_t *list = dirty(consumer, only);
    if (!list)
        return;
    rd_kafka_queue_t *answers = rd_kafka_queue_new(consumer->rk);
    rd_kafka_resp_err_t failed =
        rd_kafka_commit_queue(consumer->rk, list, answers, on_committed, consumer);
    if (failed) {
        on_committed(consumer->rk, failed, list, consumer);
    } else if (rd_kafka_queue_poll_callback(answers, (int)limit_ms) == 0) {
        sp_log(SP_WARN, "commit_unanswered", sp_i("waited_ms", limit_ms));
    }
    rd_kafka_queue_destroy(answers);
    rd_kafka_topic_partition_list_destroy(list);
}

static void assigned(struct sp_consumer *consumer, const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++)
        attach(consumer, list->elems[i].topic, list->elems[i].partition);
}

static void revoked(struct sp_consumer *consumer, const rd_kafka_topic_partition_list_t *list)
{
    if (rd_kafka_assignment_lost(consumer->rk)) {
        sp_log(SP_WARN, "assignment_lost", sp_i("partitions", list->cnt));
    } else {
        commit_now(consumer, list, REVOKE_COMMIT_MS);
    }
    for (int i = 0; i < list->cnt; i++) {
        struct sp_partition **place =
            find(consumer, list->elems[i].topic, list->elems[i].partition);
        if (place)
            detach(consumer, place);
    }
}

static void log_error(const char *event, rd_kafka_error_t *error)
{
    if (!error)
        return;
    sp_log(SP_ERROR, event, sp_s("error", rd_kafka_error_string(error)));
    rd_kafka_error_destroy(error);
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                         rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct sp_consumer *consumer = opaque;
    bool assign = err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    bool cooperative = strcmp(rd_kafka_rebalance_protocol(rk), "COOPERATIVE") == 0;
    consumer->rebalances++;
    consumer->rebalanced = true;
    if (assign) {
        consumer->up = true;
        assigned(consumer, list);
    } else {
        revoked(consumer, list);
    }
    if (cooperative) {
        log_error("rebalance_failed", assign ? rd_kafka_incremental_assign(rk, list)
                                             : rd_kafka_incremental_unassign(rk, list));
        return;
    }
    rd_kafka_resp_err_t failed = rd_kafka_assign(rk, assign ? list : NULL);
    if (failed)
        sp_log(SP_ERROR, "rebalance_failed", sp_s("error", rd_kafka_err2str(failed)));
}

static void on_error(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
    struct sp_consumer *consumer = opaque;
    char text[256] = "";
    if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        consumer->up = false;
    if (err == RD_KAFKA_RESP_ERR__FATAL) {
        (void)rd_kafka_fatal_error(rk, text, sizeof(text));
        (void)snprintf(consumer->problem, sizeof(consumer->problem), "consumer: %s", text);
        consumer->problem_topic[0] = '\0';
        sp_log(SP_ERROR, "consumer_fatal", sp_s("error", text));
        return;
    }
    /* librdkafka logs the single brokers itself; these are information, not a reason to end. */
    sp_log(SP_DEBUG, "kafka_error", sp_s("error", rd_kafka_err2name(err)), sp_s("reason", reason));
}

/* A broker that hangs keeps its connection; only its silence shows it. */
static bool broker_up(json_t *stats)
{
    const char *name;
    json_t *broker;
    json_object_foreach (json_object_get(stats, "brokers"), name, broker) {
        const char *state = json_string_value(json_object_get(broker, "state"));
        json_int_t idle_us = json_integer_value(json_object_get(broker, "rxidle"));
        if (state && strcmp(state, "UP") == 0 && idle_us < SILENT_US)
            return true;
    }
    return false;
}

static int on_stats(rd_kafka_t *rk, char *json, size_t len, void *opaque)
{
    struct sp_consumer *consumer = opaque;
    (void)rk;
    json_auto_t *stats = json_loadb(json, len, 0, NULL);
    json_t *topics = json_object_get(stats, "topics");
    consumer->up = broker_up(stats);
    for (size_t i = 0; i < consumer->n_partitions; i++) {
        struct sp_partition *partition = consumer->partitions[i];
        char number[16];
        (void)snprintf(number, sizeof(number), "%" PRId32, partition->number);
        json_t *topic = json_object_get(topics, partition->topic);
        json_t *row = json_object_get(json_object_get(topic, "partitions"), number);
        json_t *lag = json_object_get(row, "consumer_lag");
        partition->lag = lag ? (int64_t)json_integer_value(lag) : -1;
    }
    return 0;
}

/* Errors that come in the place of a record. */
static void on_consumer_error(struct sp_consumer *consumer, const rd_kafka_message_t *message)
{
    const char *topic = message->rkt ? rd_kafka_topic_name(message->rkt) : "";
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
        return;
    if (message->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
        message->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
        (void)snprintf(consumer->problem_topic, sizeof(consumer->problem_topic), "%s", topic);
        (void)snprintf(consumer->problem, sizeof(consumer->problem), "request topic %.200s: %s",
                       topic, rd_kafka_err2str(message->err));
    }
    sp_log(SP_WARN, "consumer_error", sp_s("topic", topic), sp_i("partition", message->partition),
           sp_s("error", rd_kafka_message_errstr(message)));
}

static void conf_callbacks(rd_kafka_conf_t *conf, struct sp_consumer *consumer)
{
    rd_kafka_conf_set_opaque(conf, consumer);
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rd_kafka_conf_set_offset_commit_cb(conf, on_committed);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_stats_cb(conf, on_stats);
}

static enum sp_code subscribe(struct sp_consumer *consumer, struct sp_error *err)
{
    const struct sp_topics *topics = consumer->options.topics;
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)topics->n_requests);
    for (size_t i = 0; i < topics->n_requests; i++)
        rd_kafka_topic_partition_list_add(list, topics->requests[i], RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t failed = rd_kafka_subscribe(consumer->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (failed) {
        return sp_error_set(err, SP_E_INVALID, "queue.request_topics: %s",
                            rd_kafka_err2str(failed));
    }
    return SP_OK;
}

enum sp_code sp_consumer_open(const struct sp_consumer_options *options, rd_kafka_conf_t *conf,
                              struct sp_consumer **out, struct sp_error *err)
{
    struct sp_consumer *consumer = calloc(1, sizeof(*consumer));
    if (!consumer) {
        rd_kafka_conf_destroy(conf);
        return sp_error_set(err, SP_E_NOMEM, "consumer");
    }
    consumer->options = *options;
    conf_callbacks(conf, consumer);
    enum sp_code rc = sp_kafka_open(RD_KAFKA_CONSUMER, conf, &consumer->rk, err);
    if (rc) {
        rd_kafka_conf_destroy(conf);
        free(consumer);
        return rc;
    }
    (void)rd_kafka_poll_set_consumer(consumer->rk);
    consumer->queue = rd_kafka_queue_get_consumer(consumer->rk);
    sp_waker_watch(options->waker, consumer->queue);
    rc = subscribe(consumer, err);
    if (rc) {
        sp_consumer_leave(consumer, 0);
        sp_consumer_close(consumer);
        return rc;
    }
    *out = consumer;
    return SP_OK;
}

/* on_ready() comes once for each time that a queue fills: should one get lost, its partition must
 * not stand still for ever. */
static void look_at_all(struct sp_consumer *consumer)
{
    int64_t now = sp_mono_ms();
    if (now - consumer->looked_ms < LOOK_EVERY_MS)
        return;
    consumer->looked_ms = now;
    for (size_t i = 0; i < consumer->n_partitions; i++)
        atomic_store(&consumer->partitions[i]->ready, true);
}

void sp_consumer_serve(struct sp_consumer *consumer)
{
    rd_kafka_message_t *message;
    /* One event a call; errors come as messages. */
    while ((message = rd_kafka_consumer_poll(consumer->rk, 0))) {
        if (message->err)
            on_consumer_error(consumer, message);
        rd_kafka_message_destroy(message);
    }
    look_at_all(consumer);
    commit(consumer);
}

/* Reads errors away; NULL when there is nothing more, and on_ready() will tell of more. */
static rd_kafka_message_t *read_queue(struct sp_consumer *consumer, struct sp_partition *partition)
{
    for (;;) {
        rd_kafka_message_t *message = rd_kafka_consume_queue(partition->queue, 0);
        if (!message || !message->err)
            return message;
        on_consumer_error(consumer, message);
        rd_kafka_message_destroy(message);
    }
}

static rd_kafka_message_t *read_message(struct sp_consumer *consumer,
                                        struct sp_partition *partition)
{
    if (!atomic_load(&partition->ready))
        return NULL;
    rd_kafka_message_t *message = read_queue(consumer, partition);
    if (message)
        return message;
    /* Something may have come between the look and the store: look once more. */
    atomic_store(&partition->ready, false);
    message = read_queue(consumer, partition);
    if (message)
        atomic_store(&partition->ready, true);
    return message;
}

/* Points the view's headers into the consumer's scratch. */
static void view_headers(struct sp_consumer *consumer, const rd_kafka_message_t *message,
                         struct sp_record *view)
{
    rd_kafka_headers_t *headers = NULL;
    if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    size_t n = rd_kafka_header_cnt(headers);
    if (n > consumer->headers_cap) {
        consumer->headers =
            sp_kafka_must(realloc(consumer->headers, n * sizeof(*consumer->headers)));
        consumer->headers_cap = n;
    }
    for (size_t i = 0; i < n; i++) {
        const void *value = NULL;
        struct sp_header *header = &consumer->headers[i];
        (void)rd_kafka_header_get_all(headers, i, &header->name, &value, &header->len);
        header->value = value;
    }
    view->headers = consumer->headers;
    view->n_headers = n;
}

static struct sp_record *record_of(struct sp_consumer *consumer, struct sp_partition *partition,
                                   const rd_kafka_message_t *message)
{
    rd_kafka_timestamp_type_t type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    struct sp_record view = {
        .topic = partition->topic,
        .partition = partition->number,
        .offset = message->offset,
        .timestamp_ms = rd_kafka_message_timestamp(message, &type),
        .key = message->key,
        .key_len = message->key_len,
        .value = message->payload,
        .value_len = message->len,
        .owner = partition,
    };
    view.log_append_time = type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME;
    view_headers(consumer, message, &view);
    (void)atomic_fetch_add(&partition->refs, 1); /* goes to the copy */
    return sp_kafka_must(sp_record_copy(&view));
}

static void count(struct sp_consumer *consumer, struct sp_partition *partition, int64_t offset)
{
    consumer->consumed++;
    if (offset < partition->history->next) {
        consumer->redeliveries++;
    } else {
        partition->history->next = offset + 1;
    }
}

static void take_new(struct sp_partition *partition, int64_t offset, int64_t timestamp)
{
    (void)sp_kafka_must(sp_tracker_has_room(&partition->tracker) ? partition : NULL);
    sp_tracker_take(&partition->tracker, offset, timestamp);
}

/* Takes the message into the tracker of its partition, which may be another one then. False: it is
 * here already. */
static bool track(struct sp_consumer *consumer, struct sp_partition **place,
                  const rd_kafka_message_t *message)
{
    struct sp_partition *partition = *place;
    int64_t offset = message->offset, timestamp = rd_kafka_message_timestamp(message, NULL);
    bool back = offset < partition->position;
    if (partition->position < 0)
        sp_tracker_begin(&partition->tracker, offset);
    enum sp_tracked known = sp_tracker_look(&partition->tracker, offset, timestamp);
    if (back || (known == SP_TRACKED_UNKNOWN && offset < partition->tracker.next)) {
        partition = restart(consumer, place, offset);
        known = SP_TRACKED_UNKNOWN;
    }
    partition->position = offset + 1;
    if (partition->committed < 0)
        partition->committed = offset;
    if (known == SP_TRACKED_UNKNOWN) {
        take_new(partition, offset, timestamp);
    } else if (known == SP_TRACKED_BACK) {
        sp_tracker_retake(&partition->tracker, offset);
    } else {
        return false;
    }
    return true;
}

/* What comes a second time needs no room. */
static bool may_read(struct sp_partition *partition)
{
    return partition->position < partition->tracker.next ||
           sp_tracker_has_room(&partition->tracker);
}

static struct sp_record *take_from(struct sp_consumer *consumer, struct sp_partition **place)
{
    rd_kafka_message_t *message;
    struct sp_record *record = NULL;
    while (!record && may_read(*place) && (message = read_message(consumer, *place))) {
        if (track(consumer, place, message)) {
            record = record_of(consumer, *place, message);
            count(consumer, *place, message->offset);
        }
        rd_kafka_message_destroy(message);
    }
    return record;
}

struct sp_record *sp_consumer_take(struct sp_consumer *consumer)
{
    for (size_t i = 0; i < consumer->n_partitions; i++) {
        consumer->turn = (consumer->turn + 1) % consumer->n_partitions;
        struct sp_record *record = take_from(consumer, &consumer->partitions[consumer->turn]);
        if (record)
            return record;
    }
    return NULL;
}

void sp_consumer_complete(struct sp_consumer *consumer, const struct sp_record *record,
                          void *ticket)
{
    struct sp_partition *partition = record->owner;
    void *kept = partition->queue ? ticket : NULL; /* else nothing of it is committed for now */
    if (!sp_tracker_complete(&partition->tracker, record->offset, kept) || !kept)
        sp_tickets_put(&consumer->tickets, ticket, false);
}

bool sp_consumer_next_ticket(struct sp_consumer *consumer, void **ticket, bool *committed)
{
    return sp_tickets_take(&consumer->tickets, ticket, committed);
}

void sp_consumer_hand_back(struct sp_consumer *consumer, const struct sp_record *record)
{
    (void)consumer;
    sp_tracker_hand_back(&record->owner->tracker, record->offset);
}

void sp_consumer_status(const struct sp_consumer *consumer, struct sp_queue_status *out)
{
    out->kafka_up = consumer->up;
    memcpy(out->problem, consumer->problem, sizeof(out->problem));
    out->consumed = consumer->consumed;
    out->commits = consumer->commits;
    out->commit_errors = consumer->commit_errors;
    out->rebalances = consumer->rebalances;
    out->redeliveries = consumer->redeliveries;
    out->last_commit_ms = consumer->last_commit_ms;
    if (consumer->n_partitions > out->n_partitions) {
        out->partitions = sp_kafka_must(
            realloc(out->partitions, consumer->n_partitions * sizeof(*out->partitions)));
    }
    out->n_partitions = consumer->n_partitions;
    for (size_t i = 0; i < consumer->n_partitions; i++) {
        const struct sp_partition *p = consumer->partitions[i];
        struct sp_partition_status *status = &out->partitions[i];
        (void)snprintf(status->name, sizeof(status->name), "%s-%" PRId32, p->topic, p->number);
        status->lag = p->lag;
        status->watermark = p->tracker.watermark;
        status->taken = (int64_t)p->tracker.open;
    }
}

/* Serves the rebalance that takes the partitions away. It hangs at times in librdkafka. */
static void leave_group(struct sp_consumer *consumer, int64_t limit_ms)
{
    rd_kafka_queue_t *events = rd_kafka_queue_new(consumer->rk);
    int64_t until = sp_deadline_in(limit_ms);
    log_error("consumer_close_failed", rd_kafka_consumer_close_queue(consumer->rk, events));
    while (!rd_kafka_consumer_closed(consumer->rk) && sp_deadline_left(until) > 0)
        (void)rd_kafka_queue_poll_callback(events, 20);
    if (!rd_kafka_consumer_closed(consumer->rk))
        sp_log(SP_WARN, "consumer_close_hangs", sp_i("waited_ms", limit_ms));
    rd_kafka_queue_destroy(events);
}

void sp_consumer_leave(struct sp_consumer *consumer, int64_t limit_ms)
{
    commit_now(consumer, NULL, limit_ms);
    if (consumer->rebalanced) /* closing before the first one crashes librdkafka before 2.3 */
        leave_group(consumer, limit_ms);
    while (consumer->n_partitions > 0)
        detach(consumer, &consumer->partitions[0]);
    sp_waker_watch(NULL, consumer->queue);
    rd_kafka_queue_destroy(consumer->queue);
    sp_kafka_destroy(consumer->rk, limit_ms + 1000);
}

void sp_consumer_close(struct sp_consumer *consumer)
{
    if (!consumer)
        return;
    while (consumer->history) {
        struct history *h = consumer->history;
        consumer->history = h->older;
        sp_partition_unref(h->lost);
        free(h);
    }
    sp_tickets_clear(&consumer->tickets);
    free(consumer->partitions);
    free(consumer->headers);
    free(consumer);
}
