/* The map of completed offsets: what goes in comes out, and nothing else passes for one of ours. */
#include "queue/offset_map.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "offset_map_text.h"
#include "tests/support.h"

#define MANY 20000

static struct sp_mark marks[MANY], back[SP_OFFSET_MAP_MARKS];

static struct sp_buf encode(int64_t base, size_t n)
{
    struct sp_buf text = SP_BUF_INIT(SP_OFFSET_MAP_CHARS);
    sp_offset_map_encode(base, marks, n, &text);
    return text;
}

static size_t decode(const struct sp_buf *text, int64_t base)
{
    return sp_offset_map_decode(text->data, text->len, base, back);
}

static void expect_same(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        cr_assert(eq(i64, back[i].offset, marks[i].offset));
        cr_assert(eq(i64, back[i].timestamp, marks[i].timestamp));
        cr_assert(eq(int, back[i].done, marks[i].done));
    }
}

/* Dense from `base`, a millisecond apart, all but the first one done. */
static void fill(int64_t base, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        marks[i] = (struct sp_mark){
            .offset = base + (int64_t)i, .timestamp = 1700000000000 + (int64_t)i, .done = i > 0};
    }
}

Test(offset_map, what_is_done_above_the_committed_offset_comes_back)
{
    fill(41, 40);
    marks[7].done = marks[8].done = false;

    sp_auto(sp_buf_clear) struct sp_buf text = encode(41, 40);

    cr_assert(eq(sz, decode(&text, 41), 40));
    expect_same(40);
}

Test(offset_map, there_is_none_where_nothing_is_done)
{
    fill(5, 3);
    marks[1].done = marks[2].done = false;

    sp_auto(sp_buf_clear) struct sp_buf text = encode(5, 3), empty = encode(5, 0);

    cr_expect(eq(sz, text.len, 0));
    cr_expect(eq(sz, empty.len, 0));
}

Test(offset_map, a_record_without_timestamp_does_not_count_as_done)
{
    fill(5, 4);
    marks[1].timestamp = -1;

    sp_auto(sp_buf_clear) struct sp_buf text = encode(5, 4);

    cr_assert(eq(sz, decode(&text, 5), 4));
    cr_expect(not(back[1].done));
    cr_expect(back[2].done);
}

Test(offset_map, a_full_window_loses_its_tail_but_fits_the_limit)
{
    fill(1000000, 10000);

    sp_auto(sp_buf_clear) struct sp_buf text = encode(1000000, 10000);
    size_t n = decode(&text, 1000000);

    cr_expect(le(sz, text.len, SP_OFFSET_MAP_CHARS));
    cr_expect(ge(sz, n, 2900), "%zu", n);
    expect_same(n);
}

Test(offset_map, the_limit_of_the_buffer_holds_too)
{
    fill(7, 1000);
    for (size_t max = 0; max < 600; max++) {
        sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(max);

        sp_offset_map_encode(7, marks, 1000, &text);
        size_t n = decode(&text, 7);

        cr_assert(le(sz, text.len, max));
        cr_assert(max < 100 || n > max / 3, "%zu of %zu", n, max);
        expect_same(n);
    }
}

/* Gaps, runs of any length, clocks that jump. */
static size_t random_marks(int64_t base, unsigned *seed)
{
    size_t n = 1 + (size_t)rand_r(seed) % (rand_r(seed) % 4 ? 300 : 5000);
    unsigned share = (unsigned)rand_r(seed) % 101, gaps = (unsigned)rand_r(seed) % 4;
    int64_t offset = base, timestamp = rand_r(seed);
    for (size_t i = 0; i < n; i++) {
        marks[i] = (struct sp_mark){.offset = offset,
                                    .timestamp = timestamp,
                                    .done = i > 0 && (unsigned)rand_r(seed) % 100 < share};
        offset += 1 + (gaps && rand_r(seed) % 10 < (int)gaps ? rand_r(seed) % 1000 : 0);
        timestamp += rand_r(seed) % 50 ? rand_r(seed) % 20 : rand_r(seed) - RAND_MAX / 2;
        timestamp = timestamp < 0 ? 0 : timestamp;
    }
    return n;
}

/* Of the first n, how many there are up to the last one that is done. */
static size_t up_to_done(size_t n)
{
    while (n > 0 && !marks[n - 1].done)
        n--;
    return n;
}

