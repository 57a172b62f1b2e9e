#include "tests/chaos/stepped_clock.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define US_PER_S 1000000LL
#define SLICE_US 20000 /* a step is noticed after so long by who waits */

static const _Atomic long long *offset_us; /* NULL: the clock is not stepped */

bool stepped_clock_follow(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    void *map = mmap(NULL, sizeof *offset_us, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        return false;
    offset_us = map;
    return true;
}

static struct timespec make_timespec(long long us)
{
    return (struct timespec){.tv_sec = us / US_PER_S, .tv_nsec = us % US_PER_S * 1000};
}

static long long real_us(void)
{
    struct timespec now = {0};
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
    return now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

static long long stepped_us(void)
{
    return real_us() + (offset_us ? atomic_load(offset_us) : 0);
}

/* In place of the C library's from here on. */

int clock_gettime(clockid_t clock, struct timespec *out)
{
    if (!offset_us || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
        return (int)syscall(SYS_clock_gettime, clock, out);
    *out = make_timespec(stepped_us());
    return 0;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    (void)zone;
    long long us = stepped_us();
    *out = (struct timeval){.tv_sec = us / US_PER_S, .tv_usec = us % US_PER_S};
    return 0;
}

time_t time(time_t *out)
{
    time_t now = stepped_us() / US_PER_S;
    if (out)
        *out = now;
    return now;
}

int timespec_get(struct timespec *out, int base)
{
    if (base != TIME_UTC)
        return 0;
    *out = make_timespec(stepped_us());
    return base;
}

/* As the kernel has it: who waits for a time of day wakes once the clock, however it was stepped
 * meanwhile, has come to it. */
int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict lock, const struct timespec *restrict until)
{
    static _Atomic(int (*)(cnd_t *, mtx_t *, const struct timespec *)) next;
    int (*wait)(cnd_t *, mtx_t *, const struct timespec *) = atomic_load(&next);
    if (!wait) {
        *(void **)&wait = dlsym(RTLD_NEXT, "cnd_timedwait");
        atomic_store(&next, wait);
    }
    long long until_us = until->tv_sec * US_PER_S + until->tv_nsec / 1000;
    for (;;) {
        long long left = until_us - stepped_us();
        struct timespec slice = make_timespec(real_us() + (left < SLICE_US ? left : SLICE_US));
        int rc = left > 0 ? wait(cond, lock, &slice) : thrd_timedout;
        if (rc != thrd_timedout || left <= 0)
            return rc;
    }
}
