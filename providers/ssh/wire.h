/* SSH's own encoding (RFC 4251, 5), read with bounds: keys, in files and as servers show them. */
#pragma once

#include <stdbool.h>

#include "base/defs.h"

/* Takes a number from the front of *from. */
static inline bool sp_ssh_take_u32(struct sp_bytes *from, uint32_t *out)
{
    const unsigned char *p = (const unsigned char *)from->data;

    if (from->len < 4)
        return false;
    *out = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    from->data += 4;
    from->len -= 4;
    return true;
}

/* Takes a string; it lies inside *from. */
static inline bool sp_ssh_take_string(struct sp_bytes *from, struct sp_bytes *out)
{
    uint32_t len;

    if (!sp_ssh_take_u32(from, &len) || len > from->len)
        return false;
    *out = (struct sp_bytes){from->data, len};
    from->data += len;
    from->len -= len;
    return true;
}
