/* One request in, one reply out, through a real broker: addresses, headers, statuses (CONTRACT.md 2
 * to 4). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "tests/support.h"
#include "tests/support/stage.h"

#define LIMIT_MS 120000

static struct sp_stage *s;
static int worker;

static void open_stage(void)
{
    s = sp_stage_new(4);
    sp_stage_local(s, "");
    worker = sp_stage_worker(s, NULL);
}

static void close_stage(void)
{
    sp_stage_free(s);
}

TestSuite(round_trip, .init = open_stage, .fini = close_stage);

static double number(const struct sp_stage_answer *a, const char *path)
{
    return json_number_value(sp_stage_answer_get(a, path));
}

Test(round_trip, python_main_gets_its_arguments_and_its_value_comes_back)
{
    sp_stage_submit(s, "py", "python",
                    "def main(name, count):\n    print('hi')\n    return {'text': 'Hello, ' + "
                    "name, 'n': count}",
                    "\"arguments\":{\"name\":\"World\",\"count\":3}");

    struct sp_stage_answer *a = sp_stage_reply(s, "py", LIMIT_MS);

    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), "ok"), "%s", a->value);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "stdout"), "hi\n"));
    cr_expect(
        eq(str, (char *)sp_stage_answer_text(a, "metadata.result_value.text"), "Hello, World"));
    cr_expect(number(a, "metadata.result_value.n") == 3);
    cr_expect(sp_stage_answer_is(a, "metadata.result_present", "true"));
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "provider"), "local"));
    cr_expect(number(a, "settings_version") == 1);
    cr_expect(number(a, "attempt") == 1);
    cr_expect(number(a, "execution_time") > 0);
    cr_expect(sp_stage_answer_is(a, "error", "null"));
    cr_expect(eq(str, a->key, "py"));
}

Test(round_trip, javascript_main_is_awaited)
{
    sp_stage_submit(s, "js", "nodejs",
                    "async function main({ name }) { console.log('hi'); return [name, await "
                    "Promise.resolve(2)]; }",
                    "\"arguments\":{\"name\":\"World\"}");

    struct sp_stage_answer *a = sp_stage_reply(s, "js", LIMIT_MS);

    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), "ok"), "%s", a->value);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "stdout"), "hi\n"));
    cr_expect(strstr(a->value, "\"result_value\":[\"World\",2]") != NULL, "%s", a->value);
}

Test(round_trip, a_value_keeps_its_text_byte_for_byte)
{
    sp_stage_submit(s, "big", "python", "def main(n):\n    return n + 1",
                    "\"arguments\":{\"n\":1180591620717411303424}");

    struct sp_stage_answer *a = sp_stage_reply(s, "big", LIMIT_MS);

    cr_expect(strstr(a->value, "\"result_value\":1180591620717411303425") != NULL, "%s", a->value);
}

/* kcat is a client that shares no code of ours. */
Test(round_trip, kcat_asks_and_is_answered_with_spring_headers)
{
    char command[1024], reply_topic[128], text[4096] = "";
    snprintf(reply_topic, sizeof(reply_topic), "%s.reply.agents", s->prefix);
    sp_stage_topic(s, reply_topic, 3, NULL);

    snprintf(command, sizeof(command),
             "printf '%%s' '{\"code\":\"print(6 * 7)\"}' | kcat -P -b %s -t %s -k agent-7 -H "
             "kafka_replyTopic=%s "
             "-H kafka_correlationId=corr-1 -H "
             "traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
             s->kafka, s->requests, reply_topic);
    cr_assert(system(command) == 0);
    snprintf(
        command, sizeof(command),
        "timeout 120 kcat -C -b %s -t %s -c 1 -o beginning -f '%%k\\n%%h\\n%%s\\n' 2>/dev/null",
        s->kafka, reply_topic);
    FILE *kcat = popen(command, "r");
    size_t n = fread(text, 1, sizeof(text) - 1, kcat);
    cr_assert(pclose(kcat) == 0 && n > 0);

    cr_expect(strncmp(text, "agent-7\n", 8) == 0, "%s", text);
    cr_expect(strstr(text, "kafka_correlationId=corr-1") != NULL, "%s", text);
    cr_expect(strstr(text, "sandpiper_status=ok") != NULL, "%s", text);
    cr_expect(strstr(text, "content-type=application/json") != NULL, "%s", text);
    cr_expect(strstr(text, "traceparent=00-0af7651916cd43dd8448eb211c80319c-") != NULL, "%s", text);
    cr_expect(strstr(text, "b7ad6b7169203331") == NULL, "the parent id is a new one: %s", text);
    cr_expect(strstr(text, "\"stdout\":\"42\\n\"") != NULL, "%s", text);
}

