#include "base/json_slice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/support.h"

static struct sp_json_value scan(const char *text)
{
    struct sp_json_value value = {0};
    struct sp_error err = {0};

    cr_assert(eq(int, sp_json_scan(text, strlen(text), &value, &err), SP_OK), "%s: %s", text,
              err.msg);
    return value;
}

static char *copy(struct sp_bytes bytes)
{
    return strndup(bytes.data, bytes.len);
}

static const struct {
    const char *text, *raw;
    enum sp_json_type type;
    size_t depth;
} accepted[] = {
    {"null", "null", SP_JSON_NULL, 0},
    {" true ", "true", SP_JSON_BOOL, 0},
    {"false\n", "false", SP_JSON_BOOL, 0},
    {"0", "0", SP_JSON_NUMBER, 0},
    {"-0", "-0", SP_JSON_NUMBER, 0},
    {"1.10", "1.10", SP_JSON_NUMBER, 0},
    {"-1.5E+10", "-1.5E+10", SP_JSON_NUMBER, 0},
    {"1e400", "1e400", SP_JSON_NUMBER, 0},
    {"10e-2", "10e-2", SP_JSON_NUMBER, 0},
    {"1180591620717411303424", "1180591620717411303424", SP_JSON_NUMBER, 0},
    {"\"\"", "\"\"", SP_JSON_STRING, 0},
    {"\"[{\\\"\"", "\"[{\\\"\"", SP_JSON_STRING, 0},
    {"\"\\ud800 \\uDBFF\\uDFFF\\u0000\"", "\"\\ud800 \\uDBFF\\uDFFF\\u0000\"", SP_JSON_STRING, 0},
    {"\"\x7F\xC3\xA9\xF4\x8F\xBF\xBF\"", "\"\x7F\xC3\xA9\xF4\x8F\xBF\xBF\"", SP_JSON_STRING, 0},
    {"\t\r\n []", "[]", SP_JSON_ARRAY, 1},
    {"{}", "{}", SP_JSON_OBJECT, 1},
    {"[ ]", "[ ]", SP_JSON_ARRAY, 1},
    {"[[],[[]],1]", "[[],[[]],1]", SP_JSON_ARRAY, 3},
    {"{\"a\":{\"b\":[1]},\"c\":[]}", "{\"a\":{\"b\":[1]},\"c\":[]}", SP_JSON_OBJECT, 3},
    {"{ \"a\" : 1 , \"a\" : 2 }", "{ \"a\" : 1 , \"a\" : 2 }", SP_JSON_OBJECT, 1},
    {"{\"\":null}", "{\"\":null}", SP_JSON_OBJECT, 1},
};

SP_TABLE_TEST(json_slice, json_is_accepted_as_it_stands, accepted, row)
{
    struct sp_json_value value = scan(row->text);
    char *raw = copy(value.raw);

    cr_expect(eq(str, raw, (char *)row->raw), "for %s", row->text);
    cr_expect(eq(int, value.type, row->type), "for %s", row->text);
    cr_expect(eq(sz, value.depth, row->depth), "for %s", row->text);
    free(raw);
}

