/* CONTRACT.md 2 to 6 and 9 as a client and an operator see them, each sentence that a real broker,
 * a real Redis and real programs are needed for. Sentence by sentence: tests/queue, tests/worker.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "tests/support.h"
#include "tests/support/redis_server.h"
#include "tests/support/stage.h"

#define LIMIT_MS 120000

static struct sp_stage *s;

static void open_stage(void)
{
    s = sp_stage_new(2);
}

static void close_stage(void)
{
    sp_stage_free(s);
}

TestSuite(contract, .init = open_stage, .fini = close_stage);

static const struct sp_stage_case replies[] = {
    {"plain",
     "python",
     "print('hi')",
     "",
     {{"status", "\"ok\""},
      {"stdout", "\"hi\\n\""},
      {"metadata.language", "\"python\""},
      {"metadata.timeout", "30"},
      {"metadata.timeout_requested", "null"},
      {"metadata.stdout_bytes", "3"},
      {"metadata.result_present", "false"},
      {"metadata.result_type", "null"},
      {"metadata.isolation.level", "\"none\""},
      {"metadata.limits_of_provider", "[]"},
      {"metadata.reply_cut", "[]"},
      {"attachments", "[]"},
      {"echo", "null"}},
     NULL},
    {"none",
     "py",
     "def main():\n    pass",
     "\"metadata\":\"m\",\"timeout\":\"1m30s\"",
     {{"metadata.result_present", "true"},
      {"metadata.result_value", "null"},
      {"metadata.result_type", "\"json\""},
      {"metadata.timeout", "30"},
      {"metadata.timeout_requested", "90"},
      {"echo", "\"m\""}},
     NULL},
    {"undefined",
     "js",
     "function main() {}",
     "",
     {{"status", "\"ok\""},
      {"metadata.result_present", "false"},
      {"metadata.language", "\"nodejs\""}},
     NULL},
    {"strict",
     "js",
     "function main() {}",
     "\"options\":{\"strict_result\":true}",
     {{"status", "\"failed\""}, {"exit_code", "1"}, {"error", "null"}},
     NULL},
    {"nan-py",
     "python",
     "def main():\n    return {'a': float('nan'), 'b': [float('-inf'), 'NaN']}",
     "",
     {{"status", "\"ok\""}, {"metadata.result_value", "{\"a\":null,\"b\":[null,\"NaN\"]}"}},
     "\"result_warning\":\""},
    {"nan-js",
     "js",
     "function main() { return [NaN, undefined, 1.5]; }",
     "",
     {{"status", "\"ok\""}, {"metadata.result_value", "[null,null,1.5]"}},
     "\"result_warning\":\""},
    {"set",
     "python",
     "def main():\n    return {1}",
     "",
     {{"status", "\"failed\""},
      {"exit_code", "1"},
      {"metadata.result_present", "false"},
      {"error", "null"}},
     "TypeError"},
    {"shown",
     "python",
     "def main(n):\n    print('x', end='')\n    return {'n': n}",
     "\"arguments\":{\"n\":1.10},\"options\":{\"result_in_stdout\":true}",
     {{"stdout", "\"x\\n{\\\"n\\\":1.1}\\n\""}, {"metadata.result_value.n", "1.1000000000000001"}},
     "\"result_value\":{\"n\": 1.1}"},
    {"signal",
     "python",
     "import os\nprint('before', flush=True)\nos.kill(os.getpid(), 9)",
     "",
     {{"status", "\"failed\""},
      {"exit_code", "-9"},
      {"metadata.signal", "9"},
      {"stdout", "\"before\\n\""},
      {"error", "null"}},
     NULL},
    {"memory",
     "python",
     "x = 'a' * (4 << 30)",
     "",
     {{"status", "\"failed\""},
      {"exit_code", "1"},
      {"error.code", "\"SB006\""},
      {"error.kind", "\"runtime\""},
      {"error.retryable", "false"}},
     NULL},
    {"cut",
     "python",
     "import sys\nprint('a' * 2000 + 'é' * 1000, end='')\n"
     "def main():\n    print('end', file=sys.stderr)\n    return 1",
     "",
     {{"status", "\"ok\""},
      {"metadata.stdout_truncated", "true"},
      {"metadata.stderr_truncated", "false"},
      {"metadata.stdout_bytes", "4000"},
      {"metadata.result_value", "1"},
      {"stderr", "\"end\\n\""}},
     "a\\n[sandpiper: 2976 bytes left out]\\né"},
    {"bytes",
     "python",
     "import os\nos.write(1, b'a\\xffb')",
     "",
     {{"stdout", "\"a�b\""},
      {"metadata.stdout_invalid_utf8", "true"},
      {"metadata.stderr_invalid_utf8", "false"},
      {"metadata.stdout_bytes", "3"}},
     NULL},
    {"stale",
     "python",
     "print(1)",
     "\"queue_ttl\":\"1ms\",\"metadata\":{\"k\":1}",
     {{"status", "\"expired\""},
      {"error.code", "\"SB010\""},
      {"error.retryable", "false"},
      {"exit_code", "-1"},
      {"execution_time", "0.0"},
      {"queue_time", "0.0"},
      {"stdout", "\"\""},
      {"provider", "\"local\""},
      {"settings_version", "1"},
      {"attempt", "1"},
      {"echo", "{\"k\":1}"}},
     NULL},
    {"twice",
     "python",
     "print(1)",
     "\"zz\":1,\"zz\":2",
     {{"status", "\"rejected\""},
      {"error.code", "\"SB012\""},
      {"error.kind", "\"rejected\""},
      {"error.message", "\"zz: given twice\""},
      {"error.retryable", "false"},
      {"exit_code", "-1"}},
     NULL},
};

static void expect_header(const struct sp_stage_answer *a, const char *name, const char *value)
{
    size_t len = 0;
    const char *got = sp_stage_answer_header(a, name, &len);
    cr_expect(got != NULL && len == strlen(value) && memcmp(got, value, len) == 0,
              "%s is not %s: %s", name, value, a->value);
}

/* Those of every reply and no others: one for each, told again in the value. */
static void expect_plain_headers(const struct sp_stage_answer *a)
{
    expect_header(a, "content-type", "application/json");
    expect_header(a, "sandpiper_status", sp_stage_answer_text(a, "status"));
    expect_header(a, "sandpiper_request_id", sp_stage_answer_text(a, "request_id"));
    expect_header(a, "sandpiper_result_id", sp_stage_answer_text(a, "result_id"));
    expect_header(a, "sandpiper_worker", sp_stage_answer_text(a, "worker"));
    expect_header(a, "sandpiper_attempt", "1");
    cr_expect(eq(sz, rd_kafka_header_cnt(a->headers), 6), "%s", a->value);
    cr_expect(eq(str, a->key, (char *)sp_stage_answer_text(a, "request_id")));
}

