#include "base/json_out.h"

#include <jansson.h>
#include <string.h>

#include "tests/support.h"

Test(json_out, commas_and_keys_come_where_they_belong)
{
    sp_auto(sp_buf_clear) struct sp_buf buf = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_out j = SP_JSON_OUT(&buf);

    sp_json_object(&j, NULL);
    sp_json_object(&j, "empty");
    sp_json_object_end(&j);
    sp_json_array(&j, "list");
    sp_json_int(&j, NULL, INT64_MIN);
    sp_json_array(&j, NULL);
    sp_json_array_end(&j);
    sp_json_str(&j, NULL, "x");
    sp_json_array_end(&j);
    sp_json_bool(&j, "yes", true);
    sp_json_bool(&j, "no", false);
    sp_json_null(&j, "null");
    sp_json_str(&j, "absent", NULL);
    sp_json_object_end(&j);

    cr_expect(eq(int, j.rc, SP_OK));
    cr_expect(eq(str, buf.data,
                 "{\"empty\":{},\"list\":[-9223372036854775808,[],\"x\"],\"yes\":true,\"no\":false,"
                 "\"null\":null,\"absent\":null}"));
}

Test(json_out, raw_text_passes_untouched)
{
    sp_auto(sp_buf_clear) struct sp_buf buf = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_out j = SP_JSON_OUT(&buf);
    static const char members[] = "\"a\":1.10,\"b\":2";

    sp_json_object(&j, NULL);
    sp_json_members(&j, "", 0);
    sp_json_members(&j, members, strlen(members));
    sp_json_members(&j, NULL, 0);
    sp_json_raw(&j, "c", "1e400xxx", 5);
    sp_json_object_end(&j);

    cr_expect(eq(str, buf.data, "{\"a\":1.10,\"b\":2,\"c\":1e400}"));
}

Test(json_out, only_what_json_demands_is_escaped)
{
    sp_auto(sp_buf_clear) struct sp_buf buf = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_out j = SP_JSON_OUT(&buf);
    static const char text[] = "\"\\/\b\f\n\r\t\x01\x1F\x7F\0\xC3\xA9\xF0\x9F\x98\x80 plain";

    sp_json_object(&j, NULL);
    sp_json_text(&j, "k\"\n", text, sizeof(text) - 1);
    sp_json_object_end(&j);

    cr_expect(eq(str, buf.data,
                 "{\"k\\\"\\n\":\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7F\\u0000\xC3\xA9"
                 "\xF0\x9F\x98\x80 plain\"}"));
}

Test(json_out, another_parser_reads_every_byte_back)
{
    sp_auto(sp_buf_clear) struct sp_buf buf = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_out j = SP_JSON_OUT(&buf);
    char text[128];

    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)i;
    sp_json_text(&j, NULL, text, sizeof(text));
    json_auto_t *back = json_loadb(buf.data, buf.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

    cr_assert(not(zero(ptr, back)));
    cr_assert(eq(sz, json_string_length(back), sizeof(text)));
    cr_expect(zero(int, memcmp(json_string_value(back), text, sizeof(text))));
}

static const struct {
    int64_t us;
    const char *text;
} seconds[] = {
    {0, "0.0"},
    {1500000, "1.5"},
    {1, "0.000001"},
    {30000000, "30.0"},
    {123456789, "123.456789"},
    {-250000, "-0.25"},
    {1000100, "1.0001"},
    {INT64_MAX, "9223372036854.775807"},
    {INT64_MIN, "-9223372036854.775808"},
};

SP_TABLE_TEST(json_out, seconds_keep_their_microseconds, seconds, row)
{
    sp_auto(sp_buf_clear) struct sp_buf buf = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_out j = SP_JSON_OUT(&buf);

    sp_json_seconds(&j, NULL, row->us);

    cr_expect(eq(str, buf.data, (char *)row->text));
}

Test(json_out, bytes_are_written_in_base64)
{
    sp_auto(sp_buf_clear) struct sp_buf buf = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_out j = SP_JSON_OUT(&buf);

    sp_json_array(&j, NULL);
    sp_json_base64(&j, NULL, "", 0);
    sp_json_base64(&j, NULL, "\xFB\xFF", 2);
    sp_json_array_end(&j);

    cr_expect(eq(str, buf.data, "[\"\",\"+/8=\"]"));
}

Test(json_out, the_first_failure_is_remembered)
{
    sp_auto(sp_buf_clear) struct sp_buf buf = SP_BUF_INIT(10);
    struct sp_json_out j = SP_JSON_OUT(&buf);

    sp_json_array(&j, NULL);
    sp_json_str(&j, NULL, "longer than there is room");
    sp_json_int(&j, NULL, 1);
    sp_json_base64(&j, NULL, "abc", 3);
    sp_json_array_end(&j);

    cr_expect(eq(int, j.rc, SP_E_LIMIT));
    cr_expect(eq(str, buf.data, "[\""), "nothing follows the failure");
}
