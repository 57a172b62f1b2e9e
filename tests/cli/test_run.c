/* run, submit and wait against a mock cluster; a thread of the test's plays the worker. */
#include <fcntl.h>
#include <jansson.h>
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/files.h"
#include "cli/mock_broker.h"
#include "tests/cli/tool.h"
#include "tests/support.h"
#include "tests/support/redis_server.h"
#include "tests/support/until.h"

static const struct sp_mock_topic topics[] = {
    {"sandpiper.requests", 2}, {"sandpiper.results", 2}, {"sandpiper.reply.me", 1}};

#define VALUE "{\"message\": \"Hello\", \"n\": 1180591620717411303424}"
#define REPLY_OK                                                                                   \
    "{\"status\":\"ok\",\"stdout\":\"printed\\n\",\"stderr\":\"\",\"exit_code\":0,\"metadata\":"   \
    "{\"result_present\":true,\"result_value\":" VALUE "},\"error\":null,\"attachments\":[]}"

/* What the responder does with the one request it waits for. */
static struct {
    const char *topic; /* of the reply; NULL: none is sent */
    const char *reply;
    bool noise_first; /* replies to other requests before it */
    bool interrupt;   /* sends SIGINT instead */
} plan;

static char root[] = "/tmp/sandpiper-run-XXXXXX";
static char servers[128];
static struct sp_mock_broker *broker;
static pthread_t responder;
static atomic_bool stop;
static char request[8192]; /* as it came; read after join() */
static char request_key[64];

static rd_kafka_t *make_client(rd_kafka_type_t type)
{
    char text[128];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", sp_mock_broker_address(broker), NULL, 0);
    if (type == RD_KAFKA_CONSUMER) {
        rd_kafka_conf_set(conf, "group.id", "test", NULL, 0);
        rd_kafka_conf_set(conf, "fetch.wait.max.ms", "10", NULL, 0);
    } else {
        rd_kafka_conf_set(conf, "linger.ms", "0", NULL, 0);
    }
    rd_kafka_t *rk = rd_kafka_new(type, conf, text, sizeof(text));
    cr_assert(ne(ptr, rk, NULL), "%s", text);
    return rk;
}

static void send_reply(rd_kafka_t *rk, const char *id, const void *correlation)
{
    rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(plan.topic), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                      RD_KAFKA_V_VALUE((void *)(uintptr_t)plan.reply, strlen(plan.reply)),
                      RD_KAFKA_V_HEADER("kafka_correlationId", correlation, 16),
                      RD_KAFKA_V_HEADER("sandpiper_request_id", id, -1), RD_KAFKA_V_END);
    rd_kafka_flush(rk, 5000);
}

static void answer(rd_kafka_t *rk, const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers = NULL;
    const void *correlation = NULL;
    size_t len = 0;
    json_auto_t *json = json_loadb(message->payload, message->len, 0, NULL);
    const char *id = json_string_value(json_object_get(json, "request_id"));
    snprintf(request, sizeof(request), "%.*s", (int)message->len, (const char *)message->payload);
    snprintf(request_key, sizeof(request_key), "%.*s", (int)message->key_len,
             message->key ? (const char *)message->key : "");
    cr_assert(not(rd_kafka_message_headers(message, &headers)));
    cr_assert(not(rd_kafka_header_get_last(headers, "kafka_correlationId", &correlation, &len)));
    cr_assert(eq(sz, len, 16));
    if (plan.noise_first) {
        const char *wanted = plan.reply;
        plan.reply = "{\"status\":\"error\"}";
        send_reply(rk, "another", "0123456789abcdef");
        send_reply(rk, id, "0123456789abcdef");
        plan.reply = wanted;
    }
    if (plan.topic)
        send_reply(rk, id, correlation);
}

static void *respond(void *unused)
{
    (void)unused;
    rd_kafka_t *consumer = make_client(RD_KAFKA_CONSUMER);
    rd_kafka_t *producer = make_client(RD_KAFKA_PRODUCER);
    rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new(2);
    for (int p = 0; p < 2; p++)
        rd_kafka_topic_partition_list_add(all, topics[0].name, p)->offset = 0;
    rd_kafka_assign(consumer, all);
    rd_kafka_topic_partition_list_destroy(all);
    bool seen = false;
    while (!stop) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 50);
        if (message && !message->err) {
            seen = true;
            answer(producer, message);
        }
        if (message)
            rd_kafka_message_destroy(message);
        if (seen && plan.interrupt)
            kill(getpid(), SIGINT);
    }
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    rd_kafka_destroy(producer);
    return NULL;
}

