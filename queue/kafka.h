/*
 * librdkafka as we want it: our defaults for the two kinds of handle, the [kafka] section over
 * them, its log lines in ours, and an end that cannot hang. Properties: librdkafka's
 * CONFIGURATION.md.
 */
#pragma once

#include <librdkafka/rdkafka.h>

#include "queue/queue.h"

SP_AUTO(rd_kafka_conf_t *, rd_kafka_conf_destroy)

/* A configuration with our defaults, which every caller's own settings win over. The caller's. */
rd_kafka_conf_t *sp_kafka_conf(rd_kafka_type_t type);
/* Sets one property. SP_E_INVALID names it; the value of a secret is not quoted. */
SP_MUST_CHECK enum sp_code sp_kafka_set(rd_kafka_conf_t *conf, const char *key, const char *value,
                                        struct sp_error *err);
SP_MUST_CHECK enum sp_code sp_kafka_set_all(rd_kafka_conf_t *conf,
                                            const struct sp_queue_property *list, size_t n,
                                            struct sp_error *err);
/*
 * Sets what the administrator wrote, also what only the other kind of handle heeds. SP_E_INVALID: a
 * property that librdkafka does not know or refuses, or one that delivery depends on.
 */
SP_MUST_CHECK enum sp_code sp_kafka_pass(rd_kafka_conf_t *conf,
                                         const struct sp_queue_property *properties, size_t n,
                                         struct sp_error *err);
/* Takes conf over on SP_OK only. SP_E_INVALID with librdkafka's reason. Connects in the background.
 */
SP_MUST_CHECK enum sp_code sp_kafka_open(rd_kafka_type_t type, rd_kafka_conf_t *conf,
                                         rd_kafka_t **out, struct sp_error *err);
/*
 * How many partitions a topic has, at least 1. A negative error is librdkafka's own: Kafka did not
 * answer; others are what Kafka says about the topic. Blocks: timeout_ms.
 */
rd_kafka_resp_err_t sp_kafka_partitions(rd_kafka_t *rk, rd_kafka_topic_t *topic, int64_t timeout_ms,
                                        int32_t *n);
/*
 * The same, asked until the topic is there or Kafka refuses it for good, at the latest until the
 * deadline (monotonic ms). One that Kafka does not know is waited for 3 s, since a broker that
 * makes it on demand takes a moment.
 */
rd_kafka_resp_err_t sp_kafka_await_partitions(rd_kafka_t *rk, rd_kafka_topic_t *topic,
                                              int64_t deadline, int32_t *n);
/* Whether a consumer's group has the protocol, as librdkafka names it: NONE until Kafka has
 * answered its first join, then COOPERATIVE or EAGER; none once the consumer is closed. Waits for
 * librdkafka's own thread. */
bool sp_kafka_protocol_is(rd_kafka_t *rk, const char *name);
/*
 * Destroys a handle without leaving a group. librdkafka waits there for whatever still refers to
 * the handle; after limit_ms the handle is left to a thread of its own, which is logged.
 */
void sp_kafka_destroy(rd_kafka_t *rk, int64_t limit_ms);
/*
 * For memory without which a record or a result would be lost: ends the process where there is
 * none, as librdkafka does inside. Nothing is lost then, since nothing was committed.
 */
void *sp_kafka_must(void *memory);
