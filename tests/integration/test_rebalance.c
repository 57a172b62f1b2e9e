/* Partitions that move between members of a group on a real broker: what is given to whom, what is
 * committed, and what becomes of the tickets. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "tests/support.h"
#include "tests/support/member.h"

static const char *const strategies[] = {"cooperative-sticky", "roundrobin", "range"};

struct scene {
    struct sp_stage *stage;
    struct sp_group_member members[SP_MEMBERS_MAX];
    size_t wanted; /* of a condition */
    struct sp_ticket_seen tickets[20];
    size_t n_tickets;
};

static void set_up(struct scene *scene, int partitions, int records_each, const char *strategy)
{
    *scene = (struct scene){.stage = sp_stage_new(partitions)};
    for (int i = 0; i < records_each; i++) {
        for (int32_t p = 0; p < partitions; p++)
            sp_stage_send(scene->stage, p, NULL, "job", NULL, 0);
    }
    sp_stage_flush(scene->stage);
    for (size_t i = 0; i < SP_MEMBERS_MAX; i++)
        sp_member_property(&scene->members[i], "partition.assignment.strategy", strategy);
}

static void tear_down(struct scene *scene)
{
    for (size_t i = 0; i < SP_MEMBERS_MAX; i++)
        sp_member_close(&scene->members[i]);
    sp_stage_free(scene->stage);
}

static void until(struct scene *scene, bool (*condition)(void *arg), const char *what)
{
    sp_members_until(scene->members, SP_MEMBERS_MAX, condition, scene, what);
}

static bool first_has_all(void *arg)
{
    struct scene *scene = arg;
    return scene->members[0].n_out >= scene->wanted;
}

/* The first member alone has the records of all partitions. */
static void take_all(struct scene *scene, size_t records)
{
    sp_member_open(&scene->members[0], scene->stage);
    scene->wanted = records;
    until(scene, first_has_all, "the first member did not get all records");
}

static bool first_is_to_lose(void *arg)
{
    struct scene *scene = arg;
    return sp_member_ours(&scene->members[0]) < scene->members[0].n_out;
}

static bool second_has_partitions(void *arg)
{
    struct scene *scene = arg;
    return sp_member_partitions(&scene->members[1]) > 0;
}

static bool second_has_some(void *arg)
{
    struct scene *scene = arg;
    return scene->members[1].n_out >= scene->wanted;
}

/* The first member's record, with a ticket that is looked at. */
static void complete(struct scene *scene, size_t i)
{
    cr_assert(scene->n_tickets < SP_COUNT(scene->tickets));
    sp_member_complete(&scene->members[0], i, &scene->tickets[scene->n_tickets++]);
}

static bool is_back(const struct sp_ticket_seen *ticket)
{
    return ticket->committed + ticket->forgotten > 0;
}

static bool last_ticket_is_back(void *arg)
{
    const struct scene *scene = arg;
    return is_back(&scene->tickets[scene->n_tickets - 1]);
}

static bool tickets_are_back(void *arg)
{
    const struct scene *scene = arg;
    size_t n = 0;
    for (size_t i = 0; i < scene->n_tickets; i++)
        n += is_back(&scene->tickets[i]);
    return n == scene->n_tickets;
}

SP_TABLE_TEST(rebalance, jobs_about_to_end_are_committed_before_their_partition_goes, strategies,
              row)
{
    struct scene scene;
    set_up(&scene, 2, 10, *row);
    take_all(&scene, 20);
    struct sp_group_member *first = &scene.members[0], *second = &scene.members[1];

    sp_member_open(second, scene.stage);
    until(&scene, first_is_to_lose, "nothing was revoked");
    for (size_t i = first->n_out; i-- > 0;) {
        if (!sp_record_is_ours(first->out[i]))
            complete(&scene, i);
    }
    cr_assert(ge(sz, scene.n_tickets, 10));
    until(&scene, second_has_partitions, "the second member got nothing");
    until(&scene, tickets_are_back, "the tickets did not come back");

    for (size_t i = 0; i < scene.n_tickets; i++) {
        cr_expect(eq(int, scene.tickets[i].committed, 1), "%zu of %zu", i, scene.n_tickets);
        cr_expect(eq(int, scene.tickets[i].forgotten, 0));
    }
    sp_members_serve(scene.members, SP_MEMBERS_MAX, 1000);
    cr_expect(eq(sz, second->given, 0));
    tear_down(&scene);
}

