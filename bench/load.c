/*
 * Load and its measure. Prints one JSON line.
 *
 *   load fill BROKER TOPIC JOBS CODE-FILE
 *       publishes requests, as a backlog
 *   load drain BROKER REPLY-TOPIC JOBS
 *       watches the replies arrive: {"jobs_per_s": of the middle 80 %}
 *   load trips BROKER TOPIC REPLY-TOPIC JOBS IN-FLIGHT CODE-FILE
 *       keeps so many in flight: {"p50_ms", "p99_ms"} end to end, {"beyond_p50_ms"}: of what is
 *       left of each when the program's own time is taken off (see timed_python.c)
 *
 * The answering side is whatever consumes the request topic.
 */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_out.h"
#include "base/text.h"
#include "bench/percentile.h"

#define IDLE_LIMIT_MS 60000
#define DRAIN_LIMIT_US 300000000
#define ID_MAX 40
#define PARTITIONS 8 /* of the topics that bench/run makes */

struct load {
    rd_kafka_t *producer, *consumer;
    const char *requests;
    char *tail; /* of the request's JSON, after the id */
    size_t tail_len;
    int64_t jobs, sent, answered;
    int64_t *sent_us, *took_us, *beyond_us;
    char run[17]; /* behind the number in each id: an id that was used before would not run */
};

static rd_kafka_t *client(const char *broker, rd_kafka_type_t type, const char *const *options)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", broker, text, sizeof(text));
    for (size_t i = 0; options[i]; i += 2) {
        if (rd_kafka_conf_set(conf, options[i], options[i + 1], text, sizeof(text)) !=
            RD_KAFKA_CONF_OK) {
            fprintf(stderr, "load: %s\n", text);
            exit(2);
        }
    }
    rd_kafka_t *rk = rd_kafka_new(type, conf, text, sizeof(text));
    if (!rk) {
        fprintf(stderr, "load: %s\n", text);
        exit(2);
    }
    return rk;
}

