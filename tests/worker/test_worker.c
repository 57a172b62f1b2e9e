/* A whole worker in this process, against librdkafka's mock cluster and a private Redis. */
#include "worker/worker.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "providers/registry.h"
#include "settings/redis.h"
#include "tests/support.h"
#include "tests/support/redis_server.h"
#include "tests/support/until.h"
#include "tests/worker/fixture.h"

#define REQUESTS "requests"
#define RESULTS "results"
#define DLQ "requests-dlq"
enum { PATIENCE_MS = 30000 };

static struct sp_redis_server server;
static struct sp_redis *redis;
static struct sp_config *config;
static struct sp_worker *worker;
static char address[64]; /* of its HTTP server */
static rd_kafka_t *client, *reader;
static rd_kafka_mock_cluster_t *cluster;
static const char *brokers;
static char bootstrap[128], url[160];
static const char *const overrides[] = {
    bootstrap,
    url,
    "queue.request_topics=" REQUESTS,
    "queue.reply_topic=" RESULTS,
    "http.listen=127.0.0.1:0",
    "worker.concurrency=2",
    "worker.drain=100ms",
    "worker.id=w1",
};

static rd_kafka_t *handle(rd_kafka_type_t type, const char *key, const char *value)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, key, value, text, sizeof text);
    rd_kafka_conf_set(conf, "group.id", "reader", text, sizeof text);
    rd_kafka_conf_set(conf, "log_level", "2", text, sizeof text);
    rd_kafka_t *rk = rd_kafka_new(type, conf, text, sizeof text);
    cr_assert(rk != NULL, "%s", text);
    return rk;
}

static void read_topics(void)
{
    static const char *const topics[] = {RESULTS, DLQ};
    rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new(2);
    for (size_t i = 0; i < SP_COUNT(topics); i++)
        rd_kafka_topic_partition_list_add(all, topics[i], 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
    reader = handle(RD_KAFKA_CONSUMER, "bootstrap.servers", brokers);
    rd_kafka_poll_set_consumer(reader);
    cr_assert(not(rd_kafka_assign(reader, all)));
    rd_kafka_topic_partition_list_destroy(all);
}

static void setup(void)
{
    static const char *const topics[] = {REQUESTS, RESULTS, DLQ, "sandpiper.control"};
    cr_assert(sp_redis_server_start(&server, NULL));
    client = handle(RD_KAFKA_PRODUCER, "test.mock.num.brokers", "1");
    cluster = rd_kafka_handle_mock_cluster(client);
    brokers = rd_kafka_mock_cluster_bootstraps(cluster);
    for (size_t i = 0; i < SP_COUNT(topics); i++)
        rd_kafka_mock_topic_create(cluster, topics[i], 1, 1);
    read_topics();

    snprintf(bootstrap, sizeof bootstrap, "kafka.bootstrap.servers=%s", brokers);
    snprintf(url, sizeof url, "redis.url=%s", server.url);
    config = config_with(overrides, SP_COUNT(overrides));
    cr_assert(not(sp_redis_new(config, &redis, NULL)));
    sp_registry_add(&fake_provider);
    fake_gate = eventfd(0, EFD_CLOEXEC);
    cr_assert(fake_gate >= 0);
}

static void teardown(void)
{
    close(fake_gate);
    sp_redis_free(redis);
    sp_config_free(config);
    rd_kafka_destroy(reader);
    rd_kafka_destroy(client);
    sp_redis_server_stop(&server);
}

TestSuite(worker, .init = setup, .fini = teardown);

static void start(void)
{
    struct sp_error err = {0};
    cr_assert(not(sp_worker_start(config, &worker, &err)), "%s", err.msg);
    snprintf(address, sizeof address, "%s", sp_worker_http(worker));
}

/* Programs that wait at the gate end now. */
static void open_gate(void)
{
    cr_assert(not(eventfd_write(fake_gate, 1)));
}

/* Of the fake provider, alive now. */
static int instances(void)
{
    return fake_counts.created - fake_counts.destroyed;
}

static void set_settings(const char *version, const char *fake)
{
    sp_auto(freeReplyObject) redisReply *set = NULL;
    sp_auto(freeReplyObject) redisReply *hint = NULL;
    cr_assert(not(sp_redis_command(redis, &set, NULL,
                                   "HSET sandpiper:settings version %s sandbox.provider_type fake "
                                   "sandbox.fake %s",
                                   version, fake)));
    cr_assert(not(
        sp_redis_command(redis, &hint, NULL, "PUBLISH sandpiper:settings:changed %s", version)));
}

static void keyed_request(const char *key, const char *value)
{
    rd_kafka_resp_err_t rc =
        rd_kafka_producev(client, RD_KAFKA_V_TOPIC(REQUESTS), RD_KAFKA_V_PARTITION(0),
                          RD_KAFKA_V_KEY(key, key ? strlen(key) : 0),
                          RD_KAFKA_V_VALUE((void *)(uintptr_t)value, strlen(value)),
                          RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    cr_assert(not(rc));
    rd_kafka_flush(client, PATIENCE_MS);
}

static void request(const char *value)
{
    keyed_request(NULL, value);
}

/* The next record of either topic; NULL when none comes within wait_ms. */
static rd_kafka_message_t *next_record(int wait_ms)
{
    int64_t until = sp_deadline_in(wait_ms);
    while (sp_deadline_left(until) > 0) {
        rd_kafka_message_t *record = rd_kafka_consumer_poll(reader, 100);
        if (record && !record->err)
            return record;
        if (record)
            rd_kafka_message_destroy(record);
    }
    return NULL;
}

static json_t *reply(void)
{
    rd_kafka_message_t *record = next_record(PATIENCE_MS);
    cr_assert(record != NULL, "no reply");
    cr_assert(eq(str, (char *)rd_kafka_topic_name(record->rkt), RESULTS));
    json_t *json = json_loadb(record->payload, record->len, 0, NULL);
    cr_assert(json != NULL);
    rd_kafka_message_destroy(record);
    return json;
}

static const char *text_of(const json_t *json, const char *key)
{
    return json_string_value(json_object_get(json, key));
}

static const char *error_code(const json_t *json)
{
    return text_of(json_object_get(json, "error"), "code");
}

static int64_t committed(void)
{
    rd_kafka_t *member = NULL;
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    const char *group = sp_config_kafka(config, "group.id");
    rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof text);
    rd_kafka_conf_set(conf, "group.id", group ? group : "sandpiper", text, sizeof text);
    member = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, REQUESTS, 0);
    cr_assert(not(rd_kafka_committed(member, list, PATIENCE_MS)));
    int64_t offset = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(member);
    return offset;
}