Test(offset_map, any_marks_come_back_up_to_where_the_text_ends)
{
    for (unsigned seed = 1; seed <= 2000; seed++) {
        unsigned random = seed;
        int64_t base = seed % 7 == 0 ? INT64_MAX / 4 : rand_r(&random);
        size_t n = random_marks(base, &random), wanted = up_to_done(n);

        sp_auto(sp_buf_clear) struct sp_buf text = encode(base, n);
        size_t got = decode(&text, base);

        cr_assert(le(sz, text.len, SP_OFFSET_MAP_CHARS));
        for (size_t i = 0; i < text.len; i++)
            cr_assert(text.data[i] > 0x20 && text.data[i] < 0x7f, "seed %u", seed);
        expect_same(got);
        if (n < 250)
            cr_assert(eq(sz, got, wanted), "seed %u", seed);
        cr_assert(got == 0 || back[got - 1].done, "seed %u", seed);
    }
}

Test(offset_map, a_text_that_is_cut_or_changed_anywhere_is_ignored)
{
    fill(9, 30);
    marks[4].done = marks[9].done = marks[10].done = false;
    sp_auto(sp_buf_clear) struct sp_buf text = encode(9, 30);
    char copy[SP_OFFSET_MAP_CHARS];

    for (size_t len = 0; len < text.len; len++)
        cr_expect(eq(sz, sp_offset_map_decode(text.data, len, 9, back), 0), "%zu", len);
    for (size_t i = 0; i < text.len; i++) {
        memcpy(copy, text.data, text.len);
        copy[i] = copy[i] == 'A' ? 'B' : 'A';
        size_t n = sp_offset_map_decode(copy, text.len, 9, back);
        cr_expect(eq(sz, n, 0), "%zu", i);
    }
}

Test(offset_map, a_text_of_another_commit_is_ignored)
{
    fill(9, 30);
    sp_auto(sp_buf_clear) struct sp_buf text = encode(9, 30);

    cr_expect(eq(sz, decode(&text, 10), 0));
    cr_expect(eq(sz, decode(&text, 8), 0));
    cr_expect(eq(sz, decode(&text, -1), 0));
}

static const char *const foreign[] = {
    "",
    "S",
    "S1",
    "S1=",
    "S1====",
    "S2AAAAAAAAAAAA",
    "AQAAAYk",
    "bAAAAA==",
    "S1\xff\xff\xff\xff",
    "{\"committed_by\":\"another tool\"}",
    "S1AAAAAAAA",
};

SP_TABLE_TEST(offset_map, what_others_write_there_is_ignored, foreign, row)
{
    cr_expect(eq(sz, sp_offset_map_decode(*row, strlen(*row), 0, back), 0), "%s", *row);
}

/* Bodies for the commit of offset 5, with a checksum that is right. */
static const struct {
    const char *why, *body;
    size_t len, marks;
} bodies[] = {
#define BODY(text) (text), sizeof(text) - 1
    {"as it should be", BODY("\x05\x04\x02\x05\x02"), 2},
    {"no run", BODY("\x05"), 0},
    {"no offset", BODY(""), 0},
    {"another offset", BODY("\x06\x04\x02\x05\x02"), 0},
    {"the committed offset is done", BODY("\x05\x05\x02"), 0},
    {"the committed offset is missing", BODY("\x05\x06\x01\x02\x05\x02"), 0},
    {"a run of none", BODY("\x05\x04\x02\x01\x02"), 0},
    {"a run that is too long", BODY("\x05\x04\x02\xfd\x02"), 0},
    {"a run that is cut", BODY("\x05\x04\x02\x09\x02"), 0},
    {"a gap that is cut", BODY("\x05\x04\x02\x07\x80"), 0},
    {"a gap of 2^62", BODY("\x05\x04\x02\x07\x80\x80\x80\x80\x80\x80\x80\x80\x40\x02"), 0},
    {"a number without end",
     BODY("\x05\x04\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), 0},
    {"done at a time before 1970", BODY("\x05\x04\x02\x05\x05"), 0},
#undef BODY
};

SP_TABLE_TEST(offset_map, a_body_that_nobody_of_us_wrote_is_ignored, bodies, row)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_OFFSET_MAP_CHARS);
    offset_map_text(row->body, row->len, &text);

    size_t n = sp_offset_map_decode(text.data, text.len, 5, back);

    cr_expect(eq(sz, n, row->marks), "%s", row->why);
}

Test(offset_map, a_text_longer_than_any_of_ours_is_ignored)
{
    static char body[SP_OFFSET_MAP_CHARS];
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    memset(body, 4, sizeof(body));
    body[0] = 5;
    offset_map_text(body, sizeof(body), &text);

    cr_expect(eq(sz, sp_offset_map_decode(text.data, text.len, 5, back), 0));
}
