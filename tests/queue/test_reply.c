/* The contract's sections 3 to 3.3. */
#include "queue/reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_slice.h"
#include "base/text.h"
#include "tests/support.h"

#define NO_LIMIT ((size_t)1 << 30)

static struct sp_request plain = {.id = "job-1"};

static struct sp_reply reply_of(const struct sp_result *result)
{
    return (struct sp_reply){
        .req = &plain,
        .result_id = "00112233445566778899aabbccddeeff",
        .status = SP_STATUS_OK,
        .result = result,
        .provider = "local",
        .settings_version = 7,
        .worker = "w-1",
        .attempt = 1,
        .queue_time_us = 1500000,
    };
}

static void write_reply(const struct sp_reply *reply, size_t limit,
                        const struct sp_part_store *store, struct sp_buf *out)
{
    struct sp_json_value value;
    *out = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    cr_assert(eq(int, sp_reply_write(reply, limit, store, out), SP_OK));
    struct sp_error err = {0};
    cr_assert(eq(int, sp_json_scan(out->data, out->len, &value, &err), SP_OK), "%s", err.msg);
}

/* The raw text of a member, "a.b" of one inside another; "" when absent. The caller frees. */
static char *member(const struct sp_buf *reply, const char *path)
{
    char names[200];
    char *rest = NULL;
    struct sp_json_value value;
    cr_assert(eq(int, sp_json_scan(reply->data, reply->len, &value, NULL), SP_OK));
    snprintf(names, sizeof(names), "%s", path);
    for (char *name = strtok_r(names, ".", &rest); name; name = strtok_r(NULL, ".", &rest)) {
        if (!sp_json_get(&value, name, &value))
            return sp_strdup("");
    }
    return sp_memdup(value.raw.data, value.raw.len);
}

#define EXPECT_MEMBER(reply, path, expected)                                                       \
    do {                                                                                           \
        sp_auto(sp_free_str) char *text_ = member((reply), (path));                                \
        cr_expect(eq(str, text_, (char *)(expected)), "%s", (path));                               \
    } while (0)

static struct sp_stream stream(char *text)
{
    return (struct sp_stream){.text = text, .len = strlen(text), .bytes = (int64_t)strlen(text)};
}

Test(reply, members_stand_in_the_contracts_order_and_are_all_there)
{
    struct sp_artifact artifacts[] = {
        {.name = "a.png", .mime_type = "image/png", .data = "hi", .len = 2}};
    struct sp_artifact_refused refused[] = {{.name = "b.exe", .size = 5, .reason = "type"}};
    static const char *const defences[] = {"rlimits", NULL};
    static const char *const limits[] = {"partial_output", NULL};
    struct sp_request req = {
        .id = "job-1", .timeout_ms = 2500, .metadata = "{\"m\":1.10}", .metadata_len = 10};
    struct sp_result result = {
        .started = SP_STARTED_YES,
        .execution_us = 250000,
        .timeout_ms = 30000,
        .out = stream("out\n"),
        .err = {.text = "e", .len = 1, .bytes = 9, .truncated = true, .invalid_utf8 = true},
        .result_present = true,
        .result_value = "18446744073709551616",
        .result_value_len = 20,
        .warning = "careful",
        .artifacts = artifacts,
        .n_artifacts = 1,
        .refused = refused,
        .n_refused = 1,
        .instance_id = "i-1",
        .language = "python",
        .isolation = "none",
        .defences = defences,
        .limits_of_provider = limits,
        .metadata = "\"status\":\"ok\",\"script_path\":\"/x\"",
    };
    struct sp_reply reply = reply_of(&result);
    sp_auto(sp_buf_clear) struct sp_buf out = {0};
    reply.req = &req;

    write_reply(&reply, NO_LIMIT, NULL, &out);

    cr_expect(eq(
        str, out.data,
        (char *)"{\"request_id\":\"job-1\",\"result_id\":\"00112233445566778899aabbccddeeff\","
                "\"status\":\"ok\",\"stdout\":\"out\\n\",\"stderr\":\"e\",\"exit_code\":0,"
                "\"execution_time\":0.25,\"metadata\":{\"instance_id\":\"i-1\","
                "\"language\":\"python\",\"status\":\"ok\",\"script_path\":\"/x\",\"timeout\":30,"
                "\"artifacts\":[{\"name\":\"a.png\",\"content_b64\":\"aGk=\","
                "\"mime_type\":\"image/png\",\"size\":2}],\"result_present\":true,"
                "\"result_value\":18446744073709551616,\"result_type\":\"json\","
                "\"timeout_requested\":2.5,\"stdout_truncated\":false,\"stderr_truncated\":true,"
                "\"stdout_bytes\":4,\"stderr_bytes\":9,\"stdout_invalid_utf8\":false,"
                "\"stderr_invalid_utf8\":true,\"artifacts_rejected\":[{\"name\":\"b.exe\","
                "\"size\":5,\"reason\":\"type\"}],\"result_warning\":\"careful\","
                "\"isolation\":{\"level\":\"none\",\"defences\":[\"rlimits\"]},\"reply_cut\":[],"
                "\"limits_of_provider\":[\"partial_output\"]},\"error\":null,"
                "\"provider\":\"local\",\"settings_version\":7,\"worker\":\"w-1\",\"attempt\":1,"
                "\"queue_time\":1.5,\"echo\":{\"m\":1.10},\"attachments\":[]}"));
}

