#include "queue/trace.h"

#include <string.h>

#include "tests/support.h"

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"

static const struct {
    const char *given;
    const char *flags; /* of ours; NULL: invalid */
} parents[] = {
    {"00-" TRACE "-" PARENT "-01", "01"},
    {"00-" TRACE "-" PARENT "-00", "00"},
    {"00-" TRACE "-" PARENT "-03", "03"},
    {"cc-" TRACE "-" PARENT "-01", "01"},
    {"01-" TRACE "-" PARENT "-01-what-comes", "01"},
    {"", NULL},
    {"00-" TRACE "-" PARENT "-0", NULL},
    {"00-" TRACE "-" PARENT "-01-more", NULL},
    {"01-" TRACE "-" PARENT "-01.more", NULL},
    {"ff-" TRACE "-" PARENT "-01", NULL},
    {"0g-" TRACE "-" PARENT "-01", NULL},
    {"00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01", NULL},
    {"00-" TRACE "-00F067AA0BA902B7-01", NULL},
    {"00-" TRACE "-" PARENT "-0G", NULL},
    {"00-00000000000000000000000000000000-" PARENT "-01", NULL},
    {"00-" TRACE "-0000000000000000-01", NULL},
    {"00_" TRACE "-" PARENT "-01", NULL},
    {"00-" TRACE "_" PARENT "-01", NULL},
    {"00-" TRACE "-" PARENT "_01", NULL},
    {" 00-" TRACE "-" PARENT "-01", NULL},
};

SP_TABLE_TEST(trace, the_reply_keeps_trace_and_flags_of_a_valid_parent, parents, row)
{
    char out[SP_TRACEPARENT_SIZE] = "untouched";

    bool valid = sp_trace_continue(row->given, strlen(row->given), out);

    cr_expect(eq(int, valid, row->flags != NULL), "%s", row->given);
    if (!valid) {
        cr_expect(eq(str, out, (char *)"untouched"));
        return;
    }
    cr_expect(eq(sz, strlen(out), 55));
    cr_expect(eq(int, strncmp(out, "00-" TRACE "-", 36), 0), "%s", out);
    cr_expect(ne(int, strncmp(out + 36, PARENT, 16), 0), "%s", out);
    cr_expect(eq(str, out + 53, (char *)row->flags));
}

Test(trace, every_reply_has_a_parent_of_its_own)
{
    static const char given[] = "00-" TRACE "-" PARENT "-01";
    char one[SP_TRACEPARENT_SIZE], other[SP_TRACEPARENT_SIZE];

    cr_assert(sp_trace_continue(given, sizeof(given) - 1, one));
    cr_assert(sp_trace_continue(given, sizeof(given) - 1, other));

    cr_expect(ne(str, one, other));
}

#define TEN "0123456789"
#define FIFTY TEN TEN TEN TEN TEN
#define KEY_256 "k" FIFTY FIFTY FIFTY FIFTY FIFTY "01234"
#define FOUR "a=1,b=2,c=3,d=4,"
#define THIRTY_TWO FOUR FOUR FOUR FOUR FOUR FOUR FOUR FOUR

static const struct {
    const char *given;
    bool valid;
} states[] = {
    {"rojo=00f067aa0ba902b7", true},
    {"rojo=1,congo=t61rcWkgMzE", true},
    {"a=1 ,\tb=2,,", true},
    {"0tenant_-*/@sys=x y~!", true},
    {THIRTY_TWO, true},
    {KEY_256 "=1", true},
    {"", false},
    {" , ", false},
    {"novalue", false},
    {"=1", false},
    {"a=", false},
    {"A=1", false},
    {"aB=1", false},
    {"_a=1", false},
    {"a@b@c=1", false},
    {"a=b=c", false},
    {"a=\xc3\xa9", false},
    {"a=b\nc", false},
    {THIRTY_TWO "e=5", false},
    {KEY_256 "0=1", false},
};

SP_TABLE_TEST(trace, a_state_is_a_list_of_members, states, row)
{
    cr_expect(eq(int, sp_tracestate_valid(row->given, strlen(row->given)), row->valid), "%s",
              row->given);
}
