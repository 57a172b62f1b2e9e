/* The contract's sections 2, 4 and 9, sentence by sentence. */
#include "tests/queue/given.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "tests/queue/requests.h"

static bool begins_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

Test(message, every_sample_is_accepted_or_refused_as_it_says)
{
    for (size_t i = 0; i < SP_COUNT(samples); i++) {
        const struct sample *sample = &samples[i];
        enum sp_sb sb = sample->sb ? sample->sb : SP_SB012_BAD_REQUEST;
        sp_auto(given_clear) struct given g;
        given_init(&g);

        given_json(&g, sample->json);

        enum sp_verdict verdict = sample->fault ? SP_VERDICT_REJECT : SP_VERDICT_RUN;
        cr_expect(eq(int, g.out.verdict, verdict), "%s: %s", sample->json, g.out.why.msg);
        cr_expect(begins_with(g.out.why.msg, sample->fault ? sample->fault : ""), "%s: %s",
                  sample->json, g.out.why.msg);
        cr_expect(eq(int, g.out.sb, sample->fault ? sb : SP_SB_NONE), "%s", sample->json);
    }
}

static const struct {
    const char *value;
    size_t len;
} unparseable[] = {
#define BYTES(text)                                                                                \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
    {NULL, 0},
    BYTES(""),
    BYTES(" "),
    BYTES("[]"),
    BYTES("\"code\""),
    BYTES("null"),
    BYTES("{\"code\":\"x\""),
    BYTES("{\"code\":\"x\"} x"),
    BYTES("{\"code\":\"x\"}\0"),
    BYTES("{\"code\":\"x\",}"),
    BYTES("{\"code\":\"x\",\"timeout\":NaN}"),
    BYTES("{\"code\":\"x\",\"timeout\":030}"),
    BYTES("{\"code\":\"\xff\"}"),
    BYTES("{\"code\":\"\xc3\"}"),
    BYTES("\xef\xbb\xbf{\"code\":\"x\"}"),
    BYTES("{\0\"\0c\0o\0d\0e\0\"\0:\0"),
};

SP_TABLE_TEST(message, a_record_that_is_no_json_object_is_unparseable, unparseable, row)
{
    sp_auto(given_clear) struct given g;
    given_init(&g);

    given_read(&g, row->value, row->len, NULL, 0);

    cr_expect(eq(int, g.out.verdict, SP_VERDICT_UNPARSEABLE));
    cr_expect(eq(int, g.out.sb, SP_SB012_BAD_REQUEST));
    cr_expect(begins_with(g.out.why.msg, "value: "), "%s", g.out.why.msg);
    cr_expect(eq(str, g.out.req.id, (char *)"sandpiper.requests-3-42"));
    cr_expect(eq(str, g.out.env.reply_topic, (char *)"sandpiper.results"));
}