Test(round_trip, springs_binary_correlation_id_and_reply_partition_are_kept)
{
    char reply_topic[128];
    snprintf(reply_topic, sizeof(reply_topic), "%s.reply.spring", s->prefix);
    sp_stage_topic(s, reply_topic, 3, NULL);
    sp_stage_watch(s, reply_topic);
    const struct sp_stage_header headers[] = {
        {"kafka_replyTopic", reply_topic, 0},
        {"kafka_correlationId", "\x00\xff\x10\x80\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c",
         16},
        {"kafka_replyPartition", "\x00\x00\x00\x02", 4},
    };

    sp_stage_send(s, -1, NULL, "{\"request_id\":\"spring\",\"code\":\"pass\"}", headers, 3);

    struct sp_stage_answer *a = sp_stage_reply(s, "spring", LIMIT_MS);
    size_t len = 0;
    const char *id = sp_stage_answer_header(a, "kafka_correlationId", &len);
    cr_expect(eq(str, a->topic, reply_topic));
    cr_expect(eq(int, a->partition, 2));
    cr_assert(id != NULL && len == 16);
    cr_expect(memcmp(id, headers[1].value, 16) == 0);
    cr_expect(sp_stage_answer_header(a, "kafka_replyPartition", &len) != NULL && len == 4);
}

Test(round_trip, a_reply_partition_that_does_not_exist_is_ignored_and_told)
{
    const struct sp_stage_header header = {"kafka_replyPartition", "\x00\x00\x00\x63", 4};

    sp_stage_send(s, -1, NULL, "{\"request_id\":\"nopart\",\"code\":\"pass\"}", &header, 1);

    struct sp_stage_answer *a = sp_stage_reply(s, "nopart", LIMIT_MS);
    cr_expect(eq(str, a->topic, s->results));
    cr_expect(sp_stage_answer_header(a, "sandpiper_reply_fallback", NULL) != NULL);
    cr_expect(sp_stage_answer_header(a, "kafka_replyPartition", NULL) == NULL);
}

Test(round_trip, a_reply_topic_that_is_not_allowed_runs_nothing)
{
    sp_stage_submit(s, "denied", "python", "open('/tmp/should-not-exist-' + 'x', 'w')",
                    "\"reply_to\":\"someone.elses\"");

    struct sp_stage_answer *a = sp_stage_reply(s, "denied", LIMIT_MS);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), "rejected"));
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "error.code"), "SB007"));
    cr_expect(strstr(sp_stage_answer_text(a, "error.message"), "someone.elses") != NULL);
    cr_expect(eq(str, a->topic, s->results));
    cr_expect(number(a, "execution_time") == 0);
}

Test(round_trip, an_allowed_reply_topic_that_does_not_exist_falls_back_to_the_default)
{
    char member[160];
    snprintf(member, sizeof(member), "\"reply_to\":\"%s.reply.missing\"", s->prefix);

    sp_stage_submit(s, "missing", "python", "print(1)", member);

    struct sp_stage_answer *a = sp_stage_reply(s, "missing", LIMIT_MS);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), "ok"));
    cr_expect(eq(str, a->topic, s->results));
    cr_expect(sp_stage_answer_header(a, "sandpiper_reply_fallback", NULL) != NULL);
}

