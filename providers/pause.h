/* Waiting between two calls to a service, with an eye on the cancel descriptor. */
#pragma once

#include <stdint.h>

#include "base/error.h"

/* Waits until that moment (monotonic milliseconds). SP_E_CANCELLED once cancel_fd is readable; -1:
 * none. */
SP_MUST_CHECK enum sp_code sp_pause_until(int64_t until, int cancel_fd);
/* Before the next attempt: a random time below base_ms * 2^attempt, which is at most max_ms.
 * attempt: failed ones before, from 0. */
int64_t sp_backoff_ms(int attempt, int64_t base_ms, int64_t max_ms);
