/* The watermark, by example and against a simple model on random orders. */
#include "queue/tracker.h"

#include <stdlib.h>
#include <string.h>

#include "queue/offset_map.h"
#include "tests/support.h"

static void take(struct sp_tracker *tracker, int64_t offset)
{
    cr_assert(sp_tracker_has_room(tracker));
    cr_assert(sp_tracker_take(tracker, offset, 1000 + offset));
}

Test(tracker, the_watermark_waits_for_the_first_incomplete_offset)
{
    struct sp_tracker tracker = SP_TRACKER_INIT(100, NULL);
    for (int64_t offset = 5; offset < 9; offset++)
        take(&tracker, offset);
    cr_expect(eq(i64, tracker.watermark, 5));

    cr_expect(sp_tracker_complete(&tracker, 6, NULL));
    cr_expect(sp_tracker_complete(&tracker, 8, NULL));
    cr_expect(eq(i64, tracker.watermark, 5));
    cr_expect(sp_tracker_complete(&tracker, 5, NULL));
    cr_expect(eq(i64, tracker.watermark, 7));
    cr_expect(sp_tracker_complete(&tracker, 7, NULL));

    cr_expect(eq(i64, tracker.watermark, 9));
    cr_expect(eq(sz, tracker.in[SP_TRACKED_OUT], 0));
    sp_tracker_clear(&tracker);
}

Test(tracker, gaps_between_offsets_need_no_completion)
{
    struct sp_tracker tracker = SP_TRACKER_INIT(1000, NULL);
    take(&tracker, 3);
    take(&tracker, 70);
    take(&tracker, 71);
    take(&tracker, 500);

    cr_expect(sp_tracker_complete(&tracker, 3, NULL));
    cr_expect(eq(i64, tracker.watermark, 70));
    cr_expect(not(sp_tracker_complete(&tracker, 72, NULL)));
    cr_expect(sp_tracker_complete(&tracker, 71, NULL));
    cr_expect(sp_tracker_complete(&tracker, 70, NULL));

    cr_expect(eq(i64, tracker.watermark, 500));
    sp_tracker_clear(&tracker);
}

Test(tracker, the_window_is_counted_in_offsets_from_the_watermark)
{
    struct sp_tracker tracker = SP_TRACKER_INIT(3, NULL);
    take(&tracker, 0);
    take(&tracker, 1);
    take(&tracker, 2);
    cr_expect(not(sp_tracker_has_room(&tracker)));

    cr_expect(sp_tracker_complete(&tracker, 1, NULL));
    cr_expect(not(sp_tracker_has_room(&tracker)));
    cr_expect(sp_tracker_complete(&tracker, 0, NULL));

    cr_expect(sp_tracker_has_room(&tracker));
    sp_tracker_clear(&tracker);
}

Test(tracker, an_offset_completes_once)
{
    struct sp_tracker tracker = SP_TRACKER_INIT(10, NULL);
    take(&tracker, 0);
    take(&tracker, 1);

    cr_expect(sp_tracker_complete(&tracker, 1, NULL));
    cr_expect(not(sp_tracker_complete(&tracker, 1, NULL)));
    cr_expect(not(sp_tracker_complete(&tracker, 7, NULL)));

    cr_expect(eq(i64, tracker.watermark, 0));
    cr_expect(eq(sz, tracker.in[SP_TRACKED_OUT], 1));
    sp_tracker_clear(&tracker);
}

static void expect_known(const struct sp_tracker *tracker, int64_t offset, enum sp_tracked wanted)
{
    cr_expect(eq(int, sp_tracker_look(tracker, offset, 1000 + offset), wanted), "%d", (int)offset);
}

