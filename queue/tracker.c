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

static bool has_memory(struct sp_tracker *tracker)
{
    if (tracker->count < tracker->capacity)
        return true;
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

bool sp_tracker_has_room(const struct sp_tracker *tracker)
{
    return tracker->count == tracker->kept || tracker->next - tracker->watermark < tracker->window;
}

static bool append(struct sp_tracker *tracker, int64_t offset, int64_t timestamp,
                   enum sp_tracked state)
{
    assert(offset >= tracker->next);
    if (!has_memory(tracker))
        return false;
    if (tracker->count == tracker->kept)
        tracker->watermark = offset; /* a gap before it needs no completion */
    *slot(tracker, tracker->count++) =
        (struct sp_tracker_entry){.timestamp = timestamp, .offset = offset, .state = state};
    tracker->next = offset + 1;
    tracker->in[state]++;
    return true;
}

bool sp_tracker_take(struct sp_tracker *tracker, int64_t offset, int64_t timestamp)
{
    return append(tracker, offset, timestamp, SP_TRACKED_OUT);
}

/* The first entry with this offset or a higher one. Offsets rise, so it is at most as many places
 * from the head as the offset is. */
static size_t place_of(const struct sp_tracker *tracker, int64_t offset)
{
    if (tracker->count == 0 || offset >= tracker->next)
        return tracker->count;
    if (offset <= offset_at(tracker, 0))
        return 0;
    size_t low = 0, high = (size_t)(offset - offset_at(tracker, 0));
    if (high < tracker->count && offset_at(tracker, high) == offset)
        return high;
    if (high > tracker->count)
        high = tracker->count;
    while (low < high) {
        size_t middle = low + ((high - low) / 2);
        if (offset_at(tracker, middle) < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct sp_tracker_entry *find(const struct sp_tracker *tracker, int64_t offset)
{
    size_t i = place_of(tracker, offset);
    return i < tracker->count && offset_at(tracker, i) == offset ? slot(tracker, i) : NULL;
}

/* Of one from the watermark on. */
static void set_state(struct sp_tracker *tracker, struct sp_tracker_entry *entry,
                      enum sp_tracked state)
{
    tracker->in[entry->state]--;
    tracker->in[state]++;
    entry->state = state;
}

static void give_back(struct sp_tracker *tracker, struct sp_tracker_entry *entry, bool committed)
{
    sp_tickets_put(tracker->tickets, SP_TAKE(entry->ticket), committed);
}

static void drop_first(struct sp_tracker *tracker, bool committed)
{
    give_back(tracker, slot(tracker, 0), committed);
    if (tracker->kept > 0) {
        tracker->kept--;
    } else {
        tracker->in[slot(tracker, 0)->state]--;
    }
    tracker->head = (tracker->head + 1) & (tracker->capacity - 1);
    tracker->count--;
}

/* What is still to be read once more has to be known then. */
static void drop_kept(struct sp_tracker *tracker, int64_t offset)
{
    int64_t end = offset < tracker->position ? offset : tracker->position;
    while (tracker->kept > 0 && offset_at(tracker, 0) < end)
        drop_first(tracker, false);
}

static void move_watermark(struct sp_tracker *tracker)
{
    while (tracker->kept < tracker->count &&
           slot(tracker, tracker->kept)->state == SP_TRACKED_COMPLETE) {
        tracker->in[SP_TRACKED_COMPLETE]--;
        tracker->kept++;
    }
    tracker->watermark =
        tracker->kept < tracker->count ? offset_at(tracker, tracker->kept) : tracker->next;
    drop_kept(tracker, tracker->watermark - tracker->window);
}

bool sp_tracker_complete(struct sp_tracker *tracker, int64_t offset, void *ticket)
{
    struct sp_tracker_entry *entry = find(tracker, offset);
    if (!entry || entry->state != SP_TRACKED_OUT)
        return false;
    entry->ticket = ticket;
    set_state(tracker, entry, SP_TRACKED_COMPLETE);
    move_watermark(tracker);
    return true;
}

void sp_tracker_hand_back(struct sp_tracker *tracker, int64_t offset)
{
    struct sp_tracker_entry *entry = find(tracker, offset);
    if (entry && entry->state == SP_TRACKED_OUT)
        set_state(tracker, entry, SP_TRACKED_BACK);
}

void sp_tracker_committed(struct sp_tracker *tracker, int64_t offset)
{
    for (size_t i = 0; i < tracker->kept && offset_at(tracker, i) < offset; i++)
        give_back(tracker, slot(tracker, i), true);
    drop_kept(tracker, offset);
}

void sp_tracker_forget(struct sp_tracker *tracker)
{
    for (size_t i = 0; i < tracker->count; i++)
        give_back(tracker, slot(tracker, i), false);
    tracker->position = INT64_MAX;
}

void sp_tracker_begin(struct sp_tracker *tracker, int64_t offset)
{
    while (tracker->count > 0 && offset_at(tracker, 0) < offset)
        drop_first(tracker, true);
    if (tracker->next < offset)
        tracker->next = offset;
    tracker->position = offset;
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
    if (entry && entry->state == SP_TRACKED_BACK)
        set_state(tracker, entry, SP_TRACKED_OUT);
}

static void pass(struct sp_tracker *tracker, int64_t from, int64_t to)
{
    for (size_t i = place_of(tracker, from); i < tracker->count && offset_at(tracker, i) < to;
         i++) {
        if (slot(tracker, i)->state == SP_TRACKED_BACK)
            set_state(tracker, slot(tracker, i), SP_TRACKED_COMPLETE);
    }
    move_watermark(tracker);
}

void sp_tracker_read(struct sp_tracker *tracker, int64_t offset)
{
    if (tracker->position < offset && tracker->in[SP_TRACKED_BACK] > 0)
        pass(tracker, tracker->position, offset);
    tracker->position = offset + 1;
}

size_t sp_tracker_marks(const struct sp_tracker *tracker, struct sp_mark *marks, size_t max)
{
    size_t n = tracker->count - tracker->kept;
    if (tracker->in[SP_TRACKED_COMPLETE] == 0)
        return 0;
    if (n > max)
        n = max;
    for (size_t i = 0; i < n; i++) {
        const struct sp_tracker_entry *entry = slot(tracker, tracker->kept + i);
        marks[i] = (struct sp_mark){.offset = entry->offset,
                                    .timestamp = entry->timestamp,
                                    .done = entry->state == SP_TRACKED_COMPLETE};
    }
    return n;
}

bool sp_tracker_restore(struct sp_tracker *tracker, const struct sp_mark *mark)
{
    if (mark->offset >= tracker->next) {
        if (!append(tracker, mark->offset, mark->timestamp,
                    mark->done ? SP_TRACKED_COMPLETE : SP_TRACKED_BACK))
            return false;
    } else {
        struct sp_tracker_entry *entry = find(tracker, mark->offset);
        if (entry && entry->timestamp == mark->timestamp && entry->state == SP_TRACKED_BACK &&
            mark->done)
            set_state(tracker, entry, SP_TRACKED_COMPLETE);
    }
    move_watermark(tracker);
    return true;
}
