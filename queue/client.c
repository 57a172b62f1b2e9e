/* The asking side of CONTRACT.md 2 to 4. */
#include "queue/client.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "queue/receipt.h"
#include "queue/reply_reader.h"

struct sp_client {
    const struct sp_queue_property *kafka;
    size_t n_kafka;
    const char *servers;
    rd_kafka_t *producer, *consumer; /* made when first needed */
    struct sp_reply_reader reader;
    char trouble[256]; /* what librdkafka last complained about */
};

static const struct sp_queue_property both_defaults[] = {
    {"client.id", "sandpiper-client"},
    {"log_level", "0"},
    {"socket.nagle.disable", "true"},
    {"socket.keepalive.enable", "true"},
};

static const struct sp_queue_property producer_defaults[] = {
    {"enable.idempotence", "true"},
    {"linger.ms", "0"},
    {"partitioner", "murmur2_random"},
    /* The request topic takes 4 MiB; 1 MB, librdkafka's own limit, is less than a request may be.
     */
    {"message.max.bytes", "4194304"},
};

static const struct sp_queue_property consumer_defaults[] = {
    {"enable.auto.commit", "false"},
    {"auto.offset.reset", "earliest"},
    {"allow.auto.create.topics", "false"}, /* a misspelt reply topic must not come into being */
    {"check.crcs", "true"},
};

static void on_error(rd_kafka_t *rk, int error, const char *reason, void *opaque)
{
    (void)rk;
    struct sp_client *client = opaque;
    /* "all brokers down" says less than the complaint about one broker that came before it. */
    if (error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && client->trouble[0])
        return;
    (void)snprintf(client->trouble, sizeof(client->trouble), "%s", reason);
}

static const char *property(const struct sp_queue_property *list, size_t n, const char *key)
{
    const char *found = NULL;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i].key, key) == 0)
            found = list[i].value;
    }
    return found;
}

/* What the administrator wrote, save for the group, which nobody joins here. */
static enum sp_code pass(rd_kafka_conf_t *conf, const struct sp_queue_property *list, size_t n,
                         struct sp_error *err)
{
    enum sp_code rc = SP_OK;
    for (size_t i = 0; !rc && i < n; i++) {
        if (strcmp(list[i].key, "group.id") != 0)
            rc = sp_kafka_set(conf, list[i].key, list[i].value, err);
    }
    return rc;
}

static enum sp_code open_handle(struct sp_client *client, rd_kafka_type_t type,
                                const struct sp_queue_property *defaults, size_t n_defaults,
                                rd_kafka_t **out, struct sp_error *err)
{
    if (*out)
        return SP_OK;
    sp_auto(rd_kafka_conf_destroy) rd_kafka_conf_t *conf = rd_kafka_conf_new();
    enum sp_code rc = sp_kafka_set_all(conf, both_defaults, SP_COUNT(both_defaults), err);
    if (!rc)
        rc = sp_kafka_set_all(conf, defaults, n_defaults, err);
    if (!rc)
        rc = pass(conf, client->kafka, client->n_kafka, err);
    if (rc)
        return rc;
    rd_kafka_conf_set_opaque(conf, client);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_log_cb(conf, NULL);
    if (type == RD_KAFKA_PRODUCER)
        rd_kafka_conf_set_dr_msg_cb(conf, sp_receipt_report);

    rc = sp_kafka_open(type, conf, out, err);
    if (rc)
        return rc;
    (void)SP_TAKE(conf); /* the handle has it now */
    return SP_OK;
}

static enum sp_code need_producer(struct sp_client *client, struct sp_error *err)
{
    return open_handle(client, RD_KAFKA_PRODUCER, producer_defaults, SP_COUNT(producer_defaults),
                       &client->producer, err);
}

static enum sp_code need_consumer(struct sp_client *client, struct sp_error *err)
{
    enum sp_code rc = open_handle(client, RD_KAFKA_CONSUMER, consumer_defaults,
                                  SP_COUNT(consumer_defaults), &client->consumer, err);
    if (!rc && !client->reader.rk)
        sp_reply_reader_init(&client->reader, client->consumer);
    return rc;
}