Test(tracker, a_record_that_comes_again_is_known_until_its_offset_is_committed)
{
    struct sp_tracker tracker = SP_TRACKER_INIT(100, NULL);
    for (int64_t offset = 5; offset < 9; offset++)
        take(&tracker, offset);
    cr_expect(sp_tracker_complete(&tracker, 5, NULL));
    cr_expect(sp_tracker_complete(&tracker, 7, NULL));
    sp_tracker_hand_back(&tracker, 8);

    sp_tracker_begin(&tracker, 5);

    expect_known(&tracker, 4, SP_TRACKED_UNKNOWN);
    expect_known(&tracker, 5, SP_TRACKED_COMPLETE);
    expect_known(&tracker, 6, SP_TRACKED_OUT);
    expect_known(&tracker, 7, SP_TRACKED_COMPLETE);
    expect_known(&tracker, 8, SP_TRACKED_BACK);
    cr_expect(eq(int, sp_tracker_look(&tracker, 6, 1), SP_TRACKED_UNKNOWN)); /* another record */
    cr_expect(not(sp_tracker_complete(&tracker, 8, NULL)));
    sp_tracker_read(&tracker, 5);
    sp_tracker_committed(&tracker, 6);
    expect_known(&tracker, 5, SP_TRACKED_UNKNOWN);
    cr_expect(sp_tracker_complete(&tracker, 6, NULL));
    cr_expect(eq(i64, tracker.watermark, 8)); /* what was handed back holds it */
    sp_tracker_retake(&tracker, 8);
    cr_expect(sp_tracker_complete(&tracker, 8, NULL));
    cr_expect(eq(i64, tracker.watermark, 9));
    cr_expect(eq(sz, tracker.in[SP_TRACKED_OUT], 0));
    sp_tracker_clear(&tracker);
}

Test(tracker, what_others_committed_meanwhile_is_forgotten)
{
    struct sp_tracker tracker = SP_TRACKER_INIT(100, NULL);
    for (int64_t offset = 0; offset < 4; offset++)
        take(&tracker, offset);
    sp_tracker_hand_back(&tracker, 1);

    sp_tracker_begin(&tracker, 3);
    cr_expect(eq(i64, tracker.watermark, 3));
    cr_expect(eq(sz, tracker.in[SP_TRACKED_OUT], 1));
    cr_expect(not(sp_tracker_complete(&tracker, 0, NULL)));
    sp_tracker_begin(&tracker, 20);

    cr_expect(eq(i64, tracker.watermark, 20));
    cr_expect(eq(sz, tracker.in[SP_TRACKED_OUT], 0));
    take(&tracker, 20);
    cr_expect(sp_tracker_complete(&tracker, 20, NULL));
    cr_expect(eq(i64, tracker.watermark, 21));
    sp_tracker_clear(&tracker);
}

Test(tracker, without_commits_it_remembers_one_window)
{
    struct sp_tracker tracker = SP_TRACKER_INIT(64, NULL);
    for (int64_t offset = 0; offset < 1000; offset++) {
        take(&tracker, offset);
        cr_expect(sp_tracker_complete(&tracker, offset, NULL));
    }

    cr_expect(eq(sz, tracker.capacity, 128));
    expect_known(&tracker, 935, SP_TRACKED_UNKNOWN);
    expect_known(&tracker, 936, SP_TRACKED_COMPLETE);
    sp_tracker_clear(&tracker);
}

#define MODEL_OFFSETS 4000

/* What was taken and what is complete, as plain flags. */
struct model {
    bool taken[MODEL_OFFSETS], complete[MODEL_OFFSETS];
};

static int64_t model_watermark(const struct model *model, int64_t next)
{
    for (int64_t i = 0; i < next; i++) {
        if (model->taken[i] && !model->complete[i])
            return i;
    }
    return next;
}

static void complete_any(struct sp_tracker *tracker, struct model *model, unsigned *seed)
{
    int64_t at = (int64_t)rand_r(seed) % (tracker->next + 2);
    bool out = at < tracker->next && model->taken[at] && !model->complete[at];
    cr_assert(eq(int, sp_tracker_complete(tracker, at, NULL), out));
    model->complete[at] = model->complete[at] || out;
}

Test(tracker, any_order_of_completions_gives_the_watermark_of_the_model)
{
    for (unsigned seed = 1; seed <= 20; seed++) {
        static struct model model;
        unsigned random = seed;
        struct sp_tracker tracker = SP_TRACKER_INIT(300, NULL);
        memset(&model, 0, sizeof(model));
        while (tracker.next < MODEL_OFFSETS - 10) {
            if (rand_r(&random) % 3 != 0 && sp_tracker_has_room(&tracker)) {
                int64_t offset = tracker.next + (rand_r(&random) % 8 == 0 ? 5 : 0);
                cr_assert(sp_tracker_take(&tracker, offset, 0));
                model.taken[offset] = true;
            } else {
                complete_any(&tracker, &model, &random);
                /* Most completions are near the oldest, or the full window would stop the walk. */
                if (tracker.count > 0)
                    model.complete[tracker.watermark] =
                        sp_tracker_complete(&tracker, tracker.watermark, NULL);
            }
            cr_assert(eq(i64, tracker.watermark,
                         tracker.watermark < 0 ? -1 : model_watermark(&model, tracker.next)),
                      "seed %u", seed);
        }
        sp_tracker_clear(&tracker);
    }
}

