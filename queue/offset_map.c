/*
 * Body: varint base, then runs. A run is one byte (bit 0: done, bit 1: offsets are missing before
 * it, bits 2 to 6: its records), how many are missing as a varint where that is said, then for each
 * record the zigzag varint of its timestamp less that of the record before. Varints have 7 bits a
 * byte, the lowest first.
 */
#include "queue/offset_map.h"

#include <string.h>

#include "base/text.h"

#define MAGIC "S1"
#define MAGIC_LEN 2
#define CRC_LEN 4
#define BODY_MAX ((SP_OFFSET_MAP_CHARS - MAGIC_LEN) / 4 * 3 - CRC_LEN)
#define MARK_MAX 21 /* bytes: a run's beginning and two varints */
#define RUN_DONE 1U
#define RUN_GAP 2U
#define RUN_ONE 4U
#define RUN_MAX 31U

static uint32_t crc32_of(const unsigned char *data, size_t len)
{
    static const uint32_t table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
        0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < len; i++) {
        crc = table[(crc ^ data[i]) & 15] ^ (crc >> 4);
        crc = table[(crc ^ ((uint32_t)data[i] >> 4)) & 15] ^ (crc >> 4);
    }
    return ~crc;
}

static void put_crc(unsigned char *at, uint32_t crc)
{
    for (unsigned i = 0; i < CRC_LEN; i++)
        at[i] = (unsigned char)(crc >> (8 * i));
}

static uint64_t zigzag(int64_t number)
{
    return ((uint64_t)number << 1) ^ (number < 0 ? UINT64_MAX : 0);
}

static int64_t unzigzag(uint64_t number)
{
    return (int64_t)((number >> 1) ^ (0 - (number & 1)));
}

/* How far the text has come. */
struct writer {
    unsigned char bytes[CRC_LEN + BODY_MAX];
    size_t len;
    size_t run; /* where the open one begins; 0: none */
    int64_t next, timestamp;
};

static void put_varint(struct writer *w, uint64_t number)
{
    for (; number >= 0x80; number >>= 7)
        w->bytes[w->len++] = (unsigned char)(number | 0x80);
    w->bytes[w->len++] = (unsigned char)number;
}

static void begin_run(struct writer *w, const struct sp_mark *mark)
{
    w->run = w->len;
    w->bytes[w->len++] =
        (unsigned char)((mark->done ? RUN_DONE : 0) | (mark->offset != w->next ? RUN_GAP : 0));
    if (mark->offset != w->next)
        put_varint(w, (uint64_t)(mark->offset - w->next));
}

static void put_mark(struct writer *w, const struct sp_mark *mark)
{
    unsigned run = w->run ? w->bytes[w->run] : 0;
    if (w->run == 0 || mark->offset != w->next || ((run & RUN_DONE) != 0) != mark->done ||
        run / RUN_ONE == RUN_MAX)
        begin_run(w, mark);
    w->bytes[w->run] = (unsigned char)(w->bytes[w->run] + RUN_ONE);
    put_varint(w, zigzag((int64_t)((uint64_t)mark->timestamp - (uint64_t)w->timestamp)));
    w->timestamp = mark->timestamp;
    w->next = mark->offset + 1;
}

/* Bytes whose text fits into what the buffer may still take. */
static size_t room(const struct sp_buf *out)
{
    size_t chars = out->max - out->len;
    if (chars > SP_OFFSET_MAP_CHARS)
        chars = SP_OFFSET_MAP_CHARS;
    return chars < MAGIC_LEN ? 0 : (chars - MAGIC_LEN) / 4 * 3;
}

void sp_offset_map_encode(int64_t base, const struct sp_mark *marks, size_t n, struct sp_buf *out)
{
    struct writer w = {.len = CRC_LEN, .next = base};
    size_t max = room(out);
    size_t whole = 0; /* as far as the last record that is done */
    put_varint(&w, (uint64_t)base);
    for (size_t i = 0; i < n && w.len + MARK_MAX <= max; i++) {
        struct sp_mark mark = marks[i];
        mark.done = mark.done && mark.timestamp >= 0; /* without one it could be any */
        put_mark(&w, &mark);
        if (mark.done)
            whole = w.len;
    }
    if (whole == 0)
        return;
    put_crc(w.bytes, crc32_of(w.bytes + CRC_LEN, whole - CRC_LEN));
    size_t before = out->len;
    if (sp_buf_adds(out, MAGIC) || sp_base64_encode(w.bytes, whole, out))
        out->len = before;
}

/* What is left to read. */
struct reader {
    const unsigned char *at, *end;
    int64_t next, timestamp;
};

static bool get_varint(struct reader *r, uint64_t *out)
{
    uint64_t number = 0;
    for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        uint64_t byte = *r->at++;
        number |= (byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = number;
            return true;
        }
    }
    return false;
}

static bool get_run(struct reader *r, struct sp_mark *marks, size_t *n)
{
    unsigned run = *r->at++, count = run / RUN_ONE;
    uint64_t skip = 0, delta = 0;
    if (count == 0 || count > RUN_MAX || count > SP_OFFSET_MAP_MARKS - *n)
        return false;
    if ((run & RUN_GAP) && (!get_varint(r, &skip) || skip > INT64_MAX / 4))
        return false;
    for (r->next += (int64_t)skip; count > 0; count--) {
        if (r->next > INT64_MAX / 2 || !get_varint(r, &delta))
            return false;
        r->timestamp = (int64_t)((uint64_t)r->timestamp + (uint64_t)unzigzag(delta));
        if ((run & RUN_DONE) && r->timestamp < 0)
            return false;
        marks[(*n)++] = (struct sp_mark){
            .offset = r->next++, .timestamp = r->timestamp, .done = (run & RUN_DONE) != 0};
    }
    return true;
}

static size_t get_body(const unsigned char *body, size_t len, int64_t base, struct sp_mark *marks)
{
    struct reader r = {.at = body, .end = body + len, .next = base};
    uint64_t written_for = 0;
    size_t n = 0;
    if (!get_varint(&r, &written_for) || written_for != (uint64_t)base)
        return 0;
    while (r.at < r.end) {
        if (!get_run(&r, marks, &n))
            return 0;
    }
    /* What the commit was for is never done. */
    return n > 0 && marks[0].offset == base && !marks[0].done ? n : 0;
}

size_t sp_offset_map_decode(const char *text, size_t len, int64_t base, struct sp_mark *marks)
{
    sp_auto(sp_buf_clear) struct sp_buf bytes = SP_BUF_INIT(SP_OFFSET_MAP_CHARS);
    unsigned char crc[CRC_LEN];
    if (base < 0 || len > SP_OFFSET_MAP_CHARS || len < MAGIC_LEN ||
        memcmp(text, MAGIC, MAGIC_LEN) != 0 ||
        sp_base64_decode(text + MAGIC_LEN, len - MAGIC_LEN, &bytes) || bytes.len < CRC_LEN)
        return 0;
    const unsigned char *data = (const unsigned char *)bytes.data;
    put_crc(crc, crc32_of(data + CRC_LEN, bytes.len - CRC_LEN));
    if (memcmp(crc, data, CRC_LEN) != 0)
        return 0;
    return get_body(data + CRC_LEN, bytes.len - CRC_LEN, base, marks);
}
