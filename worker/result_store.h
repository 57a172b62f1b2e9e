/* Attachments: parts of a reply that do not fit into it, kept in Redis (CONTRACT.md 3.3). */
#pragma once

#include "queue/reply.h"
#include "worker/metrics.h"
#include "worker/redis_link.h"

/* All borrowed for as long as the store is used. */
struct sp_result_store {
    struct sp_redis_link *link;
    const char *prefix;
    int64_t ttl_ms;
    struct sp_metrics *metrics;
};

/* The functions for sp_reply_write(). Thread: any. */
struct sp_part_store sp_result_store_parts(struct sp_result_store *store);