static const struct {
    const char *text, *message;
} refused[] = {
    {"", "byte 0: expected a value"},
    {"  ", "byte 2: expected a value"},
    {"nul", "byte 0: expected a value"},
    {"nullx", "byte 4: text behind the value"},
    {"True", "byte 0: expected a value"},
    {"NaN", "byte 0: expected a value"},
    {"-Infinity", "byte 1: expected a digit"},
    {"+1", "byte 0: expected a value"},
    {"01", "byte 1: text behind the value"},
    {"-", "byte 1: expected a digit"},
    {"-a", "byte 1: expected a digit"},
    {"1.", "byte 2: expected a digit"},
    {".5", "byte 0: expected a value"},
    {"1e", "byte 2: expected a digit"},
    {"1e+", "byte 3: expected a digit"},
    {"'a'", "byte 0: expected a value"},
    {"\"a", "byte 2: the string does not end"},
    {"\"a\\", "byte 3: the string does not end"},
    {"\"a\\\"", "byte 4: the string does not end"},
    {"\"\\x41\"", "byte 2: unknown escape"},
    {"\"\\u12g4\"", "byte 2: expected four hex digits behind \\u"},
    {"\"\\u12", "byte 2: expected four hex digits behind \\u"},
    {"\"a\tb\"", "byte 2: control character in a string"},
    {"\"\xFF\"", "byte 1: the string is not valid UTF-8"},
    {"[\"\xC3\"]", "byte 2: the string is not valid UTF-8"},
    {"\"\xED\xA0\x80\"", "byte 1: the string is not valid UTF-8"},
    {"\xEF\xBB\xBF{}", "byte 0: expected a value"},
    {"[", "byte 1: expected a value"},
    {"[1", "byte 2: expected a comma or ]"},
    {"[1,", "byte 3: expected a value"},
    {"[1,]", "byte 3: expected a value"},
    {"[,1]", "byte 1: expected a value"},
    {"[1 2]", "byte 3: expected a comma or ]"},
    {"[1}", "byte 2: expected a comma or ]"},
    {"[{\"a\":1]", "byte 7: expected a comma or }"},
    {"]", "byte 0: expected a value"},
    {"{", "byte 1: expected a member's name"},
    {"{1:2}", "byte 1: expected a member's name"},
    {"{\"a\"}", "byte 4: expected a colon"},
    {"{\"a\" 1}", "byte 5: expected a colon"},
    {"{\"a\":}", "byte 5: expected a value"},
    {"{\"a\":1,}", "byte 7: expected a member's name"},
    {"{\"a\":1 \"b\":2}", "byte 7: expected a comma or }"},
    {"{}{}", "byte 2: text behind the value"},
    {"1 // x", "byte 2: text behind the value"},
    {"\v1", "byte 0: expected a value"},
};

SP_TABLE_TEST(json_slice, what_is_not_json_is_refused_at_its_byte, refused, row)
{
    struct sp_json_value value = {0};
    struct sp_error err = {0};

    enum sp_code rc = sp_json_scan(row->text, strlen(row->text), &value, &err);

    cr_expect(eq(int, rc, SP_E_INVALID), "for %s", row->text);
    cr_expect(eq(str, err.msg, (char *)row->message), "for %s", row->text);
    cr_expect(zero(ptr, (void *)value.raw.data), "out is written on success only");
}

Test(json_slice, a_nul_byte_is_no_end)
{
    struct sp_json_value value;

    cr_expect(eq(int, sp_json_scan("1\0", 2, &value, NULL), SP_E_INVALID));
    cr_expect(eq(int, sp_json_scan("\"\0\"", 3, &value, NULL), SP_E_INVALID));
}

/* The levels around those where the scanner gets itself more room. */
Test(json_slice, every_depth_keeps_its_brackets_apart)
{
    enum { DEEPEST = 2100 };
    static char text[7 * DEEPEST];

    for (size_t depth = 1; depth <= DEEPEST; depth += depth < 1100 ? 1 : 17) {
        struct sp_json_value value;
        size_t len = 0, wrong;

        for (size_t i = 0; i < depth; i++)
            len += (size_t)snprintf(text + len, sizeof(text) - len, i % 3 ? "{\"a\":" : "[");
        text[len++] = '1';
        for (size_t i = depth; i-- > 0;)
            text[len++] = i % 3 ? '}' : ']';
        wrong = len - 1 - depth / 2;
        cr_assert(eq(int, sp_json_scan(text, len, &value, NULL), SP_OK), "depth %zu", depth);
        cr_assert(eq(sz, value.depth, depth));
        text[wrong] = text[wrong] == '}' ? ']' : '}';
        cr_assert(eq(int, sp_json_scan(text, len, &value, NULL), SP_E_INVALID), "depth %zu", depth);
    }
}

