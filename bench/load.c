/*
 * Load: publishes requests, keeps a fixed number of them in flight, reads the replies by key, and
 * prints one JSON line:
 * {"jobs": …, "jobs_per_s": …, "p50_ms": …, "p99_ms": …}. The answering side is whatever consumes
 * the request topic.
 *
 *   load BROKER REQUEST-TOPIC REPLY-TOPIC JOBS IN-FLIGHT CODE-FILE
 */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_out.h"

#define IDLE_LIMIT_MS 60000

struct load {
    rd_kafka_t *producer, *consumer;
    const char *requests;
    char *tail; /* of the request's JSON, after the id */
    size_t tail_len;
    int64_t jobs, sent, answered;
    int64_t *sent_us, *took_us;
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

static void make_tail(struct load *l, const char *path)
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
    l->tail = sp_buf_take(&buf, &l->tail_len);
}

static void send_one(struct load *l)
{
    char id[24], value[8192];
    int id_len = snprintf(id, sizeof(id), "%lld", (long long)l->sent);
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

static void take(struct load *l, const rd_kafka_message_t *m)
{
    char id[24] = "";
    if (m->err || !m->key || m->key_len >= sizeof(id))
        return;
    memcpy(id, m->key, m->key_len);
    long long n = strtoll(id, NULL, 10);
    if (n < 0 || n >= l->jobs || l->took_us[n])
        return;
    l->took_us[n] = sp_mono_us() - l->sent_us[n];
    l->answered++;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
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

int main(int argc, char **argv)
{
    if (argc != 7) {
        fprintf(stderr, "usage: load BROKER REQUEST-TOPIC REPLY-TOPIC JOBS IN-FLIGHT CODE-FILE\n");
        return 2;
    }
    struct load l = {.requests = argv[2], .jobs = strtoll(argv[4], NULL, 10)};
    l.sent_us = calloc((size_t)l.jobs, sizeof(*l.sent_us));
    l.took_us = calloc((size_t)l.jobs, sizeof(*l.took_us));
    l.producer =
        client(argv[1], RD_KAFKA_PRODUCER,
               (const char *const[]){"linger.ms", "1", "partitioner", "murmur2_random", NULL});
    l.consumer = client(argv[1], RD_KAFKA_CONSUMER,
                        (const char *const[]){"group.id", "load", "enable.auto.commit", "false",
                                              "fetch.wait.max.ms", "50", NULL});
    make_tail(&l, argv[6]);
    follow(l.consumer, argv[3]);

    int64_t from = sp_mono_us();
    run(&l, strtoll(argv[5], NULL, 10));
    double seconds = (double)(sp_mono_us() - from) / 1e6;

    qsort(l.took_us, (size_t)l.jobs, sizeof(*l.took_us), by_value);
    printf("{\"jobs\": %lld, \"jobs_per_s\": %.1f, \"p50_ms\": %.2f, \"p99_ms\": %.2f}\n",
           (long long)l.jobs, (double)l.jobs / seconds, (double)l.took_us[l.jobs / 2] / 1e3,
           (double)l.took_us[l.jobs * 99 / 100] / 1e3);
    rd_kafka_consumer_close(l.consumer);
    rd_kafka_destroy(l.consumer);
    rd_kafka_destroy(l.producer);
    free(l.sent_us);
    free(l.took_us);
    free(l.tail);
    return 0;
}