Test(reply, a_reply_without_a_run_has_every_member_too)
{
    struct sp_reply reply = reply_of(NULL);
    sp_auto(sp_buf_clear) struct sp_buf out = {0};
    reply.status = SP_STATUS_REJECTED;
    reply.sb = SP_SB012_BAD_REQUEST;
    reply.message = "code: missing";
    reply.provider = NULL;
    reply.settings_version = 0;

    write_reply(&reply, NO_LIMIT, NULL, &out);

    cr_expect(eq(
        str, out.data,
        (char *)"{\"request_id\":\"job-1\",\"result_id\":\"00112233445566778899aabbccddeeff\","
                "\"status\":\"rejected\",\"stdout\":\"\",\"stderr\":\"\",\"exit_code\":-1,"
                "\"execution_time\":0.0,\"metadata\":{\"instance_id\":null,\"language\":null,"
                "\"timeout\":null,\"artifacts\":[],\"result_present\":false,\"result_value\":null,"
                "\"result_type\":null,\"timeout_requested\":null,\"stdout_truncated\":false,"
                "\"stderr_truncated\":false,\"stdout_bytes\":0,\"stderr_bytes\":0,"
                "\"stdout_invalid_utf8\":false,\"stderr_invalid_utf8\":false,"
                "\"artifacts_rejected\":[],\"isolation\":null,\"reply_cut\":[],"
                "\"limits_of_provider\":[]},\"error\":{\"code\":\"SB012\",\"kind\":\"rejected\","
                "\"message\":\"code: missing\",\"retryable\":false},\"provider\":null,"
                "\"settings_version\":null,\"worker\":\"w-1\",\"attempt\":1,\"queue_time\":0.0,"
                "\"echo\":null,\"attachments\":[]}"));
}

static const struct {
    enum sp_sb sb;
    const char *code, *kind, *status, *retryable;
} errors[] = {
    {SP_SB001_NOT_CONFIGURED, "\"SB001\"", "\"config\"", "\"error\"", "true"},
    {SP_SB002_BAD_CONFIGURATION, "\"SB002\"", "\"config\"", "\"error\"", "true"},
    {SP_SB003_CONNECTION, "\"SB003\"", "\"runtime\"", "\"error\"", "false"},
    {SP_SB004_INSTANCE, "\"SB004\"", "\"runtime\"", "\"error\"", "true"},
    {SP_SB005_TIMEOUT, "\"SB005\"", "\"timeout\"", "\"timeout\"", "false"},
    {SP_SB006_LIMIT, "\"SB006\"", "\"runtime\"", "\"failed\"", "false"},
    {SP_SB007_POLICY, "\"SB007\"", "\"rejected\"", "\"rejected\"", "false"},
    {SP_SB008_RATE_LIMITED, "\"SB008\"", "\"busy\"", "\"error\"", "true"},
    {SP_SB009_UNAVAILABLE, "\"SB009\"", "\"runtime\"", "\"error\"", "true"},
    {SP_SB010_EXPIRED, "\"SB010\"", "\"expired\"", "\"expired\"", "false"},
    {SP_SB011_CANCELLED, "\"SB011\"", "\"cancelled\"", "\"cancelled\"", "false"},
    {SP_SB012_BAD_REQUEST, "\"SB012\"", "\"rejected\"", "\"rejected\"", "false"},
    {SP_SB013_INTERNAL, "\"SB013\"", "\"internal\"", "\"error\"", "false"},
    {SP_SB014_CRASHED, "\"SB014\"", "\"internal\"", "\"error\"", "false"},
};

