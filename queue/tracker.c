/* A ring of offsets, and a search in it that is one look where offsets are dense. */
#include "queue/tracker.h"

#include <assert.h>
#include <stdlib.h>

#define FIRST_CAPACITY 64

static int64_t *slot(const struct sp_tracker *tracker, size_t i)
{
    return &tracker->ring[(tracker->head + i) & (tracker->capacity - 1)];
}

static int64_t offset_of(int64_t entry)
{
    return entry < 0 ? ~entry : entry;
}

void sp_tracker_clear(struct sp_tracker *tracker)
{
    free(tracker->ring);
    *tracker = SP_TRACKER_INIT(tracker->window);
}

static bool grow(struct sp_tracker *tracker)
{
    size_t capacity = tracker->capacity ? tracker->capacity * 2 : FIRST_CAPACITY;
    int64_t *ring = malloc(capacity * sizeof(*ring));
    if (!ring)
        return false;
    for (size_t i = 0; i < tracker->count; i++)
        ring[i] = *slot(tracker, i);
    free(tracker->ring);
    tracker->ring = ring;
    tracker->head = 0;
    tracker->capacity = capacity;
    return true;
}

bool sp_tracker_has_room(struct sp_tracker *tracker)
{
    if (tracker->count > 0 && tracker->next - tracker->watermark >= tracker->window)
        return false;
    return tracker->count < tracker->capacity || grow(tracker);
}

void sp_tracker_take(struct sp_tracker *tracker, int64_t offset)
{
    assert(offset >= tracker->next && tracker->count < tracker->capacity);
    if (tracker->count == 0)
        tracker->watermark = offset; /* a gap before it needs no completion */
    *slot(tracker, tracker->count++) = offset;
    tracker->next = offset + 1;
    tracker->open++;
}

/* Offsets rise, so the entry is at most as many places from the head as its offset is. */
static int64_t *find(const struct sp_tracker *tracker, int64_t offset)
{
    if (tracker->count == 0 || offset < tracker->watermark || offset >= tracker->next)
        return NULL;
    size_t low = 0, high = (size_t)(offset - tracker->watermark);
    if (high >= tracker->count)
        high = tracker->count - 1;
    size_t at = high;
    while (low <= high) {
        int64_t there = offset_of(*slot(tracker, at));
        if (there == offset)
            return slot(tracker, at);
        if (there < offset) {
            low = at + 1;
        } else if (at == 0) {
            break;
        } else {
            high = at - 1;
        }
        at = low + ((high - low) / 2);
    }
    return NULL;
}

bool sp_tracker_complete(struct sp_tracker *tracker, int64_t offset)
{
    int64_t *entry = find(tracker, offset);
    if (!entry || *entry < 0)
        return false;
    *entry = ~offset;
    tracker->open--;
    while (tracker->count > 0 && *slot(tracker, 0) < 0) {
        tracker->head = (tracker->head + 1) & (tracker->capacity - 1);
        tracker->count--;
    }
    tracker->watermark = tracker->count > 0 ? *slot(tracker, 0) : tracker->next;
    return true;
}
