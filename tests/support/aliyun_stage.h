/*
 * The provider aliyun_codeinterpreter as a worker uses it, with the test server of
 * agentrun/agentrun_server.py, which executes for real and notes what no correct client sends.
 * Every function asserts, save where it returns a code.
 */
#pragma once

#include "tests/support/leases.h"
#include "tests/support/process.h"
#include "tests/support/provider_job.h"

struct aliyun_stage {
    struct sp_process process;
    int port;
    struct sp_limits limits; /* may be changed before a run */
    struct test_leases leases;
    struct sp_host host;
    struct sp_provider *provider;
    struct sp_instance *instance; /* made by the test, and not yet destroyed */
    struct sp_result result;      /* of the last run */
    struct sp_error err;          /* of the last call */
    int64_t took_ms;              /* the last run, with making and ending the sandbox */
};

#define ALIYUN_KEY_ID "LTAI-FAKE-0001"
#define ALIYUN_SECRET "fake-secret-0001"

/* Starts the server (options: of agentrun_server.py, NULL-terminated; NULL: none) and opens the
 * provider there. more: further settings as JSON text ("\"timeout\":9"), which win, or "". */
void aliyun_stage_start(struct aliyun_stage *s, const char *const *options, const char *more);
/* Opens it anew, in place of the one that is open. */
void aliyun_stage_open(struct aliyun_stage *s, const char *more);
/* The settings that it is opened with. */
json_t *aliyun_stage_settings(const struct aliyun_stage *s, const char *more);
/* Ends all. The server must have nothing to complain about, no sandbox may live, and no lease be
 * left. */
void aliyun_stage_stop(struct aliyun_stage *s);

enum sp_code aliyun_stage_check(struct aliyun_stage *s);
/* create, execute, destroy. */
enum sp_code aliyun_stage_run(struct aliyun_stage *s, const struct sp_provider_job *job);
/* Of a program that has to end well. */
void aliyun_stage_run_well(struct aliyun_stage *s, const struct sp_provider_job *job);
/* The parts of it, on s->instance. */
enum sp_code aliyun_stage_create(struct aliyun_stage *s, const struct sp_provider_job *job);
enum sp_code aliyun_stage_execute(struct aliyun_stage *s, const struct sp_provider_job *job);
void aliyun_stage_destroy(struct aliyun_stage *s);
/* Lets all leases run out, and sweeps. */
void aliyun_stage_sweep(struct aliyun_stage *s);

/* A command to the server (agentrun/switchboard.py); what it has seen, a new reference. */
json_t *aliyun_stage_tell(struct aliyun_stage *s, const char *command);
void aliyun_stage_do(struct aliyun_stage *s, const char *command);
/* A number that it has seen: "executions", "sandboxes". */
int aliyun_stage_count(struct aliyun_stage *s, const char *name);
/* How many requests of an operation came. */
int aliyun_stage_calls(struct aliyun_stage *s, const char *operation);
/* How many sandboxes live. */
int aliyun_stage_alive(struct aliyun_stage *s);
