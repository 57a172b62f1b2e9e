/* The consumer's half of queue.h, on librdkafka's mock cluster. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "mock.h"
#include "tests/support.h"

#define FETCH 1 /* Kafka's number of the request */

static bool all_done(const struct sp_queue_status *status)
{
    return status->n_partitions == 1 && status->partitions[0].watermark == 100 &&
           status->partitions[0].taken == 0 && status->consumed == 100 && status->records == 0 &&
           status->bytes == 0 && status->redeliveries == 0 && status->kafka_up &&
           status->commits >= 2 && status->partitions[0].lag == 0 &&
           strcmp(status->partitions[0].name, "requests-0") == 0;
}

Test(consumer, records_come_in_order_and_commit_as_far_as_all_are_complete)
{
    struct mock mock;
    struct rig rig = {0};
    struct sp_record *records[100];
    mock_start(&mock, 1);
    mock_send_numbers(&mock, 0, 100);
    rig_open(&rig, &mock);

    for (int i = 0; i < 100; i++) {
        records[i] = rig_record(&rig);
        cr_assert(eq(i64, records[i]->offset, i));
        cr_assert(eq(int, atoi(records[i]->value), i));
    }
    for (int i = 99; i > 60; i--)
        sp_queue_complete(rig.q, records[i], NULL);
    for (int i = 0; i < 30; i++)
        sp_queue_complete(rig.q, records[i], NULL);
    rig_wait_committed(&rig, 0, 30);
    for (int i = 60; i >= 30; i--)
        sp_queue_complete(rig.q, records[i], NULL);
    rig_wait_committed(&rig, 0, 100);
    rig_wait_status(&rig, all_done);
    rig_close(&rig);
    mock_stop(&mock);
}

Test(consumer, a_record_is_copied_whole)
{
    struct mock mock;
    struct rig rig = {0};
    mock_start(&mock, 2);
    rd_kafka_headers_t *headers = rd_kafka_headers_new(3);
    rd_kafka_header_add(headers, "a", -1, "one", -1);
    rd_kafka_header_add(headers, "null", -1, NULL, 0);
    rd_kafka_header_add(headers, "a", -1, "\0two", 4);
    mock_send(&mock, &(struct mock_record){.topic = MOCK_REQUESTS,
                                           .partition = 1,
                                           .key = "k",
                                           .value = "v\0w",
                                           .value_len = 3,
                                           .headers = headers});
    mock_send(&mock, &(struct mock_record){.topic = MOCK_REQUESTS, .partition = 1});
    rig_open(&rig, &mock);

    struct sp_record *record = rig_record(&rig), *tombstone = rig_record(&rig);

    cr_expect(eq(str, (char *)record->topic, (char *)MOCK_REQUESTS));
    cr_expect(eq(int, record->partition, 1));
    cr_expect(record->timestamp_ms > 0);
    cr_expect(not(record->log_append_time));
    cr_expect(record->key_len == 1 && memcmp(record->key, "k", 1) == 0);
    cr_expect(record->value_len == 3 && memcmp(record->value, "v\0w", 3) == 0);
    cr_assert(eq(sz, record->n_headers, 3));
    cr_expect(eq(str, (char *)record->headers[0].value, (char *)"one"));
    cr_expect(record->headers[1].value == NULL);
    cr_expect(record->headers[2].len == 4 && memcmp(record->headers[2].value, "\0two", 4) == 0);
    cr_expect(record->bytes > sizeof(*record));
    cr_expect(sp_record_is_ours(record));
    cr_expect(tombstone->value == NULL && tombstone->key == NULL);
    sp_queue_abandon(rig.q, record);
    sp_queue_abandon(rig.q, tombstone);
    rig_close(&rig);
    mock_stop(&mock);
}

