/*
 * The command `worker` with the provider "fake", for test_worker.c: fake_worker READY_FD
 * [SECTION.KEY=VALUE ...]. A program of its own, because a child that only forks from a process
 * with threads may find a lock of the C library taken for ever (getaddrinfo()'s was, one time in
 * fifty, while a client of Kafka in the parent connected).
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "providers/registry.h"
#include "tests/support/fake_provider.h"
#include "worker/worker.h"

int main(int argc, char **argv)
{
    struct sp_config *config = NULL;
    struct sp_error err = {0};
    if (argc < 2)
        return EXIT_FAILURE;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sp_registry_add(&fake_provider);
    if (sp_config_load("/dev/null", (const char *const *)argv + 2, (size_t)argc - 2, &config,
                       &err)) {
        fprintf(stderr, "%s\n", err.msg);
        return EXIT_FAILURE;
    }
    int code = sp_worker_run(config, (int)strtol(argv[1], NULL, 10));
    sp_config_free(config);
    return code;
}
