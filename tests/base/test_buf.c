#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support.h"

Test(buf, an_empty_buffer_reads_as_the_empty_text)
{
    struct sp_buf buf = {0};

    cr_expect(eq(str, (char *)sp_buf_str(&buf), ""));
    cr_expect(eq(int, sp_buf_add(&buf, NULL, 0), SP_OK));
    cr_expect(zero(ptr, buf.data));
    sp_buf_clear(&buf);
}

Test(buf, what_is_added_follows_what_was_there)
{
    sp_auto(sp_buf_clear) struct sp_buf buf = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    cr_assert(eq(int, sp_buf_adds(&buf, "ab"), SP_OK));
    cr_assert(eq(int, sp_buf_addc(&buf, 'c'), SP_OK));
    cr_assert(eq(int, sp_buf_addf(&buf, "-%d-", 42), SP_OK));
    cr_assert(eq(int, sp_buf_add(&buf, "x\0y", 3), SP_OK));

    cr_expect(eq(sz, buf.len, 10));
    cr_expect(zero(int, memcmp(buf.data, "abc-42-x\0y", 11)));
}

Test(buf, a_formatted_text_may_be_long)
{
    sp_auto(sp_buf_clear) struct sp_buf buf = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    cr_assert(eq(int, sp_buf_addf(&buf, "<%01000d>", 7), SP_OK));

    cr_expect(eq(sz, buf.len, 1002));
    cr_expect(eq(sz, strlen(buf.data), 1002));
    cr_expect(eq(str, buf.data + 999, "07>"));
}

Test(buf, past_the_ceiling_nothing_is_added)
{
    sp_auto(sp_buf_clear) struct sp_buf buf = SP_BUF_INIT(4);

    cr_assert(eq(int, sp_buf_adds(&buf, "abc"), SP_OK));
    cr_expect(eq(int, sp_buf_adds(&buf, "de"), SP_E_LIMIT));
    cr_expect(eq(int, sp_buf_addf(&buf, "%300d", 1), SP_E_LIMIT));
    cr_expect(eq(str, buf.data, "abc"));
    cr_expect(eq(int, sp_buf_addc(&buf, 'd'), SP_OK));
    cr_expect(eq(int, sp_buf_addc(&buf, 'e'), SP_E_LIMIT));
    cr_expect(eq(str, buf.data, "abcd"));
}

Test(buf, no_more_is_allocated_than_the_ceiling_needs)
{
    sp_auto(sp_buf_clear) struct sp_buf buf = SP_BUF_INIT(100);

    for (int i = 0; i < 100; i++)
        cr_assert(eq(int, sp_buf_addc(&buf, 'x'), SP_OK));

    cr_expect(eq(sz, buf.cap, 101));
}

Test(buf, an_impossible_size_is_refused)
{
    sp_auto(sp_buf_clear) struct sp_buf buf = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    cr_assert(eq(int, sp_buf_addc(&buf, 'x'), SP_OK));
    cr_expect(eq(int, sp_buf_reserve(&buf, SIZE_MAX), SP_E_LIMIT));
    cr_expect(eq(int, sp_buf_reserve(&buf, PTRDIFF_MAX), SP_E_LIMIT));
    cr_expect(eq(str, buf.data, "x"));
}

Test(buf, reserved_room_can_be_written_by_the_caller)
{
    sp_auto(sp_buf_clear) struct sp_buf buf = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    cr_assert(eq(int, sp_buf_reserve(&buf, 200), SP_OK));
    memset(buf.data, 'a', 200);
    buf.len += 3;

    cr_expect(eq(str, (char *)sp_buf_str(&buf), "aaa"));
}

Test(buf, taking_leaves_an_empty_buffer_with_its_ceiling)
{
    struct sp_buf buf = SP_BUF_INIT(10);
    size_t len = 0;

    cr_assert(eq(int, sp_buf_adds(&buf, "text"), SP_OK));
    char *text = sp_buf_take(&buf, &len);

    cr_expect(eq(str, text, "text"));
    cr_expect(eq(sz, len, 4));
    cr_expect(zero(ptr, buf.data));
    cr_expect(zero(sz, buf.len));
    cr_expect(eq(sz, buf.max, 10));
    free(text);
}

Test(buf, taking_from_an_empty_buffer_gives_an_empty_text)
{
    struct sp_buf buf = {0};
    char *text = sp_buf_take(&buf, NULL);

    cr_expect(eq(str, text, ""));
    free(text);
}

Test(buf, a_reset_keeps_the_allocation_and_a_clear_does_not)
{
    struct sp_buf buf = SP_BUF_INIT(10);

    cr_assert(eq(int, sp_buf_adds(&buf, "text"), SP_OK));
    sp_buf_reset(&buf);

    cr_expect(eq(str, (char *)sp_buf_str(&buf), ""));
    cr_expect(not(zero(sz, buf.cap)));

    sp_buf_clear(&buf);

    cr_expect(zero(sz, buf.cap));
    cr_expect(eq(sz, buf.max, 10));
    sp_buf_clear(&buf);
}
