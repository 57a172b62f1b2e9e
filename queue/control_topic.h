/* Is there a control topic, and may we make one? (CONTRACT.md 1.) For queue/control.c alone. */
#pragma once

#include "queue/kafka.h"

/*
 * How many partitions it has; where there is none it is made: 1 partition, compacted, times given
 * by the broker, whose clock all readers share. SP_E_UNAVAILABLE: Kafka does not answer, or has
 * only just made it; SP_E_INVALID: there is none, and why none could be made; SP_E_DENIED: we may
 * not use it. Blocks: 8 s in a bad case.
 */
SP_MUST_CHECK enum sp_code sp_control_topic_find(rd_kafka_t *rk, rd_kafka_topic_t *handle,
                                                 int32_t *n_partitions, struct sp_error *err);