static void get(const char *path, char *answer, size_t size)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    to.sin_port = htons((uint16_t)strtol(strrchr(address, ':') + 1, NULL, 10));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    size_t len = 0;
    cr_assert(not(connect(fd, (struct sockaddr *)&to, sizeof to)));
    dprintf(fd, "GET %s HTTP/1.0\r\n\r\n", path);
    for (ssize_t n = 0; len + 1 < size && (n = read(fd, answer + len, size - 1 - len)) > 0;)
        len += (size_t)n;
    answer[len] = '\0';
    close(fd);
}

/* Asks until the answer shows the text, since what it shows comes about by and by. */
static void await_page(const char *path, const char *text)
{
    static char answer[1 << 17];
    int64_t until = sp_deadline_in(PATIENCE_MS);
    do {
        get(path, answer, sizeof answer);
        if (strstr(answer, text))
            return;
        poll(NULL, 0, 20);
    } while (sp_deadline_left(until) > 0);
    cr_fatal("%s never shows \"%s\": %s", path, text, answer);
}

static redisReply *fleet_record(void)
{
    redisReply *record = NULL;
    cr_assert(not(sp_redis_command(redis, &record, NULL, "GET sandpiper:worker:w1")));
    return record;
}

Test(worker, a_request_is_answered_shown_and_committed)
{
    set_settings("5", "{}");
    start();
    request("{\"code\":\"ok\",\"request_id\":\"r1\"}");

    json_auto_t *got = reply();

    cr_expect(eq(str, (char *)text_of(got, "request_id"), "r1"));
    cr_expect(eq(str, (char *)text_of(got, "status"), "ok"));
    cr_expect(eq(str, (char *)text_of(got, "stdout"), "done\n"));
    cr_expect(eq(str, (char *)text_of(got, "provider"), "fake"));
    cr_expect(eq(str, (char *)text_of(got, "worker"), "w1"));
    cr_expect(eq(i64, json_integer_value(json_object_get(got, "settings_version")), 5));
    cr_expect(eq(i64, json_integer_value(json_object_get(got, "attempt")), 1));
    await_page("/metrics", "sandpiper_jobs_total{status=\"ok\",provider=\"fake\"} 1\n");
    await_page("/readyz", "\"ready\":true,\"reasons\":[],\"warnings\":[]");
    await_page("/healthz", "200 OK");

    sp_worker_stop(worker);

    cr_expect(eq(i64, committed(), 1));
    cr_expect(eq(int, instances(), 0));
    sp_auto(freeReplyObject) redisReply *gone = fleet_record();
    cr_expect(eq(int, gone->type, REDIS_REPLY_NIL));
}

