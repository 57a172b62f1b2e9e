/* One program at the far end, from its start to its result. */
#pragma once

#include "providers/artifacts.h"
#include "providers/provider.h"
#include "providers/ssh/home.h"

struct sp_ssh_program {
    struct sp_ssh_pool *pool; /* for a second connection, should the first one not do */
    struct sp_ssh_link *link; /* on which the home's supervisor was started */
    const struct sp_ssh_home *home;
    const struct sp_artifact_rules *artifacts;
    int64_t max_output, max_result;
};

/*
 * Reads the output to its end, ends the program at its deadline or when run->cancel_fd becomes
 * readable, and fetches the result, the value and the artifacts. out->started: NO where the
 * supervisor refused to start the program; then *refused is why ("interpreter", ...; 24 bytes),
 * else "".
 */
SP_MUST_CHECK enum sp_code sp_ssh_watch(const struct sp_ssh_program *program,
                                        const struct sp_run *run, struct sp_result *out,
                                        char *refused, struct sp_error *err);
