/* What tests do to wait and to clean up. */
#pragma once

#include <ftw.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/clock.h"

/* Looks at a condition every few milliseconds; false when it has not come true in limit_ms. */
#define SP_UNTIL(limit_ms, condition)                                                              \
    __extension__({                                                                                \
        int64_t until_ = sp_deadline_in(limit_ms);                                                 \
        bool met_;                                                                                 \
        while (!(met_ = (condition)) && sp_mono_ms() < until_)                                     \
            poll(NULL, 0, 3);                                                                      \
        met_;                                                                                      \
    })

static inline int sp_remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

/* A folder with all that is in it, through no link. */
static inline void sp_remove_tree(const char *path)
{
    nftw(path, sp_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}
