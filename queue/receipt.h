/*
 * One record whose acknowledgement is waited for, by those who write few of them. Its message
 * carries a receipt as opaque, on a handle whose delivery reports go to sp_receipt_report().
 */
#pragma once

#include "queue/kafka.h"

struct sp_receipt {
    bool done;
    rd_kafka_resp_err_t error;
    int32_t partition;
    int64_t offset;
};

/* For rd_kafka_conf_set_dr_msg_cb(). */
void sp_receipt_report(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque);
/* Serves the producer until the report is there; at the deadline (monotonic ms) the record is taken
 * back, which is reported, too: see sp_receipt_is_late(). */
void sp_receipt_await(rd_kafka_t *producer, const struct sp_receipt *receipt, int64_t deadline);
/* Of an error: Kafka did not answer in time; the record may get there nevertheless. */
bool sp_receipt_is_late(rd_kafka_resp_err_t error);
