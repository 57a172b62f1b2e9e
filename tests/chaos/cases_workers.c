/* Workers come and go. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "tests/chaos/cases.h"
#include "tests/support.h"

#define WORKERS 3
#define REPLIES_LIMIT_MS 300000 /* for what is to come until the next fault, or at the end */

/* The number of replies at which fault i of the case comes: spread evenly, each with some chance.
 */
static int64_t turn_of(struct chaos *c, int64_t i)
{
    int64_t step = c->size.jobs / (c->size.faults + 1);
    return step * i + step / 2 + chaos_random(c, step / 2 + 1);
}

/* Does something to a worker each time that a share of the jobs has got its reply. */
static void at_each_turn(struct chaos *c, void (*fault)(struct chaos *c, int worker))
{
    for (int64_t i = 0; i < c->size.faults; i++) {
        chaos_until_replied(c, turn_of(c, i), REPLIES_LIMIT_MS);
        fault(c, chaos_pick(c));
    }
    chaos_until_replied(c, c->n_jobs, REPLIES_LIMIT_MS);
}

static void kill_and_start(struct chaos *c, int worker)
{
    chaos_kill(c, worker);
    chaos_start(c, worker);
}

static void stop_and_start(struct chaos *c, int worker)
{
    chaos_stop(c, worker);
    chaos_start(c, worker);
}

/* One reply in a hundred is too large to be stored beside its claim. */
static void send_with_large_ones(struct chaos *c)
{
    for (int64_t i = 0; i < c->size.jobs; i++) {
        char code[48];
        int sleep_ms = (int)(1 + chaos_random(c, 50));
        snprintf(code, sizeof code, "sleep %d%s", sleep_ms, i % 100 ? "" : " flood 300000");
        chaos_send(c, &(struct chaos_request){.code = code});
    }
    chaos_flush(c);
}

void case_kill_loop(struct chaos *c)
{
    chaos_workers(c, WORKERS);
    send_with_large_ones(c);
    at_each_turn(c, kill_and_start);
}

void case_stop_loop(struct chaos *c)
{
    chaos_workers(c, WORKERS);
    chaos_send_sleeps(c, c->size.jobs, 20, 200);
    chaos_flush(c);
    at_each_turn(c, stop_and_start);
}

void case_short_drain(struct chaos *c)
{
    chaos_workers(c, WORKERS);
    chaos_send_sleeps(c, c->size.jobs, 1500, 2500);
    chaos_flush(c);
    at_each_turn(c, stop_and_start);
}

/* Longer than a session and than worker.liveness. */
static void freeze_for_long(struct chaos *c, int worker)
{
    chaos_freeze(c, worker);
    chaos_pass(c, 7000);
    chaos_thaw(c, worker);
}

void case_freeze_workers(struct chaos *c)
{
    chaos_workers(c, WORKERS);
    chaos_send_sleeps(c, c->size.jobs, 20, 100);
    chaos_flush(c);
    at_each_turn(c, freeze_for_long);
}

/* The one of the workers, as all of a group must have it. */
static const char *strategy_of(const struct chaos *c)
{
    const char *strategy = "cooperative-sticky";
    for (size_t i = 0; c->options[i]; i++) {
        if (strstr(c->options[i], "assignment.strategy="))
            strategy = strchr(c->options[i], '=') + 1;
    }
    return strategy;
}

static rd_kafka_t *guest_of(struct chaos *c)
{
    char group[96];
    snprintf(group, sizeof group, "%s.workers", c->stage->prefix);
    return sp_stage_client(c->stage, RD_KAFKA_CONSUMER,
                           (const char *const[]){"group.id", group, "session.timeout.ms", "3000",
                                                 "heartbeat.interval.ms", "500",
                                                 "partition.assignment.strategy", strategy_of(c),
                                                 "enable.auto.commit", "false", NULL});
}

/* Another member of the group, which takes partitions and does nothing with them. */
static rd_kafka_t *join_group(struct chaos *c)
{
    rd_kafka_t *guest = guest_of(c);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, c->stage->requests, RD_KAFKA_PARTITION_UA);
    cr_assert(rd_kafka_subscribe(guest, topics) == 0);
    rd_kafka_topic_partition_list_destroy(topics);
    return guest;
}

static bool has_partitions(rd_kafka_t *guest)
{
    rd_kafka_topic_partition_list_t *list = NULL;
    cr_assert(rd_kafka_assignment(guest, &list) == 0);
    bool has = list->cnt > 0;
    rd_kafka_topic_partition_list_destroy(list);
    return has;
}

/* For a while, and until it has got partitions: librdkafka 2.0.2 aborts where a member ends between
 * joining and its first assignment. */
static void be_a_guest(struct chaos *c)
{
    rd_kafka_t *guest = join_group(c);
    int64_t end = sp_deadline_in(500 + chaos_random(c, 2000));
    int64_t limit = sp_deadline_in(REPLIES_LIMIT_MS);
    while (sp_mono_ms() < end || !has_partitions(guest)) {
        cr_assert(sp_mono_ms() < limit, "the guest gets no partitions");
        rd_kafka_message_t *m = rd_kafka_consumer_poll(guest, 20);
        if (m)
            rd_kafka_message_destroy(m);
        chaos_pass(c, 0);
    }
    rd_kafka_consumer_close(guest);
    rd_kafka_destroy(guest);
}

/* Workers beyond the first three come and go. */
static void toggle_worker(struct chaos *c)
{
    int worker = WORKERS + (int)chaos_random(c, 2);
    if (worker >= c->stage->n_workers) {
        sp_stage_worker_start(c->stage, c->options);
    } else if (chaos_is_up(c, worker)) {
        chaos_stop(c, worker);
    } else {
        chaos_start(c, worker);
    }
}

static void storm(struct chaos *c)
{
    if (chaos_random(c, 3) == 0) {
        toggle_worker(c);
    } else {
        be_a_guest(c);
    }
}

void case_rebalance_storm(struct chaos *c)
{
    int64_t end = sp_deadline_in(c->size.seconds * 1000);
    chaos_workers(c, WORKERS);
    chaos_send_sleeps(c, c->size.jobs, 5000, 5000);
    chaos_flush(c);
    while (sp_mono_ms() < end && c->n_replied < c->n_jobs) {
        storm(c);
        chaos_pass(c, chaos_random(c, 1000));
    }
    chaos_until_replied(c, c->n_jobs, REPLIES_LIMIT_MS);
}