Test(message, a_full_request_arrives_field_by_field)
{
    sp_auto(given_clear) struct given g;
    given_init(&g);

    given_json(&g, "{\"code\":\"print('\\u00e9')\\n\",\"language\":\"node\",\"timeout\":\"1m30s\","
                   "\"arguments\": {\"n\" : 1180591620717411303424, \"s\":\"\\ud800\"} ,"
                   "\"files\":[{\"name\":\"d/a.txt\",\"content_b64\":\"aGk=\"},"
                   "{\"name\":\"empty\",\"content_b64\":\"\"}],"
                   "\"request_id\":\"job-1\",\"reply_to\":\"sandpiper.reply.me\","
                   "\"deadline_ms\":1700000000123,\"queue_ttl\":2.5,\"delivery\":\"at_most_once\","
                   "\"options\":{\"result_in_stdout\":false,\"strict_result\":true},"
                   "\"metadata\": { \"a\" : [ 1.10 , \"x \\\" y\" ] } }");

    cr_assert(eq(int, g.out.verdict, SP_VERDICT_RUN), "%s", g.out.why.msg);
    const struct sp_request *req = &g.out.req;
    cr_expect(eq(str, req->code, (char *)"print('\xc3\xa9')\n"));
    cr_expect(eq(sz, req->code_len, strlen(req->code)));
    cr_expect(eq(int, req->language, SP_JAVASCRIPT));
    cr_expect(eq(i64, req->timeout_ms, 90000));
    cr_expect(
        eq(str, req->arguments, (char *)"{\"n\" : 1180591620717411303424, \"s\":\"\\ud800\"}"));
    cr_expect(eq(sz, req->arguments_len, strlen(req->arguments)));
    cr_assert(eq(sz, req->n_files, 2));
    cr_expect(eq(str, req->files[0].name, (char *)"d/a.txt"));
    cr_expect(eq(str, req->files[0].data, (char *)"hi"));
    cr_expect(eq(sz, req->files[0].len, 2));
    cr_expect(eq(sz, req->files[1].len, 0));
    cr_expect(eq(str, req->id, (char *)"job-1"));
    cr_expect(eq(str, req->reply_to, (char *)"sandpiper.reply.me"));
    cr_expect(eq(i64, req->deadline_ms, 1700000000123));
    cr_expect(eq(i64, req->queue_ttl_ms, 2500));
    cr_expect(eq(int, req->delivery, SP_AT_MOST_ONCE));
    cr_expect(eq(int, req->result_in_stdout, SP_NO));
    cr_expect(req->strict_result);
    cr_expect(eq(str, req->metadata, (char *)"{\"a\":[1.10,\"x \\\" y\"]}"));
    cr_expect(eq(sz, req->metadata_len, strlen(req->metadata)));
    cr_expect(eq(str, g.out.env.reply_topic, (char *)"sandpiper.reply.me"));
}

Test(message, what_is_absent_or_null_has_its_default)
{
    static const char *const requests[] = {
        "{\"code\":\"x\"}",
        "{\"code\":\"x\",\"code_b64\":null,\"language\":null,\"timeout\":null,\"arguments\":null,"
        "\"files\":null,\"request_id\":null,\"reply_to\":null,\"deadline_ms\":null,"
        "\"queue_ttl\":null,\"delivery\":null,\"options\":null,\"metadata\":null}",
    };
    for (size_t i = 0; i < SP_COUNT(requests); i++) {
        sp_auto(given_clear) struct given g;
        given_init(&g);

        given_json(&g, requests[i]);

        cr_assert(eq(int, g.out.verdict, SP_VERDICT_RUN), "%s", g.out.why.msg);
        cr_expect(eq(int, g.out.req.language, SP_PYTHON));
        cr_expect(eq(i64, g.out.req.timeout_ms, 0));
        cr_expect(eq(ptr, g.out.req.arguments, NULL));
        cr_expect(eq(sz, g.out.req.n_files, 0));
        cr_expect(eq(i64, g.out.req.deadline_ms, 0));
        cr_expect(eq(i64, g.out.req.queue_ttl_ms, 0));
        cr_expect(eq(int, g.out.req.delivery, SP_AT_LEAST_ONCE));
        cr_expect(eq(int, g.out.req.result_in_stdout, SP_UNSET));
        cr_expect(not(g.out.req.strict_result));
        cr_expect(eq(ptr, g.out.req.metadata, NULL));
        cr_expect(eq(ptr, g.out.req.reply_to, NULL));
        cr_expect(eq(str, g.out.env.reply_topic, (char *)"sandpiper.results"));
        cr_expect(eq(int, g.out.env.reply_partition, -1));
    }
}

static const struct {
    const char *spelling;
    int64_t ms;
} times[] = {
    {"30", 30000},
    {"1.5", 1500},
    {"0.1", 100},
    {"1.1", 1100},
    {"1e2", 100000},
    {"0", 0},
    {"-0", 0},
    {"0.0001", 1},
    {"1e-300", 1},
    {"\"30\"", 30000},
    {"\"30s\"", 30000},
    {"\"1m30s\"", 90000},
    {"\"500ms\"", 500},
    {"\"1h1ms\"", 3600001},
    {"\"0s\"", 0},
    {"\"\"", 0},
    {"\"0.0001\"", 1},
    {"\"1.5\"", 1500},
    {"0.0004999", 1},
    {"0.0015", 2},
    {"1e400", 315360000000},
    {"123456789012345678901234567890", 315360000000},
};

