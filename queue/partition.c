/* A partition's queue and its tracker. Only its reference count and its flags are touched on other
 * threads. */
#include "queue/partition.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/kafka.h"

/* The window is blocked by its first record when it is fuller than this with all but this done. */
#define BLOCKED_USED_PERCENT 90
#define BLOCKED_DONE_PERCENT 98

struct sp_partition *sp_partition_new(const char *topic, int32_t number, int64_t window,
                                      struct sp_tickets *tickets, struct sp_waker *waker)
{
    size_t size = strlen(topic) + 1;
    struct sp_partition *partition = sp_kafka_must(calloc(1, sizeof(*partition) + size));
    atomic_init(&partition->refs, 1);
    memcpy(partition->topic, topic, size);
    partition->number = number;
    partition->waker = waker;
    partition->tracker = SP_TRACKER_INIT(window, tickets);
    return partition;
}

void sp_partition_unref(struct sp_partition *partition)
{
    if (!partition || atomic_fetch_sub(&partition->refs, 1) != 1)
        return;
    sp_tracker_clear(&partition->tracker);
    free(partition);
}

bool sp_partition_is_ours(const struct sp_partition *partition)
{
    return !atomic_load(&partition->leaving);
}

/* On librdkafka's threads, whenever the partition's queue stops being empty. */
static void on_ready(rd_kafka_t *rk, void *opaque)
{
    struct sp_partition *partition = opaque;
    (void)rk;
    atomic_store(&partition->ready, true);
    sp_waker_signal(partition->waker);
}

static void start(struct sp_partition *partition, rd_kafka_queue_t *queue)
{
    partition->tracker.position = partition->committed = partition->lag = -1;
    partition->head = partition->blocked_head = -1;
    partition->progress_ms = sp_mono_ms();
    partition->queue = queue;
    atomic_store(&partition->ready, true);
    atomic_store(&partition->leaving, false);
    rd_kafka_queue_cb_event_enable(queue, on_ready, partition);
}

void sp_partition_attach(struct sp_partition *partition, rd_kafka_t *rk)
{
    rd_kafka_queue_t *queue =
        sp_kafka_must(rd_kafka_queue_get_partition(rk, partition->topic, partition->number));
    rd_kafka_queue_forward(queue, NULL);
    start(partition, queue);
    sp_log(SP_INFO, "partition_assigned", sp_s("topic", partition->topic),
           sp_i("partition", partition->number));
}

void sp_partition_detach(struct sp_partition *partition)
{
    atomic_store(&partition->leaving, true);
    rd_kafka_queue_cb_event_enable(partition->queue, NULL, NULL);
    rd_kafka_queue_destroy(SP_TAKE(partition->queue));
    sp_tracker_forget(&partition->tracker);
    sp_log(SP_INFO, "partition_revoked", sp_s("topic", partition->topic),
           sp_i("partition", partition->number), sp_i("watermark", partition->tracker.watermark),
           sp_i("out", (int64_t)partition->tracker.in[SP_TRACKED_OUT]));
}

void sp_partition_replace(struct sp_partition *partition, struct sp_partition *old)
{
    start(partition, SP_TAKE(old->queue));
    sp_tracker_forget(&old->tracker);
}

void sp_partition_begin(struct sp_partition *partition, int64_t offset)
{
    sp_tracker_begin(&partition->tracker, offset);
    partition->committed = offset;
}

bool sp_partition_may_read(struct sp_partition *partition)
{
    return sp_partition_is_ours(partition) &&
           (partition->tracker.position < partition->tracker.next ||
            sp_tracker_has_room(&partition->tracker));
}

rd_kafka_message_t *sp_partition_read(struct sp_partition *partition)
{
    if (!atomic_load(&partition->ready))
        return NULL;
    rd_kafka_message_t *message = rd_kafka_consume_queue(partition->queue, 0);
    if (message)
        return message;
    /* Something may have come between the look and the store: look once more. */
    atomic_store(&partition->ready, false);
    message = rd_kafka_consume_queue(partition->queue, 0);
    if (message)
        atomic_store(&partition->ready, true);
    return message;
}

enum sp_arrival sp_partition_arrive(struct sp_partition *partition, int64_t offset,
                                    int64_t timestamp)
{
    struct sp_tracker *tracker = &partition->tracker;
    if (offset < tracker->position)
        return SP_ARRIVAL_WENT_BACK;
    if (tracker->position < 0)
        sp_partition_begin(partition, offset);
    enum sp_tracked known = sp_tracker_look(tracker, offset, timestamp);
    if (known == SP_TRACKED_UNKNOWN && offset < tracker->next)
        return SP_ARRIVAL_WENT_BACK;
    sp_tracker_read(tracker, offset);
    if (known == SP_TRACKED_UNKNOWN) {
        (void)sp_kafka_must(sp_tracker_take(tracker, offset, timestamp) ? partition : NULL);
    } else if (known == SP_TRACKED_BACK) {
        sp_tracker_retake(tracker, offset);
    } else {
        return SP_ARRIVAL_KNOWN;
    }
    partition->changes++;
    return SP_ARRIVAL_TAKEN;
}

static bool is_blocked(const struct sp_tracker *tracker)
{
    size_t stand = tracker->count - tracker->kept;
    return (tracker->next - tracker->watermark) * 100 > tracker->window * BLOCKED_USED_PERCENT &&
           tracker->in[SP_TRACKED_COMPLETE] * 100 > stand * BLOCKED_DONE_PERCENT;
}

/* Once for each record that blocks. */
static void warn_blocked(struct sp_partition *partition, int64_t now_ms)
{
    const struct sp_tracker *tracker = &partition->tracker;
    if (partition->blocked_head == partition->head || !is_blocked(tracker))
        return;
    partition->blocked_head = partition->head;
    sp_log(SP_WARN, "partition_blocked", sp_s("topic", partition->topic),
           sp_i("partition", partition->number), sp_i("offset", partition->head),
           sp_i("for_ms", now_ms - partition->head_ms),
           sp_i("done", (int64_t)tracker->in[SP_TRACKED_COMPLETE]),
           sp_i("window", tracker->window));
}

void sp_partition_look(struct sp_partition *partition, int64_t now_ms)
{
    const struct sp_tracker *tracker = &partition->tracker;
    int64_t head = tracker->count > tracker->kept ? tracker->watermark : -1;
    if (head != partition->head)
        partition->head_ms = now_ms;
    partition->head = head;
    bool nothing_to_do = tracker->in[SP_TRACKED_OUT] == 0 && partition->lag <= 0;
    if (nothing_to_do || partition->changes != partition->seen_changes)
        partition->progress_ms = now_ms;
    partition->seen_changes = partition->changes;
    if (head >= 0)
        warn_blocked(partition, now_ms);
}

void sp_partition_status(const struct sp_partition *partition, struct sp_partition_status *out)
{
    const struct sp_tracker *tracker = &partition->tracker;
    (void)snprintf(out->name, sizeof(out->name), "%s-%" PRId32, partition->topic,
                   partition->number);
    out->lag = partition->lag;
    out->watermark = tracker->watermark;
    out->taken = (int64_t)tracker->in[SP_TRACKED_OUT];
    out->window_used = tracker->count > tracker->kept ? tracker->next - tracker->watermark : 0;
    out->done = (int64_t)tracker->in[SP_TRACKED_COMPLETE];
    out->head_offset = partition->head;
    out->head_since_ms = partition->head_ms;
    out->blocked = partition->head >= 0 && partition->blocked_head == partition->head;
    out->last_progress_ms = partition->progress_ms;
}