SP_TABLE_TEST(reply, an_error_says_its_code_kind_and_whether_to_retry, errors, row)
{
    struct sp_reply reply = reply_of(NULL);
    sp_auto(sp_buf_clear) struct sp_buf out = {0};
    reply.sb = row->sb;
    reply.status = sp_sb_row(row->sb)->status;
    reply.message = "why";

    write_reply(&reply, NO_LIMIT, NULL, &out);

    EXPECT_MEMBER(&out, "error.code", row->code);
    EXPECT_MEMBER(&out, "error.kind", row->kind);
    EXPECT_MEMBER(&out, "error.message", "\"why\"");
    EXPECT_MEMBER(&out, "error.retryable", row->retryable);
    EXPECT_MEMBER(&out, "status", row->status);
}

static const struct {
    enum sp_status status;
    enum sp_sb sb;
    int exit_code, signal;
    const char *shown, *signal_shown;
} ends[] = {
    {SP_STATUS_OK, SP_SB_NONE, 0, 0, "0", ""},
    {SP_STATUS_FAILED, SP_SB_NONE, 3, 0, "3", ""},
    {SP_STATUS_FAILED, SP_SB_NONE, -11, 11, "-11", "11"},
    {SP_STATUS_FAILED, SP_SB006_LIMIT, -9, 9, "-9", "9"},
    {SP_STATUS_TIMEOUT, SP_SB005_TIMEOUT, -9, 9, "-1", "9"},
    {SP_STATUS_CANCELLED, SP_SB011_CANCELLED, 0, 0, "-1", ""},
    {SP_STATUS_ERROR, SP_SB003_CONNECTION, 0, 0, "-1", ""},
};

SP_TABLE_TEST(reply, the_exit_code_is_minus_one_where_no_program_ended_by_itself, ends, row)
{
    struct sp_result result = {
        .started = SP_STARTED_YES, .exit_code = row->exit_code, .signal = row->signal};
    struct sp_reply reply = reply_of(&result);
    sp_auto(sp_buf_clear) struct sp_buf out = {0};
    reply.status = row->status;
    reply.sb = row->sb;

    write_reply(&reply, NO_LIMIT, NULL, &out);

    EXPECT_MEMBER(&out, "exit_code", row->shown);
    EXPECT_MEMBER(&out, "metadata.signal", row->signal_shown);
}

Test(reply, times_are_zero_when_nothing_started_and_never_negative)
{
    struct sp_result result = {.started = SP_STARTED_NO, .execution_us = 5};
    struct sp_reply reply = reply_of(&result);
    sp_auto(sp_buf_clear) struct sp_buf none = {0}, negative = {0};

    write_reply(&reply, NO_LIMIT, NULL, &none);
    EXPECT_MEMBER(&none, "queue_time", "0.0");
    EXPECT_MEMBER(&none, "execution_time", "0.0");

    result.started = SP_STARTED_MAYBE;
    reply.queue_time_us = -1;
    write_reply(&reply, NO_LIMIT, NULL, &negative);
    EXPECT_MEMBER(&negative, "queue_time", "0.0");
    EXPECT_MEMBER(&negative, "execution_time", "0.000005");
}