/* Reads on from the end of every partition as it is now, so that no reply is missed. */
static void follow(rd_kafka_t *rk, const char *topic)
{
    const struct rd_kafka_metadata *md;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic, NULL);
    if (rd_kafka_metadata(rk, 0, handle, &md, 10000) != 0) {
        fprintf(stderr, "load: no metadata of %s\n", topic);
        exit(1);
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
    for (int32_t p = 0; p < md->topics[0].partition_cnt; p++) {
        int64_t low, high = 0;
        rd_kafka_query_watermark_offsets(rk, topic, p, &low, &high, 10000);
        rd_kafka_topic_partition_list_add(list, topic, p)->offset = high;
    }
    rd_kafka_assign(rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_metadata_destroy(md);
    rd_kafka_topic_destroy(handle);
}

static char *read_file(const char *path, size_t *len)
{
    static char text[65536];
    FILE *f = fopen(path, "r");
    if (!f) {
        perror(path);
        exit(2);
    }
    *len = fread(text, 1, sizeof(text), f);
    fclose(f);
    return text;
}

static void prepare_requests(struct load *l, const char *path)
{
    size_t len;
    const char *code = read_file(path, &len);
    size_t name = strlen(path);
    struct sp_buf buf = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_out j = SP_JSON_OUT(&buf);
    j.comma = true; /* the id goes before */
    sp_json_str(&j, "language",
                name > 3 && strcmp(path + name - 3, ".js") == 0 ? "javascript" : "python");
    sp_json_text(&j, "code", code, len);
    sp_json_object_end(&j);
    sp_random_hex(l->run, sizeof(l->run) / 2);
    l->tail = sp_buf_take(&buf, &l->tail_len);
}

static void send_one(struct load *l)
{
    char id[ID_MAX], value[8192];
    int id_len = snprintf(id, sizeof(id), "%lld-%s", (long long)l->sent, l->run);
    int head = snprintf(value, sizeof(value), "{\"request_id\":\"%s\"", id);
    memcpy(value + head, l->tail, l->tail_len);
    l->sent_us[l->sent] = sp_mono_us();
    while (rd_kafka_producev(l->producer, RD_KAFKA_V_TOPIC(l->requests),
                             RD_KAFKA_V_KEY(id, (size_t)id_len),
                             RD_KAFKA_V_VALUE(value, (size_t)head + l->tail_len),
                             RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END) != 0)
        rd_kafka_poll(l->producer, 10);
    l->sent++;
}

/* What the program took by itself, where bench/timed_python told it; else 0. */
static int64_t own_us(const rd_kafka_message_t *m)
{
    static const char name[] = "own_us=";
    char number[32] = "";
    const char *at = m->payload ? memmem(m->payload, m->len, name, sizeof(name) - 1) : NULL;
    if (!at)
        return 0;
    at += sizeof(name) - 1;
    size_t left = m->len - (size_t)(at - (const char *)m->payload);
    memcpy(number, at, left < sizeof(number) ? left : sizeof(number) - 1);
    return strtoll(number, NULL, 10);
}

/* A job that failed would be quick, and no job. */
static void refuse_failure(const rd_kafka_message_t *m)
{
    static const char status[] = "\"status\":", ok[] = "\"status\":\"ok\"";
    if (!m->payload || !memmem(m->payload, m->len, status, sizeof(status) - 1) ||
        memmem(m->payload, m->len, ok, sizeof(ok) - 1))
        return;
    fprintf(stderr, "load: a job failed: %.*s\n", (int)m->len, (const char *)m->payload);
    exit(1);
}

static void take(struct load *l, const rd_kafka_message_t *m)
{
    char id[ID_MAX] = "";
    if (m->err || !m->key || m->key_len >= sizeof(id))
        return;
    refuse_failure(m);
    memcpy(id, m->key, m->key_len);
    char *end = NULL;
    long long n = strtoll(id, &end, 10);
    if (*end != '-' || strcmp(end + 1, l->run) != 0 || n < 0 || n >= l->jobs || l->took_us[n])
        return;
    l->took_us[n] = sp_mono_us() - l->sent_us[n];
    l->beyond_us[n] = l->took_us[n] - own_us(m);
    l->answered++;
}

static void run(struct load *l, int64_t in_flight)
{
    int64_t last = sp_mono_ms();
    while (l->answered < l->jobs) {
        while (l->sent < l->jobs && l->sent - l->answered < in_flight)
            send_one(l);
        rd_kafka_poll(l->producer, 0);
        rd_kafka_message_t *m = rd_kafka_consumer_poll(l->consumer, 100);
        if (m) {
            take(l, m);
            rd_kafka_message_destroy(m);
            last = sp_mono_ms();
        } else if (sp_mono_ms() - last > IDLE_LIMIT_MS) {
            fprintf(stderr, "load: %lld of %lld replies, then none for %d s\n",
                    (long long)l->answered, (long long)l->jobs, IDLE_LIMIT_MS / 1000);
            exit(1);
        }
    }
}

static rd_kafka_t *producer(const char *broker)
{
    return client(broker, RD_KAFKA_PRODUCER,
                  (const char *const[]){"linger.ms", "1", "partitioner", "murmur2_random",
                                        "socket.nagle.disable", "true", NULL});
}

static int fill(char **args)
{
    struct load l = {
        .requests = args[1], .jobs = strtoll(args[2], NULL, 10), .producer = producer(args[0])};
    l.sent_us = calloc((size_t)l.jobs, sizeof(*l.sent_us));
    prepare_requests(&l, args[3]);
    while (l.sent < l.jobs)
        send_one(&l);
    int rc = rd_kafka_flush(l.producer, 60000) != 0;
    rd_kafka_destroy(l.producer);
    free(l.sent_us);
    free(l.tail);
    return rc;
}

/* The sum of the end offsets. */
static int64_t replies(rd_kafka_t *rk, const char *topic, int32_t partitions)
{
    int64_t sum = 0;
    for (int32_t p = 0; p < partitions; p++) {
        int64_t low, high = 0;
        if (rd_kafka_query_watermark_offsets(rk, topic, p, &low, &high, 10000) == 0)
            sum += high;
    }
    return sum;
}

static int drain(char **args)
{
    rd_kafka_t *rk = producer(args[0]);
    int64_t jobs = strtoll(args[2], NULL, 10), from = 0, from_us = 0, to = 0, to_us = 0;
    int64_t end = sp_mono_us() + DRAIN_LIMIT_US;
    for (int64_t n = 0; n < jobs && sp_mono_us() < end; rd_kafka_poll(rk, 100)) {
        n = replies(rk, args[1], PARTITIONS);
        int64_t now = sp_mono_us();
        if (from_us == 0 && n >= jobs / 10) {
            from = n;
            from_us = now;
        }
        if (n <= jobs * 9 / 10 || to_us == 0) {
            to = n;
            to_us = now;
        }
    }
    rd_kafka_destroy(rk);
    if (to <= from) {
        fprintf(stderr, "load: too few replies in time, or all at once\n");
        return 1;
    }
    printf("{\"jobs\": %lld, \"jobs_per_s\": %.1f}\n", (long long)jobs,
           (double)(to - from) * 1e6 / (double)(to_us - from_us));
    return 0;
}

static int trips(char **args)
{
    struct load l = {
        .requests = args[1], .jobs = strtoll(args[3], NULL, 10), .producer = producer(args[0])};
    l.sent_us = calloc((size_t)l.jobs, sizeof(*l.sent_us));
    l.took_us = calloc((size_t)l.jobs, sizeof(*l.took_us));
    l.beyond_us = calloc((size_t)l.jobs, sizeof(*l.beyond_us));
    l.consumer = client(args[0], RD_KAFKA_CONSUMER,
                        (const char *const[]){"group.id", "load", "enable.auto.commit", "false",
                                              "fetch.wait.max.ms", "50", "socket.nagle.disable",
                                              "true", NULL});
    prepare_requests(&l, args[5]);
    follow(l.consumer, args[2]);
    run(&l, strtoll(args[4], NULL, 10));

    printf("{\"jobs\": %lld, \"p50_ms\": %.2f, \"p99_ms\": %.2f, \"beyond_p50_ms\": %.2f}\n",
           (long long)l.jobs, bench_percentile_ms(l.took_us, l.jobs, 50),
           bench_percentile_ms(l.took_us, l.jobs, 99),
           bench_percentile_ms(l.beyond_us, l.jobs, 50));
    rd_kafka_consumer_close(l.consumer);
    rd_kafka_destroy(l.consumer);
    rd_kafka_destroy(l.producer);
    free(l.sent_us);
    free(l.took_us);
    free(l.beyond_us);
    free(l.tail);
    return 0;
}

static const struct {
    const char *name;
    int n_args;
    int (*run)(char **args);
} modes[] = {{"fill", 4, fill}, {"drain", 3, drain}, {"trips", 6, trips}};

int main(int argc, char **argv)
{
    for (size_t i = 0; i < SP_COUNT(modes); i++) {
        if (argc == modes[i].n_args + 2 && strcmp(argv[1], modes[i].name) == 0)
            return modes[i].run(argv + 2);
    }
    fprintf(stderr,
            "usage: load fill BROKER TOPIC JOBS CODE-FILE | drain BROKER REPLY-TOPIC JOBS |\n"
            "       trips BROKER TOPIC REPLY-TOPIC JOBS IN-FLIGHT CODE-FILE\n");
    return 2;
}
