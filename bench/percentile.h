/* Percentiles of what was measured. */
#pragma once

#include <stdint.h>
#include <stdlib.h>

static inline int bench_by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* In milliseconds, of n values in the order in which they were measured; the first tenth warms up
 * (connections are made, a new producer waits for its first acknowledgement) and is left out.
 * Sorts the others. */
static inline double bench_percentile_ms(int64_t *us, int64_t n, int64_t percent)
{
    int64_t warm = n / 10, at = (n - warm) * percent / 100;
    qsort(us + warm, (size_t)(n - warm), sizeof(*us), bench_by_value);
    return (double)us[warm + at] / 1e3;
}
