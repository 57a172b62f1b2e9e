/* Threads of the worker: small stacks, so that memory stays flat with many of them, and a name. */
#pragma once

#include <pthread.h>

#include "base/error.h"

/* name: 15 bytes at most. SP_E_INTERNAL: the system gives no thread. */
SP_MUST_CHECK enum sp_code sp_thread_start(pthread_t *thread, const char *name,
                                           void *(*body)(void *), void *arg, struct sp_error *err);
