#include "base/text.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support.h"

static const struct {
    const char *text;
    int64_t min, max, value;
    bool ok;
} numbers[] = {
    {"0", 0, 10, 0, true},
    {"-5", -5, 10, -5, true},
    {"007", 0, 10, 7, true},
    {"9223372036854775807", 0, INT64_MAX, INT64_MAX, true},
    {"-9223372036854775808", INT64_MIN, 0, INT64_MIN, true},
    {"9223372036854775808", INT64_MIN, INT64_MAX, 0, false},
    {"-9223372036854775809", INT64_MIN, INT64_MAX, 0, false},
    {"11", 0, 10, 0, false},
    {"-1", 0, 10, 0, false},
    {"", 0, 10, 0, false},
    {"-", -10, 10, 0, false},
    {"+1", 0, 10, 0, false},
    {" 1", 0, 10, 0, false},
    {"1 ", 0, 10, 0, false},
    {"1.0", 0, 10, 0, false},
    {"0x1", 0, 10, 0, false},
    {"1e1", 0, 10, 0, false},
};

SP_TABLE_TEST(text, a_number_is_decimal_and_within_its_range, numbers, row)
{
    int64_t value = -77;
    bool ok = sp_parse_i64(row->text, row->min, row->max, &value);

    cr_expect(eq(int, ok, row->ok), "for '%s'", row->text);
    cr_expect(eq(i64, value, row->ok ? row->value : -77), "for '%s'", row->text);
}

static const struct {
    const char *text;
    int64_t ms; /* -1: refused */
} durations[] = {
    {"30", 30000},
    {"0", 0},
    {"0s", 0},
    {"30s", 30000},
    {"1m30s", 90000},
    {"500ms", 500},
    {"1h", 3600000},
    {"1h2m3s4ms", 3723004},
    {"1h5ms", 3600005},
    {"2m5ms", 120005},
    {"90m", 5400000},
    {"1.5", 1500},
    {"0.25", 250},
    {"2.000", 2000},
    {"0.0001", 1},
    {"1.0005", 1001},
    {"1.00000", 1000},
    {"87840h", 316224000000},
    {"", -1},
    {" 1", -1},
    {"1 ", -1},
    {"-1", -1},
    {"-0", -1},
    {"+1", -1},
    {"1.5s", -1},
    {"1.", -1},
    {".5", -1},
    {"1.5.5", -1},
    {"1.5e1", -1},
    {"1e3", -1},
    {"nan", -1},
    {"inf", -1},
    {"s", -1},
    {"1x", -1},
    {"1S", -1},
    {"1d", -1},
    {"1s1m", -1},
    {"1m1m", -1},
    {"1s1s", -1},
    {"1ms1s", -1},
    {"1m30", -1},
    {"1m30s ", -1},
    {"1m-3s", -1},
    {"87841h", -1},
    {"400000000", -1},
    {"9223372036854775807", -1},
    {"9223372036854775807h", -1},
    {"99999999999999999999", -1},
};

SP_TABLE_TEST(text, a_duration_has_units_in_falling_order, durations, row)
{
    int64_t ms = -1;
    bool ok = sp_parse_duration_ms(row->text, &ms);

    cr_expect(eq(int, ok, row->ms >= 0), "for '%s'", row->text);
    cr_expect(eq(i64, ms, row->ms), "for '%s'", row->text);
}

static const struct {
    const char *text;
    int64_t bytes; /* -1: refused */
} sizes[] = {
    {"0", 0},         {"900000", 900000},
    {"64K", 65536},   {"64k", 65536},
    {"1M", 1048576},  {"1MB", 1048576},
    {"1mb", 1048576}, {"2G", 2147483648},
    {"5B", 5},        {"8589934591G", 9223372035781033984},
    {"", -1},         {"M", -1},
    {"-1", -1},       {"1 M", -1},
    {"1.5M", -1},     {"1T", -1},
    {"1MM", -1},      {"1MiB", -1},
    {"1BB", -1},      {"8589934592G", -1},
    {"1\x0B", -1},    {"99999999999999999999", -1},
};

