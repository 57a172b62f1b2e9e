/*
 * The guardian: a small program of its own beside the worker that starts every local run and ends
 * it when the worker dies, however it dies. This is what the two say to each other.
 *
 * Worker and guardian share one SOCK_SEQPACKET socket (GUARDIAN_SOCKET in the guardian); a message
 * there is a struct guardian_request. For each run the guardian forks a keeper, which answers with
 * struct guardian_report on that run's own control socket: STARTED or FAILED, then EXITED once the
 * program and what it left are killed and reaped (or cannot be for the moment), then CLEAN once
 * nothing is left. Any message to the keeper, and the end of the worker's side, means: kill.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    GUARDIAN_SOCKET = 3,
    GUARDIAN_MESSAGE_MAX = 65536, /* of a whole request, texts included */
    GUARDIAN_RUNS_MAX = 1024,     /* at the same time */
};

enum guardian_kind {
    GUARDIAN_START, /* with all descriptors: start a program */
    GUARDIAN_KILL,  /* without any: the keeper of `run` does not answer, kill it and its tree */
    GUARDIAN_PING,  /* with the control socket only: READY or FAILED comes back on it */
};

/* The descriptors that travel with a request, in this order; the program gets the first four as 1
 * to 4. */
enum {
    GUARDIAN_FD_STDOUT,
    GUARDIAN_FD_STDERR,
    GUARDIAN_FD_RESULT,
    GUARDIAN_FD_JOB,
    GUARDIAN_FD_WORKSPACE,
    GUARDIAN_FD_CONTROL,
    GUARDIAN_FDS
};

struct guardian_limit {
    int32_t resource; /* RLIMIT_…, -1: none */
    uint64_t soft, hard;
};
enum { GUARDIAN_LIMITS = 6 };

struct guardian_request {
    enum guardian_kind kind;
    uint64_t run; /* its number, never 0 */
    struct guardian_limit limits[GUARDIAN_LIMITS];
    uint32_t n_args, n_env; /* texts that follow, each with its NUL: arguments, then environment */
};

enum guardian_report_kind {
    GUARDIAN_READY,
    GUARDIAN_FAILED, /* nothing was started */
    GUARDIAN_STARTED,
    GUARDIAN_EXITED,
    GUARDIAN_CLEAN,
};

/* Which step of a start failed; the texts in slot.c follow this order. */
enum guardian_step {
    GUARDIAN_STEP_REQUEST,
    GUARDIAN_STEP_CHILDREN,
    GUARDIAN_STEP_FORK,
    GUARDIAN_STEP_DESCRIPTORS,
    GUARDIAN_STEP_LIMITS,
    GUARDIAN_STEP_EXEC,
    GUARDIAN_STEPS
};

struct guardian_report {
    enum guardian_report_kind kind;
    enum guardian_step step; /* FAILED */
    int32_t error;           /* FAILED: errno */
    int32_t wait_status;     /* EXITED */
    bool by_itself;          /* EXITED: before the keeper was told to kill */
    int64_t at_us;           /* STARTED, EXITED: CLOCK_MONOTONIC */
};