Test(reply, a_null_of_python_is_present_and_undefined_is_not)
{
    struct sp_result result = {
        .result_present = true, .result_value = "null", .result_value_len = 4};
    struct sp_reply reply = reply_of(&result);
    sp_auto(sp_buf_clear) struct sp_buf none = {0}, undefined = {0};

    write_reply(&reply, NO_LIMIT, NULL, &none);
    EXPECT_MEMBER(&none, "metadata.result_present", "true");
    EXPECT_MEMBER(&none, "metadata.result_value", "null");
    EXPECT_MEMBER(&none, "metadata.result_type", "\"json\"");

    result.result_present = false;
    write_reply(&reply, NO_LIMIT, NULL, &undefined);
    EXPECT_MEMBER(&undefined, "metadata.result_present", "false");
    EXPECT_MEMBER(&undefined, "metadata.result_value", "null");
    EXPECT_MEMBER(&undefined, "metadata.result_type", "null");
}

Test(reply, a_value_keeps_its_spelling)
{
    char value[] = "[1.10,1e5,\"\\u00e9\\ud800\",{\"a\":1,\"a\":2}]";
    struct sp_result result = {
        .result_present = true, .result_value = value, .result_value_len = strlen(value)};
    struct sp_reply reply = reply_of(&result);
    sp_auto(sp_buf_clear) struct sp_buf out = {0};

    write_reply(&reply, NO_LIMIT, NULL, &out);

    EXPECT_MEMBER(&out, "metadata.result_value", value);
}

Test(reply, a_provider_that_nobody_named_is_told)
{
    struct sp_result result = {.warning = "first"};
    struct sp_reply reply = reply_of(&result);
    sp_auto(sp_buf_clear) struct sp_buf out = {0}, alone = {0};
    reply.provider_defaulted = true;

    write_reply(&reply, NO_LIMIT, NULL, &out);
    EXPECT_MEMBER(&out, "metadata.result_warning",
                  "\"first; the settings name no provider; self_managed is meant\"");

    reply.result = NULL;
    write_reply(&reply, NO_LIMIT, NULL, &alone);
    EXPECT_MEMBER(&alone, "metadata.result_warning",
                  "\"the settings name no provider; self_managed is meant\"");
}

Test(reply, names_and_texts_that_are_no_utf8_do_not_spoil_it)
{
    struct sp_artifact_refused refused[] = {{.name = "\xff.txt", .size = 1, .reason = "\xc3"}};
    struct sp_result result = {.refused = refused, .n_refused = 1, .warning = "\x80"};
    struct sp_reply reply = reply_of(&result);
    sp_auto(sp_buf_clear) struct sp_buf out = {0};
    reply.status = SP_STATUS_ERROR;
    reply.sb = SP_SB013_INTERNAL;
    reply.message = "cut \xe2\x82";

    write_reply(&reply, NO_LIMIT, NULL, &out);

    EXPECT_MEMBER(&out, "error.message", "\"cut \xef\xbf\xbd\"");
    EXPECT_MEMBER(&out, "metadata.artifacts_rejected",
                  "[{\"name\":\"\xef\xbf\xbd.txt\",\"size\":1,\"reason\":\"\xef\xbf\xbd\"}]");
}

/* 3.3 */

/* Keeps what was put; fails from the given call on. */
struct fake_store {
    int calls, fail_from;
    char *data[8];
    size_t len[8];
};

static enum sp_code fake_put(void *ctx, const void *data, size_t len, char ref[128],
                             struct sp_error *err)
{
    struct fake_store *store = ctx;
    int call = store->calls++;
    (void)err;
    if (call >= store->fail_from)
        return SP_E_UNAVAILABLE;
    store->data[call] = sp_memdup(data, len);
    store->len[call] = len;
    snprintf(ref, 128, "redis:sandpiper:blob:%d", call);
    return SP_OK;
}

static void fake_store_clear(struct fake_store *store)
{
    for (size_t i = 0; i < SP_COUNT(store->data); i++)
        free(store->data[i]);
}
SP_AUTO_CLEAR(struct fake_store, fake_store_clear)

static char *filled(char c, size_t n)
{
    char *text = malloc(n + 1);
    cr_assert(ne(ptr, text, NULL));
    memset(text, c, n);
    text[n] = '\0';
    return text;
}

