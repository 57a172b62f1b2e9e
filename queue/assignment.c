/* The set of partitions, and for each that ever was in it how far it was read. */
#include "queue/assignment.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "queue/kafka.h"

struct sp_history {
    struct sp_history *older;
    struct sp_partition *lost; /* taken away with work that its tracker knows of; or NULL */
    int64_t next;              /* offset */
    int32_t number;
    char topic[];
};

static struct sp_history *history_of(struct sp_assignment *assignment, const char *topic,
                                     int32_t number)
{
    for (struct sp_history *h = assignment->history; h; h = h->older) {
        if (h->number == number && strcmp(h->topic, topic) == 0)
            return h;
    }
    size_t size = strlen(topic) + 1;
    struct sp_history *h = sp_kafka_must(calloc(1, sizeof(*h) + size));
    memcpy(h->topic, topic, size);
    h->number = number;
    h->older = assignment->history;
    assignment->history = h;
    return h;
}

static struct sp_partition *new_partition(struct sp_assignment *assignment,
                                          struct sp_history *history)
{
    struct sp_partition *partition =
        sp_partition_new(history->topic, history->number, assignment->window, &assignment->tickets,
                         assignment->waker);
    partition->history = history;
    return partition;
}

struct sp_partition *sp_assignment_find(const struct sp_assignment *assignment, const char *topic,
                                        int32_t number)
{
    for (size_t i = 0; i < assignment->n; i++) {
        struct sp_partition *partition = assignment->partitions[i];
        if (partition->number == number && strcmp(partition->topic, topic) == 0)
            return partition;
    }
    return NULL;
}

struct sp_partition *sp_assignment_add(struct sp_assignment *assignment, const char *topic,
                                       int32_t number)
{
    struct sp_history *history = history_of(assignment, topic, number);
    struct sp_partition *partition = SP_TAKE(history->lost);
    if (!partition)
        partition = new_partition(assignment, history);
    sp_partition_attach(partition, assignment->rk);
    size_t n = assignment->n + 1;
    assignment->partitions =
        sp_kafka_must(realloc(assignment->partitions, n * sizeof(struct sp_partition *)));
    assignment->partitions[assignment->n++] = partition;
    return partition;
}

void sp_assignment_remove(struct sp_assignment *assignment, struct sp_partition *partition)
{
    size_t i = 0;
    while (assignment->partitions[i] != partition)
        i++;
    assignment->partitions[i] = assignment->partitions[--assignment->n];
    sp_partition_detach(partition);
    if (partition->tracker.count > 0) {
        partition->history->lost = partition;
    } else {
        sp_partition_unref(partition);
    }
}

struct sp_partition *sp_assignment_restart(struct sp_assignment *assignment, size_t place,
                                           int64_t offset)
{
    struct sp_partition *old = assignment->partitions[place];
    sp_log(SP_WARN, "partition_went_back", sp_s("topic", old->topic),
           sp_i("partition", old->number), sp_i("expected", old->tracker.next),
           sp_i("offset", offset));
    struct sp_partition *fresh = new_partition(assignment, old->history);
    sp_partition_replace(fresh, old);
    assignment->partitions[place] = fresh;
    sp_partition_unref(old);
    return fresh;
}

bool sp_assignment_read(const struct sp_partition *partition, int64_t offset)
{
    struct sp_history *history = partition->history;
    if (offset < history->next)
        return false;
    history->next = offset + 1;
    return true;
}

void sp_assignment_clear(struct sp_assignment *assignment)
{
    while (assignment->history) {
        struct sp_history *history = assignment->history;
        assignment->history = history->older;
        sp_partition_unref(history->lost);
        free(history);
    }
    sp_tickets_clear(&assignment->tickets);
    free(assignment->partitions);
}