SP_TABLE_TEST(message, times_become_milliseconds, times, row)
{
    char json[200];
    sp_auto(given_clear) struct given g;
    given_init(&g);
    snprintf(json, sizeof(json), "{\"code\":\"x\",\"timeout\":%s,\"queue_ttl\":%s}", row->spelling,
             row->spelling);

    given_json(&g, json);

    cr_expect(eq(int, g.out.verdict, SP_VERDICT_RUN), "%s: %s", json, g.out.why.msg);
    cr_expect(eq(i64, g.out.req.timeout_ms, row->ms), "%s", json);
    cr_expect(eq(i64, g.out.req.queue_ttl_ms, row->ms), "%s", json);
}

Test(message, a_deadline_without_end_does_not_overflow)
{
    sp_auto(given_clear) struct given g;
    given_init(&g);

    given_json(&g, "{\"code\":\"x\",\"deadline_ms\":99999999999999999999}");

    cr_assert(eq(int, g.out.verdict, SP_VERDICT_RUN), "%s", g.out.why.msg);
    cr_expect(eq(i64, g.out.req.deadline_ms, 253402300799999));
}

/* Builds "<head><fill n times><tail>". */
static char *repeated(const char *head, const char *fill, size_t n, const char *tail)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    cr_assert(eq(int, sp_buf_adds(&text, head), SP_OK));
    for (size_t i = 0; i < n; i++)
        cr_assert(eq(int, sp_buf_adds(&text, fill), SP_OK));
    cr_assert(eq(int, sp_buf_adds(&text, tail), SP_OK));
    return sp_buf_take(&text, NULL);
}

/* Each is good n times and refused once more. */
static const struct {
    const char *what, *head, *fill, *tail, *fault;
    size_t n;
} bounds[] = {
    {"code is counted as decoded", "{\"code\":\"", "\\u00e9", "\"}",
     "code: longer than limits.code_bytes (400 bytes)", 200},
    {"code_b64 is counted as decoded", "{\"code_b64\":\"", "YWFh", "YWFh\"}",
     "code_b64: longer than limits.code_bytes (400 bytes)", 132},
    {"files together",
     "{\"code\":\"x\",\"files\":[{\"name\":\"a\",\"content_b64\":\"YWFh\"},"
     "{\"name\":\"b\",\"content_b64\":\"",
     "YWFh", "\"}]}", "files: more than limits.files_bytes (300 bytes)", 99},
    {"metadata without blanks", "{\"code\":\"x\",\"metadata\":[ \"", "y", "\" ] }",
     "metadata: more than 8192 bytes", 8188},
};

SP_TABLE_TEST(message, limits_hold_to_the_byte, bounds, row)
{
    sp_auto(sp_free_str) char *fits = repeated(row->head, row->fill, row->n, row->tail);
    sp_auto(sp_free_str) char *over = repeated(row->head, row->fill, row->n + 1, row->tail);
    sp_auto(given_clear) struct given g;
    given_init(&g);
    g.limits.code_bytes = 400;
    g.limits.files_bytes = 300;

    given_json(&g, fits);
    cr_expect(eq(int, g.out.verdict, SP_VERDICT_RUN), "%s: %s", row->what, g.out.why.msg);

    given_json(&g, over);
    cr_expect(eq(int, g.out.verdict, SP_VERDICT_REJECT), "%s", row->what);
    cr_expect(eq(int, g.out.sb, SP_SB012_BAD_REQUEST), "%s", row->what);
    cr_expect(begins_with(g.out.why.msg, row->fault), "%s: %s", row->what, g.out.why.msg);
}

