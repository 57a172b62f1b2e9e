/*
 * librdkafka's simple consumer (rd_kafka_consume_start_queue) reads the topic, because it needs no
 * group and so no rights on one. Its partitions, of which there should be one, share a queue.
 */
#include "queue/control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "queue/control_topic.h"
#include "queue/receipt.h"

enum {
    RETRY_MS = 200,     /* Kafka is away, or has only just made the topic */
    MISSING_MS = 60000, /* no topic */
    ANEW_MS = 300000,   /* the topic is read from its beginning again */
    POLL_MS = 100,      /* while the topic is waited for */
    DESTROY_MS = 2500,  /* of each handle */
};

struct sp_control_log {
    const struct sp_queue_property *kafka;
    size_t n_kafka;
    rd_kafka_t *consumer, *producer; /* the latter is made when needed */
    rd_kafka_topic_t *topic;         /* of the consumer */
    rd_kafka_queue_t *incoming;
    rd_kafka_message_t *given; /* what the caller borrows from */
    enum sp_control_state state;
    char problem[240];
    bool *at_end; /* of each partition that is being read */
    int32_t n_partitions;
    bool end_told;
    int64_t look_at; /* monotonic ms; when the topic is looked for, or read anew */
};

static const struct sp_queue_property reader_defaults[] = {
    {"client.id", "sandpiper-control"},
    {"statistics.interval.ms", "0"},
};

/* What the reader relies on, whatever the administrator wrote for the consumer of requests. */
static const struct sp_queue_property reader_needs[] = {
    {"group.id", NULL},
    {"group.instance.id", NULL},
    {"auto.offset.reset", "earliest"},
    {"enable.partition.eof", "true"},
};

static const struct sp_queue_property writer_defaults[] = {
    {"client.id", "sandpiper-control"},
    {"linger.ms", "0"},
    /* Unlike a reply, a record of ours may be written twice: it says the same again. */
    {"delivery.timeout.ms", "30000"},
};

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    if (message->_private) {
        sp_receipt_report(rk, message, opaque);
    } else if (message->err) {
        sp_log(SP_WARN, "tombstone_failed", sp_s("topic", rd_kafka_topic_name(message->rkt)),
               sp_s("reason", rd_kafka_err2str(message->err)));
    }
}

/* ---- the topic ---- */

static void trouble(struct sp_control_log *log, const char *what)
{
    (void)snprintf(log->problem, sizeof(log->problem), "%s", what);
}

/* The topic is looked at again soon, by which it is found gone, or is read anew. */
static void complain(struct sp_control_log *log, rd_kafka_resp_err_t error, const char *reason)
{
    bool denied = error == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    trouble(log, reason);
    if (denied)
        log->state = SP_CONTROL_MISSING;
    log->look_at = sp_deadline_min(log->look_at, sp_deadline_in(denied ? MISSING_MS : RETRY_MS));
}

/* The simple consumer's errors come here, not as messages. Lost connections mend themselves. */
static void on_error(rd_kafka_t *rk, int error, const char *reason, void *opaque)
{
    (void)rk;
    switch (error) {
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        complain(opaque, (rd_kafka_resp_err_t)error, reason);
        break;
    default:
        sp_log(SP_DEBUG, "control_topic_error", sp_s("reason", reason));
    }
}

static void stop_reading(struct sp_control_log *log)
{
    for (int32_t p = 0; p < log->n_partitions; p++)
        (void)rd_kafka_consume_stop(log->topic, p);
    free(log->at_end);
    log->at_end = NULL;
    log->n_partitions = 0;
}

static void start_reading(struct sp_control_log *log, int32_t n)
{
    log->at_end = sp_kafka_must(calloc((size_t)n, sizeof(*log->at_end)));
    log->n_partitions = n;
    log->end_told = false;
    log->state = SP_CONTROL_READING;
    trouble(log, "");
    for (int32_t p = 0; p < n; p++) {
        if (rd_kafka_consume_start_queue(log->topic, p, RD_KAFKA_OFFSET_BEGINNING, log->incoming))
            trouble(log, rd_kafka_err2str(rd_kafka_last_error()));
    }
    if (n > 1) {
        (void)snprintf(log->problem, sizeof(log->problem),
                       "topic %s has %d partitions; with more than one, settings written by "
                       "different programs have no order",
                       rd_kafka_topic_name(log->topic), n);
    }
}

