/*
 * Which offset of a partition may be committed: records complete in any order, the watermark is
 * behind the longest complete run. Offsets rise but need not be dense (compaction, transaction
 * markers). It also remembers what is complete and not known to be committed, at most one window of
 * it, or has yet to be read once more, so that a record which comes a second time is recognised.
 * The ticket that came with a completion goes to `tickets` once, when its offset is committed or
 * that cannot be known any more. Thread: one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "queue/tickets.h"

enum sp_tracked {
    SP_TRACKED_UNKNOWN,
    SP_TRACKED_OUT,
    SP_TRACKED_COMPLETE,
    SP_TRACKED_BACK, /* handed back: to be taken again when it comes again */
};

struct sp_tracker {
    struct sp_tracker_entry *ring; /* offsets taken, in order: `kept` complete ones, then from the
                                      first incomplete one */
    size_t head, count, capacity;  /* capacity is a power of two, or 0 */
    size_t kept;
    int64_t window;    /* in offsets, from the watermark */
    int64_t watermark; /* the next offset to commit; -1 before the first record */
    int64_t next;      /* the least offset that can be taken */
    int64_t position;  /* the least offset that can be read; -1: unknown; INT64_MAX: none */
    size_t in[4];      /* by state, how many stand from the watermark on */
    struct sp_tickets *tickets; /* borrowed */
};

#define SP_TRACKER_INIT(window_offsets, tickets_of)                                                \
    ((struct sp_tracker){.window = (window_offsets),                                               \
                         .watermark = -1,                                                          \
                         .position = INT64_MAX,                                                    \
                         .tickets = (tickets_of)})

/* A record as others get to know of it. */
struct sp_mark {
    int64_t offset, timestamp;
    bool done;
};

void sp_tracker_clear(struct sp_tracker *tracker);
/* Whether the window has room for another record. */
bool sp_tracker_has_room(const struct sp_tracker *tracker);
/* With offset >= next, also where the window is full. False without memory. */
bool sp_tracker_take(struct sp_tracker *tracker, int64_t offset, int64_t timestamp);
/* Marks an offset complete. False: it is not out, and the ticket, which may be NULL, stays the
 * caller's. */
bool sp_tracker_complete(struct sp_tracker *tracker, int64_t offset, void *ticket);
/* Marks an offset that is out as handed back. It keeps the watermark where it is. */
void sp_tracker_hand_back(struct sp_tracker *tracker, int64_t offset);
/* Offsets below this one are committed. */
void sp_tracker_committed(struct sp_tracker *tracker, int64_t offset);
/* Nothing will be read and committed here for now: gives the tickets back. */
void sp_tracker_forget(struct sp_tracker *tracker);
/* Reading begins anew at this offset: those below it are somebody else's work, and done. */
void sp_tracker_begin(struct sp_tracker *tracker, int64_t offset);
/* What is known of a record, which its offset and timestamp name. */
enum sp_tracked sp_tracker_look(const struct sp_tracker *tracker, int64_t offset,
                                int64_t timestamp);
/* An offset that was handed back is out again. */
void sp_tracker_retake(struct sp_tracker *tracker, int64_t offset);
/* This offset was read. What was handed back before it and did not come again Kafka has no more,
 * and it holds nothing up. */
void sp_tracker_read(struct sp_tracker *tracker, int64_t offset);

/* What stands from the watermark on, at most max; 0 when none of it is complete. */
size_t sp_tracker_marks(const struct sp_tracker *tracker, struct sp_mark *marks, size_t max);
/*
 * What somebody else left, after sp_tracker_begin() and in rising order of offsets: it is complete,
 * or as good as handed back. What is out here stays so. False without memory.
 */
bool sp_tracker_restore(struct sp_tracker *tracker, const struct sp_mark *mark);
