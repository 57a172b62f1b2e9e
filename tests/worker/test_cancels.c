#include "worker/cancels.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "tests/support.h"

static struct sp_cancels *cancels;

static void open_table(void)
{
    cancels = sp_cancels_new(4);
}

static void close_table(void)
{
    sp_cancels_free(cancels);
}

TestSuite(cancels, .init = open_table, .fini = close_table);

static void put(const char *id, int64_t from_now_ms)
{
    cr_assert(eq(int, sp_cancels_put(cancels, id, sp_wall_ms() + from_now_ms, NULL), SP_OK));
}

Test(cancels, an_id_is_cancelled_until_its_time_is_over)
{
    put("now", 60000);
    put("over", -1);

    cr_expect(sp_cancels_has(cancels, "now"));
    cr_expect(not(sp_cancels_has(cancels, "over")));
    cr_expect(not(sp_cancels_has(cancels, "other")));
}

Test(cancels, an_empty_table_has_none)
{
    cr_expect(not(sp_cancels_has(cancels, "x")));
}

Test(cancels, a_tombstone_lifts_a_cancellation)
{
    put("a", 60000);
    put("b", 60000);

    sp_cancels_remove(cancels, "a");
    sp_cancels_remove(cancels, "unknown");

    cr_expect(not(sp_cancels_has(cancels, "a")));
    cr_expect(sp_cancels_has(cancels, "b"));
    cr_expect(eq(sz, sp_cancels_count(cancels), 1));
}

Test(cancels, the_last_record_of_an_id_counts)
{
    put("a", -60000);
    put("a", 60000);

    cr_expect(sp_cancels_has(cancels, "a"));
    cr_expect(eq(sz, sp_cancels_count(cancels), 1));
}

Test(cancels, a_full_table_forgets_the_one_that_came_first)
{
    for (int i = 0; i < 6; i++) {
        char id[8];
        snprintf(id, sizeof(id), "id%d", i);
        put(id, 60000);
    }

    cr_expect(eq(sz, sp_cancels_count(cancels), 4));
    cr_expect(not(sp_cancels_has(cancels, "id1")));
    cr_expect(sp_cancels_has(cancels, "id2"));
    cr_expect(sp_cancels_has(cancels, "id5"));
}

Test(cancels, an_id_that_no_job_can_have_is_left_out)
{
    char id[SP_CANCEL_ID_SIZE + 1];
    memset(id, 'x', sizeof(id) - 1);
    id[sizeof(id) - 1] = '\0';

    put(id, 60000);
    id[SP_CANCEL_ID_SIZE - 1] = '\0';
    put(id, 60000);

    cr_expect(eq(sz, sp_cancels_count(cancels), 1));
    cr_expect(sp_cancels_has(cancels, id));
}

Test(cancels, the_tombstone_of_one_that_is_over_is_due_within_a_minute_and_not_at_once_again)
{
    char id[SP_CANCEL_ID_SIZE] = "";
    put("in force", 60000);
    put("over", -60000);

    cr_assert(sp_cancels_expire(cancels, id));
    cr_expect(eq(str, id, "over"));
    cr_expect(not(sp_cancels_expire(cancels, id)), "%s", id);
    cr_expect(eq(sz, sp_cancels_count(cancels), 2), "it waits for its tombstone");
}

Test(cancels, a_fleet_does_not_write_its_tombstones_at_once)
{
    char id[SP_CANCEL_ID_SIZE];
    int due = 0;

    for (int i = 0; i < 400; i++) {
        put("x", -30000);
        if (sp_cancels_expire(cancels, id))
            due++;
        sp_cancels_remove(cancels, "x");
    }

    cr_expect(due > 100 && due < 300, "%d of 400 after half of the time", due);
}
