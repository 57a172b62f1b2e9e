/*
 * The baseline for no-op jobs: what librdkafka itself does on this machine. Consumes a topic in a
 * group and produces each record's key and value to another one, idempotent producer, offsets
 * committed automatically. Ends on SIGTERM.
 *
 *   raw_loop BROKER REQUEST-TOPIC REPLY-TOPIC
 */
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static volatile sig_atomic_t stop;

static void on_signal(int signal)
{
    (void)signal;
    stop = 1;
}

static rd_kafka_t *client(const char *broker, rd_kafka_type_t type, const char *const *options)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", broker, text, sizeof(text));
    for (size_t i = 0; options[i]; i += 2)
        rd_kafka_conf_set(conf, options[i], options[i + 1], text, sizeof(text));
    rd_kafka_t *rk = rd_kafka_new(type, conf, text, sizeof(text));
    if (!rk) {
        fprintf(stderr, "raw_loop: %s\n", text);
        exit(1);
    }
    return rk;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: raw_loop BROKER REQUEST-TOPIC REPLY-TOPIC\n");
        return 2;
    }
    signal(SIGTERM, on_signal);
    rd_kafka_t *producer =
        client(argv[1], RD_KAFKA_PRODUCER,
               (const char *const[]){"enable.idempotence", "true", "linger.ms", "2",
                                     "compression.type", "lz4", "socket.nagle.disable", "true",
                                     "partitioner", "murmur2_random", NULL});
    rd_kafka_t *consumer = client(argv[1], RD_KAFKA_CONSUMER,
                                  (const char *const[]){"group.id", "raw_loop", "auto.offset.reset",
                                                        "earliest", "fetch.wait.max.ms", "100",
                                                        "socket.nagle.disable", "true", NULL});
    rd_kafka_poll_set_consumer(consumer);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, argv[2], RD_KAFKA_PARTITION_UA);
    rd_kafka_subscribe(consumer, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    rd_kafka_topic_t *replies = rd_kafka_topic_new(producer, argv[3], NULL);

    while (!stop) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(consumer, 100);
        if (m && m->err == 0)
            while (rd_kafka_produce(replies, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, m->payload,
                                    m->len, m->key, m->key_len, NULL) != 0)
                rd_kafka_poll(producer, 10);
        if (m)
            rd_kafka_message_destroy(m);
        rd_kafka_poll(producer, 0);
    }
    rd_kafka_flush(producer, 10000);
    rd_kafka_consumer_close(consumer);
    rd_kafka_topic_destroy(replies);
    rd_kafka_destroy(producer);
    rd_kafka_destroy(consumer);
    return 0;
}