static enum sp_code unreachable(const struct sp_client *client, struct sp_error *err)
{
    return sp_error_set(err, SP_E_UNAVAILABLE,
                        "Kafka does not answer at %.64s (kafka.bootstrap.servers): start it, or "
                        "correct the address%s%.90s",
                        client->servers, client->trouble[0] ? ": " : "", client->trouble);
}

static enum sp_code topic_missing(const struct sp_client *client, const char *topic,
                                  struct sp_error *err)
{
    return sp_error_set(err, SP_E_INVALID,
                        "there is no topic %.80s: create it (kafka-topics.sh --bootstrap-server "
                        "%.64s --create --topic %.80s)",
                        topic, client->servers, topic);
}

/* Kafka's last word about a topic. */
static enum sp_code topic_refused(const struct sp_client *client, const char *topic,
                                  rd_kafka_resp_err_t error, struct sp_error *err)
{
    switch ((int)error) {
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
        return sp_error_set(err, SP_E_INVALID, "topic \"%s\": %s", topic, rd_kafka_err2str(error));
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
        return topic_missing(client, topic, err);
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        return sp_error_set(err, SP_E_DENIED, "topic %s: Kafka does not allow us to use it", topic);
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
        return sp_error_set(err, SP_E_INVALID, "topic \"%s\": Kafka does not allow this name",
                            topic);
    default:
        if (error < 0)
            return unreachable(client, err);
        return sp_error_set(err, SP_E_UNAVAILABLE, "topic %s: %s", topic, rd_kafka_err2str(error));
    }
}

enum sp_code sp_client_listen(struct sp_client *client, const char *topic, int64_t since_ms,
                              int64_t timeout_ms, struct sp_error *err)
{
    int64_t deadline = sp_deadline_in(timeout_ms);
    enum sp_code rc = need_consumer(client, err);
    if (rc)
        return rc;
    rd_kafka_resp_err_t error = sp_reply_reader_add(&client->reader, topic, since_ms, deadline);
    return error ? topic_refused(client, topic, error, err) : SP_OK;
}

static enum sp_code send_failure(const struct sp_client *client,
                                 const struct sp_client_request *request, rd_kafka_resp_err_t error,
                                 struct sp_error *err)
{
    if (error == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
        return sp_error_set(err, SP_E_LIMIT,
                            "the request has %zu bytes, more than topic %s takes: send less, or "
                            "raise its max.message.bytes (and kafka.message.max.bytes here)",
                            request->len, request->topic);
    }
    if (error == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
        return sp_error_set(err, SP_E_DENIED, "topic %s: Kafka does not allow us to write to it",
                            request->topic);
    }
    if (sp_receipt_is_late(error))
        return unreachable(client, err);
    return sp_error_set(err, SP_E_UNAVAILABLE, "topic %s: the request was not accepted: %s",
                        request->topic, rd_kafka_err2str(error));
}

static rd_kafka_resp_err_t produce(rd_kafka_t *rk, const struct sp_client_request *request,
                                   struct sp_receipt *receipt)
{
    /* librdkafka takes a key and a value as void pointers; RD_KAFKA_MSG_F_COPY leaves them alone.
     */
    return rd_kafka_producev(
        rk, RD_KAFKA_V_TOPIC(request->topic), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_KEY((void *)(uintptr_t)request->key, request->key ? strlen(request->key) : 0),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)request->value, request->len),
        RD_KAFKA_V_HEADER("kafka_correlationId", request->correlation, SP_CORRELATION_BYTES),
        RD_KAFKA_V_OPAQUE(receipt), RD_KAFKA_V_END);
}

static enum sp_code deliver(struct sp_client *client, const struct sp_client_request *request,
                            int64_t deadline, struct sp_receipt *receipt, struct sp_error *err)
{
    rd_kafka_resp_err_t error = produce(client->producer, request, receipt);
    if (error)
        return send_failure(client, request, error, err);
    sp_receipt_await(client->producer, receipt, deadline);
    return receipt->error ? send_failure(client, request, receipt->error, err) : SP_OK;
}

/* A record to a topic that is not there would wait for it to appear. */
static rd_kafka_resp_err_t await_topic(rd_kafka_t *rk, const char *topic, int64_t deadline)
{
    int32_t n_partitions = 0;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic, NULL);
    if (!handle)
        return rd_kafka_last_error();
    rd_kafka_resp_err_t error = sp_kafka_await_partitions(rk, handle, deadline, &n_partitions);
    rd_kafka_topic_destroy(handle);
    return error;
}

