#include "worker/hold.h"

#include "base/clock.h"
#include "tests/support.h"
#include "worker/cancels.h"
#include "worker/job.h"

SP_AUTO(struct sp_hold *, sp_hold_free)

Test(hold, a_held_job_is_not_due_before_its_pause_and_due_when_told_to_retry)
{
    sp_auto(sp_hold_free) struct sp_hold *hold = sp_hold_new(NULL);
    struct sp_job job = {.fate = SP_FATE_HOLD, .tries = 10};
    int64_t before = sp_mono_ms();
    sp_hold_put(hold, &job);

    cr_expect(le(i64, job.retry_at, sp_mono_ms() + 5000));
    cr_expect(ge(i64, job.retry_at, before));
    job.retry_at = SP_NEVER;
    sp_hold_retry(hold);

    cr_expect(eq(ptr, sp_hold_take(hold, SIZE_MAX).first, &job));
    cr_expect(eq(sz, sp_hold_len(hold), 0));
}

Test(hold, pauses_grow_with_each_try_up_to_five_seconds)
{
    static const int64_t ceilings[] = {200, 400, 800, 1600, 3200, 5000, 5000};
    sp_auto(sp_hold_free) struct sp_hold *hold = sp_hold_new(NULL);
    struct sp_job job = {.fate = SP_FATE_HOLD};

    for (size_t i = 0; i < SP_COUNT(ceilings); i++) {
        sp_hold_put(hold, &job);
        cr_expect(le(i64, job.retry_at, sp_mono_ms() + ceilings[i]), "try %zu", i);
        sp_hold_retry(hold);
        cr_assert(eq(ptr, sp_hold_take(hold, SIZE_MAX).first, &job));
    }
}

Test(hold, a_job_that_expires_leaves_even_without_room)
{
    sp_auto(sp_hold_free) struct sp_hold *hold = sp_hold_new(NULL);
    int64_t now = sp_mono_ms();
    struct sp_job expired = {.fate = SP_FATE_HOLD, .held_since = now, .hold_until = now};
    struct sp_job waiting = {.fate = SP_FATE_HOLD, .held_since = now, .hold_until = SP_NEVER};
    sp_hold_put(hold, &waiting);
    sp_hold_put(hold, &expired);
    sp_hold_retry(hold);

    struct sp_job_list due = sp_hold_take(hold, 0);

    cr_expect(eq(ptr, sp_jobs_take(&due), &expired));
    cr_expect(eq(ptr, due.first, NULL));
    cr_expect(eq(sz, sp_hold_len(hold), 1));
}

Test(hold, what_runs_no_more_leaves_even_without_room)
{
    static char id[] = "id";
    sp_auto(sp_cancels_free) struct sp_cancels *cancels = sp_cancels_new(10);
    sp_auto(sp_hold_free) struct sp_hold *hold = sp_hold_new(cancels);
    struct sp_job answered = {.fate = SP_FATE_HOLD, .answered = true};
    struct sp_job cancelled = {.fate = SP_FATE_HOLD, .req.id = id};
    cr_assert(not(sp_cancels_put(cancels, id, sp_wall_ms() + 60000, NULL)));
    sp_hold_put(hold, &answered);
    sp_hold_put(hold, &cancelled);
    sp_hold_retry(hold);

    cr_expect(ne(ptr, sp_hold_take(hold, 0).first, NULL));

    cr_expect(eq(sz, sp_hold_len(hold), 0));
}

Test(hold, a_cancelled_job_that_is_parked_again_and_again_does_not_spin)
{
    enum { TIME_MS = 200, LOOK_MS = 20 };
    static char id[] = "id";
    sp_auto(sp_cancels_free) struct sp_cancels *cancels = sp_cancels_new(10);
    sp_auto(sp_hold_free) struct sp_hold *hold = sp_hold_new(cancels);
    struct sp_job job = {.fate = SP_FATE_PARK, .req.id = id};
    int64_t until = sp_deadline_in(TIME_MS), begin = sp_mono_ms(), n = 0;
    cr_assert(not(sp_cancels_put(cancels, id, sp_wall_ms() + 60000, NULL)));

    sp_hold_put(hold, &job);
    while (sp_deadline_left(until) > 0) {
        if (!sp_hold_take(hold, SIZE_MAX).first)
            continue;
        n++;
        sp_hold_put(hold, &job);
    }

    cr_expect(le(i64, n, (sp_mono_ms() - begin) / LOOK_MS + 1));
    cr_expect(gt(i64, n, 0));
}