static void expect_ticket(struct sp_tickets *tickets, const void *wanted, bool wanted_committed)
{
    void *ticket = NULL;
    bool committed = !wanted_committed;
    cr_assert(sp_tickets_take(tickets, &ticket, &committed));
    cr_expect(eq(ptr, ticket, (void *)(uintptr_t)wanted));
    cr_expect(eq(int, committed, wanted_committed));
}

static void expect_no_ticket(struct sp_tickets *tickets)
{
    void *ticket = NULL;
    bool committed = false;
    cr_expect(not(sp_tickets_take(tickets, &ticket, &committed)));
}

Test(tracker, a_ticket_comes_back_when_its_offset_is_committed)
{
    static const char a, b;
    struct sp_tickets tickets = {0};
    struct sp_tracker tracker = SP_TRACKER_INIT(10, &tickets);
    for (int64_t offset = 0; offset < 3; offset++)
        take(&tracker, offset);

    cr_expect(sp_tracker_complete(&tracker, 1, (void *)(uintptr_t)&b));
    cr_expect(sp_tracker_complete(&tracker, 0, (void *)(uintptr_t)&a));
    cr_expect(sp_tracker_complete(&tracker, 2, NULL));
    expect_no_ticket(&tickets);

    sp_tracker_committed(&tracker, 1);
    expect_ticket(&tickets, &a, true);
    expect_no_ticket(&tickets);
    sp_tracker_committed(&tracker, 3);
    expect_ticket(&tickets, &b, true);
    expect_no_ticket(&tickets);
    sp_tracker_clear(&tracker);
    sp_tickets_clear(&tickets);
}

Test(tracker, tickets_of_what_is_not_committed_come_back_when_the_partition_goes)
{
    static const char a, b;
    struct sp_tickets tickets = {0};
    struct sp_tracker tracker = SP_TRACKER_INIT(10, &tickets);
    for (int64_t offset = 0; offset < 3; offset++)
        take(&tracker, offset);
    cr_expect(sp_tracker_complete(&tracker, 0, (void *)(uintptr_t)&a));
    cr_expect(sp_tracker_complete(&tracker, 2, (void *)(uintptr_t)&b));

    sp_tracker_forget(&tracker);

    expect_ticket(&tickets, &a, false);
    expect_ticket(&tickets, &b, false);
    sp_tracker_committed(&tracker, 3);
    expect_no_ticket(&tickets);
    expect_known(&tracker, 2, SP_TRACKED_COMPLETE);
    sp_tracker_clear(&tracker);
    sp_tickets_clear(&tickets);
}

Test(tracker, without_commits_the_tickets_beyond_one_window_come_back)
{
    static char marks[20];
    struct sp_tickets tickets = {0};
    struct sp_tracker tracker = SP_TRACKER_INIT(10, &tickets);
    for (int64_t offset = 0; offset < 20; offset++) {
        take(&tracker, offset);
        cr_expect(sp_tracker_complete(&tracker, offset, &marks[offset]));
    }

    for (size_t i = 0; i < 10; i++)
        expect_ticket(&tickets, &marks[i], false);
    expect_no_ticket(&tickets);
    sp_tracker_clear(&tracker);
    sp_tickets_clear(&tickets);
}

Test(tracker, many_tickets_come_back_in_order)
{
    static char marks[1000];
    struct sp_tickets tickets = {0};
    for (size_t i = 0, next = 0; i < SP_COUNT(marks); i++) {
        sp_tickets_put(&tickets, &marks[i], true);
        sp_tickets_put(&tickets, NULL, true);
        if (i % 3 == 0)
            expect_ticket(&tickets, &marks[next++], true);
    }

    for (size_t i = 334; i < SP_COUNT(marks); i++)
        expect_ticket(&tickets, &marks[i], true);
    expect_no_ticket(&tickets);
    sp_tickets_clear(&tickets);
}

