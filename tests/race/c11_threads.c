/*
 * ThreadSanitizer does not know C11 threads, which librdkafka is built on: a thread of theirs has
 * no state in it and crashes at the first intercepted call, and their locks order nothing. A
 * program that links this file has them as POSIX threads, which it knows.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <threads.h>

/* glibc keeps the one in the room of the other, too. */
_Static_assert(sizeof(mtx_t) >= sizeof(pthread_mutex_t), "a mutex does not fit");
_Static_assert(sizeof(cnd_t) >= sizeof(pthread_cond_t), "a condition does not fit");

struct start {
    thrd_start_t run;
    void *arg;
};

static int result_of(int error)
{
    return error ? thrd_error : thrd_success;
}

static void *run(void *opaque)
{
    struct start start = *(struct start *)opaque;
    free(opaque);
    (void)start.run(start.arg);
    return NULL;
}

int thrd_create(thrd_t *thread, thrd_start_t function, void *arg)
{
    struct start *start = malloc(sizeof(*start));
    if (!start)
        return thrd_nomem;
    *start = (struct start){function, arg};
    return result_of(pthread_create(thread, NULL, run, start));
}

int thrd_join(thrd_t thread, int *result)
{
    if (result)
        *result = 0;
    return result_of(pthread_join(thread, NULL));
}

int mtx_init(mtx_t *mutex, int type)
{
    pthread_mutexattr_t attr;
    (void)pthread_mutexattr_init(&attr);
    if (type & mtx_recursive)
        (void)pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    int error = pthread_mutex_init((pthread_mutex_t *)mutex, &attr);
    (void)pthread_mutexattr_destroy(&attr);
    return result_of(error);
}

void mtx_destroy(mtx_t *mutex)
{
    (void)pthread_mutex_destroy((pthread_mutex_t *)mutex);
}

int mtx_lock(mtx_t *mutex)
{
    return result_of(pthread_mutex_lock((pthread_mutex_t *)mutex));
}

int mtx_unlock(mtx_t *mutex)
{
    return result_of(pthread_mutex_unlock((pthread_mutex_t *)mutex));
}

int cnd_init(cnd_t *condition)
{
    return result_of(pthread_cond_init((pthread_cond_t *)condition, NULL));
}

void cnd_destroy(cnd_t *condition)
{
    (void)pthread_cond_destroy((pthread_cond_t *)condition);
}

int cnd_signal(cnd_t *condition)
{
    return result_of(pthread_cond_signal((pthread_cond_t *)condition));
}

int cnd_broadcast(cnd_t *condition)
{
    return result_of(pthread_cond_broadcast((pthread_cond_t *)condition));
}

int cnd_wait(cnd_t *condition, mtx_t *mutex)
{
    return result_of(pthread_cond_wait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex));
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex,
                  const struct timespec *restrict until)
{
    int error =
        pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until);
    return error == ETIMEDOUT ? thrd_timedout : result_of(error);
}

/* librdkafka destroys a lock of its own that another thread has just left, and this sanitizer does
 * not see the join with a limit in sp_kafka_destroy(). */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race_top:pthread_rwlock_destroy\nthread:sp_kafka_destroy\n";
}
