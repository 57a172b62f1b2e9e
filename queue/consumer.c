/*
 * The consumer's handle and its events. Everything runs on the one thread that serves the consumer,
 * librdkafka's callbacks too.
 */
#include "queue/consumer.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/rebalance.h"

#define LOOK_EVERY_MS 1000
#define SILENT_US 15000000 /* a broker is asked something several times within this */

struct sp_consumer {
    rd_kafka_t *rk;
    struct sp_consumer_options options;
    rd_kafka_queue_t *queue; /* everything but records */
    struct sp_assignment assignment;
    struct sp_commits commits;
    struct sp_rebalance rebalance;
    size_t turn;
    struct sp_header *headers; /* room for those of the record that is being copied */
    size_t headers_cap;
    int64_t looked_ms; /* when every partition's queue was last looked at */
    bool up;
    bool fatal; /* the handle reads nothing any more, as where another static member took its id */
    char problem[300], problem_topic[256];
    int64_t consumed, redeliveries;
};

static void on_committed(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                         rd_kafka_topic_partition_list_t *offsets, void *opaque)
{
    struct sp_consumer *consumer = opaque;
    (void)rk;
    if (!err)
        consumer->up = true;
    sp_commits_answer(&consumer->commits, err, offsets);
}

static void on_assigned(struct sp_consumer *consumer, const rd_kafka_topic_partition_list_t *list)
{
    consumer->up = true;
    for (int i = 0; i < list->cnt; i++) {
        if (strcmp(consumer->problem_topic, list->elems[i].topic) == 0)
            consumer->problem[0] = '\0';
    }
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                         rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct sp_consumer *consumer = opaque;
    (void)rk;
    if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
        on_assigned(consumer, list);
    sp_rebalance_on(&consumer->rebalance, err, list);
}

static void on_fatal(struct sp_consumer *consumer)
{
    char text[256] = "";
    (void)rd_kafka_fatal_error(consumer->rk, text, sizeof(text));
    (void)snprintf(consumer->problem, sizeof(consumer->problem), "consumer: %s", text);
    consumer->problem_topic[0] = '\0';
    consumer->fatal = true;
    sp_log(SP_ERROR, "consumer_fatal", sp_s("error", text));
}