static void check_attachment(const struct sp_buf *out, const struct fake_store *store, int i,
                             const char *part)
{
    char expected[512], hash[65];
    sp_sha256_hex(store->data[i], store->len[i], hash);
    snprintf(expected, sizeof(expected),
             "{\"part\":\"%s\",\"ref\":\"redis:sandpiper:blob:%d\",\"size\":%zu,\"sha256\":\"%s\"}",
             part, i, store->len[i], hash);
    sp_auto(sp_free_str) char *attachments = member(out, "attachments");
    cr_expect(ne(ptr, strstr(attachments, expected), NULL), "%s in %s", expected, attachments);
}

struct large {
    struct sp_result result;
    struct sp_artifact artifacts[2];
};

static void large_init(struct large *large, size_t out, size_t err, size_t value, size_t artifact)
{
    *large = (struct large){
        .artifacts = {{.name = "big.bin", .mime_type = "text/csv", .len = artifact},
                      {.name = "small.txt", .mime_type = "text/plain", .data = "s", .len = 1}},
        .result = {.started = SP_STARTED_YES,
                   .out = {.text = filled('o', out), .len = out, .bytes = (int64_t)out},
                   .err = {.text = filled('\n', err), .len = err, .bytes = (int64_t)err},
                   .result_present = true,
                   .result_value = filled('1', value),
                   .result_value_len = value},
    };
    large->artifacts[0].data = filled('a', artifact);
    large->result.artifacts = large->artifacts;
    large->result.n_artifacts = 2;
}

static void large_clear(struct large *large)
{
    free(large->result.out.text);
    free(large->result.err.text);
    free(large->result.result_value);
    free(large->artifacts[0].data);
}
SP_AUTO_CLEAR(struct large, large_clear)

Test(reply, over_the_limit_the_largest_parts_as_encoded_move_one_after_the_other)
{
    /* As encoded: the artifact 28000, stderr 24000, stdout 22000, the value 5000. */
    sp_auto(large_clear) struct large large;
    large_init(&large, 22000, 12000, 5000, 21000);
    sp_auto(fake_store_clear) struct fake_store fake = {.fail_from = 99};
    const struct sp_part_store store = {.ctx = &fake, .put = fake_put};
    struct sp_reply reply = reply_of(&large.result);
    sp_auto(sp_buf_clear) struct sp_buf out = {0};

    write_reply(&reply, 30000, &store, &out);

    cr_expect(le(sz, out.len, 30000));
    cr_assert(eq(int, fake.calls, 2));
    check_attachment(&out, &fake, 0, "artifacts/big.bin");
    check_attachment(&out, &fake, 1, "stderr");
    cr_expect(zero(memcmp(fake.data[0], large.artifacts[0].data, 21000)));
    cr_expect(zero(memcmp(fake.data[1], large.result.err.text, 12000)));
    EXPECT_MEMBER(&out, "stderr", "\"\"");
    EXPECT_MEMBER(&out, "metadata.stderr_truncated", "false");
    EXPECT_MEMBER(&out, "metadata.artifacts",
                  "[{\"name\":\"big.bin\",\"mime_type\":\"text/csv\",\"size\":21000},"
                  "{\"name\":\"small.txt\",\"content_b64\":\"cw==\",\"mime_type\":\"text/plain\","
                  "\"size\":1}]");
    EXPECT_MEMBER(&out, "metadata.result_value", large.result.result_value);
    EXPECT_MEMBER(&out, "metadata.reply_cut", "[]");
}

Test(reply, everything_moves_when_it_must)
{
    sp_auto(large_clear) struct large large;
    large_init(&large, 22000, 12000, 5000, 21000);
    sp_auto(fake_store_clear) struct fake_store fake = {.fail_from = 99};
    const struct sp_part_store store = {.ctx = &fake, .put = fake_put};
    struct sp_reply reply = reply_of(&large.result);
    sp_auto(sp_buf_clear) struct sp_buf out = {0};

    write_reply(&reply, 3000, &store, &out);

    cr_expect(le(sz, out.len, 3000));
    cr_assert(eq(int, fake.calls, 4));
    check_attachment(&out, &fake, 2, "stdout");
    check_attachment(&out, &fake, 3, "result_value");
    EXPECT_MEMBER(&out, "stdout", "\"\"");
    EXPECT_MEMBER(&out, "metadata.result_present", "true");
    EXPECT_MEMBER(&out, "metadata.result_value", "null");
    EXPECT_MEMBER(&out, "metadata.result_type", "\"json\"");
    EXPECT_MEMBER(&out, "metadata.result_warning", "");
}

