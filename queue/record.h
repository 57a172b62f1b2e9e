/* One Kafka record, copied out of the client library, so that a waiting job does not pin a whole
 * fetch. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct sp_header {
    const char *name;
    const char *value; /* NULL for a null value */
    size_t len;
};

/* An assigned partition: queue/consumer.c. Thread: any. */
struct sp_partition;
void sp_partition_unref(struct sp_partition *partition);
/* False once it was taken away. */
bool sp_partition_is_ours(const struct sp_partition *partition);

/* Immutable after it was read; owned by whoever holds it; sp_record_free() from any thread. */
struct sp_record {
    const char *topic; /* borrowed from the partition, which the record holds a reference to */
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms; /* -1: none */
    bool log_append_time; /* type of the timestamp; CreateTime otherwise */
    const char *key;      /* NULL: none */
    size_t key_len;
    const char *value; /* NULL: a tombstone */
    size_t value_len;
    struct sp_header *headers; /* as received, in order */
    size_t n_headers;
    size_t bytes;               /* that it counts in the window */
    struct sp_partition *owner; /* of the assignment it was read in; NULL in tests */
};

/*
 * Copies a view, whose key, value and headers are borrowed from anywhere, into one allocation;
 * `bytes` of the copy is that allocation's size. The copy takes over the view's reference to
 * `owner`. NULL without memory: nothing is taken then.
 */
struct sp_record *sp_record_copy(const struct sp_record *view);
void sp_record_free(struct sp_record *record);
SP_AUTO(struct sp_record *, sp_record_free)
/* The last header of a name, as Spring takes it. NULL: none. */
const struct sp_header *sp_record_header(const struct sp_record *record, const char *name);
/* False once the partition was taken away since: the job is somebody else's now. Thread: any. */
bool sp_record_is_ours(const struct sp_record *record);
