/*
 * One call to the service or to one of its sandboxes, sent again where that is safe, and what its
 * refusals mean (reference e2b 2.4, 3, 4.2, 12).
 */
#pragma once

#include "providers/http.h"

/* How long a call may take, and what ends it early. */
struct sp_e2b_limits {
    int64_t deadline; /* monotonic */
    int cancel_fd;    /* -1: none */
};

struct sp_e2b_call {
    const char *what; /* for messages: "create" */
    /* connect_deadline is set here. on_body gets the body of a good answer only. */
    struct sp_http_request request;
    const char *type; /* of a good answer's content; NULL: any */
    bool repeat;      /* to do it twice does no harm: sent again also after an answer */
    bool sandbox;     /* a sandbox is called, whose tokens are no settings */
    bool to_log;      /* the message is for a log: no word of the peer's is in it */
    bool *doubled;    /* set where it was sent again although it may have been done; may be NULL */
};

/*
 * SP_OK: the answer's status is 2xx. SP_E_DENIED: the key, or its rights; SP_E_BUSY: throttled;
 * SP_E_UNAVAILABLE: no connection, it broke, or the service is out of order or out of room;
 * SP_E_INVALID: refused, or no answer of this service's; SP_E_TIMEOUT, SP_E_CANCELLED, SP_E_LIMIT.
 * Messages hold the status, the service's words in short and the id of the request. out->sent is NO
 * also where the answer says that nothing was begun. *out is empty before. Thread: any.
 */
SP_MUST_CHECK enum sp_code sp_e2b_do(struct sp_http *http, const struct sp_e2b_call *call,
                                     struct sp_http_response *out, struct sp_error *err);