static json_t *await_fleet_record(int64_t version)
{
    int64_t until = sp_deadline_in(PATIENCE_MS);
    while (sp_deadline_left(until) > 0) {
        sp_auto(freeReplyObject) redisReply *record = fleet_record();
        json_t *json = record->type == REDIS_REPLY_STRING ? json_loads(record->str, 0, NULL) : NULL;
        json_t *partitions = json_object_get(json, "partitions");
        if (json_integer_value(json_object_get(json, "settings_version")) == version &&
            json_array_size(partitions) == 1)
            return json;
        json_decref(json);
        poll(NULL, 0, 20);
    }
    cr_fatal("no fleet record with version %lld", (long long)version);
    return NULL;
}

Test(worker, the_fleet_record_has_the_fields_of_the_contract)
{
    set_settings("5", "{}");
    start();

    json_auto_t *record = await_fleet_record(5);

    static const char *const fields[] = {"id",
                                         "host",
                                         "pid",
                                         "started",
                                         "version",
                                         "state",
                                         "provider",
                                         "settings_version",
                                         "settings_error",
                                         "concurrency",
                                         "running",
                                         "partitions"};
    cr_expect(eq(sz, json_object_size(record), SP_COUNT(fields)));
    for (size_t i = 0; i < SP_COUNT(fields); i++)
        cr_expect(json_object_get(record, fields[i]) != NULL, "%s is missing", fields[i]);
    cr_expect(eq(str, (char *)text_of(record, "id"), "w1"));
    cr_expect(eq(str, (char *)text_of(record, "provider"), "fake"));
    cr_expect(eq(i64, json_integer_value(json_object_get(record, "concurrency")), 2));
    cr_expect(eq(int, json_is_null(json_object_get(record, "settings_error")), 1));
    cr_expect(
        eq(str, (char *)json_string_value(json_array_get(json_object_get(record, "partitions"), 0)),
           "requests-0"));
    sp_worker_stop(worker);
}

Test(worker, without_settings_a_job_is_answered_not_configured)
{
    start();
    await_page("/readyz", "Redis holds no settings");
    request("{\"code\":\"ok\"}");

    json_auto_t *got = reply();

    cr_expect(eq(str, (char *)text_of(got, "status"), "error"));
    cr_expect(eq(str, (char *)error_code(got), "SB001"));
    cr_expect(eq(str, (char *)text_of(got, "request_id"), "requests-0-0"));
    cr_expect(eq(int, json_is_null(json_object_get(got, "provider")), 1));
    sp_worker_stop(worker);
}

Test(worker, bad_settings_are_the_reason_in_the_reply)
{
    set_settings("5", "{\"colour\":1}");
    start();
    await_page("/readyz", "settings version 5: sandbox.fake: colour");
    request("{\"code\":\"ok\"}");

    json_auto_t *got = reply();

    cr_expect(eq(str, (char *)error_code(got), "SB002"));
    cr_expect(strstr(text_of(json_object_get(got, "error"), "message"), "colour") != NULL);
    sp_worker_stop(worker);
}