static int64_t least_offset(const struct sp_group_member *m)
{
    int64_t least = INT64_MAX;
    for (size_t i = 0; i < m->n_out; i++)
        least = m->out[i]->offset < least ? m->out[i]->offset : least;
    return least;
}

/* All but the given offset of each partition. */
static void complete_but(struct scene *scene, int64_t offset)
{
    const struct sp_group_member *first = &scene->members[0];
    for (size_t i = first->n_out; i-- > 0;) {
        if (first->out[i]->offset != offset)
            complete(scene, i);
    }
}

SP_TABLE_TEST(rebalance, a_long_job_holds_nobody_up_and_only_it_is_given_again, strategies, row)
{
    struct scene scene;
    set_up(&scene, 2, 10, *row);
    take_all(&scene, 20);
    struct sp_group_member *first = &scene.members[0], *second = &scene.members[1];
    complete_but(&scene, 4);
    cr_assert(eq(sz, scene.n_tickets, 18));

    sp_member_open(second, scene.stage);
    until(&scene, first_is_to_lose, "nothing was revoked");
    scene.wanted = 1;
    until(&scene, second_has_some, "the second member got nothing");

    sp_members_serve(scene.members, SP_MEMBERS_MAX, 1000);
    cr_expect(eq(sz, second->given, 1));
    cr_expect(eq(i64, least_offset(second), 4));
    for (size_t i = 0; i < first->n_out; i++) {
        if (first->out[i]->partition == second->out[0]->partition) {
            cr_expect(not(sp_record_is_ours(first->out[i])));
            complete(&scene, i);
            break;
        }
    }
    until(&scene, last_ticket_is_back, "the long job's ticket did not come back");
    cr_expect(eq(int, scene.tickets[18].forgotten, 1));
    sp_member_close(first);
    for (size_t i = 0; i < 19; i++)
        cr_expect(eq(int, scene.tickets[i].committed + scene.tickets[i].forgotten, 1), "%zu", i);
    tear_down(&scene);
}

Test(rebalance, closing_while_a_partition_drains_does_not_wait)
{
    struct scene scene;
    set_up(&scene, 2, 5, "cooperative-sticky");
    take_all(&scene, 10);
    sp_member_open(&scene.members[1], scene.stage);
    until(&scene, first_is_to_lose, "nothing was revoked");

    int64_t started = sp_mono_ms();
    sp_member_close(&scene.members[0]);

    cr_expect(sp_mono_ms() - started < 20000, "%d", (int)(sp_mono_ms() - started));
    scene.wanted = 10;
    until(&scene, second_has_some, "the second member did not get all records");
    tear_down(&scene);
}

static int64_t rebalances(struct sp_group_member *m)
{
    return sp_member_status(m).rebalances;
}

static bool one_is_without(void *arg)
{
    struct scene *scene = arg;
    struct sp_group_member *first = &scene->members[0], *second = &scene->members[1];
    return rebalances(second) > 0 &&
           sp_member_partitions(first) + sp_member_partitions(second) == 1;
}

static bool third_has_joined(void *arg)
{
    struct scene *scene = arg;
    return rebalances(&scene->members[2]) > 0;
}

/* The group waits for a member that did not tell that it ends. */
static void stay_for_ever(struct scene *scene)
{
    for (size_t i = 0; i < SP_MEMBERS_MAX; i++) {
        sp_member_property(&scene->members[i], "session.timeout.ms", "600000");
        sp_member_property(&scene->members[i], "max.poll.interval.ms", "600000");
    }
}

SP_TABLE_TEST(rebalance, a_member_without_partitions_tells_that_it_ends, strategies, row)
{
    struct scene scene;
    set_up(&scene, 1, 2, *row);
    stay_for_ever(&scene);
    take_all(&scene, 2);
    struct sp_group_member *first = &scene.members[0], *second = &scene.members[1];
    sp_member_open(second, scene.stage);
    until(&scene, one_is_without, "the second member did not join");

    sp_member_close(sp_member_partitions(second) > 0 ? first : second);
    sp_member_open(&scene.members[2], scene.stage);

    until(&scene, third_has_joined, "the new member did not join");
    tear_down(&scene);
}