SP_TABLE_TEST(text, a_size_is_1024_based, sizes, row)
{
    int64_t bytes = -1;
    bool ok = sp_parse_size(row->text, &bytes);

    cr_expect(eq(int, ok, row->bytes >= 0), "for '%s'", row->text);
    cr_expect(eq(i64, bytes, row->bytes), "for '%s'", row->text);
}

Test(text, a_switch_has_the_usual_spellings)
{
    static const char *const yes[] = {"true", "yes", "on", "1", "True", "YES"};
    static const char *const no[] = {"false", "no", "off", "0", "False", "Off"};
    static const char *const neither[] = {"", "2", "y", "truee", " true"};
    bool value = false;

    for (size_t i = 0; i < SP_COUNT(yes); i++) {
        value = false;
        cr_expect(sp_parse_bool(yes[i], &value) && value, "for '%s'", yes[i]);
    }
    for (size_t i = 0; i < SP_COUNT(no); i++) {
        value = true;
        cr_expect(sp_parse_bool(no[i], &value) && !value, "for '%s'", no[i]);
    }
    for (size_t i = 0; i < SP_COUNT(neither); i++)
        cr_expect(not(sp_parse_bool(neither[i], &value)), "for '%s'", neither[i]);
}

/* What bytes.decode("utf-8", "replace") of Python 3.11 gives; R stands for U+FFFD. */
#define R "\xEF\xBF\xBD"
static const struct {
    const char *bytes, *cleaned;
} texts[] = {
    {"", ""},
    {"plain", "plain"},
    {"caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80", "caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80"},
    {"a\xFFz", "a" R "z"},
    {"\x80\xBF", R R},
    {"\xC0\x80", R R},
    {"\xC1\xBF", R R},
    {"\xC3", R},
    {"\xC3(", R "("},
    {"\xE0\x80\x80", R R R},
    {"\xE0\xA0", R},
    {"\xE0\xA0z", R "z"},
    {"\xE2\x82", R},
    {"\xE2\x82\xE2\x82\xAC", R "\xE2\x82\xAC"},
    {"\xED\xA0\x80", R R R},
    {"\xED\x9F\xBF", "\xED\x9F\xBF"},
    {"\xF0\x80\x80\x80", R R R R},
    {"\xF0\x9F\x98", R},
    {"\xF0\x9F\x98z", R "z"},
    {"\xF0\x9F", R},
    {"\xF4\x8F\xBF\xBF", "\xF4\x8F\xBF\xBF"},
    {"\xF4\x90\x80\x80", R R R R},
    {"\xF5\x80\x80\x80", R R R R},
    {"\xF8\x88\x80\x80\x80", R R R R R},
    {"01234567\xFF"
     "01234567\xC3\xA9",
     "01234567" R "01234567\xC3\xA9"},
};

SP_TABLE_TEST(text, bytes_become_utf8_as_in_python, texts, row)
{
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    size_t len = strlen(row->bytes);
    bool same = strcmp(row->bytes, row->cleaned) == 0, replaced = same;

    cr_assert(eq(int, sp_utf8_clean(row->bytes, len, &out, &replaced), SP_OK));

    cr_expect(eq(str, (char *)sp_buf_str(&out), (char *)row->cleaned));
    cr_expect(eq(int, replaced, !same));
    cr_expect(eq(int, sp_utf8_valid(row->bytes, len), same));
    cr_expect(sp_utf8_valid(sp_buf_str(&out), out.len));
}

Test(text, cleaning_adds_all_or_nothing)
{
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(8);
    bool replaced = false;

    cr_assert(eq(int, sp_buf_adds(&out, "ab"), SP_OK));
    cr_expect(eq(int, sp_utf8_clean("x\xFF\xFF", 3, &out, &replaced), SP_E_LIMIT));
    cr_expect(eq(str, out.data, "ab"));
    cr_expect(eq(int, sp_utf8_clean("x\xFFy", 3, &out, NULL), SP_OK));
    cr_expect(eq(str, out.data, "abx" R "y"));
}