/* Every reply that came by now is what conf/schema/reply.json says. */
static void expect_valid_replies(void)
{
    char path[] = "/tmp/sandpiper-replies-XXXXXX", command[1024], line[256];
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    FILE *file = fdopen(fd, "w");
    for (size_t i = 0; i < s->n_answers; i++) {
        if (strcmp(s->answers[i]->topic, s->dlq) != 0)
            fprintf(file, "%s\n", s->answers[i]->value);
    }
    fclose(file);
    snprintf(command, sizeof(command),
             "'%s' '%s/tests/queue/validate.py' '%s/conf/schema/reply.json' '%s'", SYSTEM_PYTHON,
             SOURCE_DIR, SOURCE_DIR, path);

    FILE *pipe = popen(command, "r");

    cr_assert(pipe != NULL);
    while (fgets(line, sizeof(line), pipe))
        cr_expect(eq(str, line, (char *)"valid\n"));
    cr_expect(pclose(pipe) == 0);
    unlink(path);
}

Test(contract, a_reply_says_what_came_of_its_request)
{
    sp_stage_local(s, "\"max_output_bytes\":1024");
    sp_stage_worker(s, (const char *const[]){"worker.concurrency=4", NULL});
    for (size_t i = 0; i < SP_COUNT(replies); i++)
        sp_stage_submit(s, replies[i].id, replies[i].language, replies[i].code, replies[i].members);

    for (size_t i = 0; i < SP_COUNT(replies); i++)
        expect_plain_headers(sp_stage_expect(s, &replies[i], LIMIT_MS));

    expect_valid_replies();
}