static bool both_have_two(void *arg)
{
    struct scene *scene = arg;
    return sp_member_partitions(&scene->members[0]) == 2 &&
           sp_member_partitions(&scene->members[1]) == 2;
}

static bool first_is_asked_again(void *arg)
{
    struct scene *scene = arg;
    return (size_t)rebalances(&scene->members[0]) > scene->wanted;
}

static bool others_have_all(void *arg)
{
    struct scene *scene = arg;
    return sp_member_partitions(&scene->members[1]) + sp_member_partitions(&scene->members[2]) == 4;
}

static void let_go(struct sp_group_member *m)
{
    int64_t limit = sp_deadline_in(SP_MEMBERS_LIMIT_MS);
    while (sp_queue_is_leaving(m->q)) {
        cr_assert(sp_deadline_left(limit) > 0);
        sp_members_serve(m, 1, 0);
    }
}

/* Longer than its end takes: nobody serves the other one. */
Test(rebalance, a_member_that_waits_for_another_one_tells_that_it_ends)
{
    struct scene scene;
    set_up(&scene, 4, 1, "roundrobin");
    stay_for_ever(&scene);
    struct sp_group_member *first = &scene.members[0], *third = &scene.members[2];
    sp_member_open(first, scene.stage);
    sp_member_open(&scene.members[1], scene.stage);
    until(&scene, both_have_two, "the partitions were not shared out");
    scene.wanted = (size_t)rebalances(first);

    sp_member_open(third, scene.stage);
    sp_members_until(first, 1, first_is_asked_again, &scene, "nothing was revoked");
    let_go(first);
    sp_members_serve(first, 1, 500); /* it joins again */
    sp_member_close(first);

    until(&scene, others_have_all, "the others did not get the partitions");
    tear_down(&scene);
}

static const char *const instances[] = {"", "one"};

/* What librdkafka asked before a close may come after it. */
SP_TABLE_TEST(rebalance, a_member_ends_that_has_not_seen_its_assignment_yet, instances, row)
{
    struct scene scene;
    set_up(&scene, 2, 2, "roundrobin");
    if (**row) {
        sp_member_property(&scene.members[0], "group.instance.id", *row);
        sp_member_property(&scene.members[0], "session.timeout.ms", "6000");
    }
    take_all(&scene, 4);
    struct sp_group_member *first = &scene.members[0], *second = &scene.members[1];
    sp_member_open(second, scene.stage);
    until(&scene, first_is_to_lose, "nothing was revoked");
    let_go(first);
    sp_members_until(second, 1, second_has_partitions, &scene, "the second member got nothing");

    sp_member_close(first);

    scene.wanted = 4;
    until(&scene, second_has_some, "the second member did not get all records");
    tear_down(&scene);
}

/* The two may follow each other within milliseconds. */
static bool first_lost_and_got(void *arg)
{
    struct scene *scene = arg;
    return rebalances(&scene->members[0]) >= 3;
}

/* A member that was stopped for longer than the group waits gets its partitions back later. */
SP_TABLE_TEST(rebalance, after_a_lost_assignment_what_is_out_or_done_is_not_given_again, strategies,
              row)
{
    struct scene scene;
    set_up(&scene, 1, 6, *row);
    sp_member_property(&scene.members[0], "session.timeout.ms", "6000");
    sp_member_property(&scene.members[0], "max.poll.interval.ms", "6000");
    take_all(&scene, 6);
    struct sp_group_member *first = &scene.members[0];
    complete(&scene, 5);

    struct timespec pause = {.tv_sec = 10};
    (void)nanosleep(&pause, NULL); /* the behaviour that is tested: nobody serves the member */
    until(&scene, first_lost_and_got, "the partition was not lost and given back");
    sp_members_serve(scene.members, 1, 2000);

    cr_expect(eq(sz, first->given, 6));
    cr_expect(eq(sz, sp_member_ours(first), 5));
    cr_expect(eq(int, scene.tickets[0].forgotten, 1));
    while (first->n_out > 0)
        complete(&scene, 0);
    until(&scene, tickets_are_back, "the tickets did not come back");
    for (size_t i = 1; i < 6; i++)
        cr_expect(eq(int, scene.tickets[i].committed, 1));
    cr_expect(eq(i64, sp_stage_committed(scene.stage), 6));
    tear_down(&scene);
}