static void on_error(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
    struct sp_consumer *consumer = opaque;
    (void)rk;
    if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        consumer->up = false;
    if (err == RD_KAFKA_RESP_ERR__FATAL) {
        on_fatal(consumer);
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

/* How much is behind the watermark. librdkafka's own figure knows only what it committed itself. */
static int64_t lag_of(const struct sp_partition *partition, json_t *row)
{
    int64_t end = (int64_t)json_integer_value(json_object_get(row, "ls_offset"));
    int64_t watermark = partition->tracker.watermark;
    if (end < 0) /* of the last stable record; some brokers have the last one only */
        end = (int64_t)json_integer_value(json_object_get(row, "hi_offset"));
    if (!row || end < 0 || watermark < 0)
        return -1;
    return end > watermark ? end - watermark : 0;
}

static int on_stats(rd_kafka_t *rk, char *json, size_t len, void *opaque)
{
    struct sp_consumer *consumer = opaque;
    (void)rk;
    json_auto_t *stats = json_loadb(json, len, 0, NULL);
    json_t *topics = json_object_get(stats, "topics");
    consumer->up = broker_up(stats);
    for (size_t i = 0; i < consumer->assignment.n; i++) {
        struct sp_partition *partition = consumer->assignment.partitions[i];
        char number[16];
        (void)snprintf(number, sizeof(number), "%" PRId32, partition->number);
        json_t *topic = json_object_get(topics, partition->topic);
        json_t *row = json_object_get(json_object_get(topic, "partitions"), number);
        partition->lag = lag_of(partition, row);
    }
    return 0;
}

/* Errors that come in the place of a record. */
static void on_consumer_error(struct sp_consumer *consumer, const rd_kafka_message_t *message)
{
    const char *topic = message->rkt ? rd_kafka_topic_name(message->rkt) : "";
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
        return;
    if (message->err == RD_KAFKA_RESP_ERR__FATAL) {
        on_fatal(consumer);
        return;
    }
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

enum sp_code sp_consumer_open(const struct sp_consumer_options *options, rd_kafka_conf_t *conf,
                              struct sp_consumer **out, struct sp_error *err)
{
    struct sp_consumer *consumer = calloc(1, sizeof(*consumer));
    if (!consumer) {
        rd_kafka_conf_destroy(conf);
        return sp_error_set(err, SP_E_NOMEM, "consumer");
    }
    consumer->options = *options;
    consumer->assignment = (struct sp_assignment){
        .window = options->window,
        .waker = options->waker,
    };
    sp_commits_init(&consumer->commits, &consumer->assignment);
    consumer->rebalance = (struct sp_rebalance){
        .assignment = &consumer->assignment,
        .commits = &consumer->commits,
    };
    conf_callbacks(conf, consumer);
    enum sp_code rc = sp_kafka_open(RD_KAFKA_CONSUMER, conf, &consumer->rk, err);
    if (rc) {
        rd_kafka_conf_destroy(conf);
        sp_consumer_close(consumer);
        return rc;
    }
    consumer->assignment.rk = consumer->rk;
    (void)rd_kafka_poll_set_consumer(consumer->rk);
    consumer->queue = rd_kafka_queue_get_consumer(consumer->rk);
    sp_waker_watch(options->waker, consumer->queue);
    *out = consumer;
    return SP_OK;
}

enum sp_code sp_consumer_subscribe(struct sp_consumer *consumer, struct sp_error *err)
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

/* A partition's queue tells once that it filled: should that get lost, it must not stand still for
 * ever. */
static void look_at_all(struct sp_consumer *consumer)
{
    int64_t now = sp_mono_ms();
    if (now - consumer->looked_ms < LOOK_EVERY_MS)
        return;
    consumer->looked_ms = now;
    for (size_t i = 0; i < consumer->assignment.n; i++)
        atomic_store(&consumer->assignment.partitions[i]->ready, true);
}

static void drop_all(struct sp_consumer *consumer)
{
    while (consumer->assignment.n > 0)
        sp_assignment_remove(&consumer->assignment, consumer->assignment.partitions[0]);
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
    if (consumer->fatal)
        drop_all(consumer); /* librdkafka revokes nothing then */
    look_at_all(consumer);
    sp_rebalance_serve(&consumer->rebalance);
    sp_commits_serve(&consumer->commits);
}

bool sp_consumer_is_leaving(const struct sp_consumer *consumer)
{
    return consumer->rebalance.leaving != NULL;
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

/* NULL: it is here already. The message's partition may be another one afterwards. */
static struct sp_record *arrive(struct sp_consumer *consumer, size_t place,
                                const rd_kafka_message_t *message)
{
    struct sp_partition *partition = consumer->assignment.partitions[place];
    int64_t offset = message->offset, timestamp = rd_kafka_message_timestamp(message, NULL);
    enum sp_arrival arrival = sp_partition_arrive(partition, offset, timestamp);
    if (arrival == SP_ARRIVAL_WENT_BACK) {
        partition = sp_assignment_restart(&consumer->assignment, place, offset);
        arrival = sp_partition_arrive(partition, offset, timestamp);
    }
    if (arrival != SP_ARRIVAL_TAKEN)
        return NULL;
    consumer->consumed++;
    if (!sp_assignment_read(partition, offset))
        consumer->redeliveries++;
    return record_of(consumer, partition, message);
}

static struct sp_record *take_from(struct sp_consumer *consumer, size_t place)
{
    rd_kafka_message_t *message;
    struct sp_record *record = NULL;
    while (!record && sp_partition_may_read(consumer->assignment.partitions[place]) &&
           (message = sp_partition_read(consumer->assignment.partitions[place]))) {
        if (message->err) {
            on_consumer_error(consumer, message);
        } else {
            record = arrive(consumer, place, message);
        }
        rd_kafka_message_destroy(message);
    }
    return record;
}

struct sp_record *sp_consumer_take(struct sp_consumer *consumer)
{
    for (size_t i = 0; i < consumer->assignment.n; i++) {
        consumer->turn = (consumer->turn + 1) % consumer->assignment.n;
        struct sp_record *record = take_from(consumer, consumer->turn);
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
    partition->changes++;
    if (!sp_tracker_complete(&partition->tracker, record->offset, kept) || !kept)
        sp_tickets_put(&consumer->assignment.tickets, ticket, false);
}

bool sp_consumer_next_ticket(struct sp_consumer *consumer, void **ticket, bool *committed)
{
    return sp_tickets_take(&consumer->assignment.tickets, ticket, committed);
}

void sp_consumer_hand_back(struct sp_consumer *consumer, const struct sp_record *record)
{
    (void)consumer; /* whose thread this is */
    sp_tracker_hand_back(&record->owner->tracker, record->offset);
}

void sp_consumer_status(struct sp_consumer *consumer, struct sp_queue_status *out)
{
    const struct sp_assignment *assignment = &consumer->assignment;
    int64_t now = sp_mono_ms();
    out->kafka_up = consumer->up;
    memcpy(out->problem, consumer->problem, sizeof(out->problem));
    out->consumed = consumer->consumed;
    out->commits = consumer->commits.done;
    out->commit_errors = consumer->commits.failed;
    out->rebalances = consumer->rebalance.count;
    out->redeliveries = consumer->redeliveries;
    out->last_commit_ms = consumer->commits.last_ms;
    if (assignment->n > out->n_partitions) {
        out->partitions =
            sp_kafka_must(realloc(out->partitions, assignment->n * sizeof(*out->partitions)));
    }
    out->n_partitions = assignment->n;
    for (size_t i = 0; i < assignment->n; i++) {
        sp_partition_look(assignment->partitions[i], now);
        sp_partition_status(assignment->partitions[i], &out->partitions[i]);
    }
}

/* librdkafka before 2.3 aborts where a handle is destroyed that is in a cooperative group and never
 * had an assignment. A join under way may make the group cooperative at any moment. */
static bool aborts_on_destroy(const struct sp_consumer *consumer, bool joining)
{
    return rd_kafka_version() < 0x02030000 && consumer->rebalance.count == 0 &&
           (joining || sp_kafka_protocol_is(consumer->rk, "COOPERATIVE"));
}

/* Whether the group gave it an id. One whose first request to join is unanswered has none. */
static bool is_member(const struct sp_consumer *consumer)
{
    char *id = rd_kafka_memberid(consumer->rk);
    bool member = id && *id;
    rd_kafka_mem_free(consumer->rk, id);
    return member;
}

static bool is_static(const struct sp_consumer *consumer)
{
    size_t size = 0;
    return rd_kafka_conf_get(rd_kafka_conf(consumer->rk), "group.instance.id", NULL, &size) ==
               RD_KAFKA_CONF_OK &&
           size > 1;
}

/* A close says nothing to any other group, and its members wait until the session ends. */
static bool close_leaves(const struct sp_consumer *consumer)
{
    return sp_kafka_protocol_is(consumer->rk, "EAGER") ||
           (consumer->assignment.n > 0 && sp_kafka_protocol_is(consumer->rk, "COOPERATIVE"));
}

/* Answers all that is asked before the close. False: the time is over. librdkafka unsubscribes once
 * the rebalance under way is over. A static member stays in the group, unless it has not joined. */
static bool leave_group(struct sp_consumer *consumer, int64_t until)
{
    bool stays = is_static(consumer);
    if (!stays || sp_kafka_protocol_is(consumer->rk, "NONE"))
        (void)rd_kafka_unsubscribe(consumer->rk);
    while ((rd_kafka_queue_length(consumer->queue) > 0 ||
            (stays ? aborts_on_destroy(consumer, false) : is_member(consumer))) &&
           !rd_kafka_fatal_error(consumer->rk, NULL, 0)) {
        if (sp_deadline_left(until) == 0)
            return false;
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer->rk, 20);
        if (message)
            rd_kafka_message_destroy(message);
    }
    return true;
}

/* Serves what librdkafka still asks. It hangs at times. */
static void close_group(struct sp_consumer *consumer, int64_t until)
{
    rd_kafka_queue_t *events = rd_kafka_queue_new(consumer->rk);
    sp_rebalance_closed(&consumer->rebalance);
    /* A failure means that it is not a member any more. */
    rd_kafka_error_t *failed = rd_kafka_consumer_close_queue(consumer->rk, events);
    if (failed) {
        sp_log(SP_WARN, "consumer_close_failed", sp_s("error", rd_kafka_error_string(failed)));
        rd_kafka_error_destroy(failed);
        rd_kafka_queue_destroy(events);
        return;
    }
    while (!rd_kafka_consumer_closed(consumer->rk) && sp_deadline_left(until) > 0)
        (void)rd_kafka_queue_poll_callback(events, 20);
    if (!rd_kafka_consumer_closed(consumer->rk))
        sp_log(SP_WARN, "consumer_close_hangs");
    rd_kafka_queue_destroy(events);
}

void sp_consumer_leave(struct sp_consumer *consumer, int64_t limit_ms)
{
    sp_commits_now(&consumer->commits, NULL, limit_ms);
    sp_rebalance_close(&consumer->rebalance);
    int64_t until = sp_deadline_in(limit_ms);
    bool settled = leave_group(consumer, sp_deadline_in(limit_ms / 2));
    bool keep = aborts_on_destroy(consumer, !settled);
    if (settled || close_leaves(consumer))
        close_group(consumer, until);
    drop_all(consumer);
    sp_waker_watch(NULL, consumer->queue);
    rd_kafka_queue_destroy(consumer->queue);
    if (keep) {
        sp_log(SP_WARN, "consumer_left_joining");
    } else {
        sp_kafka_destroy(consumer->rk, limit_ms + 1000);
    }
}

void sp_consumer_close(struct sp_consumer *consumer)
{
    if (!consumer)
        return;
    sp_commits_clear(&consumer->commits);
    sp_assignment_clear(&consumer->assignment);
    free(consumer->headers);
    free(consumer);
}
