/* What is committed, what is said of it, and what blocks it, on librdkafka's mock cluster. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "mock.h"
#include "tests/support.h"

static void take(struct rig *rig, struct sp_record **records, int n)
{
    for (int i = 0; i < n; i++)
        records[i] = rig_record(rig);
}

static bool two_commits(const struct sp_queue_status *status)
{
    return status->commits >= 2;
}

Test(commit, a_ticket_comes_back_when_its_offset_is_committed)
{
    struct mock mock;
    struct rig rig = {0};
    struct sp_record *records[3];
    char a, b;
    mock_start(&mock, 1);
    mock_send_numbers(&mock, 0, 3);
    rig_open(&rig, &mock);
    take(&rig, records, 3);

    sp_queue_complete(rig.q, records[0], &a);
    cr_expect(eq(ptr, rig_ticket(&rig, SP_QUEUE_COMMITTED), &a));
    sp_queue_complete(rig.q, records[2], &b); /* behind 1, which is out */
    rig_wait_status(&rig, two_commits);       /* one with a map */
    sp_queue_complete(rig.q, records[1], NULL);

    cr_expect(eq(ptr, rig_ticket(&rig, SP_QUEUE_COMMITTED), &b));
    rig_close(&rig);
    mock_stop(&mock);
}

static void expect_next(struct rig *rig, enum sp_queue_event wanted, const void *wanted_ticket)
{
    struct sp_record *record = NULL;
    void *ticket = NULL;
    cr_expect(eq(int, sp_queue_next(rig->q, true, 0, &record, &ticket), wanted));
    cr_expect(eq(ptr, ticket, (void *)(uintptr_t)wanted_ticket));
}

Test(commit, leaving_gives_every_ticket_back)
{
    struct mock mock;
    struct rig rig = {0};
    struct sp_record *records[4];
    char a, b, c;
    mock_start(&mock, 1);
    mock_send_numbers(&mock, 0, 4);
    rig_open(&rig, &mock);
    take(&rig, records, 4);
    sp_queue_complete(rig.q, records[0], &a);
    sp_queue_complete(rig.q, records[2], &b);

    sp_queue_leave(rig.q, 1000);

    expect_next(&rig, SP_QUEUE_COMMITTED, &a);
    expect_next(&rig, SP_QUEUE_FORGOTTEN, &b);
    expect_next(&rig, SP_QUEUE_IDLE, NULL);
    sp_queue_complete(rig.q, records[1], &c); /* too late to be committed */
    sp_queue_abandon(rig.q, records[3]);
    expect_next(&rig, SP_QUEUE_FORGOTTEN, &c);
    expect_next(&rig, SP_QUEUE_IDLE, NULL);
    rig_close(&rig);
    cr_expect(eq(i64, mock_committed(&mock, "workers", 0), 1));
    mock_stop(&mock);
}

Test(commit, what_was_delivered_until_the_end_is_told_after_leaving)
{
    struct mock mock;
    struct rig rig = {0};
    mock_start(&mock, 1);
    mock_send_numbers(&mock, 0, 1);
    rig_open(&rig, &mock);
    struct sp_record *record = rig_record(&rig);
    rig_reply(&rig, record, MOCK_RESULTS, record);

    sp_queue_leave(rig.q, 5000);

    expect_next(&rig, SP_QUEUE_DELIVERED, record);
    sp_queue_complete(rig.q, record, &mock);
    expect_next(&rig, SP_QUEUE_FORGOTTEN, &mock);
    rig_close(&rig);
    mock_stop(&mock);
}

static bool has_commit_errors(const struct sp_queue_status *status)
{
    return status->commit_errors >= 2 && status->commits >= 1;
}

/* offset.metadata.max.bytes of the broker is less than we take it for. */
Test(commit, a_map_that_the_broker_finds_too_large_is_made_smaller)
{
    struct mock mock;
    struct rig rig = {0};
    static struct sp_record *records[3000];
    mock_start(&mock, 1);
    mock_send_numbers(&mock, 0, 3000);
    rig_open(&rig, &mock);
    take(&rig, records, 3000);
    rd_kafka_mock_push_request_errors(mock.cluster, 8 /* OffsetCommit */, 2,
                                      RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE,
                                      RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE);

    for (int i = 1; i < 3000; i++)
        sp_queue_complete(rig.q, records[i], NULL);
    rig_wait_status(&rig, has_commit_errors);
    sp_queue_abandon(rig.q, records[0]);
    rig_close(&rig);
    rig_open(&rig, &mock);
    take(&rig, records, 2);

    cr_expect(eq(i64, records[0]->offset, 0));
    cr_expect(records[1]->offset > 300 && records[1]->offset < 1000, "%d",
              (int)records[1]->offset); /* a quarter of some 3,000 fits */
    sp_queue_abandon(rig.q, records[0]);
    sp_queue_abandon(rig.q, records[1]);
    rig_close(&rig);
    mock_stop(&mock);
}