Test(json_slice, a_megabyte_of_brackets_costs_a_bit_a_level)
{
    enum { LEN = 1 << 20 };
    static char text[2 * LEN];
    struct sp_json_value value;
    struct rusage before, after;

    memset(text, '[', LEN);
    memset(text + LEN, ']', LEN);
    getrusage(RUSAGE_SELF, &before);
    enum sp_code open_rc = sp_json_scan(text, LEN, &value, NULL);
    enum sp_code closed_rc = sp_json_scan(text, sizeof(text), &value, NULL);
    getrusage(RUSAGE_SELF, &after);

    cr_expect(eq(int, open_rc, SP_E_INVALID));
    cr_expect(eq(int, closed_rc, SP_OK));
    cr_expect(eq(sz, value.depth, LEN));
    cr_expect(lt(long, after.ru_maxrss - before.ru_maxrss, 8192L), "in KiB");
}

Test(json_slice, members_come_in_order_with_their_raw_text)
{
    static const struct {
        const char *key, *raw;
        enum sp_json_type type;
        size_t depth;
    } want[] = {
        {"a", "1.10", SP_JSON_NUMBER, 0},
        {"b\\u00e9", "[1, {\"x\": \"]}\"}]", SP_JSON_ARRAY, 2},
        {"c\\\"", "\"\\\\\"", SP_JSON_STRING, 0},
        {"", "{}", SP_JSON_OBJECT, 1},
        {"a", "null", SP_JSON_NULL, 0},
        {"z", "false", SP_JSON_BOOL, 0},
    };
    struct sp_json_value root =
        scan("{ \"a\" : 1.10 , \"b\\u00e9\":[1, {\"x\": \"]}\"}],\"c\\\"\":\"\\\\\",\"\":{},"
             "\"a\":null\n,\"z\":false}");
    struct sp_json_iter it = sp_json_iter(&root);
    struct sp_json_value value;
    struct sp_bytes key;

    for (size_t i = 0; i < SP_COUNT(want); i++) {
        cr_assert(sp_json_iter_next(&it, &key, &value), "member %zu", i);
        char *name = copy(key), *raw = copy(value.raw);

        cr_expect(eq(str, name, (char *)want[i].key));
        cr_expect(eq(str, raw, (char *)want[i].raw));
        cr_expect(eq(int, value.type, want[i].type));
        cr_expect(eq(sz, value.depth, want[i].depth));
        free(name);
        free(raw);
    }
    cr_expect(not(sp_json_iter_next(&it, &key, &value)));
    cr_expect(not(sp_json_iter_next(&it, &key, &value)), "the end stays the end");
}

Test(json_slice, elements_have_no_key)
{
    struct sp_json_value root = scan("[1,\"a\" ,[ ] ]"), value;
    struct sp_json_iter it = sp_json_iter(&root);
    struct sp_bytes key = {"x", 1};
    size_t n = 0;

    for (; sp_json_iter_next(&it, &key, &value); n++)
        cr_expect(zero(sz, key.len));
    cr_expect(eq(sz, n, 3));
}

Test(json_slice, a_scalar_and_empty_containers_have_nothing_to_walk)
{
    static const char *const texts[] = {"1", "\"[1]\"", "null", "[]", "{}", "[ \n ]", "{ }"};

    for (size_t i = 0; i < SP_COUNT(texts); i++) {
        struct sp_json_value root = scan(texts[i]), value;
        struct sp_json_iter it = sp_json_iter(&root);
        struct sp_bytes key;

        cr_expect(not(sp_json_iter_next(&it, &key, &value)), "for %s", texts[i]);
    }
}

static const struct {
    const char *raw, *name;
    bool same;
} keys[] = {
    {"code", "code", true},
    {"c\\u006fde", "code", true},
    {"cod", "code", false},
    {"codes", "code", false},
    {"", "", true},
    {"a\\u0000", "a", false},
    {"\\u0000", "", false},
    {"\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t", true},
    {"\\u00E9\\u20ac", "\xC3\xA9\xE2\x82\xAC", true},
    {"\\ud83d\\ude00", "\xF0\x9F\x98\x80", true},
    {"\\ud83d", "\xEF\xBF\xBD", true},
    {"\\ude00\\ud83d", "\xEF\xBF\xBD\xEF\xBF\xBD", true},
    {"\\ud83d\\u0041",
     "\xEF\xBF\xBD"
     "A",
     true},
    {"\\ud83dx", "\xEF\xBF\xBDx", true},
};