/* Finds the topic and reads it from its beginning. */
static enum sp_code look(struct sp_control_log *log, struct sp_error *err)
{
    int32_t n = 0;
    enum sp_code rc = sp_control_topic_find(log->consumer, log->topic, &n, err);
    if (rc == SP_E_UNAVAILABLE) {
        log->look_at = sp_deadline_in(RETRY_MS);
        trouble(log, err->msg);
        return rc;
    }
    stop_reading(log);
    log->look_at = sp_deadline_in(rc ? MISSING_MS : ANEW_MS);
    if (!rc) {
        start_reading(log, n);
        return SP_OK;
    }
    log->state = SP_CONTROL_MISSING;
    trouble(log, err->msg);
    return rc;
}

/* ---- reading ---- */

static enum sp_control_event end_reached(struct sp_control_log *log)
{
    for (int32_t p = 0; p < log->n_partitions; p++) {
        if (!log->at_end[p])
            return SP_CONTROL_IDLE;
    }
    if (log->end_told)
        return SP_CONTROL_IDLE;
    log->end_told = true;
    return SP_CONTROL_END;
}

static enum sp_control_event take(struct sp_control_log *log, rd_kafka_message_t *message,
                                  struct sp_control_record *record)
{
    bool ours = message->partition >= 0 && message->partition < log->n_partitions;
    log->given = message;
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        if (ours)
            log->at_end[message->partition] = true;
        return end_reached(log);
    }
    if (message->err) {
        complain(log, message->err, rd_kafka_message_errstr(message));
        return SP_CONTROL_IDLE;
    }
    if (ours)
        log->at_end[message->partition] = false;
    log->end_told = false;
    *record = (struct sp_control_record){
        .key = message->key,
        .key_len = message->key_len,
        .value = message->payload,
        .len = message->len,
        .offset = message->offset,
        .timestamp_ms = rd_kafka_message_timestamp(message, NULL),
    };
    return SP_CONTROL_RECORD;
}

static void give_back(struct sp_control_log *log)
{
    if (log->given)
        rd_kafka_message_destroy(SP_TAKE(log->given));
}

enum sp_control_event sp_control_log_next(struct sp_control_log *log, int64_t timeout_ms,
                                          struct sp_control_record *record)
{
    struct sp_error err = {0};
    give_back(log);
    (void)rd_kafka_poll(log->consumer, 0);
    if (log->producer)
        (void)rd_kafka_poll(log->producer, 0);
    if (sp_deadline_left(log->look_at) == 0)
        (void)look(log, &err); /* the state tells */
    rd_kafka_message_t *message = rd_kafka_consume_queue(log->incoming, (int)timeout_ms);
    return message ? take(log, message, record) : SP_CONTROL_IDLE;
}

enum sp_control_state sp_control_log_state(const struct sp_control_log *log, const char **problem)
{
    *problem = log->problem;
    return log->state;
}

/* ---- writing ---- */

static enum sp_code need_producer(struct sp_control_log *log, struct sp_error *err)
{
    if (log->producer)
        return SP_OK;
    sp_auto(rd_kafka_conf_destroy) rd_kafka_conf_t *conf = sp_kafka_conf(RD_KAFKA_PRODUCER);
    enum sp_code rc = sp_kafka_set_all(conf, writer_defaults, SP_COUNT(writer_defaults), err);
    if (!rc)
        rc = sp_kafka_pass(conf, log->kafka, log->n_kafka, err);
    if (rc)
        return rc;
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rc = sp_kafka_open(RD_KAFKA_PRODUCER, conf, &log->producer, err);
    if (!rc)
        conf = NULL; /* the handle has it now */
    return rc;
}

/* librdkafka takes a key and a value as void pointers; RD_KAFKA_MSG_F_COPY leaves them alone. */
static rd_kafka_resp_err_t produce(struct sp_control_log *log, const char *key, const char *value,
                                   struct sp_receipt *receipt)
{
    return rd_kafka_producev(log->producer, RD_KAFKA_V_TOPIC(rd_kafka_topic_name(log->topic)),
                             RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                             RD_KAFKA_V_KEY((void *)(uintptr_t)key, strlen(key)),
                             RD_KAFKA_V_VALUE((void *)(uintptr_t)value, value ? strlen(value) : 0),
                             RD_KAFKA_V_OPAQUE(receipt), RD_KAFKA_V_END);
}

static enum sp_code away(const struct sp_control_log *log, struct sp_error *err)
{
    return sp_error_set(err, SP_E_UNAVAILABLE,
                        "Kafka does not answer (kafka.bootstrap.servers), so topic %.80s was not "
                        "written for all we know: start it, or correct the address",
                        rd_kafka_topic_name(log->topic));
}

