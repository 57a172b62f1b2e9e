/* Time. Deadlines are monotonic milliseconds; wall time is for messages and logs only. */
#pragma once

#include <stdint.h>

#define SP_NEVER INT64_MAX

int64_t sp_mono_us(void);
int64_t sp_mono_ms(void);
int64_t sp_wall_ms(void); /* since the epoch */

/* now + ms, saturating at SP_NEVER. */
int64_t sp_deadline_in(int64_t ms);
int64_t sp_deadline_min(int64_t a, int64_t b);
/* Milliseconds left for poll(2): 0 once passed, at most INT_MAX, -1 for SP_NEVER. */
int sp_deadline_left(int64_t deadline_ms);
/* "2026-11-22T00:33:32.123Z"; out holds 25. */
void sp_wall_iso8601(int64_t wall_ms, char *out);