enum sp_code sp_client_send(struct sp_client *client, const struct sp_client_request *request,
                            int64_t timeout_ms, int32_t *partition, int64_t *offset,
                            struct sp_error *err)
{
    int64_t deadline = sp_deadline_in(timeout_ms);
    enum sp_code rc = need_producer(client, err);
    if (rc)
        return rc;
    rd_kafka_resp_err_t error = await_topic(client->producer, request->topic, deadline);
    if (error)
        return topic_refused(client, request->topic, error, err);
    struct sp_receipt receipt = {0};
    rc = deliver(client, request, deadline, &receipt, err);
    if (rc)
        return rc;
    *partition = receipt.partition;
    *offset = receipt.offset;
    return SP_OK;
}

static bool header_is(const rd_kafka_headers_t *headers, const char *name, const void *want,
                      size_t want_len)
{
    const void *value = NULL;
    size_t len = 0;
    return !rd_kafka_header_get_last(headers, name, &value, &len) && len == want_len && value &&
           memcmp(value, want, len) == 0;
}

static bool is_the_answer(const rd_kafka_message_t *message, const char *request_id,
                          const unsigned char *correlation)
{
    rd_kafka_headers_t *headers = NULL;
    if (message->err || !message->payload || rd_kafka_message_headers(message, &headers))
        return false;
    if (correlation)
        return header_is(headers, "kafka_correlationId", correlation, SP_CORRELATION_BYTES);
    return header_is(headers, "sandpiper_request_id", request_id, strlen(request_id));
}

static enum sp_code take(const rd_kafka_message_t *message, char **value, size_t *len,
                         struct sp_error *err)
{
    *value = sp_memdup(message->payload, message->len);
    *len = message->len;
    return *value ? SP_OK : sp_error_set(err, SP_E_NOMEM, "no memory for a reply");
}

enum sp_code sp_client_wait(struct sp_client *client, const char *request_id,
                            const unsigned char *correlation, int64_t timeout_ms, char **value,
                            size_t *len, struct sp_error *err)
{
    int64_t deadline = sp_deadline_in(timeout_ms);
    do {
        rd_kafka_message_t *message =
            sp_reply_reader_next(&client->reader, sp_deadline_left(deadline));
        if (!message)
            continue;
        enum sp_code rc = SP_E_TIMEOUT;
        if (is_the_answer(message, request_id, correlation)) {
            rc = take(message, value, len, err);
        } else if (message->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
            rc = sp_error_set(err, SP_E_DENIED, "topic %s: Kafka does not allow us to read it",
                              rd_kafka_topic_name(message->rkt));
        }
        rd_kafka_message_destroy(message);
        if (rc != SP_E_TIMEOUT)
            return rc;
    } while (sp_deadline_left(deadline) > 0);
    return sp_error_set(err, SP_E_TIMEOUT, "no reply yet%s%.180s", client->trouble[0] ? ": " : "",
                        client->trouble);
}

enum sp_code sp_client_open(const struct sp_queue_property *kafka, size_t n_kafka,
                            struct sp_client **out, struct sp_error *err)
{
    const char *servers = property(kafka, n_kafka, "bootstrap.servers");
    if (!servers || !*servers) {
        return sp_error_set(err, SP_E_INVALID,
                            "kafka.bootstrap.servers: not set; name the brokers in the "
                            "configuration file or with -X kafka.bootstrap.servers=HOST:PORT");
    }
    struct sp_client *client = calloc(1, sizeof(*client));
    if (!client)
        return sp_error_set(err, SP_E_NOMEM, "no memory");
    client->kafka = kafka;
    client->n_kafka = n_kafka;
    client->servers = servers;
    *out = client;
    return SP_OK;
}

void sp_client_close(struct sp_client *client)
{
    if (!client)
        return;
    sp_reply_reader_clear(&client->reader);
    if (client->consumer)
        rd_kafka_destroy(client->consumer);
    if (client->producer)
        rd_kafka_destroy(client->producer);
    free(client);
}
