#include "providers/pause.h"

#include <poll.h>
#include <sys/random.h>

#include "base/clock.h"

enum { DOUBLINGS_MAX = 20 };

enum sp_code sp_pause_until(int64_t until, int cancel_fd)
{
    struct pollfd cancel = {.fd = cancel_fd, .events = POLLIN};
    do {
        if (poll(&cancel, 1, sp_deadline_left(until)) > 0)
            return SP_E_CANCELLED;
    } while (sp_mono_ms() < until);
    return SP_OK;
}

int64_t sp_backoff_ms(int attempt, int64_t base_ms, int64_t max_ms)
{
    int64_t most = base_ms << (attempt < DOUBLINGS_MAX ? attempt : DOUBLINGS_MAX);
    uint32_t random = 0;

    if (getrandom(&random, sizeof(random), 0) < 0)
        random = 0; /* then at once */
    return random % ((most < max_ms ? most : max_ms) + 1);
}