static bool both_have_their_records(void *arg)
{
    struct scene *scene = arg;
    return both_have_two(arg) && sp_member_ours(&scene->members[0]) == 6 &&
           sp_member_ours(&scene->members[1]) == 6;
}

SP_TABLE_TEST(rebalance, a_static_member_that_comes_back_in_time_moves_nothing, strategies, row)
{
    struct scene scene;
    set_up(&scene, 4, 3, *row);
    struct sp_group_member *first = &scene.members[0], *second = &scene.members[1];
    for (int i = 0; i < 2; i++)
        sp_member_property(&scene.members[i], "session.timeout.ms", "60000");
    sp_member_property(first, "group.instance.id", "one");
    sp_member_property(second, "group.instance.id", "two");
    sp_member_open(first, scene.stage);
    sp_member_open(second, scene.stage);
    until(&scene, both_have_their_records, "the partitions were not shared out");
    sp_members_serve(scene.members, SP_MEMBERS_MAX, 1000);
    int64_t before = rebalances(second);
    size_t given = second->given;

    sp_member_close(first);
    sp_members_serve(scene.members, SP_MEMBERS_MAX, 1000);
    sp_member_open(first, scene.stage);
    until(&scene, both_have_their_records, "the partitions did not come back");
    sp_members_serve(scene.members, SP_MEMBERS_MAX, 2000);

    cr_expect(eq(i64, rebalances(second), before));
    cr_expect(eq(sz, second->given, given));
    cr_expect(eq(sz, first->n_out, 6));
    tear_down(&scene);
}

static bool first_has_a_problem(void *arg)
{
    struct scene *scene = arg;
    struct sp_queue_status status = sp_member_status(&scene->members[0]);
    return strstr(status.problem, "consumer: ") != NULL;
}

Test(rebalance, of_two_members_with_one_id_the_older_one_says_so)
{
    struct scene scene;
    set_up(&scene, 1, 2, "cooperative-sticky");
    for (size_t i = 0; i < 2; i++)
        sp_member_property(&scene.members[i], "group.instance.id", "one");
    take_all(&scene, 2);

    sp_member_open(&scene.members[1], scene.stage);
    until(&scene, first_has_a_problem, "nothing was said of the second member");
    cr_expect(eq(sz, sp_member_ours(&scene.members[0]), 0));

    scene.wanted = 2;
    until(&scene, second_has_some, "the second member got no records");
    tear_down(&scene);
}

Test(rebalance, a_restart_gives_only_what_was_not_complete)
{
    struct scene scene;
    set_up(&scene, 1, 40, "cooperative-sticky");
    take_all(&scene, 40);
    struct sp_group_member *first = &scene.members[0];
    for (size_t i = first->n_out; i-- > 0;) {
        if (first->out[i]->offset % 13 != 3)
            sp_member_complete(first, i, NULL);
    }

    sp_member_close(first);
    sp_member_open(first, scene.stage);
    scene.wanted = 3;
    until(&scene, first_has_all, "what was not complete did not come again");
    sp_stage_send(scene.stage, 0, NULL, "new", NULL, 0);
    sp_stage_flush(scene.stage);
    scene.wanted = 4;
    until(&scene, first_has_all, "the new one did not come");

    cr_expect(eq(sz, first->n_out, 4));
    for (size_t i = 0; i < 3; i++)
        cr_expect(eq(i64, first->out[i]->offset % 13, 3));
    tear_down(&scene);
}

static rd_kafka_t *another_member(const struct scene *scene)
{
    char group[96];
    (void)snprintf(group, sizeof(group), "%s.workers", scene->stage->prefix);
    return sp_stage_client(scene->stage, RD_KAFKA_CONSUMER,
                           (const char *const[]){"group.id", group, NULL});
}