Test(worker, jobs_are_held_while_the_provider_is_away_and_run_when_it_is_back)
{
    set_settings("5", "{\"fails\":\"check\"}");
    start();
    request("{\"code\":\"ok\",\"request_id\":\"patient\"}");
    request("{\"code\":\"ok\",\"request_id\":\"hasty\",\"queue_ttl\":\"5s\"}");

    json_auto_t *first = reply();
    int tried = fake_counts.tried;
    await_page("/metrics", "sandpiper_jobs_held 1\n");
    set_settings("6", "{}");
    json_auto_t *second = reply();

    cr_expect(eq(str, (char *)text_of(first, "request_id"), "hasty"));
    cr_expect(eq(str, (char *)text_of(first, "status"), "expired"));
    cr_expect(eq(str, (char *)error_code(first), "SB010"));
    cr_expect(eq(int, tried, 0));
    cr_expect(eq(str, (char *)text_of(second, "request_id"), "patient"));
    cr_expect(eq(str, (char *)text_of(second, "status"), "ok"));
    cr_expect(eq(i64, json_integer_value(json_object_get(second, "attempt")), 1));
    sp_worker_stop(worker);
}

Test(worker, a_stop_ends_a_check_and_blames_nobody)
{
    set_settings("5", "{\"fails\":\"hang\"}");
    start();
    cr_assert(SP_UNTIL(PATIENCE_MS, fake_counts.checks_begun > 0));

    sp_worker_stop(worker);

    cr_expect(eq(int, fake_counts.checks_cancelled, 1), "its time was not up");
    cr_expect(eq(int, fake_counts.checks_begun, 1));
    cr_expect(eq(int, fake_counts.closed, 1));
}

/* What throttles is held as what is away, and told apart in the end. */
static const struct {
    const char *settings, *code, *sb, *message;
} held[] = {
    {"{}", "away", "SB009",
     "provider unavailable: a job found it unavailable; this one: nobody there"},
    {"{}", "busy", "SB008", "rate limited: too many requests"},
    {"{\"fails\":\"check\"}", "ok", "SB009", "provider unavailable: fake: check broke"},
    {"{\"fails\":\"throttle\"}", "ok", "SB008", "rate limited: fake: too many requests"},
};

SP_TABLE_TEST(worker, a_job_that_was_held_for_too_long_is_told_why, held, row)
{
    char code[64];
    config->worker.hold = 1000;
    start();
    await_page("/metrics", "sandpiper_watermark{partition=\"requests-0\"}");
    set_settings("5", row->settings); /* now, so that the next check is 5 s after the job came */
    await_page("/metrics", "sandpiper_settings_changes_total 1\n");
    snprintf(code, sizeof code, "{\"code\":\"%s\"}", row->code);
    request(code);

    json_auto_t *got = reply();

    json_t *error = json_object_get(got, "error");
    cr_expect(eq(str, (char *)text_of(got, "status"), "error"));
    cr_expect(eq(str, (char *)error_code(got), (char *)row->sb));
    cr_expect(eq(str, (char *)text_of(error, "message"), (char *)row->message));
    cr_expect(eq(int, json_typeof(json_object_get(error, "retryable")), JSON_TRUE));
    cr_expect(eq(i64, json_integer_value(json_object_get(got, "attempt")), 1));
    cr_expect(eq(int, instances(), 0));
    sp_worker_stop(worker);
}

Test(worker, what_the_provider_lacks_is_rejected_by_name)
{
    set_settings("5", "{}");
    start();
    request("{\"code\":\"lacking\"}");

    json_auto_t *got = reply();

    cr_expect(eq(str, (char *)text_of(got, "status"), "rejected"));
    cr_expect(eq(str, (char *)error_code(got), "SB007"));
    cr_expect(
        eq(str, (char *)text_of(json_object_get(got, "error"), "message"), "fake has no moon"));
    sp_worker_stop(worker);
}

