/*
 * The development broker: librdkafka's mock cluster, in memory, on loopback. Its API is marked
 * experimental, so only this file knows it. What it cannot do: reference kafka 3.7 (among others it
 * keeps 5 MiB per partition at most). It has threads of its own.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"

struct sp_mock_broker;

struct sp_mock_topic {
    const char *name;
    int partitions;
};

SP_MUST_CHECK enum sp_code sp_mock_broker_open(const struct sp_mock_topic *topics, size_t n,
                                               struct sp_mock_broker **out, struct sp_error *err);
/* "127.0.0.1:40123"; borrowed. */
const char *sp_mock_broker_address(const struct sp_mock_broker *broker);
void sp_mock_broker_close(struct sp_mock_broker *broker);
SP_AUTO(struct sp_mock_broker *, sp_mock_broker_close)