Test(message, arguments_may_nest_512_levels_with_the_object_as_the_first)
{
    for (size_t levels = 511; levels <= 512; levels++) {
        sp_auto(sp_free_str) char *opening = repeated("", "[", levels, "");
        sp_auto(sp_free_str) char *closing = repeated("", "]", levels, "}}");
        sp_auto(sp_free_str) char *head =
            repeated("{\"code\":\"x\",\"arguments\":{\"a\":", opening, 1, closing);
        sp_auto(given_clear) struct given g;
        given_init(&g);

        given_json(&g, head);

        cr_expect(eq(int, g.out.verdict, levels == 511 ? SP_VERDICT_RUN : SP_VERDICT_REJECT));
        cr_expect(
            begins_with(g.out.why.msg, levels == 511 ? "" : "arguments: nested deeper than 512"));
    }
}

Test(message, sixty_four_files_are_the_most)
{
    for (int n = 64; n <= 65; n++) {
        sp_auto(sp_buf_clear) struct sp_buf json = SP_BUF_INIT(SP_BUF_UNBOUNDED);
        sp_auto(given_clear) struct given g;
        given_init(&g);
        sp_buf_adds(&json, "{\"code\":\"x\",\"files\":[");
        for (int i = 0; i < n; i++)
            sp_buf_addf(&json, "%s{\"name\":\"f%d\",\"content_b64\":\"\"}", i ? "," : "", i);
        sp_buf_adds(&json, "]}");

        given_json(&g, json.data);

        cr_expect(eq(int, g.out.verdict, n == 64 ? SP_VERDICT_RUN : SP_VERDICT_REJECT));
        cr_expect(begins_with(g.out.why.msg, n == 64 ? "" : "files: more than 64"), "%s",
                  g.out.why.msg);
    }
}

Test(message, a_hundred_thousand_unknown_names_are_read_quickly, .timeout = 20)
{
    sp_auto(sp_buf_clear) struct sp_buf json = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(given_clear) struct given g;
    given_init(&g);
    sp_buf_adds(&json, "{\"code\":\"x\"");
    for (int i = 0; i < 100000; i++)
        sp_buf_addf(&json, ",\"%sk%d\":0", i % 2 ? "\\u0061" : "", i);
    sp_buf_adds(&json, ",\"ak99999\":0}");

    given_json(&g, json.data);

    cr_expect(eq(int, g.out.verdict, SP_VERDICT_REJECT));
    cr_expect(eq(str, g.out.why.msg, (char *)"ak99999: given twice"));
}

Test(message, a_rejected_request_keeps_what_its_reply_needs)
{
    struct sp_header headers[] = {HEADER("kafka_correlationId", "\x00\x01\xff")};
    static const char json[] =
        "{\"files\":7,\"metadata\":{\"m\":1},\"timeout\":7,\"request_id\":\"job-2\","
        "\"reply_to\":\"sandpiper.reply.me\",\"code\":\"x\",\"zz\":1,\"zz\":2}";
    sp_auto(given_clear) struct given g;
    given_init(&g);

    given_read(&g, json, sizeof(json) - 1, headers, SP_COUNT(headers));

    cr_assert(eq(int, g.out.verdict, SP_VERDICT_REJECT));
    cr_expect(eq(str, g.out.req.id, (char *)"job-2"));
    cr_expect(eq(str, g.out.req.metadata, (char *)"{\"m\":1}"));
    cr_expect(eq(i64, g.out.req.timeout_ms, 7000));
    cr_expect(eq(str, g.out.env.reply_topic, (char *)"sandpiper.reply.me"));
    cr_assert(eq(ptr, (void *)g.out.env.correlation, &headers[0]));
}