Test(worker, under_pause_jobs_are_held_while_redis_is_away)
{
    signal(SIGPIPE, SIG_IGN); /* as the command does */
    free(config->redis.outage);
    config->redis.outage = strdup("pause");
    set_settings("5", "{}");
    start();
    request("{\"code\":\"ok\",\"request_id\":\"before\"}");
    json_auto_t *before = reply();
    cr_expect(eq(str, (char *)text_of(before, "status"), "ok"));

    sp_redis_server_kill(&server);
    await_page("/readyz", "\"reasons\":[\"Redis is away\"]");
    request("{\"code\":\"ok\",\"request_id\":\"hasty\",\"queue_ttl\":\"1s\"}");
    request("{\"code\":\"ok\",\"request_id\":\"patient\"}");
    json_auto_t *hasty = reply();
    int tried = fake_counts.tried;
    cr_assert(sp_redis_server_start(&server, NULL));
    json_auto_t *patient = reply();

    cr_expect(eq(str, (char *)text_of(hasty, "request_id"), "hasty"));
    cr_expect(eq(str, (char *)text_of(hasty, "status"), "expired"));
    cr_expect(eq(int, tried, 1));
    cr_expect(eq(str, (char *)text_of(patient, "request_id"), "patient"));
    cr_expect(eq(str, (char *)text_of(patient, "status"), "ok"));
    sp_worker_stop(worker);
}

Test(worker, an_unparseable_record_is_answered_and_goes_to_the_dlq)
{
    set_settings("5", "{}");
    start();
    request("no json");

    rd_kafka_message_t *records[] = {next_record(PATIENCE_MS), next_record(PATIENCE_MS)};

    cr_assert(records[0] && records[1]);
    size_t dead = strcmp(rd_kafka_topic_name(records[0]->rkt), DLQ) == 0 ? 0 : 1;
    json_auto_t *got = json_loadb(records[1 - dead]->payload, records[1 - dead]->len, 0, NULL);
    cr_expect(eq(str, (char *)rd_kafka_topic_name(records[dead]->rkt), DLQ));
    cr_expect(eq(sz, records[dead]->len, 7));
    cr_expect(eq(str, (char *)text_of(got, "status"), "rejected"));
    rd_kafka_message_destroy(records[0]);
    rd_kafka_message_destroy(records[1]);
    sp_worker_stop(worker);
    cr_expect(eq(i64, committed(), 1));
}

Test(worker, a_dead_letter_that_never_ran_has_no_attempts_though_a_worker_died_with_it)
{
    static const char value[] = "no json";
    const void *attempts = NULL;
    size_t len = 0;
    rd_kafka_headers_t *headers = NULL;
    sp_auto(freeReplyObject) redisReply *set = NULL;
    cr_assert(not(sp_redis_command(redis, &set, NULL, "SET sandpiper:record:requests:0:0:5000 %s",
                                   "C1 1 0 requests:0:0:5000 - 0123456789abcdef\n")));
    config->worker.liveness = 300;
    start();
    cr_assert(not(rd_kafka_producev(client, RD_KAFKA_V_TOPIC(REQUESTS), RD_KAFKA_V_PARTITION(0),
                                    RD_KAFKA_V_VALUE((void *)(uintptr_t)value, strlen(value)),
                                    RD_KAFKA_V_TIMESTAMP(5000),
                                    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END)));

    rd_kafka_message_t *records[] = {next_record(PATIENCE_MS), next_record(PATIENCE_MS)};

    cr_assert(records[0] && records[1]);
    size_t dead = strcmp(rd_kafka_topic_name(records[0]->rkt), DLQ) == 0 ? 0 : 1;
    cr_assert(not(rd_kafka_message_headers(records[dead], &headers)));
    cr_assert(not(rd_kafka_header_get_last(headers, "sandpiper_dlq_attempts", &attempts, &len)));
    cr_expect(eq(str, (char *)(uintptr_t)attempts, "0"));
    rd_kafka_message_destroy(records[0]);
    rd_kafka_message_destroy(records[1]);
    sp_worker_stop(worker);
}

Test(worker, a_stop_ends_what_outlasts_the_drain_and_hands_it_back)
{
    set_settings("5", "{}");
    start();
    request("{\"code\":\"ok\"}");
    json_auto_t *first = reply();
    request("{\"code\":\"wait\"}");
    await_page("/metrics", "sandpiper_jobs_running 1\n");

    sp_worker_stop(worker);

    cr_expect(eq(ptr, next_record(500), NULL));
    cr_expect(eq(i64, committed(), 1));
    cr_expect(eq(int, instances(), 0));
    cr_expect(eq(int, fake_counts.tried, 2));
}

