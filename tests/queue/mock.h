/*
 * librdkafka's mock cluster with small clients of its own, and a queue on it. Functions fail the
 * test where they cannot do their work within a limit.
 */
#pragma once

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "queue/queue.h"

#define MOCK_REQUESTS "requests"
#define MOCK_RESULTS "results"
#define MOCK_LIMIT_MS 30000

struct mock {
    rd_kafka_t *rk;
    rd_kafka_mock_cluster_t *cluster;
    rd_kafka_t *producer;
};

/* One broker, and the topics MOCK_REQUESTS with n partitions and MOCK_RESULTS with two. */
void mock_start(struct mock *mock, int partitions);
void mock_stop(struct mock *mock);
const char *mock_brokers(const struct mock *mock);

struct mock_record {
    const char *topic, *key, *value;
    size_t value_len; /* 0: of the text */
    int32_t partition;
    rd_kafka_headers_t *headers; /* taken */
};
/* Waits for the acknowledgement. */
void mock_send(struct mock *mock, const struct mock_record *record);
/* n records with the values "0", "1", ... to a partition of MOCK_REQUESTS. */
void mock_send_numbers(struct mock *mock, int32_t partition, int n);
/* The next message of a topic, from its beginning, over all its partitions. */
rd_kafka_t *mock_reader(const struct mock *mock, const char *topic, int partitions);
/* NULL after limit_ms. */
rd_kafka_message_t *mock_read(rd_kafka_t *reader, int64_t limit_ms);
/* What the group has committed; -1: nothing. */
int64_t mock_committed(const struct mock *mock, const char *group, int32_t partition);

struct rig {
    struct mock *mock;
    struct sp_topics topics;
    struct sp_limits limits;
    int64_t window, window_bytes; /* 0: large */
    struct sp_queue_property extra[4];
    size_t n_extra;
    struct sp_queue_property properties[16];
    struct sp_queue *q;
};
/* Opens a queue of group "workers" as the fields say. */
void rig_open(struct rig *rig, struct mock *mock);
void rig_close(struct rig *rig);
/* The next record; the test fails without one. */
struct sp_record *rig_record(struct rig *rig);
/* Serves until a ticket comes back as `event`. */
void *rig_ticket(struct rig *rig, enum sp_queue_event event);
/* Serves the queue, taking no records, until this partition's committed offset is `offset`. */
void rig_wait_committed(struct rig *rig, int32_t partition, int64_t offset);
/* Serves the queue, taking no records, until ready() says true of its status. */
typedef bool rig_ready_fn(const struct sp_queue_status *status);
void rig_wait_status(struct rig *rig, rig_ready_fn *ready);
/* Sends a plain reply to `topic`, by key, under `ticket`. */
void rig_reply(struct rig *rig, const struct sp_record *record, const char *topic, void *ticket);
/* "name=value;" of all headers, bytes outside ASCII as \xHH, in order. Static. */
const char *headers_text(const rd_kafka_message_t *message);
