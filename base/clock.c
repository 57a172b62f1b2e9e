#include "base/clock.h"

#include <limits.h>
#include <time.h>

static int64_t clock_us(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t sp_mono_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

int64_t sp_mono_ms(void)
{
    return sp_mono_us() / 1000;
}

int64_t sp_wall_ms(void)
{
    return clock_us(CLOCK_REALTIME) / 1000;
}

int64_t sp_deadline_in(int64_t ms)
{
    int64_t deadline;

    if (__builtin_add_overflow(sp_mono_ms(), ms, &deadline))
        return ms > 0 ? SP_NEVER : INT64_MIN;
    return deadline;
}

int64_t sp_deadline_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int sp_deadline_left(int64_t deadline_ms)
{
    if (deadline_ms == SP_NEVER)
        return -1;

    int64_t now = sp_mono_ms();

    if (deadline_ms <= now)
        return 0;
    return deadline_ms - now > INT_MAX ? INT_MAX : (int)(deadline_ms - now);
}

static char *put_digits(char *out, int64_t value, int width, char separator)
{
    for (int i = width - 1; i >= 0; i--) {
        out[i] = (char)('0' + value % 10);
        value /= 10;
    }
    out[width] = separator;
    return out + width + 1;
}

void sp_wall_iso8601(int64_t wall_ms, char *out)
{
    /* The years 0000 to 9999, which is what the form can say. */
    const int64_t first = -62167219200000, last = 253402300799999;
    int64_t ms = wall_ms < first ? first : wall_ms > last ? last : wall_ms;
    int64_t fraction = ((ms % 1000) + 1000) % 1000;
    time_t seconds = (ms - fraction) / 1000;
    struct tm tm = {0};

    gmtime_r(&seconds, &tm);
    out = put_digits(out, tm.tm_year + 1900, 4, '-');
    out = put_digits(out, tm.tm_mon + 1, 2, '-');
    out = put_digits(out, tm.tm_mday, 2, 'T');
    out = put_digits(out, tm.tm_hour, 2, ':');
    out = put_digits(out, tm.tm_min, 2, ':');
    out = put_digits(out, tm.tm_sec, 2, '.');
    out = put_digits(out, fraction, 3, 'Z');
    *out = '\0';
}