Test(worker, a_stop_lets_a_run_finish_within_the_drain)
{
    config->worker.drain = PATIENCE_MS;
    set_settings("5", "{}");
    start();
    request("{\"code\":\"wait\",\"timeout\":\"1s\"}");
    cr_assert(SP_UNTIL(PATIENCE_MS, fake_counts.tried == 1));

    sp_worker_stop(worker);
    json_auto_t *got = reply();

    cr_expect(eq(str, (char *)text_of(got, "status"), "timeout"));
    cr_expect(eq(str, (char *)error_code(got), "SB005"));
    cr_expect(eq(i64, committed(), 1));
}

Test(worker, a_stop_without_kafka_ends_all_the_same)
{
    set_settings("5", "{}");
    start();
    request("{\"code\":\"gate\"}");
    await_page("/metrics", "sandpiper_jobs_running 1\n");
    rd_kafka_mock_broker_set_down(cluster, 1);

    sp_worker_stop(worker);

    cr_expect(eq(int, instances(), 0));
    rd_kafka_mock_broker_set_up(cluster, 1);
    cr_expect(lt(i64, committed(), 0), "a reply that is not in Kafka must not be committed");
}

Test(worker, a_stop_ends_though_a_reply_waits_for_room_in_a_full_producer, .timeout = 60)
{
    const char *more[SP_COUNT(overrides) + 1];
    memcpy(more, overrides, sizeof overrides);
    more[SP_COUNT(overrides)] = "kafka.queue.buffering.max.messages=1";
    sp_config_free(config);
    config = config_with(more, SP_COUNT(more));
    set_settings("5", "{}");
    start();
    request("{\"code\":\"gate\"}");
    request("{\"code\":\"gate\"}");
    await_page("/metrics", "sandpiper_jobs_running 2\n");
    rd_kafka_mock_broker_set_down(cluster, 1);
    open_gate();
    await_page("/metrics", "sandpiper_jobs_running 0\n");

    sp_worker_stop(worker);

    rd_kafka_mock_broker_set_up(cluster, 1);
    cr_expect(lt(i64, committed(), 0), "a reply that is not in Kafka must not be committed");
}

Test(worker, what_does_not_fit_into_a_reply_is_in_redis)
{
    set_settings("5", "{}");
    start();
    request("{\"code\":\"big\"}");

    json_auto_t *got = reply();

    json_t *attachment = json_array_get(json_object_get(got, "attachments"), 0);
    cr_assert(attachment != NULL);
    cr_expect(eq(str, (char *)text_of(got, "stdout"), ""));
    cr_expect(eq(str, (char *)text_of(attachment, "part"), "stdout"));
    sp_auto(freeReplyObject) redisReply *blob = NULL;
    cr_assert(not(sp_redis_command(redis, &blob, NULL, "GET %s", text_of(attachment, "ref") + 6)));
    cr_expect(eq(sz, blob->len, FAKE_BIG_BYTES));
    await_page("/metrics", "sandpiper_attachments_total 1\n");
    sp_worker_stop(worker);
}

