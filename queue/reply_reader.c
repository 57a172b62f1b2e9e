/* librdkafka's simple consumer (rd_kafka_consume_start_queue), because it needs no group and so no
 * rights on one. */
#include "queue/reply_reader.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/grow.h"
#include "queue/client.h"

#define RETRY_MS 100
/* A broker that cannot search by time (librdkafka's mock) answers "no such record", so the end of
 * the topic is looked through as well. */
#define LOOK_BACK 1000

struct sp_reply_topic {
    rd_kafka_topic_t *handle;
    int64_t *offsets; /* where to begin in each partition */
    int32_t n_partitions, n_started;
};

SP_AUTO(rd_kafka_topic_partition_list_t *, rd_kafka_topic_partition_list_destroy)

void sp_reply_reader_init(struct sp_reply_reader *reader, rd_kafka_t *rk)
{
    *reader = (struct sp_reply_reader){.rk = rk, .incoming = rd_kafka_queue_new(rk)};
}

/* Where to start reading a partition for records of since_ms and later. */
static rd_kafka_resp_err_t offset_since(rd_kafka_t *rk, const char *topic, int32_t partition,
                                        int64_t since_ms, int64_t deadline, int64_t *offset)
{
    int64_t low = 0;
    int64_t high = 0;
    rd_kafka_resp_err_t error = rd_kafka_query_watermark_offsets(rk, topic, partition, &low, &high,
                                                                 sp_deadline_left(deadline));
    *offset = high;
    if (error || since_ms == SP_CLIENT_END)
        return error;
    sp_auto(rd_kafka_topic_partition_list_destroy) rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = since_ms;
    error = rd_kafka_offsets_for_times(rk, list, sp_deadline_left(deadline));
    if (error)
        return error;
    *offset = list->elems[0].offset;
    if (*offset < 0)
        *offset = high - low > LOOK_BACK ? high - LOOK_BACK : low;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t find_offsets(rd_kafka_t *rk, struct sp_reply_topic *topic,
                                        int64_t since_ms, int64_t deadline)
{
    const char *name = rd_kafka_topic_name(topic->handle);
    topic->offsets = sp_kafka_must(calloc((size_t)topic->n_partitions, sizeof(*topic->offsets)));
    for (int32_t p = 0; p < topic->n_partitions; p++) {
        rd_kafka_resp_err_t error;
        /* A partition of a new topic may be without a leader for a moment. */
        while ((error = offset_since(rk, name, p, since_ms, deadline, &topic->offsets[p]))) {
            if (sp_deadline_left(deadline) == 0)
                return error;
            (void)rd_kafka_poll(rk, RETRY_MS);
        }
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static void clear_topic(struct sp_reply_topic *topic)
{
    while (topic->n_started > 0)
        (void)rd_kafka_consume_stop(topic->handle, --topic->n_started);
    free(topic->offsets);
    rd_kafka_topic_destroy(topic->handle);
}

rd_kafka_resp_err_t sp_reply_reader_add(struct sp_reply_reader *reader, const char *name,
                                        int64_t since_ms, int64_t deadline)
{
    struct sp_reply_topic topic = {.handle = rd_kafka_topic_new(reader->rk, name, NULL)};
    if (!topic.handle)
        return rd_kafka_last_error();
    rd_kafka_resp_err_t error =
        sp_kafka_await_partitions(reader->rk, topic.handle, deadline, &topic.n_partitions);
    if (!error)
        error = find_offsets(reader->rk, &topic, since_ms, deadline);
    if (error) {
        clear_topic(&topic);
        return error;
    }
    reader->topics = sp_kafka_must(sp_grow(reader->topics, reader->n, sizeof(*reader->topics)));
    reader->topics[reader->n++] = topic;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/*
 * Reading begins here and not in sp_reply_reader_add(), because a broker answers one connection's
 * requests in order: a fetch that waits for records would hold up the questions for further
 * offsets.
 */
static void start_reading(struct sp_reply_reader *reader)
{
    for (size_t i = 0; i < reader->n; i++) {
        struct sp_reply_topic *topic = &reader->topics[i];
        for (; topic->n_started < topic->n_partitions; topic->n_started++) {
            (void)rd_kafka_consume_start_queue(topic->handle, topic->n_started,
                                               topic->offsets[topic->n_started], reader->incoming);
        }
    }
}

rd_kafka_message_t *sp_reply_reader_next(struct sp_reply_reader *reader, int timeout_ms)
{
    start_reading(reader);
    (void)rd_kafka_poll(reader->rk, 0); /* error callbacks */
    return rd_kafka_consume_queue(reader->incoming, timeout_ms);
}

void sp_reply_reader_clear(struct sp_reply_reader *reader)
{
    for (size_t i = 0; i < reader->n; i++)
        clear_topic(&reader->topics[i]);
    free(reader->topics);
    if (reader->incoming)
        rd_kafka_queue_destroy(reader->incoming);
    *reader = (struct sp_reply_reader){0};
}
