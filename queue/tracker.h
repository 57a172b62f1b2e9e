/*
 * Which offset of a partition may be committed: records complete in any order, the watermark is
 * behind the longest complete run. Offsets rise but need not be dense (compaction, transaction
 * markers). Thread: one.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct sp_tracker {
    int64_t *ring; /* offsets taken, in order, from the first incomplete one; a complete one as ~ */
    size_t head, count, capacity; /* capacity is a power of two, or 0 */
    int64_t window;               /* in offsets, from the watermark */
    int64_t watermark;            /* the next offset to commit; -1 before the first record */
    int64_t next;                 /* the least offset that can be taken */
    size_t open;                  /* taken and not complete */
};

#define SP_TRACKER_INIT(window_offsets)                                                            \
    ((struct sp_tracker){.window = (window_offsets), .watermark = -1})

void sp_tracker_clear(struct sp_tracker *tracker);
/* Whether another record may be taken: the window is not full, and there is memory for it. */
bool sp_tracker_has_room(struct sp_tracker *tracker);
/* Call after sp_tracker_has_room(), with offset >= next. */
void sp_tracker_take(struct sp_tracker *tracker, int64_t offset);
/* Marks an offset complete. False: it is not out. */
bool sp_tracker_complete(struct sp_tracker *tracker, int64_t offset);
