/* What the asking side says when Kafka is not as it should be; the rest is in tests/cli/test_run.c.
 */
#include "queue/client.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <string.h>

#include "tests/support.h"

#define LIMIT_MS 30000

static rd_kafka_t *holder;
static rd_kafka_mock_cluster_t *cluster;
static struct sp_queue_property kafka = {"bootstrap.servers", NULL};
static struct sp_client *client;
static struct sp_error err;

static void open_cluster(void)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, NULL);
    holder = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
    cluster = rd_kafka_mock_cluster_new(holder, 1);
    rd_kafka_mock_topic_create(cluster, "t", 2, 1);
    kafka.value = rd_kafka_mock_cluster_bootstraps(cluster);
    cr_assert(eq(int, sp_client_open(&kafka, 1, &client, &err), SP_OK));
}

static void close_cluster(void)
{
    sp_client_close(client);
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(holder);
}

TestSuite(client, .init = open_cluster, .fini = close_cluster);

static const unsigned char correlation[SP_CORRELATION_BYTES] = {1};
static const struct sp_client_request small = {
    .topic = "t", .value = "{}", .len = 2, .correlation = correlation};

static enum sp_code post(const struct sp_client_request *request, int64_t timeout_ms)
{
    int32_t partition = -1;
    int64_t offset = -1;
    return sp_client_send(client, request, timeout_ms, &partition, &offset, &err);
}

Test(client, without_an_address_the_key_is_named)
{
    struct sp_client *none = NULL;

    cr_expect(eq(int, sp_client_open(NULL, 0, &none, &err), SP_E_INVALID));

    cr_expect(eq(int, strncmp(err.msg, "kafka.bootstrap.servers: not set", 32), 0), "%s", err.msg);
}

Test(client, a_property_that_librdkafka_refuses_is_named)
{
    const struct sp_queue_property bad[] = {{"bootstrap.servers", "localhost:1"},
                                            {"acks", "perhaps"}};
    struct sp_client *other = NULL;
    cr_assert(eq(int, sp_client_open(bad, 2, &other, &err), SP_OK));

    cr_expect(eq(int, sp_client_listen(other, "t", SP_CLIENT_END, 500, &err), SP_E_INVALID));

    cr_expect(eq(int, strncmp(err.msg, "kafka.acks: ", 12), 0), "%s", err.msg);
    sp_client_close(other);
}

Test(client, a_broker_that_is_away_is_named_with_what_to_do)
{
    rd_kafka_mock_broker_set_down(cluster, 1);
    char expected[128];
    snprintf(expected, sizeof(expected),
             "Kafka does not answer at %.60s (kafka.bootstrap.servers): start it", kafka.value);

    cr_expect(eq(int, sp_client_listen(client, "t", SP_CLIENT_END, 500, &err), SP_E_UNAVAILABLE));
    cr_expect(eq(int, strncmp(err.msg, expected, strlen(expected)), 0), "%s", err.msg);

    cr_expect(eq(int, post(&small, 500), SP_E_UNAVAILABLE));
    cr_expect(eq(int, strncmp(err.msg, expected, strlen(expected)), 0), "%s", err.msg);
}

Test(client, a_broker_that_goes_before_the_acknowledgement_is_an_error_and_no_hang)
{
    cr_assert(eq(int, post(&small, LIMIT_MS), SP_OK), "%s", err.msg);
    rd_kafka_mock_broker_push_request_error_rtts(cluster, 1, 0, 1, 0, 60000); /* Produce */

    cr_expect(eq(int, post(&small, 1000), SP_E_UNAVAILABLE));
}

Test(client, a_missing_topic_is_named_with_how_to_make_it)
{
    rd_kafka_mock_topic_set_error(cluster, "t", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);

    cr_expect(eq(int, sp_client_listen(client, "t", SP_CLIENT_END, LIMIT_MS, &err), SP_E_INVALID));

    cr_expect(eq(int, strncmp(err.msg, "there is no topic t: create it (kafka-topics.sh", 47), 0),
              "%s", err.msg);
}

/* As one that the broker has only just begun to make: that it is not there is no answer. */
Test(client, a_topic_without_a_leader_is_waited_for_and_not_called_missing)
{
    rd_kafka_mock_topic_set_error(cluster, "t", RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE);

    cr_expect(eq(int, sp_client_listen(client, "t", SP_CLIENT_END, 5000, &err), SP_E_UNAVAILABLE));

    cr_expect(eq(str, err.msg, "topic t: Broker: Leader not available"));
}

Test(client, a_topic_that_we_may_not_use_is_a_refusal)
{
    rd_kafka_mock_topic_set_error(cluster, "t", RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);

    cr_expect(eq(int, post(&small, LIMIT_MS), SP_E_DENIED));

    cr_expect(eq(str, err.msg, "topic t: Kafka does not allow us to use it"));
}

Test(client, a_request_that_is_too_large_says_which_limit)
{
    rd_kafka_mock_push_request_errors(cluster, 0, 1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);

    cr_expect(eq(int, post(&small, LIMIT_MS), SP_E_LIMIT), "%s", err.msg);

    cr_expect(eq(int, strncmp(err.msg, "the request has 2 bytes, more than topic t takes", 48), 0),
              "%s", err.msg);
}

Test(client, a_request_of_the_largest_size_that_the_topic_takes_leaves_us)
{
    static char big[4000000];
    const struct sp_client_request request = {
        .topic = "t", .value = big, .len = sizeof(big), .correlation = correlation};

    cr_expect(eq(int, post(&request, LIMIT_MS), SP_OK), "%s", err.msg);
}

Test(client, waiting_without_a_reply_is_a_time_out)
{
    char *value = NULL;
    size_t len = 0;
    cr_assert(eq(int, sp_client_listen(client, "t", SP_CLIENT_END, LIMIT_MS, &err), SP_OK));

    cr_expect(eq(int, sp_client_wait(client, "id", NULL, 50, &value, &len, &err), SP_E_TIMEOUT));
}