Test(tracker, what_kafka_has_no_more_holds_nothing_up)
{
    struct sp_tracker tracker = SP_TRACKER_INIT(100, NULL);
    for (int64_t offset = 0; offset < 5; offset++)
        take(&tracker, offset);
    sp_tracker_hand_back(&tracker, 1);
    sp_tracker_hand_back(&tracker, 2);
    sp_tracker_hand_back(&tracker, 4);
    cr_expect(sp_tracker_complete(&tracker, 0, NULL));

    sp_tracker_begin(&tracker, 1);
    sp_tracker_read(&tracker, 3);

    cr_expect(eq(i64, tracker.watermark, 3));
    expect_known(&tracker, 4, SP_TRACKED_BACK);
    sp_tracker_read(&tracker, 4); /* 3 is out: it is not Kafka that has to give it */
    cr_expect(eq(i64, tracker.watermark, 3));
    sp_tracker_clear(&tracker);
}

Test(tracker, what_has_yet_to_be_read_once_more_is_known_though_it_is_committed)
{
    static const char a;
    struct sp_tickets tickets = {0};
    struct sp_tracker tracker = SP_TRACKER_INIT(2, &tickets);
    for (int64_t offset = 0; offset < 4; offset++) {
        take(&tracker, offset);
        cr_expect(
            sp_tracker_complete(&tracker, offset, offset == 3 ? (void *)(uintptr_t)&a : NULL));
    }
    sp_tracker_begin(&tracker, 2); /* as far as the group had committed */

    sp_tracker_committed(&tracker, 4);

    expect_ticket(&tickets, &a, true);
    expect_known(&tracker, 2, SP_TRACKED_COMPLETE);
    sp_tracker_read(&tracker, 2);
    sp_tracker_committed(&tracker, 4);
    expect_known(&tracker, 2, SP_TRACKED_UNKNOWN);
    expect_known(&tracker, 3, SP_TRACKED_COMPLETE);
    sp_tracker_clear(&tracker);
    sp_tickets_clear(&tickets);
}

static void restore(struct sp_tracker *tracker, int64_t offset, bool done)
{
    cr_assert(sp_tracker_restore(
        tracker, &(struct sp_mark){.offset = offset, .timestamp = 1000 + offset, .done = done}));
}

Test(tracker, what_others_completed_is_known)
{
    struct sp_tracker tracker = SP_TRACKER_INIT(100, NULL);
    sp_tracker_begin(&tracker, 5);
    restore(&tracker, 5, false);
    restore(&tracker, 6, true);
    restore(&tracker, 9, true);

    cr_expect(eq(i64, tracker.watermark, 5));
    expect_known(&tracker, 5, SP_TRACKED_BACK);
    expect_known(&tracker, 6, SP_TRACKED_COMPLETE);
    expect_known(&tracker, 7, SP_TRACKED_UNKNOWN);
    cr_expect(eq(int, sp_tracker_look(&tracker, 9, 1), SP_TRACKED_UNKNOWN)); /* another record */
    sp_tracker_retake(&tracker, 5);
    cr_expect(sp_tracker_complete(&tracker, 5, NULL));
    cr_expect(eq(i64, tracker.watermark, 10));
    sp_tracker_clear(&tracker);
}

Test(tracker, what_is_out_here_stays_so_whatever_others_completed)
{
    struct sp_tracker tracker = SP_TRACKER_INIT(100, NULL);
    for (int64_t offset = 0; offset < 4; offset++)
        take(&tracker, offset);
    sp_tracker_hand_back(&tracker, 1);
    sp_tracker_hand_back(&tracker, 2);
    sp_tracker_begin(&tracker, 0);

    for (int64_t offset = 0; offset < 6; offset++)
        restore(&tracker, offset, offset == 1 || offset == 3 || offset == 5);

    expect_known(&tracker, 0, SP_TRACKED_OUT);
    expect_known(&tracker, 1, SP_TRACKED_COMPLETE);
    expect_known(&tracker, 2, SP_TRACKED_BACK);
    expect_known(&tracker, 3, SP_TRACKED_OUT);
    expect_known(&tracker, 4, SP_TRACKED_BACK);
    expect_known(&tracker, 5, SP_TRACKED_COMPLETE);
    cr_expect(eq(sz, tracker.in[SP_TRACKED_OUT], 2));
    sp_tracker_clear(&tracker);
}

/* A log, its records with a gap now and then, and what of it was ever completed. */
struct log {
    int64_t offset[MODEL_OFFSETS], timestamp[MODEL_OFFSETS];
    bool complete[MODEL_OFFSETS];
};

static void make_log(struct log *log, unsigned *seed)
{
    memset(log, 0, sizeof(*log));
    for (size_t i = 0; i < MODEL_OFFSETS; i++) {
        log->offset[i] = i == 0 ? 7 : log->offset[i - 1] + (rand_r(seed) % 9 ? 1 : 4);
        log->timestamp[i] = 1700000000000 + (int64_t)i * 3 + rand_r(seed) % 3;
    }
}

