/* An executor_manager of the test's own (executor_manager/executor_manager.py). Every function
 * asserts. */
#pragma once

#include <jansson.h>

#include "tests/support/process.h"

struct sp_manager {
    struct sp_process process;
    int port;
    char url[64]; /* http://127.0.0.1:<port> */
};

/*
 * Starts it and waits until it listens. words: NULL-terminated, first variables of its environment
 * ("SANDBOX_TIMEOUT=1s"), then options ("--later"); NULL: none. One that was started before keeps
 * its port.
 */
void sp_manager_start(struct sp_manager *m, const char *const *words);
/* Sends a command (switchboard.py lists the members) and gives back what the manager has seen; new
 * reference. "{}" only asks. */
json_t *sp_manager_tell(struct sp_manager *m, const char *command);
/* One of "connections", "closed" and "executions". */
int sp_manager_count(struct sp_manager *m, const char *name);
/* How many requests came to a path. */
int sp_manager_requests(struct sp_manager *m, const char *path);
void sp_manager_stop(struct sp_manager *m);