/* The broker refuses that many times in a row; a small record is sent twice before that counts. */
static void refuse_for_size(size_t times)
{
    for (size_t i = 0; i < times; i++) {
        rd_kafka_mock_push_request_errors(cluster, 0 /* Produce */, 1,
                                          RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    }
}

Test(worker, a_reply_that_kafka_finds_too_large_is_sent_again)
{
    set_settings("5", "{}");
    start();
    request("{\"code\":\"gate\"}");
    await_page("/metrics", "sandpiper_jobs_running 1\n");
    refuse_for_size(1);
    open_gate();

    json_auto_t *got = reply();

    cr_expect(eq(str, (char *)text_of(got, "status"), "ok"));
    sp_worker_stop(worker);
    cr_expect(eq(i64, committed(), 1));
    cr_expect(eq(int, fake_counts.tried, 1));
}

Test(worker, an_answer_that_has_to_be_sent_again_does_not_wait_for_a_free_executor)
{
    set_settings("5", "{}");
    start();
    request("{\"code\":\"gate\",\"request_id\":\"first\"}");
    request("{\"code\":\"wait\",\"timeout\":60}");
    request("{\"code\":\"wait\",\"timeout\":60}");
    await_page("/metrics", "sandpiper_jobs_running 2\n");
    refuse_for_size(2);
    open_gate();

    json_auto_t *first = reply();

    cr_expect(eq(str, (char *)text_of(first, "request_id"), "first"));
    await_page("/metrics", "sandpiper_jobs_running 2\n");
    sp_worker_stop(worker);
}

Test(worker, a_stored_reply_that_kafka_finds_too_large_does_not_hold_its_offset_for_ever)
{
    static const char value[] = "{\"code\":\"ok\",\"request_id\":\"id\"}";
    set_settings("5", "{}");
    start();
    request(value);
    json_auto_t *first = reply();
    sp_worker_stop(worker);
    request(value);
    refuse_for_size(2);
    start();

    json_auto_t *second = reply();

    cr_expect(eq(str, (char *)text_of(first, "status"), "ok"));
    cr_expect(eq(str, (char *)text_of(second, "request_id"), "id"));
    cr_expect(eq(str, (char *)text_of(second, "status"), "error"));
    cr_expect(ne(str, (char *)text_of(second, "result_id"), (char *)text_of(first, "result_id")));
    request(value);
    json_auto_t *third = reply();
    cr_expect(eq(str, (char *)text_of(third, "result_id"), (char *)text_of(first, "result_id")));
    sp_worker_stop(worker);
    cr_expect(eq(i64, committed(), 3));
    cr_expect(eq(int, fake_counts.tried, 1));
}

/* A worker in a process of its own, as the command runs it. drain: "worker.drain=..." */
static pid_t run_worker(const char *drain)
{
    int ready[2];
    char fd[16], line[96] = "";
    const char *argv[SP_COUNT(overrides) + 4] = {"fake_worker", fd};
    size_t n = 2;
    pid_t pid = 0;
    cr_assert(not(pipe(ready)));
    cr_assert(not(fcntl(ready[0], F_SETFD, FD_CLOEXEC)));
    snprintf(fd, sizeof fd, "%d", ready[1]);
    for (size_t i = 0; i < SP_COUNT(overrides); i++)
        argv[n++] = overrides[i];
    argv[n] = drain; /* after the other, so it counts */
    cr_assert(not(posix_spawn(&pid, FAKE_WORKER, NULL, NULL, (char *const *)argv, environ)));
    close(ready[1]);
    ssize_t got = read(ready[0], line, sizeof line - 1);
    close(ready[0]);
    cr_assert(got > 0 && sscanf(line, "ready %63s\n", address) == 1, "%s", line);
    return pid;
}

static int exit_code_of(pid_t pid)
{
    int status = 0;
    cr_assert(eq(int, waitpid(pid, &status, 0), pid));
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void write_token(const char *path, const char *token)
{
    FILE *f = fopen(path, "we");
    cr_assert(f != NULL && fputs(token, f) >= 0 && fclose(f) == 0);
}

Test(worker, sighup_resolves_references_anew_and_sigterm_ends_with_0)
{
    char path[96], settings[128];
    snprintf(path, sizeof path, "%s/token", server.dir);
    snprintf(settings, sizeof settings, "{\"token\":\"file:%s\"}", path);
    write_token(path, "one");
    set_settings("1", settings);
    pid_t pid = run_worker("worker.drain=100ms");
    await_page("/metrics", "sandpiper_settings_changes_total 1\n");
    write_token(path, "two");

    kill(pid, SIGHUP);
    await_page("/metrics", "sandpiper_settings_changes_total 2\n");
    kill(pid, SIGTERM);

    cr_expect(eq(int, exit_code_of(pid), 0));
    cr_expect(not(unlink(path)));
}

Test(worker, a_worker_may_open_as_many_files_as_the_system_lets_it)
{
    struct rlimit limit, low;
    cr_assert(not(getrlimit(RLIMIT_NOFILE, &limit)));
    low = (struct rlimit){.rlim_cur = 256, .rlim_max = limit.rlim_max};
    cr_assert(lt(u64, low.rlim_cur, low.rlim_max));
    cr_assert(not(setrlimit(RLIMIT_NOFILE, &low)));
    set_settings("1", "{}");
    pid_t pid = run_worker("worker.drain=100ms");

    struct rlimit seen = {0};
    cr_assert(not(prlimit(pid, RLIMIT_NOFILE, NULL, &seen)));
    cr_expect(eq(u64, seen.rlim_cur, limit.rlim_max));

    kill(pid, SIGTERM);
    cr_expect(eq(int, exit_code_of(pid), 0));
}

Test(worker, a_second_signal_ends_the_process_at_once)
{
    set_settings("5", "{}");
    pid_t pid = run_worker("worker.drain=300s");
    request("{\"code\":\"wait\"}");
    await_page("/metrics", "sandpiper_jobs_running 1\n");

    kill(pid, SIGTERM);
    await_page("/readyz", "the worker is stopping");
    kill(pid, SIGINT);

    cr_expect(eq(int, exit_code_of(pid), 1));
}

Test(worker, under_order_key_a_job_waits_for_the_one_of_its_key_before_it)
{
    char *order_before = config->worker.order;
    config->worker.order = (char *)(uintptr_t) "key";
    set_settings("5", "{}");
    start();
    keyed_request("k", "{\"code\":\"gate\",\"request_id\":\"slow\"}");
    keyed_request("k", "{\"code\":\"ok\",\"request_id\":\"behind\"}");
    keyed_request("other", "{\"code\":\"ok\",\"request_id\":\"free\"}");

    json_auto_t *first = reply();
    open_gate();
    json_auto_t *second = reply();
    json_auto_t *third = reply();

    cr_expect(eq(str, (char *)text_of(first, "request_id"), "free"));
    cr_expect(eq(str, (char *)text_of(second, "request_id"), "slow"));
    cr_expect(eq(str, (char *)text_of(third, "request_id"), "behind"));
    sp_worker_stop(worker);
    config->worker.order = order_before;
}

static void cancel(const char *key)
{
    cr_assert(not(rd_kafka_producev(
        client, RD_KAFKA_V_TOPIC("sandpiper.control"), RD_KAFKA_V_PARTITION(0),
        RD_KAFKA_V_KEY((void *)(uintptr_t)key, strlen(key)), RD_KAFKA_V_VALUE("{}", 2),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END)));
    rd_kafka_flush(client, PATIENCE_MS);
}

Test(worker, under_order_key_what_is_cancelled_before_it_comes_does_not_wait)
{
    char *order_before = config->worker.order;
    config->worker.order = (char *)(uintptr_t) "key";
    set_settings("5", "{}");
    start();
    keyed_request("k", "{\"code\":\"gate\",\"request_id\":\"slow\"}");
    await_page("/metrics", "sandpiper_jobs_running 1\n");
    cancel("cancel:late");
    await_page("/metrics", "sandpiper_control_cancels_total 1\n");
    keyed_request("k", "{\"code\":\"ok\",\"request_id\":\"late\"}");
    keyed_request("k", "{\"code\":\"ok\",\"request_id\":\"behind\"}");

    json_auto_t *first = reply();
    open_gate();
    json_auto_t *second = reply();
    json_auto_t *third = reply();

    cr_expect(eq(str, (char *)text_of(first, "request_id"), "late"));
    cr_expect(eq(str, (char *)text_of(first, "status"), "cancelled"));
    cr_expect(eq(str, (char *)text_of(second, "request_id"), "slow"));
    cr_expect(eq(str, (char *)text_of(third, "request_id"), "behind"));
    sp_worker_stop(worker);
    config->worker.order = order_before;
}

Test(worker, a_rejected_request_names_the_settings_in_force)
{
    set_settings("5", "{}");
    start();
    await_page("/readyz", "\"settings_version\":5");
    request("{\"code\":1}");

    json_auto_t *got = reply();

    cr_expect(eq(str, (char *)text_of(got, "status"), "rejected"));
    cr_expect(eq(str, (char *)text_of(got, "provider"), "fake"));
    sp_worker_stop(worker);
}

Test(worker, a_port_in_use_stops_the_start)
{
    start();
    struct sp_worker *second = NULL;
    struct sp_error err = {0};
    char *listen_before = config->http.listen;
    config->http.listen = address;

    enum sp_code rc = sp_worker_start(config, &second, &err);

    config->http.listen = listen_before;
    cr_expect(eq(int, rc, SP_E_UNAVAILABLE));
    cr_expect(strstr(err.msg, "http.listen") != NULL, "%s", err.msg);
    sp_worker_stop(worker);
}
