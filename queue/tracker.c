/* A ring of offsets, and a search in it that is one look where offsets are dense. */
#include "queue/tracker.h"

#include <assert.h>
#include <stdlib.h>

#include "base/defs.h"

#define FIRST_CAPACITY 64

struct sp_tracker_entry {
    int64_t offset, timestamp;
    void *ticket; /* NULL: none, or given back */
    enum sp_tracked state;
};

static struct sp_tracker_entry *slot(const struct sp_tracker *tracker, size_t i)
{
    return &tracker->ring[(tracker->head + i) & (tracker->capacity - 1)];
}

static int64_t offset_at(const struct sp_tracker *tracker, size_t i)
{
    return slot(tracker, i)->offset;
}

void sp_tracker_clear(struct sp_tracker *tracker)
{
    free(tracker->ring);
    *tracker = SP_TRACKER_INIT(tracker->window, tracker->tickets);
}

static bool grow(struct sp_tracker *tracker)
{
    size_t capacity = tracker->capacity ? tracker->capacity * 2 : FIRST_CAPACITY;
    struct sp_tracker_entry *ring = malloc(capacity * sizeof(*ring));
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
    if (tracker->count > tracker->kept && tracker->next - tracker->watermark >= tracker->window)
        return false;
    return tracker->count < tracker->capacity || grow(tracker);
}

void sp_tracker_take(struct sp_tracker *tracker, int64_t offset, int64_t timestamp)
{
    assert(offset >= tracker->next && tracker->count < tracker->capacity);
    if (tracker->count == tracker->kept)
        tracker->watermark = offset; /* a gap before it needs no completion */
    *slot(tracker, tracker->count++) = (struct sp_tracker_entry){
        .timestamp = timestamp, .offset = offset, .state = SP_TRACKED_OUT};
    tracker->next = offset + 1;
    tracker->open++;
}

/* Offsets rise, so the entry is at most as many places from the head as its offset is. */
static struct sp_tracker_entry *find(const struct sp_tracker *tracker, int64_t offset)
{
    if (tracker->count == 0 || offset < offset_at(tracker, 0) || offset >= tracker->next)
        return NULL;
    size_t low = 0, high = (size_t)(offset - offset_at(tracker, 0));
    if (high >= tracker->count)
        high = tracker->count - 1;
    size_t at = high;
    while (low <= high) {
        int64_t there = offset_at(tracker, at);
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

static void give_back(struct sp_tracker *tracker, struct sp_tracker_entry *entry, bool committed)
{
    sp_tickets_put(tracker->tickets, SP_TAKE(entry->ticket), committed);
}

static void drop_first(struct sp_tracker *tracker, bool committed)
{
    give_back(tracker, slot(tracker, 0), committed);
    if (slot(tracker, 0)->state == SP_TRACKED_OUT)
        tracker->open--;
    if (tracker->kept > 0)
        tracker->kept--;
    tracker->head = (tracker->head + 1) & (tracker->capacity - 1);
    tracker->count--;
}

static void move_watermark(struct sp_tracker *tracker)
{
    while (tracker->kept < tracker->count &&
           slot(tracker, tracker->kept)->state == SP_TRACKED_COMPLETE)
        tracker->kept++;
    tracker->watermark =
        tracker->kept < tracker->count ? offset_at(tracker, tracker->kept) : tracker->next;
}

static void drop_kept(struct sp_tracker *tracker, int64_t offset, bool committed)
{
    while (tracker->kept > 0 && offset_at(tracker, 0) < offset)
        drop_first(tracker, committed);
}

bool sp_tracker_complete(struct sp_tracker *tracker, int64_t offset, void *ticket)
{
    struct sp_tracker_entry *entry = find(tracker, offset);
    if (!entry || entry->state != SP_TRACKED_OUT)
        return false;
    entry->state = SP_TRACKED_COMPLETE;
    entry->ticket = ticket;
    tracker->open--;
    move_watermark(tracker);
    drop_kept(tracker, tracker->watermark - tracker->window, false);
    return true;
}

void sp_tracker_hand_back(struct sp_tracker *tracker, int64_t offset)
{
    struct sp_tracker_entry *entry = find(tracker, offset);
    if (!entry || entry->state != SP_TRACKED_OUT)
        return;
    entry->state = SP_TRACKED_BACK;
    tracker->open--;
}

void sp_tracker_committed(struct sp_tracker *tracker, int64_t offset)
{
    drop_kept(tracker, offset, true);
}

void sp_tracker_forget(struct sp_tracker *tracker)
{
    for (size_t i = 0; i < tracker->count; i++)
        give_back(tracker, slot(tracker, i), false);
}

void sp_tracker_begin(struct sp_tracker *tracker, int64_t offset)
{
    while (tracker->count > 0 && offset_at(tracker, 0) < offset)
        drop_first(tracker, true);
    if (tracker->next < offset)
        tracker->next = offset;
    move_watermark(tracker);
}

enum sp_tracked sp_tracker_look(const struct sp_tracker *tracker, int64_t offset, int64_t timestamp)
{
    const struct sp_tracker_entry *entry = find(tracker, offset);
    if (!entry || entry->timestamp != timestamp)
        return SP_TRACKED_UNKNOWN;
    return entry->state;
}

void sp_tracker_retake(struct sp_tracker *tracker, int64_t offset)
{
    struct sp_tracker_entry *entry = find(tracker, offset);
    assert(entry && entry->state == SP_TRACKED_BACK);
    entry->state = SP_TRACKED_OUT;
    tracker->open++;
}