Test(reply, one_that_fits_to_the_byte_is_left_alone)
{
    sp_auto(large_clear) struct large large;
    large_init(&large, 300, 300, 300, 300);
    sp_auto(fake_store_clear) struct fake_store fake = {.fail_from = 99};
    const struct sp_part_store store = {.ctx = &fake, .put = fake_put};
    struct sp_reply reply = reply_of(&large.result);
    sp_auto(sp_buf_clear) struct sp_buf whole = {0}, fits = {0}, over = {0};

    write_reply(&reply, NO_LIMIT, &store, &whole);
    write_reply(&reply, whole.len, &store, &fits);
    cr_expect(eq(str, fits.data, whole.data));
    cr_expect(eq(int, fake.calls, 0));

    write_reply(&reply, whole.len - 1, &store, &over);
    cr_expect(eq(int, fake.calls, 1));
    cr_expect(lt(sz, over.len, whole.len));
}

Test(reply, what_a_failing_store_did_not_take_is_cut)
{
    sp_auto(large_clear) struct large large;
    large_init(&large, 22000, 12000, 9000, 21000);
    sp_auto(fake_store_clear) struct fake_store fake = {.fail_from = 1};
    const struct sp_part_store store = {.ctx = &fake, .put = fake_put};
    struct sp_reply reply = reply_of(&large.result);
    sp_auto(sp_buf_clear) struct sp_buf out = {0};

    write_reply(&reply, 10000, &store, &out);

    cr_expect(le(sz, out.len, 10000));
    cr_expect(eq(int, fake.calls, 2), "a store that failed is not asked again");
    check_attachment(&out, &fake, 0, "artifacts/big.bin");
    EXPECT_MEMBER(&out, "metadata.stderr_truncated", "true");
    EXPECT_MEMBER(&out, "metadata.stderr_bytes", "12000");
}

Test(reply, without_a_store_each_cut_is_told)
{
    sp_auto(large_clear) struct large large;
    large_init(&large, 5000, 5000, 6000, 21000);
    struct sp_reply reply = reply_of(&large.result);
    sp_auto(sp_buf_clear) struct sp_buf out = {0};

    write_reply(&reply, 2000, NULL, &out);

    cr_expect(le(sz, out.len, 2000), "%zu", out.len);
    EXPECT_MEMBER(&out, "attachments", "[]");
    EXPECT_MEMBER(&out, "metadata.reply_cut",
                  "[\"stdout\",\"stderr\",\"result_value\",\"artifacts/big.bin\"]");
    EXPECT_MEMBER(&out, "metadata.stdout_truncated", "true");
    EXPECT_MEMBER(&out, "metadata.stderr_truncated", "true");
    EXPECT_MEMBER(&out, "metadata.result_present", "true");
    EXPECT_MEMBER(&out, "metadata.result_value", "null");
    EXPECT_MEMBER(&out, "metadata.result_warning", "\"the value is left out: reply too large\"");
    EXPECT_MEMBER(&out, "metadata.artifacts_rejected",
                  "[{\"name\":\"big.bin\",\"size\":21000,\"reason\":\"reply too large\"}]");
    EXPECT_MEMBER(&out, "metadata.artifacts",
                  "[{\"name\":\"small.txt\",\"content_b64\":\"cw==\",\"mime_type\":\"text/plain\","
                  "\"size\":1}]");
}

