/* One bounded stream: what is kept, what is counted, how it is cut. */
#include "providers/output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "tests/support.h"

static struct sp_stream finish(struct sp_output *o)
{
    struct sp_stream stream = {0};
    cr_assert(eq(int, sp_output_finish(o, &stream), SP_OK));
    return stream;
}

static const struct {
    const char *name;
    int64_t max;
    const char *in, *out;
    int64_t bytes;
    bool truncated, invalid;
} cases[] = {
    {"empty", 10, "", "", 0, false, false},
    {"shorter", 10, "abc", "abc", 3, false, false},
    {"just fits", 10, "0123456789", "0123456789", 10, false, false},
    {"one too many", 10, "0123456789X", "01234\n[sandpiper: 1 bytes left out]\n6789X", 11, true,
     false},
    {"far too many", 10, "01234---------------------------56789",
     "01234\n[sandpiper: 27 bytes left out]\n56789", 37, true, false},
    {"the line stands alone already", 10, "0123\n------56789",
     "0123\n[sandpiper: 6 bytes left out]\n56789", 16, true, false},
    {"odd ceiling", 5, "012345678", "01\n[sandpiper: 4 bytes left out]\n678", 9, true, false},
    {"no ceiling to speak of", 0, "abc", "[sandpiper: 3 bytes left out]\n", 3, true, false},
    {"a character at the first cut", 10, "0123ä-----56789",
     "0123\n[sandpiper: 7 bytes left out]\n56789", 16, true, false},
    {"a character at the second cut", 10, "01234-----😀9",
     "01234\n[sandpiper: 5 bytes left out]\n😀9", 15, true, false},
    {"half a character behind the second cut", 10, "01234-----😀6789",
     "01234\n[sandpiper: 9 bytes left out]\n6789", 18, true, false},
    {"a character over the middle, nothing cut", 4, "aäb", "aäb", 4, false, false},
    {"invalid bytes", 10, "a\xff\x80z", "a\uFFFD\uFFFDz", 4, false, true},
    {"invalid bytes in what is cut out", 10, "01234\xff-----56789",
     "01234\n[sandpiper: 6 bytes left out]\n56789", 16, true, false},
    {"a character that never ended", 10, "ab\xe2\x82", "ab\uFFFD", 4, false, true},
};

SP_TABLE_TEST(output, a_stream_keeps_its_first_and_last_half, cases, row)
{
    /* At once, and a byte at a time. */
    for (size_t step = strlen(row->in) + 1; step >= 1; step = step > 1 ? 1 : 0) {
        struct sp_output o;
        sp_output_init(&o, row->max);
        for (size_t at = 0; at < strlen(row->in); at += step) {
            size_t left = strlen(row->in) - at;
            cr_assert(eq(int, sp_output_add(&o, row->in + at, step < left ? step : left), SP_OK));
        }

        struct sp_stream stream = finish(&o);

        cr_expect(eq(str, stream.text, (char *)row->out), "%s", row->name);
        cr_expect(eq(sz, stream.len, strlen(row->out)), "%s", row->name);
        cr_expect(eq(i64, stream.bytes, row->bytes), "%s", row->name);
        cr_expect(eq(int, stream.truncated, row->truncated), "%s", row->name);
        cr_expect(eq(int, stream.invalid_utf8, row->invalid), "%s", row->name);
        free(stream.text);
        sp_output_clear(&o);
    }
}

Test(output, the_counted_bytes_are_those_that_are_missing)
{
    for (size_t total = 0; total < 200; total++) {
        char in[200];
        struct sp_output o;
        memset(in, 'x', sizeof(in));
        sp_output_init(&o, 64);
        for (size_t at = 0; at < total; at += 7)
            cr_assert(eq(int, sp_output_add(&o, in, total - at < 7 ? total - at : 7), SP_OK));

        struct sp_stream stream = finish(&o);

        long long left_out = 0;
        const char *line = strchr(stream.text, '[');
        if (line)
            cr_assert(eq(int, sscanf(line, "[sandpiper: %lld bytes", &left_out), 1));
        size_t kept = 0;
        for (const char *c = stream.text; c < stream.text + stream.len; c++)
            kept += *c == 'x';
        cr_expect(eq(sz, kept + (size_t)left_out, total));
        free(stream.text);
        sp_output_clear(&o);
    }
}

Test(output, memory_stays_below_the_ceiling_and_an_idle_stream_has_none)
{
    static char block[65536];
    struct sp_output o;
    sp_output_init(&o, 1 << 20);
    cr_expect(eq(sz, o.head.cap + o.tail.cap, 0));

    for (int i = 0; i < 200; i++)
        cr_assert(eq(int, sp_output_add(&o, block, sizeof(block)), SP_OK));

    cr_expect(lt(sz, o.head.cap + o.tail.cap, (1 << 20) + 4096));
    sp_output_clear(&o);
}

Test(output, a_stream_can_be_used_again_after_it_was_finished)
{
    struct sp_output o;
    sp_output_init(&o, 8);
    cr_assert(eq(int, sp_output_add(&o, "0123456789", 10), SP_OK));
    struct sp_stream first = finish(&o);

    cr_assert(eq(int, sp_output_add(&o, "ab", 2), SP_OK));
    struct sp_stream second = finish(&o);

    cr_expect(eq(str, second.text, "ab"));
    cr_expect(eq(i64, second.bytes, 2));
    free(first.text);
    free(second.text);
    sp_output_clear(&o);
}

Test(output, nul_bytes_are_output_like_others)
{
    struct sp_output o;
    sp_output_init(&o, 100);
    cr_assert(eq(int, sp_output_add(&o, "a\0b", 3), SP_OK));

    struct sp_stream stream = finish(&o);

    cr_expect(eq(sz, stream.len, 3));
    cr_expect(zero(int, memcmp(stream.text, "a\0b", 3)));
    free(stream.text);
    sp_output_clear(&o);
}
