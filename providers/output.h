/*
 * One output stream of a program, bounded while it is read: past the ceiling the first and the last
 * half are kept, with one line "[sandpiper: N bytes left out]" between them (CONTRACT.md 3.2, 9).
 * Memory stays below the ceiling and a bit.
 */
#pragma once

#include "base/buf.h"
#include "base/result.h"

struct sp_output {
    struct sp_buf head, tail; /* tail is a ring once full */
    size_t tail_at;
    int64_t bytes; /* seen */
    int64_t max;
};

void sp_output_init(struct sp_output *o, int64_t max_bytes);
/* Never fails for size; SP_E_NOMEM. */
enum sp_code sp_output_add(struct sp_output *o, const void *data, size_t len);
/* Makes it valid UTF-8, cuts at character borders, fills *stream and empties o. SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_output_finish(struct sp_output *o, struct sp_stream *stream);
void sp_output_clear(struct sp_output *o);