/* The sources of an id, best first; only the chosen one is checked. */
static const struct {
    const char *json;
    struct sp_header headers[3];
    const char *id, *fault;
} ids[] = {
    {"{\"code\":\"x\",\"request_id\":\"body\"}",
     {HEADER("sandpiper_request_id", "header"), HEADER("ce_id", "event")},
     "body",
     NULL},
    {"{\"code\":\"x\",\"request_id\":null}",
     {HEADER("ce_id", "event"), HEADER("sandpiper_request_id", "header")},
     "header",
     NULL},
    {"{\"code\":\"x\"}", {HEADER("ce_id", "event")}, "event", NULL},
    {"{\"code\":\"x\"}", {{.name = NULL}}, "sandpiper.requests-3-42", NULL},
    {"{\"code\":\"x\"}",
     {HEADER("sandpiper_request_id", "first"), HEADER("sandpiper_request_id", "last")},
     "last",
     NULL},
    {"{\"code\":\"x\",\"request_id\":\"body\"}",
     {HEADER("sandpiper_request_id", "\n"), HEADER("ce_id", "")},
     "body",
     NULL},
    {"{\"code\":\"x\"}",
     {HEADER("sandpiper_request_id", "header"), HEADER("ce_id", "\n")},
     "header",
     NULL},
    {"{\"code\":\"x\",\"request_id\":\"\"}",
     {HEADER("sandpiper_request_id", "header")},
     "header",
     "request_id: "},
    {"{\"code\":\"x\",\"request_id\":7}",
     {HEADER("sandpiper_request_id", "\xff"), HEADER("ce_id", "event")},
     "event",
     "request_id: "},
    {"{\"code\":\"x\"}",
     {HEADER("sandpiper_request_id", ""), HEADER("ce_id", "a\tb")},
     "sandpiper.requests-3-42",
     "sandpiper_request_id: expected 1 to 128 bytes"},
    {"{\"code\":\"x\"}",
     {HEADER("ce_id", "\xc3")},
     "sandpiper.requests-3-42",
     "ce_id: not UTF-8 text"},
    {"{\"code\":\"x\"}",
     {{.name = "sandpiper_request_id", .value = NULL}, HEADER("ce_id", "event")},
     "event",
     NULL},
    {"[]", {HEADER("sandpiper_request_id", "header")}, "header", "value: "},
    {"[]", {HEADER("sandpiper_request_id", ""), HEADER("ce_id", "event")}, "event", "value: "},
};

static size_t count_headers(const struct sp_header *headers, size_t most)
{
    size_t n = 0;
    while (n < most && headers[n].name)
        n++;
    return n;
}

SP_TABLE_TEST(message, the_first_source_of_an_id_is_chosen_and_checked, ids, row)
{
    struct sp_header headers[3];
    memcpy(headers, row->headers, sizeof(headers));
    sp_auto(given_clear) struct given g;
    given_init(&g);

    given_read(&g, row->json, strlen(row->json), headers, count_headers(headers, 3));

    cr_expect(eq(str, g.out.req.id, (char *)row->id));
    cr_expect(eq(int, g.out.verdict == SP_VERDICT_RUN, row->fault == NULL), "%s", g.out.why.msg);
    cr_expect(begins_with(g.out.why.msg, row->fault ? row->fault : ""), "%s", g.out.why.msg);
}

