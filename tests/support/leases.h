/* The leases of struct sp_host in memory, for tests. Thread: any. */
#pragma once

#include <pthread.h>

#include "providers/provider.h"

struct test_leases {
    pthread_mutex_t lock; /* guards what is below */
    json_t *records;      /* object: id -> {"data": text, "until": monotonic ms} */
    bool away;            /* every call fails */
};

void test_leases_init(struct test_leases *leases);
void test_leases_clear(struct test_leases *leases);
/* Fills in the lease functions of a host table. */
void test_leases_use(struct test_leases *leases, struct sp_host *host);
int test_leases_count(struct test_leases *leases);
/* Lets all of them run out. */
void test_leases_expire(struct test_leases *leases);
