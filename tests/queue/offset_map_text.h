/* A body of the offset map as a text with the right checksum, as queue/offset_map.h has it. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"

/* Bit by bit, to be compared with the table. */
static inline uint32_t offset_map_crc(const char *data, size_t len)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned char)data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? 0xedb88320 ^ (crc >> 1) : crc >> 1;
    }
    return ~crc;
}

static inline void offset_map_text(const char *body, size_t len, struct sp_buf *out)
{
    sp_auto(sp_buf_clear) struct sp_buf bytes = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    uint32_t crc = offset_map_crc(body, len);
    for (int i = 0; i < 4; i++)
        (void)sp_buf_addc(&bytes, (char)(crc >> (8 * i)));
    (void)sp_buf_add(&bytes, body, len);
    (void)sp_buf_adds(out, "S1");
    (void)sp_base64_encode(bytes.data, bytes.len, out);
}
