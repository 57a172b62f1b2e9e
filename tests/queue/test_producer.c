/* The producer's half of queue.h, on librdkafka's mock cluster. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "mock.h"
#include "queue/headers.h"
#include "queue/producer.h"
#include "tests/support.h"

#define OTHER "sandpiper.reply.other"
#define PRODUCE 0 /* Kafka's number of the request */

static int first_ticket, second_ticket;

/* One request record with key "k" and one header, taken by the queue. */
static struct sp_record *request(struct mock *mock, struct rig *rig)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(1);
    rd_kafka_header_add(headers, "theirs", -1, "\x00\xff", 2);
    mock_start(mock, 1);
    mock_send(mock, &(struct mock_record){
                        .topic = MOCK_REQUESTS, .key = "k", .value = "bytes", .headers = headers});
    rig_open(rig, mock);
    return rig_record(rig);
}

static void end(struct mock *mock, struct rig *rig, struct sp_record *record)
{
    sp_queue_complete(rig->q, record, NULL);
    rig_close(rig);
    mock_stop(mock);
}

/* Readers live as long as the test's process. */
static rd_kafka_message_t *first_message(rd_kafka_t *reader)
{
    rd_kafka_message_t *message = mock_read(reader, MOCK_LIMIT_MS);
    cr_assert(message != NULL, "no message");
    return message;
}

/* The one message of a topic. */
static rd_kafka_message_t *only_message(struct mock *mock, const char *topic)
{
    rd_kafka_t *reader = mock_reader(mock, topic, 2);
    rd_kafka_message_t *message = first_message(reader);
    cr_expect(mock_read(reader, 300) == NULL, "more than one message in %s", topic);
    return message;
}

