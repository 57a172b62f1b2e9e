/*
 * One executor manager as the worker sees it: POST /run, sent again only where surely nothing ran,
 * and GET /healthz (reference ragflow 4.1, CONTRACT.md 3.5).
 */
#pragma once

#include "providers/provider.h"

struct sp_service;

/* Copies the texts. token: "" for none. SP_E_INVALID names the setting; SP_E_NOMEM. No network. */
SP_MUST_CHECK enum sp_code sp_service_new(const char *endpoint, const char *token,
                                          const struct sp_limits *limits, struct sp_service **out,
                                          struct sp_error *err);
/* No call is in flight any more. NULL is fine. */
void sp_service_free(struct sp_service *service);

/* One program. All borrowed; deadlines are monotonic milliseconds. */
struct sp_service_call {
    const struct sp_request *req;
    const char *id; /* of the run, a UUID */
    int64_t timeout_ms;
    int64_t send_deadline; /* connecting, and waiting to try again */
    int64_t deadline;      /* all of it */
    int64_t max_retries;
    int cancel_fd; /* -1: never */
    bool to_log;   /* see answer.h */
};

/*
 * SP_OK: *out tells how the program ended; also by time-out, cancellation or a body that is too
 * long once the request was sent. Else as sp_service_answer_read() and sp_http_do(), with
 * out->started. Thread: any, several at once. Blocks: until the deadlines, or until cancel_fd is
 * readable.
 */
SP_MUST_CHECK enum sp_code sp_service_run(struct sp_service *service,
                                          const struct sp_service_call *call, struct sp_result *out,
                                          struct sp_error *err);
/*
 * Whether it can run a program: /healthz, which answers 200 without a single container, then a
 * program that prints a word. One language that runs is enough. No answer to the program within the
 * time is SP_OK: the service is there, and busy. SP_E_DENIED and SP_E_INVALID: the settings are
 * wrong. Messages are fit for a log.
 */
SP_MUST_CHECK enum sp_code sp_service_check(struct sp_service *service, const struct sp_run *run,
                                            struct sp_error *err);
