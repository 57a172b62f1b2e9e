#include "worker/thread.h"

enum { STACK_BYTES = 256 * 1024 };

enum sp_code sp_thread_start(pthread_t *thread, const char *name, void *(*body)(void *), void *arg,
                             struct sp_error *err)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    int rc = pthread_create(thread, &attr, body, arg);
    pthread_attr_destroy(&attr);
    if (rc)
        return sp_error_errno(err, SP_E_INTERNAL, rc, "cannot start the %s thread", name);
    pthread_setname_np(*thread, name);
    return SP_OK;
}
