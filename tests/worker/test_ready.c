#include "worker/ready.h"

#include <pthread.h>

#include "tests/support.h"
#include "worker/job.h"

SP_AUTO(struct sp_ready *, sp_ready_free)

Test(ready, jobs_leave_in_the_order_they_came)
{
    sp_auto(sp_ready_free) struct sp_ready *ready = sp_ready_new(8, SIZE_MAX);
    struct sp_job jobs[3] = {0};
    bool room = false;

    for (size_t i = 0; i < SP_COUNT(jobs); i++)
        sp_ready_push(ready, &jobs[i]);

    for (size_t i = 0; i < SP_COUNT(jobs); i++)
        cr_expect(eq(ptr, sp_ready_take(ready, &room), &jobs[i]));
    cr_expect(eq(sz, sp_ready_len(ready), 0));
}

Test(ready, there_is_no_room_at_capacity_and_room_is_reported_once_at_half)
{
    sp_auto(sp_ready_free) struct sp_ready *ready = sp_ready_new(4, SIZE_MAX);
    struct sp_job jobs[4] = {0};
    bool room = false;
    for (size_t i = 0; i < SP_COUNT(jobs); i++) {
        cr_expect(eq(sz, sp_ready_room(ready), 4 - i));
        sp_ready_push(ready, &jobs[i]);
    }

    size_t full = sp_ready_room(ready);

    cr_expect(eq(sz, full, 0));
    bool reported[4] = {0};
    for (size_t i = 0; i < SP_COUNT(jobs); i++) {
        sp_ready_take(ready, &room);
        reported[i] = room;
    }
    cr_expect(not(reported[0]));
    cr_expect(reported[1]);
    cr_expect(not(reported[2]));
    cr_expect(not(reported[3]));
}

Test(ready, nobody_is_told_of_room_who_did_not_ask)
{
    sp_auto(sp_ready_free) struct sp_ready *ready = sp_ready_new(1, SIZE_MAX);
    struct sp_job job = {0};
    bool room = true;
    sp_ready_push(ready, &job);

    sp_ready_take(ready, &room);

    cr_expect(not(room));
}

Test(ready, a_job_that_comes_back_finds_a_place_in_a_full_queue)
{
    sp_auto(sp_ready_free) struct sp_ready *ready = sp_ready_new(1, SIZE_MAX);
    struct sp_job jobs[2] = {0};

    sp_ready_push(ready, &jobs[0]);
    sp_ready_push(ready, &jobs[1]);

    cr_expect(eq(sz, sp_ready_len(ready), 2));
}

static void *take_one(void *ready)
{
    bool room = false;
    return sp_ready_take(ready, &room);
}

Test(ready, closing_sends_waiting_takers_home)
{
    sp_auto(sp_ready_free) struct sp_ready *ready = sp_ready_new(1, SIZE_MAX);
    pthread_t takers[4];
    for (size_t i = 0; i < SP_COUNT(takers); i++)
        pthread_create(&takers[i], NULL, take_one, ready);

    sp_ready_close(ready);

    for (size_t i = 0; i < SP_COUNT(takers); i++) {
        void *job = &job;
        pthread_join(takers[i], &job);
        cr_expect(eq(ptr, job, NULL));
    }
}

static bool is_this(void *ctx, const struct sp_job *job)
{
    return job == ctx;
}

Test(ready, a_job_is_withdrawn_from_the_middle_and_from_the_end)
{
    sp_auto(sp_ready_free) struct sp_ready *ready = sp_ready_new(8, SIZE_MAX);
    struct sp_job jobs[4] = {0};
    bool room = false;
    for (size_t i = 0; i < 3; i++)
        sp_ready_push(ready, &jobs[i]);

    cr_expect(eq(ptr, sp_ready_withdraw(ready, is_this, &jobs[1]).first, &jobs[1]));
    cr_expect(eq(ptr, sp_ready_withdraw(ready, is_this, &jobs[2]).first, &jobs[2]));
    cr_expect(eq(ptr, sp_ready_withdraw(ready, is_this, &jobs[2]).first, NULL));
    sp_ready_push(ready, &jobs[3]);

    cr_expect(eq(sz, sp_ready_len(ready), 2));
    cr_expect(eq(ptr, sp_ready_take(ready, &room), &jobs[0]));
    cr_expect(eq(ptr, sp_ready_take(ready, &room), &jobs[3]));
}

struct taker {
    struct sp_ready *ready;
    struct sp_job *taken;
};

static void *take_any(void *arg)
{
    struct taker *taker = arg;
    bool room = false;
    taker->taken = sp_ready_take(taker->ready, &room);
    return NULL;
}

Test(ready, no_more_jobs_are_begun_than_there_are_slots)
{
    sp_auto(sp_ready_free) struct sp_ready *ready = sp_ready_new(8, 1);
    struct sp_job jobs[2] = {0};
    pthread_t thread;
    bool room = false;
    sp_ready_push(ready, &jobs[0]);
    sp_ready_push(ready, &jobs[1]);

    cr_expect(eq(ptr, sp_ready_take(ready, &room), &jobs[0]));
    cr_expect(jobs[0].has_slot);
    sp_ready_push_next(ready, &jobs[0]);
    cr_expect(eq(ptr, sp_ready_take(ready, &room), &jobs[0]), "its next step needs no slot");
    struct taker taker = {ready, NULL};
    cr_assert(zero(int, pthread_create(&thread, NULL, take_any, &taker)));
    sp_ready_free_slot(ready);
    pthread_join(thread, NULL);

    cr_expect(eq(ptr, taker.taken, &jobs[1]));
}

Test(ready, a_next_step_goes_before_a_new_job)
{
    sp_auto(sp_ready_free) struct sp_ready *ready = sp_ready_new(8, 8);
    struct sp_job jobs[2] = {0};
    bool room = false;
    sp_ready_push(ready, &jobs[0]);
    sp_ready_push_next(ready, &jobs[1]);

    cr_expect(eq(ptr, sp_ready_take(ready, &room), &jobs[1]));
    cr_expect(not(jobs[1].has_slot));
    cr_expect(eq(ptr, sp_ready_take(ready, &room), &jobs[0]));
}
