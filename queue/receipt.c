#include "queue/receipt.h"

#include "base/clock.h"

enum { POLL_MS = 100 };

void sp_receipt_report(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    (void)rk;
    (void)opaque;
    struct sp_receipt *receipt = message->_private;
    *receipt = (struct sp_receipt){
        .done = true,
        .error = message->err,
        .partition = message->partition,
        .offset = message->offset,
    };
}

void sp_receipt_await(rd_kafka_t *producer, const struct sp_receipt *receipt, int64_t deadline)
{
    while (!receipt->done) {
        if (sp_deadline_left(deadline) == 0) /* the report must come while *receipt is there */
            (void)rd_kafka_purge(producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        (void)rd_kafka_poll(producer, POLL_MS);
    }
}

bool sp_receipt_is_late(rd_kafka_resp_err_t error)
{
    return error == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT || error == RD_KAFKA_RESP_ERR__PURGE_QUEUE ||
           error == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
}