/* What most readers of JSON cannot carry goes through untouched. */
Test(contract, arguments_and_value_are_exact)
{
    sp_stage_local(s, "");
    sp_stage_worker(s, NULL);

    sp_stage_submit(s, "surrogate", "python", "def main(**given):\n    return given",
                    "\"arguments\":{\"n\":1180591620717411303424,\"s\":\"\\ud800\",\"e\":"
                    "\"\\u00e9\\ud83d\\ude00\\n\"}");
    const char *value = sp_stage_record(s, s->results, "surrogate", LIMIT_MS)->value;

    cr_expect(strstr(value,
                     "\"result_value\":{\"n\": 1180591620717411303424, \"s\": \"\\ud800\", \"e\": "
                     "\"é😀\\n\"},") != NULL,
              "%s", value);
}

Test(contract, a_deadline_during_the_run_is_a_timeout)
{
    char member[64];
    sp_stage_local(s, "");
    sp_stage_worker(s, NULL);
    sp_stage_submit(s, "first", "python", "print(1)", "");
    sp_stage_reply(s, "first", LIMIT_MS);
    snprintf(member, sizeof(member), "\"deadline_ms\":%lld", (long long)sp_wall_ms() + 12000);

    sp_stage_submit(s, "due", "python", "import time\nprint('partial', flush=True)\ntime.sleep(60)",
                    member);

    const struct sp_stage_case due = {
        .id = "due",
        .expected = {{"status", "\"timeout\""},
                     {"error.code", "\"SB005\""},
                     {"error.kind", "\"timeout\""},
                     {"error.message", "\"deadline_ms passed during the run\""},
                     {"exit_code", "-1"},
                     {"stdout", "\"partial\\n\""}},
    };
    struct sp_stage_answer *a = sp_stage_expect(s, &due, LIMIT_MS);
    double ran = json_number_value(sp_stage_answer_get(a, "execution_time"));
    cr_expect(ran > 0 && ran < 30, "%s", a->value);
}

Test(contract, only_what_is_no_json_object_is_a_dead_letter)
{
    static const struct sp_stage_header tombstone_id = {"sandpiper_request_id", "tombstone", 0};
    static const struct sp_stage_header array_id = {"ce_id", "array", 0};
    static const struct sp_stage_header structured = {"content-type",
                                                      "application/cloudevents+json", 0};
    sp_stage_local(s, "");
    sp_stage_worker(s, NULL);

    sp_stage_send(s, 0, "k3", "{\"specversion\":\"1.0\",\"id\":\"empty\"}", &structured, 1);
    sp_stage_send_bytes(s, 0, "k1", NULL, 0, &tombstone_id, 1);
    sp_stage_send(s, 0, "k2", "[1]", &array_id, 1);
    struct sp_stage_answer *empty = sp_stage_reply(s, "empty", LIMIT_MS);
    struct sp_stage_answer *tombstone = sp_stage_reply(s, "tombstone", LIMIT_MS);
    struct sp_stage_answer *array = sp_stage_reply(s, "array", LIMIT_MS);
    struct sp_stage_answer *dead = sp_stage_record(s, s->dlq, "k1", LIMIT_MS);
    sp_stage_record(s, s->dlq, "k2", LIMIT_MS);

    cr_expect(eq(str, empty->key, "k3"));
    cr_expect(eq(str, (char *)sp_stage_answer_text(empty, "error.code"), "SB012"));
    expect_header(empty, "ce_specversion", "1.0");
    expect_header(empty, "ce_subject", "empty");
    expect_header(empty, "ce_id", sp_stage_answer_text(empty, "result_id"));
    cr_expect(eq(ptr, sp_stage_find(s, s->dlq, "k3"), NULL));
    cr_expect(eq(str, (char *)sp_stage_answer_text(array, "status"), "rejected"));
    cr_expect(eq(str, (char *)sp_stage_answer_text(tombstone, "status"), "rejected"));
    cr_expect(eq(ptr, dead->value, NULL));
    expect_header(dead, "sandpiper_request_id", "tombstone");
    expect_header(dead, "kafka_dlt-original-timestamp-type", "CreateTime");
    expect_header(dead, "sandpiper_dlq_worker", sp_stage_answer_text(tombstone, "worker"));
    expect_valid_replies();
}