/* Keeps n0 records of partition 0; n1 of partition 1 are complete at once. */
static void take_two_partitions(struct rig *rig, struct sp_record **kept, int64_t n0, int64_t n1)
{
    int64_t next[2] = {0}, until = sp_deadline_in(MOCK_LIMIT_MS);
    while ((next[0] < n0 || next[1] < n1) && sp_deadline_left(until) > 0) {
        struct sp_record *record = NULL;
        void *ticket = NULL;
        if (sp_queue_next(rig->q, true, 50, &record, &ticket) != SP_QUEUE_RECORD)
            continue;
        cr_assert(eq(i64, record->offset, next[record->partition]++));
        cr_assert(le(i64, next[0], n0));
        if (record->partition == 1) {
            sp_queue_complete(rig->q, record, NULL);
        } else {
            kept[record->offset] = record;
        }
    }
    cr_assert(eq(i64, next[0], n0));
    cr_assert(eq(i64, next[1], n1));
}

static void complete_in_order(struct rig *rig, int64_t from, int64_t to)
{
    for (int64_t offset = from; offset < to; offset++) {
        struct sp_record *record = rig_record(rig);
        cr_assert(eq(i64, record->offset, offset));
        sp_queue_complete(rig->q, record, NULL);
    }
}

Test(consumer, a_full_window_stops_its_partition_only_and_loses_nothing)
{
    struct mock mock;
    struct rig rig = {.window = 10};
    struct sp_record *records[10];
    mock_start(&mock, 2);
    mock_send_numbers(&mock, 0, 100);
    mock_send_numbers(&mock, 1, 100);
    rig_open(&rig, &mock);

    take_two_partitions(&rig, records, 10, 100);
    for (size_t i = 1; i < 10; i++)
        sp_queue_complete(rig.q, records[i], NULL);
    struct sp_record *none = NULL;
    void *ticket = NULL;
    cr_expect(eq(int, sp_queue_next(rig.q, true, 300, &none, &ticket), SP_QUEUE_IDLE));
    sp_queue_complete(rig.q, records[0], NULL);
    complete_in_order(&rig, 10, 100);

    rig_wait_committed(&rig, 0, 100);
    rig_wait_committed(&rig, 1, 100);
    rig_close(&rig);
    mock_stop(&mock);
}

Test(consumer, the_byte_window_bounds_all_partitions_but_lets_one_large_record_through)
{
    static char big[100000];
    struct mock mock;
    struct rig rig = {.window_bytes = 50000};
    struct sp_record *none = NULL;
    void *ticket = NULL;
    mock_start(&mock, 2);
    memset(big, 'x', sizeof(big));
    for (int i = 0; i < 4; i++)
        mock_send(&mock, &(struct mock_record){.topic = MOCK_REQUESTS,
                                               .partition = i % 2,
                                               .value = big,
                                               .value_len = sizeof(big)});
    rig_open(&rig, &mock);

    for (int i = 0; i < 4; i++) {
        struct sp_record *record = rig_record(&rig);
        cr_assert(eq(sz, record->value_len, sizeof(big)));
        cr_assert(eq(int, sp_queue_next(rig.q, true, 300, &none, &ticket), SP_QUEUE_IDLE));
        sp_queue_complete(rig.q, record, NULL);
    }

    rig_wait_committed(&rig, 0, 2);
    rig_wait_committed(&rig, 1, 2);
    rig_close(&rig);
    mock_stop(&mock);
}

Test(consumer, a_restart_goes_on_at_the_committed_offset)
{
    struct mock mock;
    struct rig rig = {0};
    mock_start(&mock, 1);
    mock_send_numbers(&mock, 0, 10);
    rig_open(&rig, &mock);
    for (int i = 0; i < 6; i++)
        sp_queue_complete(rig.q, rig_record(&rig), NULL);
    struct sp_record *unfinished = rig_record(&rig);
    sp_queue_abandon(rig.q, unfinished);
    rig_close(&rig); /* commits what is complete */
    cr_expect(eq(i64, mock_committed(&mock, "workers", 0), 6));

    struct rig second = {0};
    rig_open(&second, &mock);
    struct sp_record *record = rig_record(&second);

    cr_expect(eq(i64, record->offset, 6));
    sp_queue_abandon(second.q, record);
    rig_close(&second);
    mock_stop(&mock);
}

