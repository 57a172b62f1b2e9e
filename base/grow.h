/* Arrays that grow by one element at a time, and have no other way to grow. */
#pragma once

#include <stdlib.h>

/* Room for one more than n elements; the capacity is the next power of two, so it needs no member.
 * NULL: no memory, and the array is as it was. */
static inline void *sp_grow(void *array, size_t n, size_t size)
{
    if (n > 0 && (n & (n - 1)) != 0)
        return array;
    return reallocarray(array, n > 0 ? 2 * n : 1, size);
}