static void open_stage(void)
{
    struct sp_error err = {0};
    signal(SIGINT, SIG_IGN); /* one that comes while the command does not listen for it */
    cr_assert(ne(ptr, mkdtemp(root), NULL));
    cr_assert(eq(int, chdir(root), 0));
    cr_assert(eq(int, sp_file_replace("hello.py", "print(1)", 8, NULL), SP_OK));
    cr_assert(eq(int, sp_mock_broker_open(topics, SP_COUNT(topics), &broker, &err), SP_OK));
    snprintf(servers, sizeof(servers), "kafka.bootstrap.servers=%s",
             sp_mock_broker_address(broker));
    plan.topic = "sandpiper.results";
    plan.reply = REPLY_OK;
    cr_assert(eq(int, pthread_create(&responder, NULL, respond, NULL), 0));
}

static void join(void)
{
    if (!stop) {
        stop = true;
        pthread_join(responder, NULL);
    }
}

static void close_stage(void)
{
    join();
    sp_mock_broker_close(broker);
    sp_remove_tree(root);
}

TestSuite(run, .init = open_stage, .fini = close_stage);

#define KAFKA "-X", servers, "-X", "kafka.fetch.wait.max.ms=10"

Test(run, the_output_then_the_value_are_printed)
{
    struct tool t = TOOL("run", KAFKA, "hello.py", "--arg", "name=World", "--key", "k1");

    join();
    cr_expect(eq(int, t.code, 0), "%s", t.err);
    cr_expect(eq(str, t.out, "printed\n" VALUE "\n"));
    cr_expect(eq(str, t.err, ""));
    cr_expect(ne(ptr, strstr(request, "\"arguments\":{\"name\":\"World\"}"), NULL), "%s", request);
    cr_expect(eq(str, request_key, "k1"));
    tool_clear(&t);
}

Test(run, the_exit_code_is_the_programs)
{
    plan.reply = "{\"status\":\"failed\",\"exit_code\":41,\"stderr\":\"Traceback\"}";

    struct tool t = TOOL("run", KAFKA, "hello.py");

    cr_expect(eq(int, t.code, 41));
    cr_expect(eq(str, t.err, "Traceback\nsandpiper: failed: exit code 41\n"));
    tool_clear(&t);
}

Test(run, replies_to_others_are_not_taken)
{
    plan.noise_first = true;

    struct tool t = TOOL("run", KAFKA, "hello.py", "--id", "mine");

    cr_expect(eq(int, t.code, 0), "%s", t.err);
    cr_expect(eq(str, t.out, "printed\n" VALUE "\n"));
    tool_clear(&t);
}

Test(run, with_json_the_reply_is_printed_as_it_came)
{
    struct tool t = TOOL("run", KAFKA, "--json", "hello.py");

    cr_expect(eq(int, t.code, 0));
    cr_expect(eq(str, t.out, REPLY_OK "\n"));
    tool_clear(&t);
}

Test(run, the_reply_is_found_on_the_topic_that_was_named)
{
    plan.topic = "sandpiper.reply.me";

    struct tool t = TOOL("run", KAFKA, "hello.py", "--reply-to", "sandpiper.reply.me");

    join();
    cr_expect(eq(int, t.code, 0), "%s", t.err);
    cr_expect(ne(ptr, strstr(request, "\"reply_to\":\"sandpiper.reply.me\""), NULL));
    tool_clear(&t);
}

Test(run, a_refusal_of_the_named_topic_is_found_on_the_default_one)
{
    plan.reply = "{\"status\":\"rejected\",\"exit_code\":-1,\"error\":{\"code\":\"SB007\","
                 "\"message\":\"topic\"}}";

    struct tool t = TOOL("run", KAFKA, "hello.py", "--reply-to", "sandpiper.reply.me");

    cr_expect(eq(int, t.code, 125));
    tool_clear(&t);
}

Test(run, artifacts_are_written_where_asked)
{
    plan.reply = "{\"status\":\"ok\",\"metadata\":{\"artifacts\":[{\"name\":\"a.csv\","
                 "\"content_b64\":\"YSxi\"}]}}";

    struct tool t = TOOL("run", KAFKA, "hello.py", "--artifacts", "out");

    cr_expect(eq(int, t.code, 0), "%s", t.err);
    cr_expect(eq(int, access("out/a.csv", R_OK), 0));
    cr_expect(eq(str, t.err, "sandpiper: wrote out/a.csv (3 bytes)\n"));
    tool_clear(&t);
}

Test(run, artifacts_that_nobody_asked_for_are_mentioned)
{
    plan.reply = "{\"status\":\"ok\",\"metadata\":{\"artifacts\":[{\"name\":\"a.csv\","
                 "\"content_b64\":\"YSxi\"}]}}";

    struct tool t = TOOL("run", KAFKA, "hello.py");

    cr_expect(ne(ptr, strstr(t.err, "1 artifact came along; --artifacts DIR"), NULL), "%s", t.err);
    tool_clear(&t);
}

