/*
 * Calls of Aliyun AgentRun (reference aliyun-agentrun 1 to 6): templates on the control plane,
 * sandboxes on the data plane. Every call is signed anew.
 */
#pragma once

#include "base/json_slice.h"
#include "providers/aliyun_codeinterpreter/sign.h"
#include "providers/http.h"

struct sp_agentrun;

/* Copied. Absent texts are NULL or "". */
struct sp_agentrun_options {
    struct sp_aliyun_key key;
    const char *account_id;
    const char *control_endpoint, *data_endpoint; /* "": those of region and account. Without a
                                                     scheme: https */
};

/* No network I/O. SP_E_INVALID names the setting; SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_agentrun_new(const struct sp_agentrun_options *options,
                                           struct sp_agentrun **out, struct sp_error *err);
/* No call is in flight any more. NULL is fine. */
void sp_agentrun_free(struct sp_agentrun *service);
SP_AUTO(struct sp_agentrun *, sp_agentrun_free)

/* The data plane's address and the account, by which sandboxes are known to be ours. Borrowed. */
const char *sp_agentrun_address(const struct sp_agentrun *service);

/* Until when, and what ends it earlier. */
struct sp_agentrun_time {
    int64_t deadline;
    int cancel_fd; /* -1: none */
};

/* All borrowed for the call. */
struct sp_agentrun_call {
    const char *what;   /* for messages: "create the sandbox" */
    const char *action; /* of the control plane ("ListTemplates"); NULL: the data plane */
    const char *method;
    const char *path; /* encoded */
    const struct sp_aliyun_pair *query;
    size_t n_query;
    const char *json; /* body; NULL: none */
    size_t json_len;
    size_t max_body; /* of the answer; 0: what any answer but a program's output fits into */
    bool is_file;    /* a good answer is somebody's file */
    bool to_log;     /* the message may be logged, so the service's own words stay out of it */
    const struct sp_agentrun_time *time;
};

/* What came back. */
struct sp_agentrun_answer {
    struct sp_http_response http;
    char code[64];  /* the service's word for a failure; "" for none */
    bool gone;      /* what was named is not there: a sandbox, a context or a template */
    bool exists;    /* what was to be made is there already */
    bool timed_out; /* the service, or a gateway before it, says that time ran out */
    bool unsure; /* it failed, and was carried out perhaps; with sp_agentrun_insist(): any time */
    bool was_repeat; /* the last one of several */
};
void sp_agentrun_answer_clear(struct sp_agentrun_answer *answer);
SP_AUTO_CLEAR(struct sp_agentrun_answer, sp_agentrun_answer_clear)

/*
 * One call. SP_OK: the service did it, whatever the body holds. SP_E_DENIED: the key, its signature
 * or its rights; SP_E_BUSY: throttled; SP_E_UNAVAILABLE: no connection, or a gateway's failure;
 * SP_E_INVALID: refused; else as sp_http_do(). Messages hold the service's code, its words in short
 * (unless it is SP_E_DENIED) and the id of the request. *out is empty before the call, and is
 * filled as far as it came.
 */
SP_MUST_CHECK enum sp_code sp_agentrun_do(struct sp_agentrun *service,
                                          const struct sp_agentrun_call *call,
                                          struct sp_agentrun_answer *out, struct sp_error *err);
/*
 * The same for what may be sent twice: again a few times while the service throttles, is away or
 * loses the connection, not before Retry-After has passed, and within the call's time.
 */
SP_MUST_CHECK enum sp_code sp_agentrun_insist(struct sp_agentrun *service,
                                              const struct sp_agentrun_call *call,
                                              struct sp_agentrun_answer *out, struct sp_error *err);

/* The object that an answer is about, with or without the service's envelope. False: there is none.
 * Borrowed from the answer. */
bool sp_agentrun_data(const struct sp_agentrun_answer *answer, struct sp_json_value *out);
/* A member that is a text without control characters and fits; else false, and out is "". */
bool sp_agentrun_text(const struct sp_json_value *object, const char *name, char *out, size_t size);
