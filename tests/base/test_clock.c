#include "base/clock.h"

#include <limits.h>

#include "tests/support.h"

static const struct {
    int64_t ms;
    const char *text;
} times[] = {
    {0, "1970-01-01T00:00:00.000Z"},
    {1795307612123, "2026-11-22T00:33:32.123Z"},
    {951782400001, "2000-02-29T00:00:00.001Z"},
    {-1, "1969-12-31T23:59:59.999Z"},
    {253402300799999, "9999-12-31T23:59:59.999Z"},
    {INT64_MAX, "9999-12-31T23:59:59.999Z"},
    {INT64_MIN, "0000-01-01T00:00:00.000Z"},
};

SP_TABLE_TEST(clock, wall_time_is_shown_as_iso_8601, times, row)
{
    char text[25];

    sp_wall_iso8601(row->ms, text);

    cr_expect(eq(str, text, (char *)row->text));
}

Test(clock, a_deadline_lies_ahead_and_saturates)
{
    int64_t before = sp_mono_ms();
    int64_t deadline = sp_deadline_in(1000);

    cr_expect(ge(i64, deadline, before + 1000));
    cr_expect(le(i64, deadline, sp_mono_ms() + 1000));
    cr_expect(eq(i64, sp_deadline_in(INT64_MAX), SP_NEVER));
    cr_expect(eq(i64, sp_deadline_min(5, SP_NEVER), 5));
    cr_expect(eq(i64, sp_deadline_min(SP_NEVER, 7), 7));
}

Test(clock, the_time_left_fits_poll)
{
    int left = sp_deadline_left(sp_deadline_in(60000));

    cr_expect(eq(int, sp_deadline_left(SP_NEVER), -1));
    cr_expect(eq(int, sp_deadline_left(sp_mono_ms() - 1), 0));
    cr_expect(eq(int, sp_deadline_left(INT64_MIN), 0));
    cr_expect(eq(int, sp_deadline_left(SP_NEVER - 1), INT_MAX));
    cr_expect(le(int, left, 60000));
    cr_expect(le(int, 50000, left));
}

Test(clock, the_clocks_agree_about_their_units)
{
    int64_t us = sp_mono_us();

    cr_expect(le(i64, us / 1000, sp_mono_ms()));
    cr_expect(le(i64, 1577836800000, sp_wall_ms()), "later than 2020");
}