/* Header, then body, then the default; a denied one is answered on the default topic. */
static const struct {
    const char *json;
    struct sp_header headers[3];
    const char *topic;
    int32_t partition;
    bool unusable;
    enum sp_sb sb;
    const char *fault;
} addresses[] = {
    {"{\"code\":\"x\",\"reply_to\":\"sandpiper.reply.body\"}",
     {HEADER("kafka_replyTopic", "sandpiper.reply.header")},
     "sandpiper.reply.header",
     -1,
     false,
     SP_SB_NONE,
     ""},
    {"{\"code\":\"x\",\"reply_to\":\"sandpiper.reply.body\"}",
     {HEADER("kafka_replyTopic", "")},
     "sandpiper.reply.body",
     -1,
     false,
     SP_SB_NONE,
     ""},
    {"{\"code\":\"x\",\"reply_to\":\"forbidden\"}",
     {HEADER("kafka_replyTopic", "sandpiper.results")},
     "sandpiper.results",
     -1,
     false,
     SP_SB_NONE,
     ""},
    {"{\"code\":\"x\",\"reply_to\":5}",
     {HEADER("kafka_replyTopic", "sandpiper.reply.header")},
     "sandpiper.reply.header",
     -1,
     false,
     SP_SB012_BAD_REQUEST,
     "reply_to: expected a string"},
    {"{\"code\":\"x\",\"reply_to\":\"sandpiper.reply.body\"}",
     {HEADER("kafka_replyTopic", "sandpiper.requests"),
      HEADER("kafka_replyPartition", "\x00\x00\x00\x02")},
     "sandpiper.results",
     -1,
     false,
     SP_SB007_POLICY,
     "kafka_replyTopic: replies to 'sandpiper.r"},
    {"{\"code\":\"x\"}",
     {HEADER("kafka_replyTopic", "a\xff")},
     "sandpiper.results",
     -1,
     false,
     SP_SB007_POLICY,
     "kafka_replyTopic: 'a?' is not a topic name"},
    {"{\"code\":\"x\",\"reply_to\":\"__consumer_offsets\"}",
     {{.name = NULL}},
     "sandpiper.results",
     -1,
     false,
     SP_SB007_POLICY,
     "reply_to: replies to '__consumer_offsets'"},
    {"{\"code\":\"x\",\"reply_to\":\"sandpiper.requests-dlq\"}",
     {{.name = NULL}},
     "sandpiper.results",
     -1,
     false,
     SP_SB007_POLICY,
     "reply_to: "},
    {"{\"code\":\"x\",\"reply_to\":\"sandpiper.control\"}",
     {{.name = NULL}},
     "sandpiper.results",
     -1,
     false,
     SP_SB007_POLICY,
     "reply_to: "},
    {"{\"code\":\"x\"}",
     {HEADER("kafka_replyTopic", "sandpiper.reply.a"),
      HEADER("kafka_replyPartition", "\x00\x00\x01\x02")},
     "sandpiper.reply.a",
     258,
     false,
     SP_SB_NONE,
     ""},
    {"{\"code\":\"x\"}",
     {HEADER("kafka_replyPartition", "\x00\x00\x00\x00")},
     "sandpiper.results",
     0,
     false,
     SP_SB_NONE,
     ""},
    {"{\"code\":\"x\"}",
     {HEADER("kafka_replyPartition", "\xff\xff\xff\xff")},
     "sandpiper.results",
     -1,
     true,
     SP_SB_NONE,
     ""},
    {"{\"code\":\"x\"}",
     {HEADER("kafka_replyPartition", "\x80\x00\x00\x00")},
     "sandpiper.results",
     -1,
     true,
     SP_SB_NONE,
     ""},
    {"{\"code\":\"x\"}",
     {HEADER("kafka_replyPartition", "2")},
     "sandpiper.results",
     -1,
     true,
     SP_SB_NONE,
     ""},
    {"{\"code\":\"x\"}",
     {HEADER("kafka_replyPartition", "\x00\x00\x00\x00\x02")},
     "sandpiper.results",
     -1,
     true,
     SP_SB_NONE,
     ""},
    {"nonsense",
     {HEADER("kafka_replyTopic", "sandpiper.reply.a")},
     "sandpiper.reply.a",
     -1,
     false,
     SP_SB012_BAD_REQUEST,
     "value: "},
    {"nonsense",
     {HEADER("kafka_replyTopic", "forbidden")},
     "sandpiper.results",
     -1,
     false,
     SP_SB012_BAD_REQUEST,
     "value: "},
};

SP_TABLE_TEST(message, the_reply_goes_to_the_header_the_body_or_the_default, addresses, row)
{
    struct sp_header headers[3];
    memcpy(headers, row->headers, sizeof(headers));
    sp_auto(given_clear) struct given g;
    given_init(&g);

    given_read(&g, row->json, strlen(row->json), headers, count_headers(headers, 3));

    cr_expect(eq(str, g.out.env.reply_topic, (char *)row->topic));
    cr_expect(eq(int, g.out.env.reply_partition, row->partition));
    cr_expect(eq(int, g.out.env.partition_unusable, row->unusable));
    cr_expect(eq(int, g.out.sb, row->sb), "%s", g.out.why.msg);
    cr_expect(begins_with(g.out.why.msg, row->fault), "%s", g.out.why.msg);
}