/* Two queues in one thread: both are served in turn until the second one has a record. */
static struct sp_record *record_of_second(struct rig *first, struct rig *second)
{
    int64_t until = sp_deadline_in(MOCK_LIMIT_MS);
    while (sp_deadline_left(until) > 0) {
        struct sp_record *record = NULL;
        void *ticket = NULL;
        (void)sp_queue_next(first->q, false, 50, &record, &ticket);
        if (sp_queue_next(second->q, true, 50, &record, &ticket) == SP_QUEUE_RECORD)
            return record;
    }
    cr_fatal("the second queue got no record");
    return NULL;
}

static void rebalance(const char *strategy)
{
    struct mock mock;
    struct rig first = {.extra = {{"partition.assignment.strategy", strategy}}, .n_extra = 1};
    struct rig second = {.extra = {{"partition.assignment.strategy", strategy}}, .n_extra = 1};
    struct sp_record *records[20];
    mock_start(&mock, 2);
    mock_send_numbers(&mock, 0, 10);
    mock_send_numbers(&mock, 1, 10);
    rig_open(&first, &mock);
    for (size_t i = 0; i < SP_COUNT(records); i++)
        records[i] = rig_record(&first);

    rig_open(&second, &mock);
    struct sp_record *record = record_of_second(&first, &second);

    size_t lost = 0;
    for (size_t i = 0; i < SP_COUNT(records); i++) {
        bool ours = sp_record_is_ours(records[i]);
        lost += !ours;
        cr_expect(not(ours && records[i]->partition == record->partition));
        sp_queue_complete(first.q, records[i], NULL);
    }
    cr_expect(lost >= 10, "%zu", lost);
    /* What the first one completed after the loss commits nothing. */
    cr_expect(eq(i64, record->offset, 0));
    for (int i = 0; i < 10; i++) {
        void *ticket = NULL;
        struct sp_record *none = NULL;
        (void)sp_queue_next(first.q, false, 50, &none, &ticket);
    }
    cr_expect(eq(i64, mock_committed(&mock, "workers", record->partition), -1));
    sp_queue_abandon(second.q, record);
    rig_close(&second);
    rig_close(&first);
    mock_stop(&mock);
}

Test(consumer, a_partition_that_moves_takes_its_records_along, .timeout = 90)
{
    rebalance("cooperative-sticky");
}

Test(consumer, the_same_holds_for_the_eager_protocol, .timeout = 90)
{
    rebalance("roundrobin");
}

static void serve_until_lost(struct rig *rig, const struct sp_record *record)
{
    int64_t until = sp_deadline_in(MOCK_LIMIT_MS);
    while (sp_record_is_ours(record)) {
        struct sp_record *none = NULL;
        void *ticket = NULL;
        cr_assert(sp_deadline_left(until) > 0, "the session was not lost");
        (void)sp_queue_next(rig->q, false, 50, &none, &ticket);
    }
}

/* The broker is away for longer than the session lasts, and the same member gets all of it back. */
Test(consumer, after_a_lost_session_what_is_out_or_done_is_not_given_again, .timeout = 90)
{
    struct mock mock;
    struct rig rig = {.window = 10, .extra = {{"session.timeout.ms", "4000"}}, .n_extra = 1};
    struct sp_record *records[10];
    mock_start(&mock, 1);
    mock_send_numbers(&mock, 0, 12);
    rig_open(&rig, &mock);
    for (int i = 0; i < 10; i++)
        records[i] = rig_record(&rig);

    rd_kafka_mock_broker_set_down(mock.cluster, 1);
    serve_until_lost(&rig, records[1]);
    sp_queue_complete(rig.q, records[0], NULL);
    sp_queue_complete(rig.q, records[5], NULL);
    sp_queue_abandon(rig.q, records[3]);
    rd_kafka_mock_broker_set_up(mock.cluster, 1);

    struct sp_record *again = rig_record(&rig);
    cr_expect(eq(i64, again->offset, 3));
    cr_expect(sp_record_is_ours(records[1]));
    sp_queue_complete(rig.q, again, NULL);
    for (int i = 1; i < 10; i++) {
        if (i != 3 && i != 5)
            sp_queue_complete(rig.q, records[i], NULL);
    }
    for (int i = 10; i < 12; i++) {
        struct sp_record *next = rig_record(&rig);
        cr_expect(eq(i64, next->offset, i));
        sp_queue_complete(rig.q, next, NULL);
    }
    rig_wait_committed(&rig, 0, 12);
    rig_close(&rig);
    mock_stop(&mock);
}

