#include "worker/order.h"

#include <string.h>

#include "tests/support.h"
#include "worker/job.h"

SP_AUTO(struct sp_order *, sp_order_free)

static struct sp_record record_of(const char *topic, const char *key)
{
    return (struct sp_record){.topic = topic, .key = key, .key_len = key ? strlen(key) : 0};
}

Test(order, jobs_of_one_key_go_one_after_the_other)
{
    sp_auto(sp_order_free) struct sp_order *order = sp_order_new();
    struct sp_record record = record_of("t", "k");
    struct sp_job a = {.record = &record}, b = {.record = &record}, c = {.record = &record};

    cr_expect(sp_order_enter(order, &a));
    cr_expect(not(sp_order_enter(order, &b)));
    cr_expect(not(sp_order_enter(order, &c)));

    cr_expect(eq(ptr, sp_order_leave(order, &a), &b));
    cr_expect(eq(ptr, sp_order_leave(order, &b), &c));
    cr_expect(eq(ptr, sp_order_leave(order, &c), NULL));
    cr_expect(sp_order_enter(order, &a), "the key is free again");
}

Test(order, who_comes_while_an_heir_runs_waits_behind_the_others)
{
    sp_auto(sp_order_free) struct sp_order *order = sp_order_new();
    struct sp_record record = record_of("t", "k");
    struct sp_job a = {.record = &record}, b = {.record = &record}, c = {.record = &record},
                  d = {.record = &record};
    sp_order_enter(order, &a);
    sp_order_enter(order, &b);
    sp_order_enter(order, &c);
    sp_order_leave(order, &a);

    cr_expect(not(sp_order_enter(order, &d)));

    cr_expect(eq(ptr, sp_order_leave(order, &b), &c));
    cr_expect(eq(ptr, sp_order_leave(order, &c), &d));
}

Test(order, other_keys_other_topics_and_jobs_without_a_key_do_not_wait)
{
    sp_auto(sp_order_free) struct sp_order *order = sp_order_new();
    struct sp_record records[] = {record_of("t", "k"), record_of("t", "kk"), record_of("u", "k"),
                                  record_of("t", ""),  record_of("t", NULL), record_of("t", NULL)};
    struct sp_job jobs[SP_COUNT(records)] = {0};

    for (size_t i = 0; i < SP_COUNT(jobs); i++) {
        jobs[i].record = &records[i];
        cr_expect(sp_order_enter(order, &jobs[i]), "job %zu", i);
    }

    for (size_t i = 0; i < SP_COUNT(jobs); i++)
        cr_expect(eq(ptr, sp_order_leave(order, &jobs[i]), NULL), "job %zu", i);
}

Test(order, without_an_order_everything_goes)
{
    struct sp_record record = record_of("t", "k");
    struct sp_job a = {.record = &record}, b = {.record = &record};

    cr_expect(sp_order_enter(NULL, &a));
    cr_expect(sp_order_enter(NULL, &b));
    cr_expect(eq(ptr, sp_order_leave(NULL, &a), NULL));
}

static bool is_one_of(void *ctx, const struct sp_job *job)
{
    struct sp_job **wanted = ctx;
    return job == wanted[0] || job == wanted[1];
}

Test(order, who_is_withdrawn_waits_no_longer_and_the_others_keep_their_order)
{
    sp_auto(sp_order_free) struct sp_order *order = sp_order_new();
    struct sp_record record = record_of("t", "k");
    struct sp_job a = {.record = &record}, b = {.record = &record}, c = {.record = &record},
                  d = {.record = &record}, e = {.record = &record};
    struct sp_job *const waiting[] = {&b, &c, &d};
    struct sp_job *wanted[] = {&b, &d};
    sp_order_enter(order, &a);
    for (size_t i = 0; i < SP_COUNT(waiting); i++)
        sp_order_enter(order, waiting[i]);

    struct sp_job_list out = sp_order_withdraw(order, is_one_of, wanted);

    cr_expect(eq(ptr, sp_jobs_take(&out), &b));
    cr_expect(eq(ptr, sp_jobs_take(&out), &d));
    cr_expect(eq(ptr, sp_jobs_take(&out), NULL));
    cr_expect(eq(ptr, sp_order_leave(order, &b), NULL));
    cr_expect(not(sp_order_enter(order, &e)), "the key is taken still");
    cr_expect(eq(ptr, sp_order_leave(order, &a), &c));
    cr_expect(eq(ptr, sp_order_leave(order, &d), NULL));
    cr_expect(eq(ptr, sp_order_leave(order, &c), &e));
}