SP_TABLE_TEST(json_slice, keys_are_compared_with_escapes_decoded, keys, row)
{
    struct sp_bytes raw = {row->raw, strlen(row->raw)};
    struct sp_bytes plain = {row->name, strlen(row->name)};

    cr_expect(eq(int, sp_json_key_is(raw, row->name), row->same), "for %s", row->raw);
    if (!strpbrk(row->name, "\"\\")) { /* else it is no raw key */
        cr_expect(eq(int, sp_json_key_equal(raw, plain), row->same), "for %s", row->raw);
        cr_expect(eq(int, sp_json_key_equal(plain, raw), row->same), "for %s", row->raw);
    }
    cr_expect(sp_json_key_equal(raw, raw));
}

static const struct {
    const char *json;
    bool is_ab, is_int;
    int64_t number;
} scalars[] = {
    {"\"ab\"", true, false, 7},   {"\"a\\u0062\"", true, false, 7},
    {"\"abc\"", false, false, 7}, {"\"5\"", false, false, 7},
    {"null", false, false, 7},    {"[]", false, false, 7},
    {"-5", false, true, -5},      {"100", false, true, 100},
    {"101", false, false, 7},     {"5.0", false, false, 7},
    {"5e0", false, false, 7},     {"123456789012345678901234567890", false, false, 7},
};

SP_TABLE_TEST(json_slice, scalars_are_told_by_their_type, scalars, row)
{
    struct sp_json_value value;
    int64_t number = 7;
    cr_assert(eq(int, sp_json_scan(row->json, strlen(row->json), &value, NULL), SP_OK));

    cr_expect(eq(int, sp_json_text_is(&value, "ab"), row->is_ab), "for %s", row->json);
    cr_expect(eq(int, sp_json_i64(&value, -5, 100, &number), row->is_int), "for %s", row->json);
    cr_expect(eq(i64, number, row->number), "for %s", row->json);
}

Test(json_slice, the_last_member_of_a_name_is_found)
{
    struct sp_json_value root = scan("{\"a\":1,\"b\":{\"a\":9},\"\\u0061\":3}"), value = {0};

    cr_assert(sp_json_get(&root, "a", &value));
    cr_expect(eq(chr, value.raw.data[0], '3'));
    cr_expect(not(sp_json_get(&root, "c", &value)));

    struct sp_json_value list = scan("[\"\"]");

    cr_expect(not(sp_json_get(&list, "", &value)), "an array has no members");
}

Test(json_slice, a_string_is_appended_with_its_escapes_decoded)
{
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_value text = scan("\"a\\n\\u0000\\ud83d\\ude00\\ud800\xC3\xA9\\/\"");

    cr_assert(eq(int, sp_buf_adds(&out, ">"), SP_OK));
    cr_assert(eq(int, sp_json_unescape(&text, &out), SP_OK));

    static const char want[] = ">a\n\0\xF0\x9F\x98\x80\xEF\xBF\xBD\xC3\xA9/";
    cr_expect(eq(sz, out.len, sizeof(want) - 1));
    cr_expect(zero(int, memcmp(out.data, want, sizeof(want))));
}

Test(json_slice, only_a_string_can_be_unescaped_and_only_into_its_room)
{
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(2);
    struct sp_json_value number = scan("1"), text = scan("\"abc\""), empty = scan("\"\"");

    cr_expect(eq(int, sp_json_unescape(&number, &out), SP_E_INVALID));
    cr_expect(eq(int, sp_json_unescape(&text, &out), SP_E_LIMIT));
    cr_expect(eq(int, sp_json_unescape(&empty, &out), SP_OK));
    cr_expect(zero(sz, out.len));
}