#define STRUCTURED HEADER("content-type", "application/cloudevents+json; charset=UTF-8")
#define BINARY HEADER("ce_specversion", "1.0")

static const struct {
    const char *json;
    struct sp_header headers[3];
    bool event;
    enum sp_verdict verdict;
    const char *id, *fault;
} events[] = {
    {"{\"code\":\"x\"}", {BINARY, HEADER("ce_id", "e-1")}, true, SP_VERDICT_RUN, "e-1", ""},
    {"{\"code\":\"x\"}",
     {HEADER("ce_specversion", "1.1")},
     true,
     SP_VERDICT_RUN,
     "sandpiper.requests-3-42",
     ""},
    {"{\"code\":\"x\"}",
     {HEADER("ce_specversion", "0.3"), HEADER("ce_id", "e-1")},
     false,
     SP_VERDICT_RUN,
     "e-1",
     ""},
    {"[]", {BINARY, HEADER("ce_id", "e-1")}, true, SP_VERDICT_UNPARSEABLE, "e-1", "value: "},
    {"{\"code\":\"x\"}",
     {HEADER("content-type", "application/json")},
     false,
     SP_VERDICT_RUN,
     "sandpiper.requests-3-42",
     ""},
    {"{\"specversion\":\"1.0\",\"id\":\"e-2\",\"type\":\"t\",\"source\":\"/s\",\"data\":{\"code\":"
     "\"x\"}}",
     {STRUCTURED},
     true,
     SP_VERDICT_RUN,
     "e-2",
     ""},
    {"{\"specversion\":\"1.0\",\"id\":\"e-2\",\"data\":{\"code\":\"x\",\"request_id\":\"r\"}}",
     {STRUCTURED},
     true,
     SP_VERDICT_RUN,
     "r",
     ""},
    {"{\"specversion\":\"1.0\",\"id\":\"e-2\",\"data\":{\"code\":\"x\"}}",
     {STRUCTURED, HEADER("sandpiper_request_id", "header"), HEADER("ce_id", "h")},
     true,
     SP_VERDICT_RUN,
     "header",
     ""},
    {"{\"specversion\":\"1.0\",\"id\":\"e-2\",\"data\":{\"code\":\"x\"}}",
     {STRUCTURED, HEADER("ce_id", "h")},
     true,
     SP_VERDICT_RUN,
     "e-2",
     ""},
    {"{\"specversion\":\"1.0\",\"id\":\"e-3\",\"data_base64\":\"eyJjb2RlIjoieCJ9\"}",
     {HEADER("content-type", "Application/CloudEvents")},
     true,
     SP_VERDICT_RUN,
     "e-3",
     ""},
    {"{\"specversion\":\"1.0\",\"id\":\"e-4\"}",
     {STRUCTURED},
     true,
     SP_VERDICT_REJECT,
     "e-4",
     "data: missing"},
    {"{\"specversion\":\"1.0\",\"id\":\"e-4\",\"data\":null}",
     {STRUCTURED},
     true,
     SP_VERDICT_REJECT,
     "e-4",
     "data: missing"},
    {"{\"specversion\":\"1.0\",\"id\":\"e-4\",\"data\":\"{}\"}",
     {STRUCTURED},
     true,
     SP_VERDICT_REJECT,
     "e-4",
     "data: expected an object"},
    {"{\"specversion\":\"1.0\",\"id\":\"e-4\",\"data\":{\"code\":\"x\"},\"data_base64\":\"\"}",
     {STRUCTURED},
     true,
     SP_VERDICT_REJECT,
     "e-4",
     "data: given beside data_base64"},
    {"{\"specversion\":\"1.0\",\"id\":\"e-4\",\"data_base64\":\"!\"}",
     {STRUCTURED},
     true,
     SP_VERDICT_REJECT,
     "e-4",
     "data_base64: not base64"},
    {"{\"specversion\":\"1.0\",\"id\":\"e-4\",\"data_base64\":\"eyI=\"}",
     {STRUCTURED},
     true,
     SP_VERDICT_REJECT,
     "e-4",
     "data_base64: not JSON"},
    {"{\"specversion\":\"1.0\",\"id\":\"e-4\",\"data_base64\":\"W10=\"}",
     {STRUCTURED},
     true,
     SP_VERDICT_REJECT,
     "e-4",
     "data_base64: expected an object"},
    {"{\"specversion\":\"0.3\",\"id\":\"e-4\",\"data\":{\"code\":\"x\"}}",
     {STRUCTURED},
     true,
     SP_VERDICT_REJECT,
     "e-4",
     "specversion: "},
    {"{\"specversion\":\"1.0\",\"id\":\"e-4\",\"id\":\"e-5\",\"data\":{\"code\":\"x\"}}",
     {STRUCTURED},
     true,
     SP_VERDICT_REJECT,
     "e-4",
     "id: given twice"},
    {"{\"specversion\":\"1.0\",\"id\":4,\"data\":{\"code\":\"x\"}}",
     {STRUCTURED},
     true,
     SP_VERDICT_REJECT,
     "sandpiper.requests-3-42",
     "id: expected a string"},
    {"{\"specversion\":\"1.0\",\"id\":\"e-6\",\"data\":{\"code\":\"x\",\"timeout\":-1}}",
     {STRUCTURED},
     true,
     SP_VERDICT_REJECT,
     "e-6",
     "timeout: "},
    {"[{\"specversion\":\"1.0\"}]",
     {HEADER("content-type", "application/cloudevents-batch+json")},
     true,
     SP_VERDICT_UNPARSEABLE,
     "sandpiper.requests-3-42",
     "value: "},
};

