/* Which records of a partition are taken, without Kafka; the rest is in test_consumer.c. */
#include "queue/partition.h"

#include "tests/support.h"

#define WINDOW 2

static enum sp_arrival arrive(struct sp_partition *partition, int64_t offset)
{
    return sp_partition_arrive(partition, offset, 1000 + offset);
}

/* Lost and given back while 0 and 1 are out; Kafka has deleted what follows 0 meanwhile. */
Test(partition, a_record_behind_a_gap_is_taken_although_the_window_is_full)
{
    struct sp_tickets tickets = {0};
    struct sp_partition *partition = sp_partition_new("t", 0, WINDOW, &tickets, NULL);
    sp_partition_begin(partition, 0);
    cr_assert(eq(int, arrive(partition, 0), SP_ARRIVAL_TAKEN));
    cr_assert(eq(int, arrive(partition, 1), SP_ARRIVAL_TAKEN));
    sp_partition_begin(partition, 0);
    cr_assert(eq(int, arrive(partition, 0), SP_ARRIVAL_KNOWN));
    cr_assert(sp_partition_may_read(partition), "1 may come again");

    cr_expect(eq(int, arrive(partition, 7), SP_ARRIVAL_TAKEN));

    cr_expect(not(sp_partition_may_read(partition)));
    sp_partition_unref(partition);
}
