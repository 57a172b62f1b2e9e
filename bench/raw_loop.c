/*
 * The baseline for no-op jobs: what librdkafka itself does on this machine with the bytes that a
 * worker has to move. One thread consumes a topic in a group and produces for each record a value
 * of the size of a no-op job's reply, under the record's key and with a reply's headers; the ids in
 * it differ from record to record, so that it compresses as replies do. Both handles have the
 * worker's settings save its bounds of memory, positions are committed explicitly five times a
 * second, delivery reports are served. What it leaves out is all that makes a worker: no JSON is
 * read, nothing is run, and a position is committed whether the reply was delivered or not. Ends on
 * SIGTERM.
 *
 *   raw_loop BROKER REQUEST-TOPIC REPLY-TOPIC
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "queue/kafka.h"

#define COMMIT_EVERY_MS 200
#define PARTITIONS 8 /* of the topics that bench/run makes */
#define KEY_MAX 64

static const char worker[] = "0f8fad5b-d9cb-469f-a165-70867728950e";

/* A reply as noop_worker sends it, in the pieces around the two ids. */
static const char before_key[] = "{\"request_id\":\"", before_id[] = "\",\"result_id\":\"";
static const char after_id[] =
    "\",\"status\":\"ok\",\"stdout\":\"\",\"stderr\":\"\",\"exit_code\":0,"
    "\"execution_time\":0.000001,\"metadata\":{\"instance_id\":null,\"language\":\"python\","
    "\"timeout\":30,\"artifacts\":[],\"result_present\":false,\"result_value\":null,"
    "\"result_type\":null,\"timeout_requested\":null,\"stdout_truncated\":false,"
    "\"stderr_truncated\":false,\"stdout_bytes\":0,\"stderr_bytes\":0,"
    "\"stdout_invalid_utf8\":false,\"stderr_invalid_utf8\":false,\"artifacts_rejected\":[],"
    "\"isolation\":null,\"reply_cut\":[],\"limits_of_provider\":[]},\"error\":null,"
    "\"provider\":\"noop\",\"settings_version\":1,"
    "\"worker\":\"0f8fad5b-d9cb-469f-a165-70867728950e\",\"attempt\":1,\"queue_time\":2.481,"
    "\"echo\":null,\"attachments\":[]}";

/* The worker's bounds of memory are not the baseline's: librdkafka's own defaults. */
static const struct sp_queue_property roomy[] = {
    {"queued.min.messages", "100000"},
    {"queued.max.messages.kbytes", "65536"},
    {"fetch.max.bytes", "52428800"},
    {"queue.buffering.max.kbytes", "1048576"},
};

struct raw_loop {
    rd_kafka_t *consumer, *producer;
    rd_kafka_topic_t *replies;
    const char *requests;
    uint64_t random;
    int64_t next[PARTITIONS]; /* offset to commit; 0: none */
    int64_t committed_ms;
};

static volatile sig_atomic_t stop;

static void on_signal(int signal)
{
    (void)signal;
    stop = 1;
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    (void)rk;
    (void)opaque;
    if (m->err) {
        fprintf(stderr, "raw_loop: %s\n", rd_kafka_err2str(m->err));
        exit(1);
    }
}

static void must(enum sp_code rc, const struct sp_error *err)
{
    if (rc) {
        fprintf(stderr, "raw_loop: %s\n", err->msg);
        exit(1);
    }
}

static rd_kafka_t *client(rd_kafka_type_t type, const char *broker, const char *group)
{
    struct sp_error err = {0};
    rd_kafka_t *rk = NULL;
    rd_kafka_conf_t *conf = sp_kafka_conf(type);
    must(sp_kafka_set(conf, "bootstrap.servers", broker, &err), &err);
    if (group)
        must(sp_kafka_set(conf, "group.id", group, &err), &err);
    for (size_t i = 0; i < SP_COUNT(roomy); i++)
        must(sp_kafka_set(conf, roomy[i].key, roomy[i].value, &err), &err);
    if (type == RD_KAFKA_PRODUCER)
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    must(sp_kafka_open(type, conf, &rk, &err), &err);
    return rk;
}