static const struct {
    const char *text;
    bool control;
} controls[] = {
    {"", false},         {"plain \xC3\xA9", false}, {"tab\t", true},
    {"\x1F", true},      {"del\x7F", true},         {"\xC2\x80", true},
    {"\xC2\x9F", true},  {"\xC2\xA0", false},       {"\xE2\x80\xA8", false},
    {"\xC3\x80", false}, {"\xE0\xA2\x80", false},
};

SP_TABLE_TEST(text, control_characters_are_those_of_unicode, controls, row)
{
    cr_expect(eq(int, sp_utf8_has_control(row->text, strlen(row->text)), row->control));
}

Test(text, a_cut_never_splits_a_character)
{
    static const char text[] = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z";
    static const size_t floors[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11};

    for (size_t len = 0; len < sizeof(text); len++)
        cr_expect(eq(sz, sp_utf8_floor(text, len), floors[len]), "at %zu", len);
}

Test(text, a_cut_of_what_is_no_text_stays_within_it)
{
    cr_expect(eq(sz, sp_utf8_floor("\x80\x80\x80\x80\x80", 5), 5));
    cr_expect(eq(sz, sp_utf8_floor("\xFF", 1), 1));
    cr_expect(eq(sz, sp_utf8_floor("\x80", 1), 1));
}

Test(text, random_names_have_their_form_and_differ)
{
    char a[33], b[33], uuid[37];

    sp_random_hex(a, 16);
    sp_random_hex(b, 16);
    sp_random_uuid(uuid);

    cr_expect(eq(sz, strlen(a), 32));
    cr_expect(eq(sz, strspn(a, "0123456789abcdef"), 32));
    cr_expect(ne(str, a, b));
    cr_expect(eq(sz, strlen(uuid), 36));
    cr_expect(eq(sz, strspn(uuid, "0123456789abcdef-"), 36));
    cr_expect(eq(chr, uuid[14], '4'));
    cr_expect(not(zero(ptr, strchr("89ab", uuid[19]))));
    cr_expect(eq(chr, uuid[8], '-'));
    cr_expect(eq(chr, uuid[23], '-'));
}

Test(text, bytes_are_written_in_hex)
{
    char out[9];

    sp_hex("\x00\x0f\xa0\xff", 4, out);

    cr_expect(eq(str, out, "000fa0ff"));
}

Test(text, all_but_plain_letters_is_encoded_for_a_url)
{
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(100);

    cr_assert(eq(int, sp_url_encode("aZ09-_.~/\xC3\xA9 %", "", &out), SP_OK));
    cr_assert(eq(int, sp_url_encode("/?", "/", &out), SP_OK));

    cr_expect(eq(str, (char *)sp_buf_str(&out), (char *)"aZ09-_.~%2F%C3%A9%20%25/%3F"));
}

Test(text, every_hex_digit_turns_up_in_random_names)
{
    char name[2 * 1000 + 1];

    sp_random_hex(name, 1000);

    for (const char *digit = "0123456789abcdef"; *digit; digit++)
        cr_expect(not(zero(ptr, strchr(name, *digit))), "no %c", *digit);
}

Test(text, copies_are_terminated)
{
    sp_auto(sp_free_str) char *text = sp_strdup("abc");
    sp_auto(sp_free_str) char *bytes = sp_memdup("x\0yz", 3);
    sp_auto(sp_free_str) char *empty = sp_memdup(NULL, 0);

    cr_expect(eq(str, text, "abc"));
    cr_expect(zero(int, memcmp(bytes, "x\0y", 4)));
    cr_expect(eq(str, empty, ""));
    cr_expect(zero(ptr, sp_memdup("", SIZE_MAX)));
}
