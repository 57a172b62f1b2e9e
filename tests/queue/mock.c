#include "mock.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "tests/support.h"

static rd_kafka_t *client(const struct mock *mock, rd_kafka_type_t type, const char *group)
{
    char reason[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", mock_brokers(mock), reason, sizeof(reason));
    rd_kafka_conf_set(conf, "linger.ms", "0", reason, sizeof(reason));
    rd_kafka_conf_set(conf, "message.max.bytes", "20000000", reason, sizeof(reason));
    rd_kafka_conf_set(conf, "fetch.wait.max.ms", "10", reason, sizeof(reason));
    rd_kafka_conf_set(conf, "auto.offset.reset", "earliest", reason, sizeof(reason));
    rd_kafka_conf_set(conf, "group.id", group, reason, sizeof(reason));
    rd_kafka_conf_set(conf, "log_level", "0", reason, sizeof(reason));
    rd_kafka_t *rk = rd_kafka_new(type, conf, reason, sizeof(reason));
    cr_assert(rk != NULL, "%s", reason);
    return rk;
}

void mock_start(struct mock *mock, int partitions)
{
    char reason[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "log_level", "0", reason, sizeof(reason));
    mock->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof(reason));
    cr_assert(mock->rk != NULL, "%s", reason);
    mock->cluster = rd_kafka_mock_cluster_new(mock->rk, 1);
    rd_kafka_mock_topic_create(mock->cluster, MOCK_REQUESTS, partitions, 1);
    rd_kafka_mock_topic_create(mock->cluster, MOCK_RESULTS, 2, 1);
    mock->producer = client(mock, RD_KAFKA_PRODUCER, "");
}

void mock_stop(struct mock *mock)
{
    rd_kafka_destroy(mock->producer);
    rd_kafka_mock_cluster_destroy(mock->cluster);
    rd_kafka_destroy(mock->rk);
}

const char *mock_brokers(const struct mock *mock)
{
    return rd_kafka_mock_cluster_bootstraps(mock->cluster);
}

static void put(struct mock *mock, const struct mock_record *record)
{
    size_t len = record->value && !record->value_len ? strlen(record->value) : record->value_len;
    rd_kafka_vu_t parts[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = record->topic},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = record->partition},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {(void *)record->value, len}},
        {.vtype = RD_KAFKA_VTYPE_KEY,
         .u.mem = {(void *)record->key, record->key ? strlen(record->key) : 0}},
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = record->headers},
    };
    size_t n = SP_COUNT(parts) - (record->headers ? 0 : 1);
    cr_assert(rd_kafka_produceva(mock->producer, parts, n) == NULL);
}

void mock_send(struct mock *mock, const struct mock_record *record)
{
    put(mock, record);
    cr_assert(rd_kafka_flush(mock->producer, MOCK_LIMIT_MS) == 0);
}

void mock_send_numbers(struct mock *mock, int32_t partition, int n)
{
    for (int i = 0; i < n; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", i);
        put(mock,
            &(struct mock_record){.topic = MOCK_REQUESTS, .partition = partition, .value = text});
    }
    cr_assert(rd_kafka_flush(mock->producer, MOCK_LIMIT_MS) == 0);
}

rd_kafka_t *mock_reader(const struct mock *mock, const char *topic, int partitions)
{
    rd_kafka_t *reader = client(mock, RD_KAFKA_CONSUMER, "reader");
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
    for (int i = 0; i < partitions; i++)
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_poll_set_consumer(reader);
    cr_assert(rd_kafka_assign(reader, list) == 0);
    rd_kafka_topic_partition_list_destroy(list);
    return reader;
}

rd_kafka_message_t *mock_read(rd_kafka_t *reader, int64_t limit_ms)
{
    int64_t until = sp_deadline_in(limit_ms);
    while (sp_deadline_left(until) > 0) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, 50);
        if (message && !message->err)
            return message;
        if (message)
            rd_kafka_message_destroy(message);
    }
    return NULL;
}

int64_t mock_committed(const struct mock *mock, const char *group, int32_t partition)
{
    rd_kafka_t *rk = client(mock, RD_KAFKA_CONSUMER, group);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, MOCK_REQUESTS, partition);
    cr_assert(rd_kafka_committed(rk, list, MOCK_LIMIT_MS) == 0);
    int64_t offset = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    return offset < 0 ? -1 : offset;
}

static void add_property(struct rig *rig, size_t *n, const char *key, const char *value)
{
    rig->properties[(*n)++] = (struct sp_queue_property){key, value};
}