static void commit_as_others(struct scene *scene, int64_t offset, const char *metadata)
{
    rd_kafka_t *rk = another_member(scene);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *row =
        rd_kafka_topic_partition_list_add(list, scene->stage->requests, 0);
    row->offset = offset;
    row->metadata = strdup(metadata);
    row->metadata_size = strlen(metadata);
    cr_assert(rd_kafka_commit(rk, list, 0) == 0);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(rk);
}

/* What the group committed for partition 0; the metadata is the caller's. */
static int64_t committed_metadata(struct scene *scene, char **metadata)
{
    rd_kafka_t *rk = another_member(scene);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, scene->stage->requests, 0);
    cr_assert(rd_kafka_committed(rk, list, SP_MEMBERS_LIMIT_MS) == 0);
    *metadata = calloc(1, list->elems[0].metadata_size + 1);
    if (list->elems[0].metadata)
        memcpy(*metadata, list->elems[0].metadata, list->elems[0].metadata_size);
    int64_t offset = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(rk);
    return offset;
}

static bool map_is_committed(void *arg)
{
    struct scene *scene = arg;
    char *metadata = NULL;
    int64_t offset = committed_metadata(scene, &metadata);
    bool is = offset == 0 && strncmp(metadata, "S1", 2) == 0;
    free(metadata);
    return is;
}

static int64_t commit_errors(struct sp_group_member *m)
{
    return sp_member_status(m).commit_errors;
}

/* The broker takes no more than 4,096 characters with a commit. */
Test(rebalance, a_full_window_behind_one_job_is_committed_with_as_much_as_fits)
{
    struct scene scene;
    set_up(&scene, 1, 10000, "cooperative-sticky");
    take_all(&scene, 10000);
    struct sp_group_member *first = &scene.members[0];
    for (size_t i = first->n_out; i-- > 0;) {
        if (first->out[i]->offset != 0)
            sp_member_complete(first, i, NULL);
    }

    until(&scene, map_is_committed, "no map was committed while the head was out");
    cr_expect(eq(i64, commit_errors(first), 0));
    sp_member_close(first);
    first->given = 0;
    sp_member_open(first, scene.stage);
    scene.wanted = 1;
    until(&scene, first_has_all, "the one that was not complete did not come");
    cr_expect(eq(i64, first->out[0]->offset, 0));
    scene.wanted = 2;
    until(&scene, first_has_all, "what did not fit did not come");
    cr_expect(first->out[1]->offset > 1500, "%d", (int)first->out[1]->offset);
    tear_down(&scene);
}

static const char *const foreign[] = {"", "{\"by\":\"another tool\"}", "S1AAAAAAAAAA", "AQAAAYk="};

SP_TABLE_TEST(rebalance, metadata_of_others_skips_nothing, foreign, row)
{
    struct scene scene;
    set_up(&scene, 1, 10, "cooperative-sticky");
    commit_as_others(&scene, 3, *row);

    take_all(&scene, 7);

    cr_expect(eq(i64, least_offset(&scene.members[0]), 3));
    tear_down(&scene);
}

static bool topic_is_empty(void *stage)
{
    return sp_stage_end_offsets(stage) == 0;
}

/* The head is out, so only the map says what is done; the same offsets are other records then. */
Test(rebalance, a_topic_made_anew_loses_no_record_to_an_old_map)
{
    char *metadata = NULL;
    struct scene scene;
    set_up(&scene, 1, 10, "cooperative-sticky");
    take_all(&scene, 10);
    complete_but(&scene, 0);
    until(&scene, map_is_committed, "no map was committed while the head was out");
    (void)committed_metadata(&scene, &metadata);
    sp_member_close(&scene.members[0]);

    sp_stage_delete_topic(scene.stage, scene.stage->requests);
    sp_stage_topic(scene.stage, scene.stage->requests, 1, NULL);
    sp_stage_until(topic_is_empty, scene.stage, SP_MEMBERS_LIMIT_MS, "the new topic is in force");
    for (int i = 0; i < 10; i++)
        sp_stage_send(scene.stage, 0, NULL, "another job", NULL, 0);
    sp_stage_flush(scene.stage);
    commit_as_others(&scene, 0, metadata); /* as a worker does that has not seen the change */
    take_all(&scene, 10);

    cr_expect(eq(sz, scene.members[0].n_out, 10));
    free(metadata);
    tear_down(&scene);
}
