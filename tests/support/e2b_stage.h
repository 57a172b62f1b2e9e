/*
 * The provider e2b as a worker uses it, with the test server of e2b/server.mjs, which executes for
 * real and notes what no correct client sends. Every function asserts, save where it returns a
 * code. Not to be confused with the provider's own names.
 */
#pragma once

#include "providers/http.h"
#include "tests/support/leases.h"
#include "tests/support/process.h"
#include "tests/support/provider_job.h"

struct e2b_stage {
    struct sp_process process;
    char url[64];
    struct sp_http *http; /* for the test's own calls */
    struct sp_limits limits;
    struct test_leases leases;
    struct sp_host host;
    struct sp_provider *provider;
    struct sp_result result; /* of the last run */
    struct sp_error err;     /* of the last run or check */
    int64_t took_ms;         /* the last run, with making and ending the sandbox */
};

/* Starts the server and opens the provider there. more: further settings as JSON text
 * ("\"mode\":\"kernel\""), or "". */
void e2b_stage_start(struct e2b_stage *s, const char *more);
/* Opens it anew, in place of the one that is open. */
void e2b_stage_open(struct e2b_stage *s, const char *more);
/* The settings that it is opened with. */
json_t *e2b_stage_settings(const struct e2b_stage *s, const char *more);
/* Ends all. The server must have nothing to complain about, and no sandbox may live. */
void e2b_stage_stop(struct e2b_stage *s);

enum sp_code e2b_stage_check(struct e2b_stage *s);
/* create, execute, destroy. */
enum sp_code e2b_stage_run(struct e2b_stage *s, const struct sp_provider_job *job);
/* The same, of nothing but code. */
enum sp_code e2b_stage_run_python(struct e2b_stage *s, const char *code);
/* One of the server's test calls ("POST", "faults", JSON or NULL); its state, a new reference. */
json_t *e2b_stage_tell(struct e2b_stage *s, const char *method, const char *call, const char *json);
/* A fault, see e2b/faults.mjs. */
void e2b_stage_fault(struct e2b_stage *s, const char *json);
/* A number of the state: "created", "processes_started", ... */
int e2b_stage_count(struct e2b_stage *s, const char *name);
/* How many sandboxes live. */
int e2b_stage_alive(struct e2b_stage *s);
/* How many requests of an operation came. */
int e2b_stage_requests(struct e2b_stage *s, const char *operation);