static void subscribe(struct raw_loop *l)
{
    rd_kafka_poll_set_consumer(l->consumer);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, l->requests, RD_KAFKA_PARTITION_UA);
    rd_kafka_subscribe(l->consumer, topics);
    rd_kafka_topic_partition_list_destroy(topics);
}

static void commit(struct raw_loop *l)
{
    int64_t now = sp_mono_ms();
    if (now - l->committed_ms < COMMIT_EVERY_MS)
        return;
    l->committed_ms = now;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(PARTITIONS);
    for (int32_t p = 0; p < PARTITIONS; p++) {
        if (l->next[p] > 0)
            rd_kafka_topic_partition_list_add(list, l->requests, p)->offset = l->next[p];
    }
    if (list->cnt > 0)
        rd_kafka_commit(l->consumer, list, 1);
    rd_kafka_topic_partition_list_destroy(list);
}

/* Two steps of splitmix64: cheap, and as incompressible as a real result id. */
static void make_id(struct raw_loop *l, char *id)
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 32; i += 16) {
        uint64_t z = (l->random += 0x9E3779B97F4A7C15);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        for (int n = 0; n < 16; n++, z >>= 4)
            id[i + n] = digits[z & 15];
    }
    id[32] = '\0';
}

static rd_kafka_headers_t *headers_of(const char *key, size_t key_len, const char *id)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(6);
    rd_kafka_header_add(headers, "content-type", -1, "application/json", -1);
    rd_kafka_header_add(headers, "sandpiper_status", -1, "ok", -1);
    rd_kafka_header_add(headers, "sandpiper_request_id", -1, key, (ssize_t)key_len);
    rd_kafka_header_add(headers, "sandpiper_result_id", -1, id, 32);
    rd_kafka_header_add(headers, "sandpiper_worker", -1, worker, -1);
    rd_kafka_header_add(headers, "sandpiper_attempt", -1, "1", -1);
    return headers;
}

static void answer(struct raw_loop *l, const rd_kafka_message_t *m)
{
    char id[33], value[sizeof(before_key) + KEY_MAX + sizeof(before_id) + 32 + sizeof(after_id)];
    char *at = mempcpy(value, before_key, sizeof(before_key) - 1);
    size_t key_len = m->key_len < KEY_MAX ? m->key_len : KEY_MAX;
    make_id(l, id);
    at = mempcpy(at, m->key, key_len);
    at = mempcpy(at, before_id, sizeof(before_id) - 1);
    at = mempcpy(at, id, 32);
    at = mempcpy(at, after_id, sizeof(after_id) - 1);

    rd_kafka_headers_t *headers = headers_of(m->key, key_len, id);
    while (rd_kafka_producev(l->producer, RD_KAFKA_V_RKT(l->replies),
                             RD_KAFKA_V_VALUE(value, (size_t)(at - value)),
                             RD_KAFKA_V_KEY(m->key, m->key_len), RD_KAFKA_V_HEADERS(headers),
                             RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END) != 0)
        rd_kafka_poll(l->producer, 10);
    l->next[m->partition % PARTITIONS] = m->offset + 1;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: raw_loop BROKER REQUEST-TOPIC REPLY-TOPIC\n");
        return 2;
    }
    signal(SIGTERM, on_signal);
    struct raw_loop l = {
        .consumer = client(RD_KAFKA_CONSUMER, argv[1], argv[3]), /* a group for each run */
        .producer = client(RD_KAFKA_PRODUCER, argv[1], NULL),
        .requests = argv[2],
        .random = (uint64_t)sp_mono_us(),
    };
    l.replies = rd_kafka_topic_new(l.producer, argv[3], NULL);
    subscribe(&l);

    while (!stop) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(l.consumer, 100);
        if (m && m->err == 0)
            answer(&l, m);
        if (m)
            rd_kafka_message_destroy(m);
        rd_kafka_poll(l.producer, 0);
        commit(&l);
    }
    rd_kafka_flush(l.producer, 10000);
    rd_kafka_consumer_close(l.consumer);
    rd_kafka_topic_destroy(l.replies);
    rd_kafka_destroy(l.producer);
    rd_kafka_destroy(l.consumer);
    return 0;
}