static const char *header_of(const rd_kafka_message_t *message, const char *name)
{
    const char *found = strstr(headers_text(message), name);
    return found ? found : "";
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

Test(producer, a_reply_has_the_headers_of_the_contract_byte_for_byte)
{
    struct mock mock;
    struct rig rig = {0};
    struct sp_record *record = request(&mock, &rig);
    struct sp_header correlation = {"kafka_correlationId", "\x00\x01\xfe", 3};
    struct sp_header tracestate = {"tracestate", "a=b", 3};
    struct sp_envelope env = {
        .reply_topic = (char *)MOCK_RESULTS,
        .reply_partition = 1,
        .correlation = &correlation,
        .traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        .tracestate = &tracestate,
    };
    struct sp_send send = {
        .record = record,
        .env = &env,
        .request_id = "r1",
        .result_id = "0123456789abcdef0123456789abcdef",
        .status = "failed",
        .attempt = 1,
        .value = "{\"a\":1}",
        .len = 7,
        .ticket = &first_ticket,
    };

    cr_assert(eq(int, sp_queue_reply(rig.q, &send, NULL), SP_OK));
    cr_assert(rig_ticket(&rig, SP_QUEUE_DELIVERED) == &first_ticket);

    rd_kafka_message_t *message = only_message(&mock, MOCK_RESULTS);
    cr_expect(eq(str, (char *)headers_text(message),
                 (char *)"content-type=application/json;sandpiper_status=failed;"
                         "sandpiper_request_id=r1;"
                         "sandpiper_result_id=0123456789abcdef0123456789abcdef;"
                         "sandpiper_worker=w1;sandpiper_attempt=1;"
                         "kafka_correlationId=\\x00\\x01\\xfe;"
                         "kafka_replyPartition=\\x00\\x00\\x00\\x01;"
                         "traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01;"
                         "tracestate=a=b;"));
    cr_expect(eq(int, message->partition, 1));
    cr_expect(message->key_len == 1 && memcmp(message->key, "k", 1) == 0);
    cr_expect(message->len == 7 && memcmp(message->payload, "{\"a\":1}", 7) == 0);
    rd_kafka_message_destroy(message);
    end(&mock, &rig, record);
}

Test(producer, a_cloud_event_is_answered_in_binary_mode_and_a_request_without_key_by_its_id)
{
    struct mock mock;
    struct rig rig = {0};
    struct sp_record *record = request(&mock, &rig);
    struct sp_record keyless = *record;
    struct sp_envelope env = {
        .reply_topic = (char *)MOCK_RESULTS, .reply_partition = -1, .cloud_event = true};
    struct sp_send send = {
        .record = &keyless,
        .env = &env,
        .request_id = "r1",
        .result_id = "0123456789abcdef0123456789abcdef",
        .status = "ok",
        .attempt = 2,
        .value = "{}",
        .len = 2,
        .ticket = &first_ticket,
    };
    keyless.key = NULL;

    cr_assert(eq(int, sp_queue_reply(rig.q, &send, NULL), SP_OK));
    (void)rig_ticket(&rig, SP_QUEUE_DELIVERED);

    rd_kafka_message_t *message = only_message(&mock, MOCK_RESULTS);
    const char *ce = header_of(message, "ce_");
    cr_expect(starts_with(ce, "ce_specversion=1.0;ce_type=dev.sandpiper.execution.result.v1;"
                              "ce_source=/sandpiper/w1;ce_id=0123456789abcdef0123456789abcdef;"
                              "ce_subject=r1;ce_time=20"),
              "%s", ce);
    cr_expect(message->key_len == 2 && memcmp(message->key, "r1", 2) == 0);
    rd_kafka_message_destroy(message);
    end(&mock, &rig, record);
}

Test(producer, a_repeated_reply_names_its_first_worker_and_a_degraded_one_says_so)
{
    struct mock mock;
    struct rig rig = {0};
    struct sp_record *record = request(&mock, &rig);
    struct sp_envelope env = {
        .reply_topic = (char *)MOCK_RESULTS, .reply_partition = -1, .cloud_event = true};
    struct sp_send send = {
        .record = record,
        .env = &env,
        .request_id = "r1",
        .result_id = "0123456789abcdef0123456789abcdef",
        .status = "ok",
        .worker = "first",
        .attempt = 1,
        .degraded = true,
        .value = "{}",
        .len = 2,
        .ticket = &first_ticket,
    };

    cr_assert(eq(int, sp_queue_reply(rig.q, &send, NULL), SP_OK));
    (void)rig_ticket(&rig, SP_QUEUE_DELIVERED);

    rd_kafka_message_t *message = only_message(&mock, MOCK_RESULTS);
    const char *text = headers_text(message);
    cr_expect(strstr(text, ";sandpiper_worker=first;") != NULL, "%s", text);
    cr_expect(strstr(text, ";sandpiper_dedupe=degraded;") != NULL, "%s", text);
    cr_expect(strstr(text, ";ce_source=/sandpiper/first;") != NULL, "%s", text);
    rd_kafka_message_destroy(message);
    end(&mock, &rig, record);
}

Test(producer, an_unknown_reply_topic_falls_back_to_the_default_one)
{
    struct mock mock;
    struct rig rig = {0};
    struct sp_record *record = request(&mock, &rig);
    rd_kafka_mock_topic_set_error(mock.cluster, OTHER, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);

    rig_reply(&rig, record, OTHER, &first_ticket);
    cr_assert(rig_ticket(&rig, SP_QUEUE_DELIVERED) == &first_ticket);
    rig_reply(&rig, record, OTHER, &second_ticket); /* refused at once by now */
    cr_assert(rig_ticket(&rig, SP_QUEUE_DELIVERED) == &second_ticket);

    rd_kafka_t *reader = mock_reader(&mock, MOCK_RESULTS, 2);
    for (int i = 0; i < 2; i++) {
        rd_kafka_message_t *message = mock_read(reader, MOCK_LIMIT_MS);
        cr_assert(message != NULL);
        cr_expect(eq(str, (char *)header_of(message, "sandpiper_reply_fallback"),
                     (char *)"sandpiper_reply_fallback=sandpiper.reply.other: unknown topic;"));
        rd_kafka_message_destroy(message);
    }
    rd_kafka_destroy(reader);
    end(&mock, &rig, record);
}

Test(producer, a_partition_that_does_not_exist_is_not_used_and_not_echoed)
{
    struct mock mock;
    struct rig rig = {0};
    struct sp_record *record = request(&mock, &rig);
    struct sp_envelope env = {.reply_topic = (char *)MOCK_RESULTS, .reply_partition = 77};
    struct sp_send send = {.record = record,
                           .env = &env,
                           .request_id = "r1",
                           .result_id = "x",
                           .status = "ok",
                           .value = "{}",
                           .len = 2,
                           .ticket = &first_ticket};

    cr_assert(eq(int, sp_queue_reply(rig.q, &send, NULL), SP_OK));
    cr_assert(rig_ticket(&rig, SP_QUEUE_DELIVERED) == &first_ticket);

    rd_kafka_message_t *message = only_message(&mock, MOCK_RESULTS);
    cr_expect(eq(str, (char *)header_of(message, "sandpiper_reply_fallback"),
                 (char *)"sandpiper_reply_fallback=unusable reply partition;"));
    cr_expect(strstr(headers_text(message), "kafka_replyPartition") == NULL);
    rd_kafka_message_destroy(message);
    end(&mock, &rig, record);
}

static bool is_refused(const struct sp_queue_status *status)
{
    return status->reply_topic_refused && strcmp(status->refused, "results: not authorized") == 0;
}

static bool is_not_refused(const struct sp_queue_status *status)
{
    return !status->reply_topic_refused && status->delivered == 1 && status->producer_queue == 0;
}

Test(producer, a_refused_default_topic_holds_the_reply_until_it_takes_it, .timeout = 90)
{
    struct mock mock;
    struct rig rig = {0};
    struct sp_record *record = request(&mock, &rig);
    rd_kafka_resp_err_t refusals[100];
    for (size_t i = 0; i < SP_COUNT(refusals); i++)
        refusals[i] = RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    rd_kafka_mock_push_request_errors_array(mock.cluster, PRODUCE, SP_COUNT(refusals), refusals);

    rig_reply(&rig, record, MOCK_RESULTS, &first_ticket);
    rig_wait_status(&rig, is_refused);
    rd_kafka_mock_clear_request_errors(mock.cluster, PRODUCE);

    cr_assert(rig_ticket(&rig, SP_QUEUE_DELIVERED) == &first_ticket);
    rig_wait_status(&rig, is_not_refused);
    rd_kafka_message_destroy(only_message(&mock, MOCK_RESULTS));
    end(&mock, &rig, record);
}

Test(producer, a_reply_outlasts_a_broker_that_is_away, .timeout = 90)
{
    struct mock mock;
    struct rig rig = {0};
    struct sp_record *record = request(&mock, &rig), *none = NULL;
    void *ticket = NULL;
    rd_kafka_mock_broker_set_down(mock.cluster, 1);

    rig_reply(&rig, record, MOCK_RESULTS, &first_ticket);
    cr_expect(eq(int, sp_queue_next(rig.q, false, 1000, &none, &ticket), SP_QUEUE_IDLE));
    rd_kafka_mock_broker_set_up(mock.cluster, 1);

    cr_assert(rig_ticket(&rig, SP_QUEUE_DELIVERED) == &first_ticket);
    rd_kafka_message_destroy(only_message(&mock, MOCK_RESULTS));
    end(&mock, &rig, record);
}

Test(producer, a_time_out_sends_the_same_bytes_again_and_never_falls_back, .timeout = 90)
{
    struct mock mock;
    struct rig rig = {.extra = {{"delivery.timeout.ms", "300"}}, .n_extra = 1};
    struct sp_record *record = request(&mock, &rig), *none = NULL;
    void *ticket = NULL;
    rd_kafka_mock_topic_create(mock.cluster, OTHER, 2, 1);
    rd_kafka_mock_broker_set_down(mock.cluster, 1);

    rig_reply(&rig, record, OTHER, &first_ticket);
    cr_expect(eq(int, sp_queue_next(rig.q, false, 3000, &none, &ticket), SP_QUEUE_IDLE));
    rd_kafka_mock_broker_set_up(mock.cluster, 1);

    cr_assert(rig_ticket(&rig, SP_QUEUE_DELIVERED) == &first_ticket);
    /* What timed out may be in the log all the same, so that there may be more than one. */
    rd_kafka_message_t *message = first_message(mock_reader(&mock, OTHER, 2));
    cr_expect(strstr(headers_text(message), "fallback") == NULL);
    cr_expect(message->len == 2 && memcmp(message->payload, "{}", 2) == 0);
    cr_expect(message->key_len == 1 && memcmp(message->key, "k", 1) == 0);
    rd_kafka_message_destroy(message);
    end(&mock, &rig, record);
}

Test(producer, a_reply_too_large_for_the_default_topic_comes_back)
{
    struct mock mock;
    struct rig rig = {0};
    struct sp_record *record = request(&mock, &rig);
    rd_kafka_mock_push_request_errors(mock.cluster, PRODUCE, 2,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);

    rig_reply(&rig, record, MOCK_RESULTS, &first_ticket);

    cr_assert(rig_ticket(&rig, SP_QUEUE_TOO_LARGE) == &first_ticket);
    rig_reply(&rig, record, MOCK_RESULTS, &second_ticket);
    cr_assert(rig_ticket(&rig, SP_QUEUE_DELIVERED) == &second_ticket);
    end(&mock, &rig, record);
}

Test(producer, a_reply_too_large_for_its_topic_falls_back)
{
    struct mock mock;
    struct rig rig = {0};
    struct sp_record *record = request(&mock, &rig);
    rd_kafka_mock_topic_create(mock.cluster, OTHER, 2, 1);
    rd_kafka_mock_push_request_errors(mock.cluster, PRODUCE, 2,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);

    rig_reply(&rig, record, OTHER, &first_ticket);

    cr_assert(rig_ticket(&rig, SP_QUEUE_DELIVERED) == &first_ticket);
    rd_kafka_message_t *message = only_message(&mock, MOCK_RESULTS);
    cr_expect(eq(str, (char *)header_of(message, "sandpiper_reply_fallback"),
                 (char *)"sandpiper_reply_fallback=sandpiper.reply.other: too large;"));
    rd_kafka_message_destroy(message);
    end(&mock, &rig, record);
}

Test(producer, one_header_says_why_a_reply_went_elsewhere)
{
    struct mock mock;
    struct rig rig = {0};
    struct sp_record *record = request(&mock, &rig);
    rd_kafka_mock_topic_create(mock.cluster, OTHER, 2, 1);
    struct sp_envelope env = {
        .reply_topic = (char *)OTHER, .reply_partition = -1, .partition_unusable = true};
    struct sp_send send = {.record = record,
                           .env = &env,
                           .request_id = "r1",
                           .result_id = "x",
                           .status = "ok",
                           .value = "{}",
                           .len = 2,
                           .ticket = &first_ticket};
    rd_kafka_mock_push_request_errors(mock.cluster, PRODUCE, 1,
                                      RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);

    cr_assert(eq(int, sp_queue_reply(rig.q, &send, NULL), SP_OK));
    cr_assert(rig_ticket(&rig, SP_QUEUE_DELIVERED) == &first_ticket);

    rd_kafka_message_t *message = only_message(&mock, MOCK_RESULTS);
    cr_expect(eq(str, (char *)header_of(message, "sandpiper_reply_fallback"),
                 (char *)"sandpiper_reply_fallback=sandpiper.reply.other: not authorized;"));
    cr_expect(strstr(headers_text(message), "unusable") == NULL);
    rd_kafka_message_destroy(message);
    end(&mock, &rig, record);
}

Test(producer, a_batch_refused_for_its_size_is_sent_one_by_one)
{
    struct mock mock;
    struct rig rig = {0};
    struct sp_record *record = request(&mock, &rig);
    rd_kafka_mock_push_request_errors(mock.cluster, PRODUCE, 1,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);

    rig_reply(&rig, record, MOCK_RESULTS, &first_ticket);
    rig_reply(&rig, record, MOCK_RESULTS, &second_ticket);

    cr_assert(rig_ticket(&rig, SP_QUEUE_DELIVERED) != NULL);
    cr_assert(rig_ticket(&rig, SP_QUEUE_DELIVERED) != NULL);
    end(&mock, &rig, record);
}

/* Here nothing leaves unless two share a batch, as others do where there is much to send. */
Test(producer, what_was_refused_in_a_batch_does_not_share_another_one)
{
    struct mock mock;
    struct rig rig = {.extra = {{"linger.ms", "900000"}, {"batch.num.messages", "2"}},
                      .n_extra = 2};
    struct sp_record *record = request(&mock, &rig);
    rd_kafka_mock_push_request_errors(mock.cluster, PRODUCE, 1,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);

    rig_reply(&rig, record, MOCK_RESULTS, &first_ticket);
    rig_reply(&rig, record, MOCK_RESULTS, &second_ticket);

    cr_assert(rig_ticket(&rig, SP_QUEUE_DELIVERED) == &first_ticket);
    cr_assert(rig_ticket(&rig, SP_QUEUE_DELIVERED) == &second_ticket);
    end(&mock, &rig, record);
}

Test(producer, a_message_over_our_own_limit_is_refused_the_same_way)
{
    static char big[600000];
    struct mock mock;
    struct rig rig = {.extra = {{"message.max.bytes", "500000"}}, .n_extra = 1};
    struct sp_record *record = request(&mock, &rig);
    struct sp_envelope env = {.reply_topic = (char *)MOCK_RESULTS, .reply_partition = -1};
    struct sp_send send = {.record = record,
                           .env = &env,
                           .request_id = "r1",
                           .result_id = "x",
                           .status = "ok",
                           .value = big,
                           .len = sizeof(big),
                           .ticket = &first_ticket};

    cr_assert(eq(int, sp_queue_reply(rig.q, &send, NULL), SP_OK));

    cr_assert(rig_ticket(&rig, SP_QUEUE_TOO_LARGE) == &first_ticket);
    end(&mock, &rig, record);
}

static const char *dead_letter_headers(const struct sp_record *record)
{
    static char text[1000];
    char offset[40] = "", stamp[40] = "";
    for (int shift = 56; shift >= 0; shift -= 8) {
        unsigned char byte = (unsigned char)(record->timestamp_ms >> shift);
        char part[8];
        snprintf(part, sizeof(part), byte >= 0x20 && byte < 0x7f ? "%c" : "\\x%02x", byte);
        strcat(stamp, part);
        strcat(offset, "\\x00");
    }
    snprintf(text, sizeof(text),
             "theirs=\\x00\\xff;"
             "kafka_dlt-original-topic=requests;"
             "kafka_dlt-original-partition=\\x00\\x00\\x00\\x00;"
             "kafka_dlt-original-offset=%s;"
             "kafka_dlt-original-timestamp=%s;"
             "kafka_dlt-original-timestamp-type=CreateTime;"
             "kafka_dlt-original-consumer-group=workers;"
             "kafka_dlt-exception-fqcn=dev.sandpiper.DeadLetter;"
             "kafka_dlt-exception-message=no JSON;"
             "sandpiper_dlq_reason=no JSON;sandpiper_dlq_attempts=0;sandpiper_dlq_worker=w1;"
             "sandpiper_dlq_first_seen_ms=",
             offset, stamp);
    return text;
}

Test(producer, a_dead_letter_is_the_record_as_received_with_the_headers_of_both)
{
    struct mock mock;
    struct rig rig = {0};
    struct sp_record *record = request(&mock, &rig);
    rd_kafka_mock_topic_create(mock.cluster, "requests-dlq", 2, 1);

    cr_assert(
        eq(int, sp_queue_dead_letter(rig.q, record, "no JSON", 0, &first_ticket, NULL), SP_OK));
    cr_assert(rig_ticket(&rig, SP_QUEUE_DELIVERED) == &first_ticket);

    rd_kafka_message_t *message = only_message(&mock, "requests-dlq");
    const char *expected = dead_letter_headers(record);
    cr_expect(starts_with(headers_text(message), expected), "%s\n%s", headers_text(message),
              expected);
    cr_expect(eq(int, message->partition, 0));
    cr_expect(message->key_len == 1 && memcmp(message->key, "k", 1) == 0);
    cr_expect(message->len == 5 && memcmp(message->payload, "bytes", 5) == 0);
    rd_kafka_message_destroy(message);
    end(&mock, &rig, record);
}

Test(producer, a_dead_letter_that_is_too_large_goes_without_its_value)
{
    struct mock mock;
    struct rig rig = {0};
    struct sp_record *record = request(&mock, &rig);
    struct sp_record elsewhere = *record;
    rd_kafka_mock_topic_create(mock.cluster, "requests-dlq", 2, 1);
    rd_kafka_mock_push_request_errors(mock.cluster, PRODUCE, 2,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    elsewhere.partition = 9; /* the DLQ has no such partition: by key */

    cr_assert(eq(int, sp_queue_dead_letter(rig.q, &elsewhere, "x", 0, &first_ticket, NULL), SP_OK));
    cr_assert(rig_ticket(&rig, SP_QUEUE_DELIVERED) == &first_ticket);

    rd_kafka_message_t *message = only_message(&mock, "requests-dlq");
    cr_expect(eq(str, (char *)header_of(message, "sandpiper_dlq_value"),
                 (char *)"sandpiper_dlq_value=dropped;"));
    cr_expect(message->payload == NULL);
    cr_expect(message->key_len == 1);
    cr_expect(strstr(headers_text(message), "fallback") == NULL);
    rd_kafka_message_destroy(message);
    end(&mock, &rig, record);
}

Test(producer, a_fatal_error_makes_a_new_producer_that_sends_what_was_under_way, .timeout = 90)
{
    struct mock mock;
    struct rig rig = {0};
    struct sp_record *record = request(&mock, &rig);
    rig_reply(&rig, record, MOCK_RESULTS, &first_ticket);
    cr_assert(rig_ticket(&rig, SP_QUEUE_DELIVERED) == &first_ticket);
    rd_kafka_mock_push_request_errors(mock.cluster, PRODUCE, 1,
                                      RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);

    rig_reply(&rig, record, MOCK_RESULTS, &first_ticket);
    rig_reply(&rig, record, MOCK_RESULTS, &second_ticket);

    cr_assert(rig_ticket(&rig, SP_QUEUE_DELIVERED) != NULL);
    cr_assert(rig_ticket(&rig, SP_QUEUE_DELIVERED) != NULL);
    end(&mock, &rig, record);
}

Test(producer, a_full_buffer_makes_the_sender_wait_and_loses_nothing, .timeout = 90)
{
    struct mock mock;
    struct rig rig = {.extra = {{"queue.buffering.max.messages", "10"}}, .n_extra = 1};
    struct sp_record *record = request(&mock, &rig);

    for (int i = 0; i < 200; i++) /* on the thread that would have to make room */
        rig_reply(&rig, record, MOCK_RESULTS, &first_ticket);

    for (int i = 0; i < 200; i++)
        cr_assert(rig_ticket(&rig, SP_QUEUE_DELIVERED) == &first_ticket);
    end(&mock, &rig, record);
}

/* Replies stay unacknowledged until there are enough of them for a batch. */
Test(producer, nothing_is_taken_while_too_many_replies_are_unacknowledged, .timeout = 90)
{
    const int batch = SP_UNDER_WAY_MAX + 1;
    char batch_text[16];
    snprintf(batch_text, sizeof(batch_text), "%d", batch);
    struct mock mock;
    struct rig rig = {.extra = {{"linger.ms", "900000"},
                                {"batch.size", "100000000"},
                                {"batch.num.messages", batch_text}},
                      .n_extra = 3};
    struct sp_record *next = NULL;
    void *ticket = NULL;
    mock_start(&mock, 1);
    mock_send_numbers(&mock, 0, 2);
    rig_open(&rig, &mock);
    struct sp_record *record = rig_record(&rig);

    for (int i = 0; i < SP_UNDER_WAY_MAX; i++)
        rig_reply(&rig, record, MOCK_RESULTS, &first_ticket);
    cr_expect(eq(int, sp_queue_next(rig.q, true, 500, &next, &ticket), SP_QUEUE_IDLE));

    rig_reply(&rig, record, MOCK_RESULTS, &first_ticket);
    for (int i = 0; i < batch; i++)
        cr_assert(rig_ticket(&rig, SP_QUEUE_DELIVERED) == &first_ticket);
    sp_queue_complete(rig.q, rig_record(&rig), NULL);
    end(&mock, &rig, record);
}