Test(run, attachments_are_fetched_from_redis)
{
    struct sp_redis_server redis = {0};
    char url[160], set[400], reply[500], digest[65];
    cr_assert(sp_redis_server_start(&redis, NULL));
    snprintf(url, sizeof(url), "redis.url=%s", redis.url);
    snprintf(set, sizeof(set), "redis-cli -s %s set sandpiper:blob:1 'long output' >/dev/null",
             redis.socket);
    cr_assert(eq(int, system(set), 0));
    sp_sha256_hex("long output", strlen("long output"), digest);
    snprintf(reply, sizeof(reply),
             "{\"status\":\"ok\",\"stdout\":\"\",\"attachments\":[{\"part\":\"stdout\",\"ref\":"
             "\"redis:sandpiper:blob:1\",\"size\":11,\"sha256\":\"%s\"}]}",
             digest);
    plan.reply = reply;

    struct tool t = TOOL("run", KAFKA, "-X", url, "hello.py");

    cr_expect(eq(int, t.code, 0), "%s", t.err);
    cr_expect(eq(str, t.out, "long output"));
    tool_clear(&t);
    sp_redis_server_stop(&redis);
}

Test(run, an_attachment_that_is_gone_is_a_failure_that_says_so)
{
    struct sp_redis_server redis = {0};
    char url[160];
    cr_assert(sp_redis_server_start(&redis, NULL));
    snprintf(url, sizeof(url), "redis.url=%s", redis.url);
    plan.reply = "{\"status\":\"ok\",\"stdout\":\"\",\"attachments\":[{\"part\":\"stdout\",\"ref\":"
                 "\"redis:sandpiper:blob:1\",\"size\":11,\"sha256\":\"x\"}]}";

    struct tool t = TOOL("run", KAFKA, "-X", url, "hello.py");

    cr_expect(eq(int, t.code, 1));
    cr_expect(ne(ptr, strstr(t.err, "has no sandpiper:blob:1 any more"), NULL), "%s", t.err);
    tool_clear(&t);
    sp_redis_server_stop(&redis);
}

Test(run, submit_prints_the_id_and_wait_finds_the_reply)
{
    struct tool submitted = TOOL("submit", KAFKA, "hello.py", "--id", "job-7");
    cr_expect(eq(str, submitted.out, "job-7\n"));

    struct tool t = TOOL("wait", KAFKA, "job-7");

    cr_expect(eq(int, t.code, 0), "%s", t.err);
    cr_expect(eq(str, t.out, "printed\n" VALUE "\n"));
    tool_clear(&submitted);
    tool_clear(&t);
}

Test(run, submit_tells_where_the_request_is)
{
    struct tool t = TOOL("submit", KAFKA, "hello.py", "--json");

    json_auto_t *json = json_loads(t.out, 0, NULL);
    cr_expect(eq(sz, strlen(json_string_value(json_object_get(json, "request_id"))), 36));
    cr_expect(
        eq(str, (char *)json_string_value(json_object_get(json, "topic")), "sandpiper.requests"));
    bool numbered = json_is_integer(json_object_get(json, "partition"));
    cr_expect(numbered);
    cr_expect(eq(i64, json_integer_value(json_object_get(json, "offset")), 0));
    tool_clear(&t);
}

Test(run, waiting_ends_at_its_limit_and_says_how_to_go_on)
{
    plan.topic = NULL;

    struct tool t = TOOL("run", KAFKA, "hello.py", "--id", "job-8", "--wait", "300ms");

    cr_expect(eq(int, t.code, 1));
    cr_expect(ne(ptr, strstr(t.err, "the waiting time is over"), NULL), "%s", t.err);
    cr_expect(ne(ptr, strstr(t.err, "'sandpiper wait job-8'"), NULL), "%s", t.err);
    tool_clear(&t);
}

Test(run, an_interrupt_ends_the_waiting_and_says_how_to_go_on)
{
    plan.topic = NULL;
    plan.interrupt = true;

    struct tool t = TOOL("run", KAFKA, "hello.py", "--id", "job-9");

    cr_expect(eq(int, t.code, 130));
    cr_expect(ne(ptr, strstr(t.err, "stopped waiting"), NULL), "%s", t.err);
    cr_expect(ne(ptr, strstr(t.err, "'sandpiper wait job-9'"), NULL), "%s", t.err);
    tool_clear(&t);
}

Test(run, a_request_that_cannot_be_made_is_wrong_use)
{
    struct tool t = TOOL("run", KAFKA, "hello.py", "--arg", "oops");

    cr_expect(eq(int, t.code, 2));
    cr_expect(eq(str, t.err,
                 "sandpiper run: --arg: expected NAME=VALUE, not \"oops\"\n"
                 "Try 'sandpiper run --help'.\n"));
    tool_clear(&t);
}