Test(reply, a_cut_stream_keeps_as_much_of_its_ends_as_fits)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    for (int i = 0; i < 20000; i++)
        cr_assert(eq(int, sp_buf_adds(&text, "\xe2\x82\xac"), SP_OK));
    struct sp_result result = {
        .started = SP_STARTED_YES,
        .out = {.text = text.data, .len = text.len, .bytes = (int64_t)text.len}};
    struct sp_reply reply = reply_of(&result);
    sp_auto(sp_buf_clear) struct sp_buf out = {0}, kept = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    write_reply(&reply, 20000, NULL, &out);

    struct sp_json_value value;
    sp_auto(sp_free_str) char *raw = member(&out, "stdout");
    cr_assert(eq(int, sp_json_scan(raw, strlen(raw), &value, NULL), SP_OK));
    cr_assert(eq(int, sp_json_unescape(&value, &kept), SP_OK));
    cr_expect(le(sz, out.len, 20000));
    cr_expect(lt(sz, 19700, out.len), "%zu: more would fit", out.len);
    const char *line = strstr(kept.data, "\xac\n[sandpiper: ");
    cr_assert(ne(ptr, (void *)line, NULL));
    size_t left_out = strtoul(line + 14, NULL, 10);
    const char *tail = strstr(line, " bytes left out]\n\xe2\x82\xac");
    cr_assert(ne(ptr, (void *)tail, NULL));
    size_t head_len = (size_t)(line + 1 - kept.data);
    size_t tail_len = kept.len - (size_t)(tail + 17 - kept.data);
    cr_expect(eq(sz, head_len + tail_len + left_out, text.len));
    cr_expect(eq(sz, head_len % 3, 0));
}

Test(reply, a_second_cut_counts_what_the_first_one_left_out)
{
    char *text = filled('x', 10000);
    memcpy(text + 5000, "\n[sandpiper: 90000 bytes left out]\n", 35);
    struct sp_result result = {
        .started = SP_STARTED_YES,
        .out = {.text = text, .len = 10000, .bytes = 9965 + 90000, .truncated = true}};
    struct sp_reply reply = reply_of(&result);
    sp_auto(sp_buf_clear) struct sp_buf out = {0};

    write_reply(&reply, 5000, NULL, &out);

    const char *line = strstr(out.data, "\\n[sandpiper: ");
    cr_assert(ne(ptr, (void *)line, NULL));
    size_t left_out = strtoul(line + 14, NULL, 10), kept = 0;
    sp_auto(sp_free_str) char *raw = member(&out, "stdout");
    for (const char *at = raw; *at; at++)
        kept += *at == 'x';
    cr_expect(eq(sz, kept + left_out, 9965 + 90000));
    cr_expect(eq(ptr, (void *)strstr(line + 5, "[sandpiper: "), NULL));
    free(text);
}

Test(reply, a_flood_of_refused_files_is_cut_only_when_it_does_not_fit)
{
    static struct sp_artifact_refused refused[50000];
    for (size_t i = 0; i < SP_COUNT(refused); i++)
        refused[i] = (struct sp_artifact_refused){.name = "x.exe", .size = 1, .reason = "type"};
    struct sp_result result = {.refused = refused, .n_refused = SP_COUNT(refused)};
    struct sp_reply reply = reply_of(&result);
    sp_auto(sp_buf_clear) struct sp_buf out = {0}, whole = {0};

    write_reply(&reply, 900000, NULL, &out);
    cr_expect(le(sz, out.len, 900000));
    EXPECT_MEMBER(&out, "metadata.reply_cut", "[\"artifacts_rejected\"]");

    write_reply(&reply, NO_LIMIT, NULL, &whole);
    EXPECT_MEMBER(&whole, "metadata.reply_cut", "[]");
}

Test(reply, it_is_appended_to_what_is_there)
{
    sp_auto(large_clear) struct large large;
    large_init(&large, 3000, 1, 1, 1);
    struct sp_reply reply = reply_of(&large.result);
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    cr_assert(eq(int, sp_buf_adds(&out, "before"), SP_OK));

    cr_assert(eq(int, sp_reply_write(&reply, 2500, NULL, &out), SP_OK));

    cr_expect(eq(int, strncmp(out.data, "before{\"request_id\"", 19), 0));
    cr_expect(le(sz, out.len, 2506));
}