Test(round_trip, a_cloud_event_is_answered_in_binary_mode)
{
    const struct sp_stage_header headers[] = {
        {"ce_specversion", "1.0", 0},
        {"ce_type", "dev.agents.run", 0},
        {"ce_source", "/agents", 0},
        {"ce_id", "ce-1", 0},
        {"content-type", "application/json", 0},
    };

    sp_stage_send(s, -1, NULL, "{\"code\":\"print('ce')\"}", headers, SP_COUNT(headers));

    struct sp_stage_answer *a = sp_stage_reply(s, "ce-1", LIMIT_MS);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), "ok"));
    size_t len = 0;
    const char *type = sp_stage_answer_header(a, "ce_type", &len);
    cr_assert(type != NULL);
    cr_expect(strncmp(type, "dev.sandpiper.execution.result.v1", len) == 0);
    cr_expect(strncmp(sp_stage_answer_header(a, "ce_subject", &len), "ce-1", 4) == 0);
    cr_expect(sp_stage_answer_header(a, "ce_id", &len) != NULL && len == 32);
    cr_expect(sp_stage_answer_header(a, "ce_time", NULL) != NULL);
}

Test(round_trip, a_structured_cloud_event_carries_the_request_as_data)
{
    const struct sp_stage_header header = {"content-type",
                                           "application/cloudevents+json; charset=utf-8", 0};

    sp_stage_send(s, -1, NULL,
                  "{\"specversion\":\"1.0\",\"id\":\"ce-2\",\"type\":\"t\",\"source\":\"/"
                  "s\",\"data\":{\"code\":\"print('st')\"}}",
                  &header, 1);

    struct sp_stage_answer *a = sp_stage_reply(s, "ce-2", LIMIT_MS);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "stdout"), "st\n"), "%s", a->value);
    cr_expect(sp_stage_answer_header(a, "ce_specversion", NULL) != NULL);
}

Test(round_trip, what_is_no_json_object_is_rejected_and_goes_to_the_dead_letter_topic)
{
    const struct sp_stage_header headers[] = {{"x-own", "kept", 0},
                                              {"sandpiper_request_id", "broken", 0}};

    sp_stage_send(s, 2, "k", "{ not json", headers, 2);

    struct sp_stage_answer *a = sp_stage_reply(s, "broken", LIMIT_MS);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), "rejected"));
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "error.code"), "SB012"));
    cr_expect(eq(str, a->key, "k"));
    struct sp_stage_answer *dead = sp_stage_record(s, s->dlq, "k", LIMIT_MS);
    cr_expect(eq(str, dead->value, "{ not json"));
    cr_expect(eq(int, dead->partition, 2));
    size_t len = 0;
    cr_expect(strncmp(sp_stage_answer_header(dead, "x-own", &len), "kept", 4) == 0);
    cr_expect(strncmp(sp_stage_answer_header(dead, "kafka_dlt-original-topic", &len), s->requests,
                      strlen(s->requests)) == 0);
    cr_expect(memcmp(sp_stage_answer_header(dead, "kafka_dlt-original-partition", &len), "\0\0\0\2",
                     4) == 0);
    cr_expect(sp_stage_answer_header(dead, "kafka_dlt-original-offset", &len) != NULL && len == 8);
    cr_expect(strncmp(sp_stage_answer_header(dead, "sandpiper_dlq_attempts", &len), "0", 1) == 0);
}

Test(round_trip, a_bad_field_is_named_and_is_no_dead_letter)
{
    sp_stage_submit(s, "badfield", "cobol", "x", "");

    struct sp_stage_answer *a = sp_stage_reply(s, "badfield", LIMIT_MS);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), "rejected"));
    cr_expect(strncmp(sp_stage_answer_text(a, "error.message"), "language", 8) == 0, "%s",
              a->value);
    for (size_t i = 0; i < s->n_answers; i++)
        cr_expect(strcmp(s->answers[i]->topic, s->dlq) != 0);
}

Test(round_trip, a_program_that_fails_is_failed_with_its_exit_code)
{
    sp_stage_submit(s, "exit3", "python", "import sys\nprint('before')\nsys.exit(3)",
                    "\"metadata\":{\"trace\":[1,2.50]}");

    struct sp_stage_answer *a = sp_stage_reply(s, "exit3", LIMIT_MS);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), "failed"));
    cr_expect(number(a, "exit_code") == 3);
    cr_expect(sp_stage_answer_is(a, "error", "null"));
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "stdout"), "before\n"));
    cr_expect(strstr(a->value, "\"echo\":{\"trace\":[1,2.50]}") != NULL, "%s", a->value);
}

