/*
 * Calls of Aliyun AgentRun (reference aliyun-agentrun 1 to 6): templates on the control plane,
 * sandboxes on the data plane. Every call is signed anew; none is repeated here.
 */
#pragma once

#include "providers/aliyun_codeinterpreter/sign.h"
#include "providers/http.h"

struct sp_agentrun;

/* Copied. Absent texts are NULL or "". */
struct sp_agentrun_options {
    struct sp_aliyun_key key;
    const char *account_id;
    const char *control_endpoint, *data_endpoint; /* "": those of region and account */
};

/* No network I/O. SP_E_INVALID names the setting; SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_agentrun_new(const struct sp_agentrun_options *options,
                                           struct sp_agentrun **out, struct sp_error *err);
/* No call is in flight any more. NULL is fine. */
void sp_agentrun_free(struct sp_agentrun *service);
SP_AUTO(struct sp_agentrun *, sp_agentrun_free)

/* All borrowed for the call. */
struct sp_agentrun_call {
    const char *action; /* of the control plane ("ListTemplates"); NULL: the data plane */
    const char *method;
    const char *path; /* encoded */
    const struct sp_aliyun_pair *query;
    size_t n_query;
    const char *json; /* body; NULL: none */
    size_t json_len;
    size_t max_body; /* of the answer */
    int64_t deadline;
    int cancel_fd;
};

/* What came back. */
struct sp_agentrun_answer {
    struct sp_http_response http;
    char code[64]; /* the service's word for a failure; "" for none */
    bool gone;     /* what was named is not there: a sandbox or a template */
};
void sp_agentrun_answer_clear(struct sp_agentrun_answer *answer);
SP_AUTO_CLEAR(struct sp_agentrun_answer, sp_agentrun_answer_clear)

/*
 * One call. SP_OK: the service did it, whatever the body holds. SP_E_DENIED: the key, its signature
 * or its rights; SP_E_BUSY: throttled; SP_E_UNAVAILABLE: no connection, or a gateway's failure;
 * SP_E_INVALID: refused; else as sp_http_do(). Messages hold the service's code, its words in short
 * and the id of the request. *out is filled as far as it came.
 */
SP_MUST_CHECK enum sp_code sp_agentrun_do(struct sp_agentrun *service,
                                          const struct sp_agentrun_call *call,
                                          struct sp_agentrun_answer *out, struct sp_error *err);