SP_TABLE_TEST(message, cloud_events_are_read_in_both_modes, events, row)
{
    struct sp_header headers[3];
    memcpy(headers, row->headers, sizeof(headers));
    sp_auto(given_clear) struct given g;
    given_init(&g);

    given_read(&g, row->json, strlen(row->json), headers, count_headers(headers, 3));

    cr_expect(eq(int, g.out.env.cloud_event, row->event));
    cr_expect(eq(int, g.out.verdict, row->verdict), "%s", g.out.why.msg);
    cr_expect(eq(str, g.out.req.id, (char *)row->id));
    cr_expect(begins_with(g.out.why.msg, row->fault), "%s", g.out.why.msg);
    if (row->verdict == SP_VERDICT_RUN)
        cr_expect(eq(str, g.out.req.code, (char *)"x"));
}

#define PARENT "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

Test(message, a_valid_trace_is_carried_on)
{
    struct sp_header headers[] = {HEADER("traceparent", PARENT), HEADER("tracestate", "a=b")};
    sp_auto(given_clear) struct given g;
    given_init(&g);

    given_read(&g, "{}", 2, headers, 2);

    cr_expect(begins_with(g.out.env.traceparent, "00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    cr_expect(eq(ptr, (void *)g.out.env.tracestate, &headers[1]));
}

Test(message, an_invalid_trace_counts_as_absent)
{
    struct sp_header headers[] = {HEADER("traceparent", "00-0"), HEADER("tracestate", "a=b")};
    sp_auto(given_clear) struct given g;
    given_init(&g);

    given_read(&g, "{\"code\":\"x\"}", 12, headers, 2);

    cr_expect(eq(int, g.out.verdict, SP_VERDICT_RUN));
    cr_expect(eq(str, g.out.env.traceparent, (char *)""));
    cr_expect(eq(ptr, (void *)g.out.env.tracestate, NULL));
}

Test(message, an_invalid_tracestate_is_dropped_alone)
{
    struct sp_header headers[] = {HEADER("traceparent", PARENT), HEADER("tracestate", "nonsense")};
    sp_auto(given_clear) struct given g;
    given_init(&g);

    given_read(&g, "{\"code\":\"x\"}", 12, headers, 2);

    cr_expect(begins_with(g.out.env.traceparent, "00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    cr_expect(eq(ptr, (void *)g.out.env.tracestate, NULL));
}