static const struct sp_stage_case cut[] = {
    {"value",
     "python",
     "def main():\n    return 'v' * 30000",
     "",
     {{"status", "\"ok\""},
      {"metadata.result_present", "true"},
      {"metadata.result_value", "null"},
      {"metadata.reply_cut", "[\"result_value\"]"},
      {"attachments", "[]"}},
     NULL},
    {"stdout",
     "python",
     "print('o' * 30000)",
     "",
     {{"metadata.stdout_truncated", "true"},
      {"metadata.stdout_bytes", "30001"},
      {"metadata.reply_cut", "[\"stdout\"]"}},
     NULL},
    {"artifact",
     "python",
     "open('artifacts/a.csv', 'w').write('c' * 30000)",
     "",
     {{"metadata.artifacts", "[]"},
      {"metadata.artifacts_rejected.0.name", "\"a.csv\""},
      {"metadata.artifacts_rejected.0.size", "30000"},
      {"metadata.artifacts_rejected.0.reason", "\"reply too large\""},
      {"metadata.reply_cut", "[\"artifacts/a.csv\"]"}},
     NULL},
};

Test(contract, without_redis_what_does_not_fit_is_cut_and_told)
{
    struct sp_redis_server server = sp_stage_own_redis(s, NULL);
    sp_stage_local(s, "");
    sp_stage_worker(s, (const char *const[]){"limits.reply_bytes=20000", NULL});
    sp_stage_submit(s, "first", "python", "pass", "");
    sp_stage_reply(s, "first", LIMIT_MS); /* the settings are in force */
    sp_redis_server_kill(&server);

    for (size_t i = 0; i < SP_COUNT(cut); i++)
        sp_stage_submit(s, cut[i].id, cut[i].language, cut[i].code, cut[i].members);

    struct sp_stage_answer *value = sp_stage_expect(s, &cut[0], LIMIT_MS);
    cr_expect(strlen(sp_stage_answer_text(value, "metadata.result_warning")) > 0);
    struct sp_stage_answer *text = sp_stage_expect(s, &cut[1], LIMIT_MS);
    cr_expect(strstr(sp_stage_answer_text(text, "stdout"), "\n[sandpiper: ") != NULL);
    sp_stage_expect(s, &cut[2], LIMIT_MS);
    cr_expect(value->value_len <= 20000 && text->value_len <= 20000);
    expect_valid_replies();
    sp_redis_server_stop(&server);
}

Test(contract, a_redis_that_evicts_is_a_warning)
{
    struct sp_redis_server server = sp_stage_own_redis(
        s, (char *const[]){(char *)"--maxmemory-policy", (char *)"allkeys-lru", NULL});
    sp_stage_local(s, "");
    sp_stage_worker(s, NULL);

    sp_stage_until_readyz(s, 0, 200, "allkeys-lru", LIMIT_MS);

    sp_redis_server_stop(&server);
}

static const struct {
    const char *name;
    json_type type;
} fleet_members[] = {
    {"id", JSON_STRING},           {"host", JSON_STRING},
    {"pid", JSON_INTEGER},         {"started", JSON_INTEGER},
    {"version", JSON_STRING},      {"state", JSON_STRING},
    {"provider", JSON_STRING},     {"settings_version", JSON_INTEGER},
    {"settings_error", JSON_NULL}, {"concurrency", JSON_INTEGER},
    {"running", JSON_INTEGER},     {"partitions", JSON_ARRAY},
};

static bool record_has_provider(void *arg)
{
    sp_auto(sp_free_str) char *text = sp_stage_redis(s, "GET %s:worker:w1", s->prefix);
    (void)arg;
    return text && strstr(text, "\"local\"");
}