Test(round_trip, a_timeout_keeps_the_partial_output)
{
    sp_stage_submit(s, "slow", "python", "import time\nprint('partial')\ntime.sleep(60)",
                    "\"timeout\":\"5s\"");

    struct sp_stage_answer *a = sp_stage_reply(s, "slow", LIMIT_MS);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), "timeout"));
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "error.code"), "SB005"));
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "stdout"), "partial\n"));
    cr_expect(number(a, "exit_code") == -1);
    cr_expect(number(a, "metadata.timeout") == 5);
}

Test(round_trip, a_deadline_or_a_queue_time_that_passed_is_expired)
{
    char member[64];
    snprintf(member, sizeof(member), "\"deadline_ms\":%lld", (long long)sp_wall_ms() - 1000);

    sp_stage_submit(s, "late", "python", "print(1)", member);

    struct sp_stage_answer *a = sp_stage_reply(s, "late", LIMIT_MS);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), "expired"));
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "error.code"), "SB010"));
    cr_expect(number(a, "queue_time") == 0);
}

Test(round_trip, a_request_without_an_id_is_known_by_its_offset)
{
    char id[160];
    sp_stage_send(s, 1, NULL, "{\"code\":\"pass\"}", NULL, 0);
    snprintf(id, sizeof(id), "%s-1-0", s->requests);

    struct sp_stage_answer *a = sp_stage_reply(s, id, LIMIT_MS);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), "ok"));
    cr_expect(eq(str, a->key, id));
}

Test(round_trip, files_go_in_and_artifacts_come_out)
{
    sp_stage_submit(s, "files", "python",
                    "import os\ntext = open('in/data.txt').read()\nopen('artifacts/out.csv', "
                    "'w').write(text * 2)\n"
                    "open('artifacts/no.exe', 'w').write('x')",
                    "\"files\":[{\"name\":\"in/data.txt\",\"content_b64\":\"YSxiCg==\"}]");

    struct sp_stage_answer *a = sp_stage_reply(s, "files", LIMIT_MS);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), "ok"), "%s", a->value);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "metadata.artifacts.0.name"), "out.csv"));
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "metadata.artifacts.0.content_b64"),
                 "YSxiCmEsYgo="));
    cr_expect(
        eq(str, (char *)sp_stage_answer_text(a, "metadata.artifacts.0.mime_type"), "text/csv"));
    cr_expect(
        eq(str, (char *)sp_stage_answer_text(a, "metadata.artifacts_rejected.0.name"), "no.exe"));
}

Test(round_trip, a_part_too_large_for_the_reply_is_kept_in_redis)
{
    sp_stage_submit(s, "large", "python",
                    "def main():\n    print('o' * 10)\n    return 'v' * 1500000", "");

    struct sp_stage_answer *a = sp_stage_reply(s, "large", LIMIT_MS);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), "ok"));
    cr_expect(sp_stage_answer_is(a, "metadata.result_value", "null"));
    cr_expect(sp_stage_answer_is(a, "metadata.result_present", "true"));
    cr_assert(eq(str, (char *)sp_stage_answer_text(a, "attachments.0.part"), "result_value"), "%s",
              a->value);
    cr_expect(number(a, "attachments.0.size") == 1500002);
    const char *ref = sp_stage_answer_text(a, "attachments.0.ref");
    cr_assert(strncmp(ref, "redis:", 6) == 0);
    sp_auto(sp_free_str) char *value = sp_stage_redis(s, "GET %s", ref + 6);
    cr_assert(value != NULL);
    cr_expect(eq(sz, strlen(value), 1500002));
    char sum[65];
    sp_sha256_hex(value, strlen(value), sum);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "attachments.0.sha256"), sum));
}

Test(round_trip, every_offset_is_committed_once_its_reply_is_there)
{
    for (int i = 0; i < 20; i++) {
        char id[16];
        snprintf(id, sizeof(id), "c%d", i);
        sp_stage_submit(s, id, i % 7 ? "python" : "cobol", "print(1)", "");
    }
    for (int i = 0; i < 20; i++) {
        char id[16];
        snprintf(id, sizeof(id), "c%d", i);
        sp_stage_reply(s, id, LIMIT_MS);
    }

    sp_stage_until_committed(s, LIMIT_MS);
}