Test(consumer, after_the_end_of_intake_records_stay_in_kafka)
{
    struct mock mock;
    struct rig rig = {0};
    struct sp_record *none = NULL;
    void *ticket = NULL;
    mock_start(&mock, 1);
    mock_send_numbers(&mock, 0, 5);
    rig_open(&rig, &mock);
    sp_queue_complete(rig.q, rig_record(&rig), NULL);

    sp_queue_stop_intake(rig.q);

    cr_expect(eq(int, sp_queue_next(rig.q, true, 300, &none, &ticket), SP_QUEUE_IDLE));
    rig_wait_committed(&rig, 0, 1);
    rig_close(&rig);
    mock_stop(&mock);
}

static bool has_problem(const struct sp_queue_status *status)
{
    return strstr(status->problem, MOCK_REQUESTS) != NULL;
}

static bool has_no_problem(const struct sp_queue_status *status)
{
    return status->problem[0] == '\0';
}

Test(consumer, a_missing_request_topic_is_shown_and_read_once_it_is_there, .timeout = 90)
{
    struct mock mock;
    struct rig rig = {0};
    mock_start(&mock, 1);
    mock_send_numbers(&mock, 0, 1);
    rd_kafka_mock_topic_set_error(mock.cluster, MOCK_REQUESTS,
                                  RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    rig_open(&rig, &mock);
    rig_wait_status(&rig, has_problem);

    rd_kafka_mock_topic_set_error(mock.cluster, MOCK_REQUESTS, RD_KAFKA_RESP_ERR_NO_ERROR);

    sp_queue_complete(rig.q, rig_record(&rig), NULL);
    rig_wait_status(&rig, has_no_problem);
    rig_close(&rig);
    mock_stop(&mock);
}

static bool is_up(const struct sp_queue_status *status)
{
    return status->kafka_up;
}

static bool is_down(const struct sp_queue_status *status)
{
    return !status->kafka_up;
}

Test(consumer, a_broker_that_goes_and_comes_back_is_seen, .timeout = 90)
{
    struct mock mock;
    struct rig rig = {0};
    mock_start(&mock, 1);
    rig_open(&rig, &mock);
    rig_wait_status(&rig, is_up);

    rd_kafka_mock_broker_set_down(mock.cluster, 1);
    rig_wait_status(&rig, is_down);
    rd_kafka_mock_broker_set_up(mock.cluster, 1);
    rig_wait_status(&rig, is_up);

    mock_send_numbers(&mock, 0, 1);
    sp_queue_complete(rig.q, rig_record(&rig), NULL);
    rig_wait_committed(&rig, 0, 1);
    rig_close(&rig);
    mock_stop(&mock);
}

static bool has_commit_errors(const struct sp_queue_status *status)
{
    return status->commit_errors >= 1 && status->last_commit_ms > 0;
}

Test(consumer, a_refused_commit_is_tried_again)
{
    struct mock mock;
    struct rig rig = {0};
    mock_start(&mock, 1);
    mock_send_numbers(&mock, 0, 3);
    rig_open(&rig, &mock);
    struct sp_record *record = rig_record(&rig);
    rd_kafka_mock_push_request_errors(mock.cluster, 8 /* OffsetCommit */, 2,
                                      RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
                                      RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED);

    sp_queue_complete(rig.q, record, NULL);

    rig_wait_committed(&rig, 0, 1);
    rig_wait_status(&rig, has_commit_errors);
    rig_close(&rig);
    mock_stop(&mock);
}

static bool has_redeliveries(const struct sp_queue_status *status)
{
    return status->redeliveries == 3;
}

/* The mock loses such an error when it comes amid a fetch, so it is told until it shows. No second
 * one may be left: the offsets would go back once more. */
static struct sp_record *go_back(struct rig *rig)
{
    struct sp_record *record = NULL;
    void *ticket = NULL;
    for (int i = 0; i < 3; i++) {
        rd_kafka_mock_push_request_errors(rig->mock->cluster, FETCH, 1,
                                          RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE);
        bool came = sp_queue_next(rig->q, true, 15000, &record, &ticket) == SP_QUEUE_RECORD;
        rd_kafka_mock_clear_request_errors(rig->mock->cluster, FETCH);
        if (came)
            return record;
    }
    cr_fatal("the offsets did not go back");
    return NULL;
}

Test(consumer, offsets_that_go_back_begin_anew_and_old_completions_do_not_count, .timeout = 90)
{
    struct mock mock;
    struct rig rig = {0};
    struct sp_record *old[3], *again[3];
    mock_start(&mock, 1);
    mock_send_numbers(&mock, 0, 3);
    rig_open(&rig, &mock);
    for (int i = 0; i < 3; i++)
        old[i] = rig_record(&rig);

    again[0] = go_back(&rig);

    for (int i = 0; i < 3; i++) {
        if (i > 0)
            again[i] = rig_record(&rig);
        cr_assert(eq(i64, again[i]->offset, i));
        cr_expect(sp_record_is_ours(old[i]));
        sp_queue_complete(rig.q, old[i], NULL);
    }
    rig_wait_status(&rig, has_redeliveries);
    cr_expect(eq(i64, mock_committed(&mock, "workers", 0), -1));
    sp_queue_complete(rig.q, again[0], NULL);
    rig_wait_committed(&rig, 0, 1);
    sp_queue_complete(rig.q, again[1], NULL);
    sp_queue_complete(rig.q, again[2], NULL);
    rig_wait_committed(&rig, 0, 3);
    rig_close(&rig);
    mock_stop(&mock);
}

Test(consumer, a_wake_up_ends_the_wait)
{
    struct mock mock;
    struct rig rig = {0};
    struct sp_record *none = NULL;
    void *ticket = NULL;
    mock_start(&mock, 1);
    rig_open(&rig, &mock);
    int64_t started = sp_mono_ms();

    sp_queue_wake(rig.q);

    cr_expect(eq(int, sp_queue_next(rig.q, true, 20000, &none, &ticket), SP_QUEUE_IDLE));
    cr_expect(sp_mono_ms() - started < 10000);
    rig_close(&rig);
    mock_stop(&mock);
}

/* What could join at any moment is kept from it, and need not be waited for. */
Test(consumer, closing_where_nothing_can_be_joined_leaves_nothing_behind)
{
    static char text[1 << 16];
    char name[] = "/tmp/sandpiper-log-XXXXXX";
    struct mock mock;
    struct rig rig = {0};
    int log = mkstemp(name);
    cr_assert(log >= 0 && unlink(name) == 0 && dup2(log, STDERR_FILENO) >= 0);
    mock_start(&mock, 1);
    rd_kafka_mock_topic_set_error(mock.cluster, MOCK_REQUESTS,
                                  RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    rig_open(&rig, &mock);

    rig_close(&rig);

    cr_assert(ge(int, (int)pread(log, text, sizeof(text) - 1, 0), 0));
    cr_expect(eq(ptr, strstr(text, "consumer_left_joining"), NULL), "%s", text);
    mock_stop(&mock);
}

/* A coordinator that takes its time: joined, but without an assignment. */
Test(consumer, closing_before_the_first_assignment_is_safe, .timeout = 90)
{
    struct mock mock;
    struct rig rig = {0};
    mock_start(&mock, 1);
    rd_kafka_mock_broker_push_request_error_rtts(mock.cluster, 1, 14 /* SyncGroup */, 1, 0, 4000);
    rig_open(&rig, &mock);
    int64_t until = sp_deadline_in(4500); /* the mock cluster lets a group wait for 3 s */
    while (sp_deadline_left(until) > 0) {
        struct sp_record *none = NULL;
        void *ticket = NULL;
        cr_assert(eq(int, sp_queue_next(rig.q, true, 100, &none, &ticket), SP_QUEUE_IDLE));
    }

    rig_close(&rig);

    mock_stop(&mock);
}
