/* The control topic on librdkafka's mock cluster, which makes topics on demand. */
#include "queue/control.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "mock.h"
#include "tests/support.h"

#define TOPIC "control"

static struct mock mock;
static struct sp_control_log *control;

static void open_log(const char *brokers)
{
    static struct sp_queue_property properties[] = {
        {"bootstrap.servers", NULL},
        {"group.id", "workers"},
        {"auto.offset.reset", "latest"}, /* of the requests' consumer; must not matter here */
        {"fetch.wait.max.ms", "10"},
    };
    struct sp_error err = {0};
    properties[0].value = brokers;
    enum sp_code rc = sp_control_log_open(properties, SP_COUNT(properties), TOPIC, &control, &err);
    cr_assert(eq(int, rc, SP_OK), "%s", err.msg);
}

static void start(void)
{
    mock_start(&mock, 1);
    rd_kafka_mock_topic_create(mock.cluster, TOPIC, 1, 1);
}

static void stop(void)
{
    sp_control_log_close(control);
    mock_stop(&mock);
}

TestSuite(control, .init = start, .fini = stop);

static void say(const char *key, const char *value)
{
    mock_send(&mock, &(struct mock_record){.topic = TOPIC, .key = key, .value = value});
}

/* The next thing other than idleness. */
static enum sp_control_event next(struct sp_control_record *record)
{
    int64_t until = sp_deadline_in(MOCK_LIMIT_MS);
    enum sp_control_event event;
    do {
        event = sp_control_log_next(control, 50, record);
    } while (event == SP_CONTROL_IDLE && sp_deadline_left(until) > 0);
    return event;
}

static void expect_record(const char *key, const char *value)
{
    struct sp_control_record r = {0};
    cr_assert(eq(int, next(&r), SP_CONTROL_RECORD));
    cr_expect(r.key_len == strlen(key) && memcmp(r.key, key, r.key_len) == 0);
    if (value) {
        cr_assert(r.value && r.len == strlen(value));
        cr_expect(zero(memcmp(r.value, value, r.len)));
    } else {
        cr_expect(eq(ptr, (void *)r.value, NULL));
    }
}

static void expect_end(void)
{
    struct sp_control_record r;
    cr_assert(eq(int, next(&r), SP_CONTROL_END));
}

Test(control, all_records_come_then_the_end_then_later_ones)
{
    say("settings", "{}");
    say("cancel:a", "{\"by\":\"ann\"}");
    say("cancel:a", NULL);
    open_log(mock_brokers(&mock));

    expect_record("settings", "{}");
    expect_record("cancel:a", "{\"by\":\"ann\"}");
    expect_record("cancel:a", NULL);
    expect_end();
    say("cancel:b", "{}");
    expect_record("cancel:b", "{}");
    expect_end();
}

Test(control, an_empty_topic_has_an_end)
{
    const char *problem = NULL;
    open_log(mock_brokers(&mock));

    cr_expect(eq(int, sp_control_log_state(control, &problem), SP_CONTROL_UNSEEN));
    expect_end();

    cr_expect(eq(int, sp_control_log_state(control, &problem), SP_CONTROL_READING));
    cr_expect(eq(str, (char *)problem, ""));
}

Test(control, more_than_one_partition_is_read_and_said)
{
    const char *problem = NULL;
    sp_control_log_close(control);
    control = NULL;
    rd_kafka_mock_topic_create(mock.cluster, "wide", 3, 1);
    struct sp_queue_property properties[] = {{"bootstrap.servers", mock_brokers(&mock)}};
    for (int p = 0; p < 3; p++)
        mock_send(&mock, &(struct mock_record){.topic = "wide", .partition = p, .value = "x"});
    cr_assert(eq(int, sp_control_log_open(properties, 1, "wide", &control, NULL), SP_OK));

    struct sp_control_record r;
    for (int p = 0; p < 3; p++)
        cr_expect(eq(int, next(&r), SP_CONTROL_RECORD));
    expect_end();

    (void)sp_control_log_state(control, &problem);
    cr_expect(ne(ptr, strstr(problem, "3 partitions"), NULL), "%s", problem);
}

Test(control, what_is_written_has_its_offset_and_is_read)
{
    int64_t offset = -1;
    struct sp_error err = {0};
    open_log(mock_brokers(&mock));
    expect_end();

    for (int64_t i = 0; i < 2; i++) {
        enum sp_code rc =
            sp_control_log_put(control, "settings", "{\"a\":1}", MOCK_LIMIT_MS, &offset, &err);
        cr_assert(eq(int, rc, SP_OK), "%s", err.msg);
        cr_expect(eq(i64, offset, i));
    }

    expect_record("settings", "{\"a\":1}");
    expect_record("settings", "{\"a\":1}");
}

Test(control, a_tombstone_is_written)
{
    open_log(mock_brokers(&mock));
    expect_end();

    sp_control_log_bury(control, "cancel:x");

    expect_record("cancel:x", NULL);
}

Test(control, a_broker_that_does_not_answer_is_named_in_the_error)
{
    int64_t offset;
    struct sp_control_record r;
    struct sp_error err = {0};
    const char *problem = "";
    open_log("127.0.0.1:1");

    cr_expect(eq(int, sp_control_log_put(control, "k", "v", 500, &offset, &err), SP_E_UNAVAILABLE));
    cr_expect(eq(int, sp_control_log_next(control, 10, &r), SP_CONTROL_IDLE));

    cr_expect(ne(ptr, strstr(err.msg, "bootstrap.servers"), NULL), "%s", err.msg);
    cr_expect(eq(int, sp_control_log_state(control, &problem), SP_CONTROL_UNSEEN));
    cr_expect(ne(str, (char *)problem, ""));
}

Test(control, a_refused_record_says_why)
{
    int64_t offset;
    struct sp_error err = {0};
    open_log(mock_brokers(&mock));
    rd_kafka_mock_push_request_errors(mock.cluster, 0 /* Produce */, 1,
                                      RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);

    enum sp_code rc = sp_control_log_put(control, "k", "v", MOCK_LIMIT_MS, &offset, &err);

    cr_expect(eq(int, rc, SP_E_DENIED), "%s", err.msg);
}

Test(control, a_property_that_librdkafka_refuses_is_named)
{
    const struct sp_queue_property properties[] = {{"no.such.property", "1"}};
    struct sp_error err = {0};

    cr_expect(eq(int, sp_control_log_open(properties, 1, TOPIC, &control, &err), SP_E_INVALID));

    cr_expect(ne(ptr, strstr(err.msg, "no.such.property"), NULL), "%s", err.msg);
}