Test(hold, a_job_to_be_handed_back_leaves_at_once)
{
    sp_auto(sp_hold_free) struct sp_hold *hold = sp_hold_new(NULL);
    struct sp_job waiting = {.fate = SP_FATE_HOLD, .tries = 10}, back = {.fate = SP_FATE_HAND_BACK};
    sp_hold_put(hold, &waiting);
    waiting.retry_at = SP_NEVER;
    sp_hold_put(hold, &back);

    struct sp_job_list due = sp_hold_take(hold, 0);

    cr_expect(eq(ptr, sp_jobs_take(&due), &back));
    cr_expect(eq(ptr, due.first, NULL));
}

static bool has_tries(void *ctx, const struct sp_job *job)
{
    return job->tries == *(const int *)ctx;
}

Test(hold, what_is_wanted_is_withdrawn_before_it_is_due)
{
    sp_auto(sp_hold_free) struct sp_hold *hold = sp_hold_new(NULL);
    int tries = 4;
    struct sp_job held = {.fate = SP_FATE_HOLD, .tries = 3}, other = {.fate = SP_FATE_HOLD};
    struct sp_job parked = {.fate = SP_FATE_PARK, .tries = 4};
    struct sp_job *all[] = {&held, &other, &parked};
    for (size_t i = 0; i < SP_COUNT(all); i++)
        sp_hold_put(hold, all[i]);

    struct sp_job_list out = sp_hold_withdraw(hold, has_tries, &tries);

    cr_expect(eq(ptr, sp_jobs_take(&out), &held));
    cr_expect(eq(ptr, sp_jobs_take(&out), &parked));
    cr_expect(eq(ptr, sp_jobs_take(&out), NULL));
    cr_expect(eq(sz, sp_hold_len(hold), 1));
}

Test(hold, a_parked_job_is_looked_at_again_within_a_second)
{
    sp_auto(sp_hold_free) struct sp_hold *hold = sp_hold_new(NULL);
    struct sp_job job = {.fate = SP_FATE_PARK, .tries = 10};
    int64_t before = sp_mono_ms();

    sp_hold_put(hold, &job);

    cr_expect(ge(i64, job.retry_at, before + 250));
    cr_expect(le(i64, job.retry_at, sp_mono_ms() + 1000));
    cr_expect(eq(int, job.tries, 10), "parking is no failure");
}

Test(hold, a_cancelled_job_is_due_at_once_whether_it_came_before_or_after)
{
    static char a[] = "a", b[] = "b", c[] = "c";
    sp_auto(sp_cancels_free) struct sp_cancels *cancels = sp_cancels_new(10);
    sp_auto(sp_hold_free) struct sp_hold *hold = sp_hold_new(cancels);
    struct sp_job before = {.fate = SP_FATE_HOLD, .tries = 10, .req.id = a};
    struct sp_job after = {.fate = SP_FATE_PARK, .req.id = b};
    struct sp_job other = {.fate = SP_FATE_PARK, .req.id = c};

    sp_hold_put(hold, &before);
    sp_hold_put(hold, &other);
    cr_assert(not(sp_cancels_put(cancels, a, SP_NEVER, NULL)));
    cr_assert(not(sp_cancels_put(cancels, b, SP_NEVER, NULL)));
    sp_hold_cancel(hold);
    sp_hold_put(hold, &after);

    cr_expect(eq(i64, before.retry_at, 0));
    cr_expect(eq(i64, after.retry_at, 0));
    cr_expect(gt(i64, other.retry_at, 0));
}
