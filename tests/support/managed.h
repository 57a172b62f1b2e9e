/*
 * The provider self_managed as a worker uses it, with an executor_manager of the test's own, and
 * nginx in front of that where the test wants it. Every function asserts, save where it returns a
 * code. Zero but for the limits is a struct in which nothing runs.
 */
#pragma once

#include "tests/support/manager.h"
#include "tests/support/nginx.h"
#include "tests/support/provider_job.h"

struct sp_managed {
    struct sp_manager manager;
    struct sp_nginx nginx;
    struct sp_limits limits; /* may be changed before the provider is opened */
    struct sp_host host;
    struct sp_provider *provider;
    struct sp_result result; /* of the last run */
    struct sp_error err;     /* of the last run or check */
};

/* Opens the provider at an address, in place of one that is open; more: further settings as JSON
 * text ("\"timeout\":9"), or "". */
void sp_managed_open(struct sp_managed *m, const char *url, const char *more);
/* Starts the manager (words: see sp_manager_start) and opens the provider there. */
void sp_managed_start(struct sp_managed *m, const char *const *words, const char *more);
/* The same with nginx between them; options->upstream is set here. */
void sp_managed_start_proxy(struct sp_managed *m, const char *const *words,
                            struct sp_nginx_options options);
void sp_managed_stop(struct sp_managed *m);

enum sp_code sp_managed_check(struct sp_managed *m);
/* create, execute, destroy. */
enum sp_code sp_managed_run(struct sp_managed *m, const struct sp_provider_job *job);
/* A program that gives the value 1. */
enum sp_code sp_managed_run_one(struct sp_managed *m);
/* The same, which has to work. */
void sp_managed_expect_one(struct sp_managed *m);

/* A command to the manager. */
void sp_managed_tell(struct sp_managed *m, const char *command);
/* Requests to run a program that reached the manager, and programs that it started. */
int sp_managed_asked(struct sp_managed *m);
int sp_managed_executed(struct sp_managed *m);
