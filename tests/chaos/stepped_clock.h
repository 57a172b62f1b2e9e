/*
 * A wall clock that the driver of a chaos case steps: linked into a program, this file takes the
 * place of the C library's functions that tell or await the time of day, for the program and its
 * libraries; the offset stands in a file that both map. CLOCK_MONOTONIC stays what it is.
 *
 * faketime of the distribution (0.9.10) does not do for a program with librdkafka: that one waits
 * by C11's cnd_timedwait() until a time of day that it made from the stepped clock, and faketime
 * does not know this function, so such a wait lasts as long as the step.
 */
#pragma once

#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

/* Follows the offset in the file from now on. Call before there are threads. */
bool stepped_clock_follow(const char *path);

/* Sets the offset in the file, which is made where it is not there: for the driver, whose own clock
 * stays as it is. */
static inline bool stepped_clock_set(const char *path, long long offset_us)
{
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && pwrite(fd, &offset_us, sizeof offset_us, 0) == (ssize_t)sizeof offset_us;
    if (fd >= 0)
        close(fd);
    return ok;
}