void rig_open(struct rig *rig, struct mock *mock)
{
    static char *requests[] = {(char *)MOCK_REQUESTS};
    size_t n = 0;
    rig->mock = mock;
    rig->topics.requests = requests;
    rig->topics.n_requests = 1;
    rig->topics.reply = (char *)MOCK_RESULTS;
    add_property(rig, &n, "bootstrap.servers", mock_brokers(mock));
    add_property(rig, &n, "group.id", "workers");
    add_property(rig, &n, "session.timeout.ms", "6000");
    add_property(rig, &n, "heartbeat.interval.ms", "500");
    add_property(rig, &n, "fetch.wait.max.ms", "10");
    add_property(rig, &n, "topic.metadata.propagation.max.ms", "1000");
    /*
     * No whole second: librdkafka 2.0.2 joins its group anew when metadata comes in just while it
     * waits for some as the group's leader, and the mock cluster lets groups wait for 3 s, then for
     * 5 s. Both in step, every join was broken off, one start in some hundreds, to the test's end.
     */
    add_property(rig, &n, "topic.metadata.refresh.interval.ms", "870");
    for (size_t i = 0; i < rig->n_extra; i++)
        rig->properties[n++] = rig->extra[i];
    struct sp_queue_options options = {
        .kafka = rig->properties,
        .n_kafka = n,
        .topics = &rig->topics,
        .limits = &rig->limits,
        .window = rig->window ? rig->window : 10000,
        .window_bytes = rig->window_bytes ? rig->window_bytes : 64 << 20,
        .worker_id = "w1",
        .version = "0.1.0",
    };
    struct sp_error err = {0};
    cr_assert(sp_queue_open(&options, &rig->q, &err) == SP_OK, "%s", err.msg);
}

void rig_close(struct rig *rig)
{
    sp_queue_close(rig->q, 1000);
    rig->q = NULL;
}

struct sp_record *rig_record(struct rig *rig)
{
    int64_t until = sp_deadline_in(MOCK_LIMIT_MS);
    while (sp_deadline_left(until) > 0) {
        struct sp_record *record = NULL;
        void *ticket = NULL;
        if (sp_queue_next(rig->q, true, 100, &record, &ticket) == SP_QUEUE_RECORD)
            return record;
    }
    cr_fatal("no record came");
    return NULL;
}

void *rig_ticket(struct rig *rig, enum sp_queue_event event)
{
    int64_t until = sp_deadline_in(MOCK_LIMIT_MS);
    while (sp_deadline_left(until) > 0) {
        struct sp_record *record = NULL;
        void *ticket = NULL;
        enum sp_queue_event got = sp_queue_next(rig->q, false, 100, &record, &ticket);
        if (got == event)
            return ticket;
        cr_assert(got == SP_QUEUE_IDLE, "event %d", (int)got);
    }
    cr_fatal("no ticket came back");
    return NULL;
}

static void serve(struct rig *rig)
{
    struct sp_record *record = NULL;
    void *ticket = NULL;
    cr_assert(eq(int, sp_queue_next(rig->q, false, 50, &record, &ticket), SP_QUEUE_IDLE),
              "a ticket came, which nobody asked for");
}

void rig_wait_committed(struct rig *rig, int32_t partition, int64_t offset)
{
    int64_t until = sp_deadline_in(MOCK_LIMIT_MS), committed = -1;
    while (sp_deadline_left(until) > 0 && committed != offset) {
        serve(rig);
        committed = mock_committed(rig->mock, "workers", partition);
    }
    cr_assert(eq(i64, committed, offset));
}

void rig_wait_status(struct rig *rig, rig_ready_fn *ready)
{
    int64_t until = sp_deadline_in(MOCK_LIMIT_MS);
    bool is_ready = false;
    while (sp_deadline_left(until) > 0 && !is_ready) {
        struct sp_queue_status status;
        serve(rig);
        sp_queue_status(rig->q, &status);
        is_ready = ready(&status);
        free(status.partitions);
    }
    cr_assert(is_ready);
}

void rig_reply(struct rig *rig, const struct sp_record *record, const char *topic, void *ticket)
{
    struct sp_envelope env = {.reply_topic = (char *)topic, .reply_partition = -1};
    struct sp_send send = {
        .record = record,
        .env = &env,
        .request_id = "r1",
        .result_id = "0123456789abcdef0123456789abcdef",
        .status = "ok",
        .attempt = 1,
        .value = "{}",
        .len = 2,
        .ticket = ticket,
    };
    struct sp_error err = {0};
    cr_assert(sp_queue_reply(rig->q, &send, &err) == SP_OK, "%s", err.msg);
}

static void add_bytes(struct sp_buf *out, const unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (isprint(bytes[i]))
            (void)sp_buf_addc(out, (char)bytes[i]);
        else
            (void)sp_buf_addf(out, "\\x%02x", bytes[i]);
    }
}

const char *headers_text(const rd_kafka_message_t *message)
{
    static struct sp_buf text = SP_BUF_INIT(100000);
    rd_kafka_headers_t *headers = NULL;
    sp_buf_reset(&text);
    if (rd_kafka_message_headers(message, &headers) != 0)
        return "";
    const char *name;
    const void *value;
    size_t len;
    for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &len) == 0; i++) {
        (void)sp_buf_addf(&text, "%s=", name);
        add_bytes(&text, value, len);
        (void)sp_buf_addc(&text, ';');
    }
    return sp_buf_str(&text);
}