static void serve_for(struct rig *rig, int64_t ms)
{
    struct sp_record *none = NULL;
    void *ticket = NULL;
    int64_t until = sp_deadline_in(ms);
    while (sp_deadline_left(until) > 0)
        (void)sp_queue_next(rig->q, false, sp_deadline_left(until), &none, &ticket);
}

static bool head_is_out(const struct sp_queue_status *status)
{
    return status->n_partitions == 1 && status->partitions[0].head_offset == 0;
}

static bool head_blocks(const struct sp_queue_status *status)
{
    return status->n_partitions == 1 && status->partitions[0].blocked;
}

static bool nothing_blocks(const struct sp_queue_status *status)
{
    const struct sp_partition_status *p = status->partitions;
    return status->n_partitions == 1 && !p->blocked && p->head_offset == -1 && p->taken == 0;
}

/* How often the event stands in what was logged since. */
static int count_logged(int fd, const char *event)
{
    static char text[1 << 20];
    int n = 0;
    ssize_t len = pread(fd, text, sizeof(text) - 1, 0);
    cr_assert(len >= 0);
    text[len] = '\0';
    for (const char *at = text; (at = strstr(at, event)); at++)
        n++;
    return n;
}

static int log_to_file(void)
{
    char name[] = "/tmp/sandpiper-log-XXXXXX";
    int fd = mkstemp(name);
    cr_assert(fd >= 0 && unlink(name) == 0 && dup2(fd, STDERR_FILENO) >= 0);
    return fd;
}

Test(commit, a_head_that_blocks_a_full_window_is_shown_and_logged_once)
{
    struct mock mock;
    struct rig rig = {.window = 200};
    struct sp_record *records[200];
    int log = log_to_file();
    mock_start(&mock, 1);
    mock_send_numbers(&mock, 0, 300);
    rig_open(&rig, &mock);
    take(&rig, records, 200);
    rig_wait_status(&rig, head_is_out);
    int64_t before = sp_mono_ms();

    for (int i = 1; i < 200; i++)
        sp_queue_complete(rig.q, records[i], NULL);
    rig_wait_status(&rig, head_blocks);

    struct sp_queue_status status;
    sp_queue_status(rig.q, &status);
    const struct sp_partition_status *p = status.partitions;
    cr_expect(eq(i64, p->head_offset, 0));
    cr_expect(eq(i64, p->window_used, 200));
    cr_expect(eq(i64, p->done, 199));
    cr_expect(p->head_since_ms > 0 && p->head_since_ms <= before);
    cr_expect(p->last_progress_ms > 0 && p->last_progress_ms <= sp_mono_ms());
    free(status.partitions);
    serve_for(&rig, 1000); /* several looks more */
    cr_expect(eq(int, count_logged(log, "partition_blocked"), 1));
    sp_queue_complete(rig.q, records[0], NULL);
    for (int i = 200; i < 300; i++)
        sp_queue_complete(rig.q, rig_record(&rig), NULL);
    rig_wait_status(&rig, nothing_blocks);
    rig_close(&rig);
    mock_stop(&mock);
}

static int64_t progress(struct rig *rig)
{
    struct sp_queue_status status;
    sp_queue_status(rig->q, &status);
    int64_t at = status.partitions[0].last_progress_ms;
    free(status.partitions);
    return at;
}

static int64_t wanted_progress;

static bool has_progress(const struct sp_queue_status *status)
{
    return status->partitions[0].last_progress_ms >= wanted_progress;
}

Test(commit, progress_is_a_record_taken_or_completed_or_nothing_to_do)
{
    struct mock mock;
    struct rig rig = {0};
    mock_start(&mock, 1);
    mock_send_numbers(&mock, 0, 1);
    rig_open(&rig, &mock);
    struct sp_record *record = rig_record(&rig);
    serve_for(&rig, 500);
    int64_t taken = progress(&rig);

    serve_for(&rig, 1000);
    cr_expect(eq(i64, progress(&rig), taken)); /* one is out, and nothing comes of it */
    wanted_progress = sp_mono_ms();
    sp_queue_complete(rig.q, record, NULL);
    rig_wait_status(&rig, has_progress);
    wanted_progress = sp_mono_ms() + 500;
    rig_wait_status(&rig, has_progress);

    rig_close(&rig);
    mock_stop(&mock);
}