Test(contract, a_workers_record_has_the_types_of_the_contract_and_15_seconds_to_live)
{
    char partition[112];
    int64_t from = sp_wall_ms();
    sp_stage_local(s, "");
    sp_stage_worker(s, (const char *const[]){"worker.id=w1", NULL});
    sp_stage_until(record_has_provider, NULL, LIMIT_MS, "the record names the provider in force");

    sp_auto(sp_free_str) char *text = sp_stage_redis(s, "GET %s:worker:w1", s->prefix);
    sp_auto(sp_free_str) char *ttl = sp_stage_redis(s, "PTTL %s:worker:w1", s->prefix);

    cr_assert(text != NULL && ttl != NULL);
    json_auto_t *record = json_loads(text, 0, NULL);
    cr_expect(eq(sz, json_object_size(record), SP_COUNT(fleet_members)), "%s", text);
    for (size_t i = 0; i < SP_COUNT(fleet_members); i++) {
        json_t *member = json_object_get(record, fleet_members[i].name);
        cr_expect(member && json_typeof(member) == fleet_members[i].type, "%s: %s",
                  fleet_members[i].name, text);
    }
    long long started = json_integer_value(json_object_get(record, "started"));
    cr_expect(started >= from && started <= sp_wall_ms(), "%s", text);
    cr_expect(json_integer_value(json_object_get(record, "pid")) == s->workers[0].pid);
    json_t *partitions = json_object_get(record, "partitions");
    for (size_t i = 0; i < json_array_size(partitions); i++) {
        const char *name = json_string_value(json_array_get(partitions, i));
        snprintf(partition, sizeof(partition), "%s-", s->requests);
        cr_expect(name && strncmp(name, partition, strlen(partition)) == 0, "%s", text);
    }
    cr_expect(strtoll(ttl, NULL, 10) > 0 && strtoll(ttl, NULL, 10) <= 15000, "%s", ttl);
}

Test(contract, a_refused_dead_letter_topic_holds_the_offset)
{
    char option[160], missing[96];
    static const struct sp_stage_header id = {"sandpiper_request_id", "bad", 0};
    sp_stage_local(s, "");
    snprintf(missing, sizeof(missing), "%s.missing", s->prefix);
    snprintf(option, sizeof(option), "queue.dlq_topic=%s", missing);
    sp_stage_worker(s, (const char *const[]){option, NULL});

    sp_stage_send(s, 0, NULL, "no json", &id, 1);
    struct sp_stage_answer *a = sp_stage_reply(s, "bad", LIMIT_MS);
    sp_stage_until_readyz(s, 0, 503, missing, LIMIT_MS);
    int64_t held = sp_stage_committed(s);
    sp_stage_topic(s, missing, 1, NULL);
    sp_stage_until_committed(s, LIMIT_MS);

    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), "rejected"));
    cr_expect(eq(i64, held, 0));
}

/* The key, whatever the topic; a state that is valid goes along, the partition that is not does
 * not. */
Test(contract, a_reply_elsewhere_has_the_requests_key_and_trace)
{
    char topic[128];
    sp_stage_local(s, "");
    sp_stage_worker(s, NULL);
    snprintf(topic, sizeof(topic), "%s.reply.trace", s->prefix);
    sp_stage_topic(s, topic, 2, NULL);
    sp_stage_watch(s, topic);
    const struct sp_stage_header headers[] = {
        {"kafka_replyTopic", topic, 0},
        {"kafka_replyPartition", "\x00\x00\x01", 3},
        {"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", 0},
        {"tracestate", "congo=t61rcWkgMzE", 0},
    };

    sp_stage_send(s, -1, "its key", "{\"request_id\":\"traced\",\"code\":\"pass\"}", headers,
                  SP_COUNT(headers));

    struct sp_stage_answer *a = sp_stage_reply(s, "traced", LIMIT_MS);
    cr_expect(eq(str, a->topic, topic));
    cr_expect(eq(str, a->key, "its key"));
    expect_header(a, "tracestate", "congo=t61rcWkgMzE");
    cr_expect(strncmp(sp_stage_answer_header(a, "traceparent", NULL),
                      "00-0af7651916cd43dd8448eb211c80319c-", 36) == 0);
    cr_expect(sp_stage_answer_header(a, "sandpiper_reply_fallback", NULL) != NULL);
    cr_expect(sp_stage_answer_header(a, "kafka_replyPartition", NULL) == NULL);
}