static enum sp_code refused(const struct sp_control_log *log, rd_kafka_resp_err_t error,
                            struct sp_error *err)
{
    const char *topic = rd_kafka_topic_name(log->topic);
    if (sp_receipt_is_late(error))
        return away(log, err);
    if (error == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
        return sp_error_set(err, SP_E_LIMIT,
                            "topic %s: the record is larger than the topic takes; raise its "
                            "max.message.bytes",
                            topic);
    }
    if (error == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
        return sp_error_set(err, SP_E_DENIED, "topic %s: Kafka does not allow us to write to it",
                            topic);
    }
    return sp_error_set(err, SP_E_UNAVAILABLE, "topic %s: %s", topic, rd_kafka_err2str(error));
}

/* The topic is there. A record to one that is not would wait for it to appear. */
static enum sp_code await_topic(struct sp_control_log *log, int64_t deadline, struct sp_error *err)
{
    enum sp_code rc = log->state == SP_CONTROL_READING ? SP_OK : look(log, err);
    while (rc == SP_E_UNAVAILABLE && sp_deadline_left(deadline) > 0) {
        (void)rd_kafka_poll(log->consumer, POLL_MS);
        rc = look(log, err);
    }
    return rc == SP_E_UNAVAILABLE ? away(log, err) : rc;
}

enum sp_code sp_control_log_put(struct sp_control_log *log, const char *key, const char *value,
                                int64_t timeout_ms, int64_t *offset, struct sp_error *err)
{
    int64_t deadline = sp_deadline_in(timeout_ms);
    struct sp_receipt receipt = {0};
    enum sp_code rc = await_topic(log, deadline, err);
    if (!rc)
        rc = need_producer(log, err);
    if (rc)
        return rc;
    rd_kafka_resp_err_t error = produce(log, key, value, &receipt);
    if (error)
        return refused(log, error, err);
    sp_receipt_await(log->producer, &receipt, deadline);
    if (receipt.error)
        return refused(log, receipt.error, err);
    *offset = receipt.offset;
    return SP_OK;
}

void sp_control_log_bury(struct sp_control_log *log, const char *key)
{
    struct sp_error err = {0};
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
    if (!need_producer(log, &err))
        error = produce(log, key, NULL, NULL);
    if (err.code || error) {
        sp_log(SP_WARN, "tombstone_failed", sp_s("topic", rd_kafka_topic_name(log->topic)),
               sp_s("reason", err.code ? err.msg : rd_kafka_err2str(error)));
    }
}

/* ---- start and end ---- */

static enum sp_code open_consumer(struct sp_control_log *log, const char *topic,
                                  struct sp_error *err)
{
    sp_auto(rd_kafka_conf_destroy) rd_kafka_conf_t *conf = sp_kafka_conf(RD_KAFKA_CONSUMER);
    enum sp_code rc = sp_kafka_set_all(conf, reader_defaults, SP_COUNT(reader_defaults), err);
    if (!rc)
        rc = sp_kafka_pass(conf, log->kafka, log->n_kafka, err);
    if (!rc)
        rc = sp_kafka_set_all(conf, reader_needs, SP_COUNT(reader_needs), err);
    if (rc)
        return rc;
    rd_kafka_conf_set_opaque(conf, log);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rc = sp_kafka_open(RD_KAFKA_CONSUMER, conf, &log->consumer, err);
    if (rc)
        return rc;
    conf = NULL; /* the handle has it now */
    log->incoming = rd_kafka_queue_new(log->consumer);
    log->topic = rd_kafka_topic_new(log->consumer, topic, NULL);
    if (!log->topic) {
        return sp_error_set(err, SP_E_INVALID, "topic \"%s\": %s", topic,
                            rd_kafka_err2str(rd_kafka_last_error()));
    }
    return SP_OK;
}

enum sp_code sp_control_log_open(const struct sp_queue_property *kafka, size_t n_kafka,
                                 const char *topic, struct sp_control_log **out,
                                 struct sp_error *err)
{
    struct sp_control_log *log = calloc(1, sizeof(*log));
    if (!log)
        return sp_error_set(err, SP_E_NOMEM, "no memory for the control topic");
    log->kafka = kafka;
    log->n_kafka = n_kafka;
    enum sp_code rc = open_consumer(log, topic, err);
    if (rc) {
        sp_control_log_close(log);
        return rc;
    }
    *out = log;
    return SP_OK;
}

void sp_control_log_close(struct sp_control_log *log)
{
    if (!log)
        return;
    give_back(log);
    if (log->topic) {
        stop_reading(log);
        rd_kafka_topic_destroy(log->topic);
    }
    if (log->incoming)
        rd_kafka_queue_destroy(log->incoming);
    sp_kafka_destroy(log->producer, DESTROY_MS);
    sp_kafka_destroy(log->consumer, DESTROY_MS);
    free(log);
}