/* Reads on from the committed offset, as one that came to the partition just now, with the map. */
static void begin_anew(struct sp_tracker *tracker, const char *map, size_t len, int64_t committed)
{
    static struct sp_mark marks[SP_OFFSET_MAP_MARKS];
    size_t n = sp_offset_map_decode(map, len, committed, marks);
    sp_tracker_clear(tracker);
    sp_tracker_begin(tracker, committed);
    for (size_t i = 0; i < n; i++)
        cr_assert(sp_tracker_restore(tracker, &marks[i]));
}

/* One owner's life: reads on, completes in any order, and is gone. Returns how many it ran. */
static size_t live(struct sp_tracker *tracker, struct log *log, size_t *position, unsigned *seed)
{
    size_t ran = 0, end = *position + (size_t)rand_r(seed) % 600;
    for (; *position < end && *position < MODEL_OFFSETS; (*position)++) {
        int64_t offset = log->offset[*position], timestamp = log->timestamp[*position];
        enum sp_tracked known = sp_tracker_look(tracker, offset, timestamp);
        sp_tracker_read(tracker, offset);
        cr_assert(known != SP_TRACKED_COMPLETE || log->complete[*position]);
        if (known == SP_TRACKED_COMPLETE)
            continue;
        if (known == SP_TRACKED_BACK) {
            sp_tracker_retake(tracker, offset);
        } else {
            cr_assert(eq(int, known, SP_TRACKED_UNKNOWN));
            cr_assert(sp_tracker_has_room(tracker));
            cr_assert(sp_tracker_take(tracker, offset, timestamp));
        }
        if (rand_r(seed) % 20) {
            cr_assert(sp_tracker_complete(tracker, offset, NULL));
            ran += !log->complete[*position];
            cr_assert(not(log->complete[*position]), "run twice");
            log->complete[*position] = true;
        }
    }
    return ran;
}

static size_t at_offset(const struct log *log, int64_t offset)
{
    size_t i = 0;
    while (i < MODEL_OFFSETS && log->offset[i] < offset)
        i++;
    return i;
}

/* Owners come and go; each commits at its end. Everything is run, and once. */
Test(tracker, over_any_number_of_owners_everything_is_run_once)
{
    for (unsigned seed = 1; seed <= 30; seed++) {
        static struct log log;
        static struct sp_mark marks[SP_OFFSET_MAP_MARKS];
        unsigned random = seed;
        size_t ran = 0;
        struct sp_tracker tracker = SP_TRACKER_INIT(100000, NULL);
        make_log(&log, &random);
        sp_tracker_begin(&tracker, 0);
        for (size_t position = 0; ran < MODEL_OFFSETS;) {
            ran += live(&tracker, &log, &position, &random);
            struct sp_buf map = SP_BUF_INIT(SP_OFFSET_MAP_CHARS);
            int64_t committed = tracker.watermark;
            size_t n = sp_tracker_marks(&tracker, marks, SP_COUNT(marks));
            sp_offset_map_encode(committed, marks, n, &map);
            begin_anew(&tracker, map.data, map.len, committed);
            position = at_offset(&log, committed);
            sp_buf_clear(&map);
        }
        sp_tracker_clear(&tracker);
    }
}

Test(tracker, of_a_topic_made_anew_nothing_counts_as_done)
{
    static struct sp_mark marks[SP_OFFSET_MAP_MARKS];
    struct sp_buf map = SP_BUF_INIT(SP_OFFSET_MAP_CHARS);
    struct sp_tracker tracker = SP_TRACKER_INIT(1000, NULL);
    for (int64_t offset = 3; offset < 500; offset++) {
        take(&tracker, offset);
        cr_assert(offset == 3 || sp_tracker_complete(&tracker, offset, NULL));
    }
    size_t n = sp_tracker_marks(&tracker, marks, SP_COUNT(marks));
    sp_offset_map_encode(3, marks, n, &map);

    begin_anew(&tracker, map.data, map.len, 3);

    expect_known(&tracker, 499, SP_TRACKED_COMPLETE);
    for (int64_t offset = 3; offset < 500; offset++)
        cr_assert(eq(int, sp_tracker_look(&tracker, offset, 1001 + offset), SP_TRACKED_UNKNOWN));
    sp_tracker_clear(&tracker);
    sp_buf_clear(&map);
}
