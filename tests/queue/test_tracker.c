/* The watermark, by example and against a simple model on random orders. */
#include "queue/tracker.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support.h"

static void take(struct sp_tracker *tracker, int64_t offset)
{
    cr_assert(sp_tracker_has_room(tracker));
    sp_tracker_take(tracker, offset, 1000 + offset);
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
                sp_tracker_take(&tracker, offset, 0);
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
