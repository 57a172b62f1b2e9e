/*
 * The input as a commit's metadata, and as the body of one whose checksum is right. What is decoded
 * keeps the promises of the header, and comes back when it is written anew.
 */
#include "queue/offset_map.h"

#include "tests/fuzz/fuzz.h"
#include "tests/queue/offset_map_text.h"

static struct sp_mark marks[SP_OFFSET_MAP_MARKS], again[SP_OFFSET_MAP_MARKS];

static void check(int64_t base, size_t n)
{
    CHECK(n <= SP_OFFSET_MAP_MARKS && marks[0].offset == base && !marks[0].done);
    for (size_t i = 1; i < n; i++)
        CHECK(marks[i].offset > marks[i - 1].offset);
    while (n > 0 && !marks[n - 1].done)
        n--;
    struct sp_buf text = SP_BUF_INIT(SP_OFFSET_MAP_CHARS);
    sp_offset_map_encode(base, marks, n, &text);
    size_t m = sp_offset_map_decode(text.data, text.len, base, again);
    CHECK(m <= n && (n == 0) == (m == 0 && text.len == 0));
    for (size_t i = 0; i < m; i++) {
        CHECK(again[i].offset == marks[i].offset && again[i].done == marks[i].done);
        CHECK(again[i].timestamp == marks[i].timestamp &&
              (!marks[i].done || marks[i].timestamp >= 0));
    }
    sp_buf_clear(&text);
}

static void look(const char *text, size_t len, int64_t base)
{
    size_t n = sp_offset_map_decode(text, len, base, marks);
    if (n > 0)
        check(base, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    look(bytes, size, 0);
    look(bytes, size, 5);
    offset_map_text(bytes, size, &text);
    look(text.data, text.len, size > 0 ? data[0] & 0x7f : 0); /* a first byte that is the offset */
    sp_buf_clear(&text);
    return 0;
}
