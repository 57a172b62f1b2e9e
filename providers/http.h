/*
 * HTTP/1.1 for the providers that speak it: libcurl on the caller's thread, every wait under a
 * deadline and a cancel descriptor. Connections are kept for up to 4 s and used again, the one used
 * last first; there are never more to a host than calls in flight to it at once. TLS sessions are
 * shared; names are not, since hosts that come and go by the thousand would fill such a store.
 * A request is sent once: nothing is repeated or redirected here, because a repeated request may be
 * a program that runs twice.
 *
 * Certificates are verified against the authorities of the environment variables SSL_CERT_FILE and
 * SSL_CERT_DIR, or the system's where neither is set, read once by sp_http_new(); http_proxy,
 * https_proxy and no_proxy are obeyed, as by curl.
 */
#pragma once

#include "base/buf.h"
#include "base/result.h"

struct sp_http; /* of one provider */

/* SP_E_NOMEM. Starts libcurl where needed: no other start-up is. Thread: any. */
SP_MUST_CHECK enum sp_code sp_http_new(struct sp_http **out, struct sp_error *err);
/* No call is in flight any more. NULL is fine. */
void sp_http_free(struct sp_http *http);
SP_AUTO(struct sp_http *, sp_http_free)
/* Closes what is kept to the host of this URL: nobody will call it any more, and its calls are
 * over. NULL is fine. Thread: any. */
void sp_http_forget(struct sp_http *http, const char *url);

/* Part of a body, as it comes; the head of the response is filled by then. Another return value
 * than SP_OK ends the call with it and with the error that was set. */
typedef enum sp_code (*sp_http_body_fn)(void *ctx, const char *data, size_t len,
                                        struct sp_error *err);

/* All borrowed for the call. */
struct sp_http_request {
    const char *method; /* "GET", "POST", "DELETE", ...; not "HEAD" */
    const char *url;
    const char *const *headers; /* "Name: value", NULL-terminated; may be NULL. Never shown. One
                                   with a control character is SP_E_INVALID */
    const void *body;           /* NULL: none */
    size_t body_len;
    size_t max_body;         /* of the answer, bytes */
    sp_http_body_fn on_body; /* NULL: it is kept in the response */
    void *on_body_ctx;
    int64_t connect_deadline; /* monotonic: name, connection, TLS */
    int64_t deadline;         /* monotonic: all of it */
    const int64_t *moving;    /* a second deadline, which on_body may move; NULL: none */
    int cancel_fd;            /* -1: none */
};

struct sp_http_response {
    int status;             /* 0: none came */
    struct sp_buf body;     /* empty where on_body took it */
    char content_type[80];  /* lower case, without parameters; "" for none */
    char request_id[96];    /* the service's name for the call, from its headers; "" for none */
    int64_t retry_after_ms; /* the header x-acs-retry-after or Retry-After; -1 for none */
    bool throttled;         /* it was the first of them, which Aliyun sends to throttle only */
    int should_retry;       /* the header Should-Retry: 1 for true, 0 for false, -1 for none */
    /* Whether the request can have reached the peer: NO where there was no connection. Meaningful
     * on failure too. */
    enum sp_started sent;
};
void sp_http_response_clear(struct sp_http_response *response);
SP_AUTO_CLEAR(struct sp_http_response, sp_http_response_clear)

/*
 * One request and its whole answer. SP_OK: an answer came, whatever its status. SP_E_UNAVAILABLE:
 * no connection, or it broke; SP_E_TIMEOUT, SP_E_CANCELLED; SP_E_LIMIT: the body is longer than
 * max_body; SP_E_DENIED: the peer's certificate was refused; SP_E_INVALID: the URL or a header, the
 * authorities cannot be read, or an answer that is not HTTP. Messages name scheme, host and port,
 * never path, query, headers or bodies. *out is filled as far as it came, also on failure; it is
 * empty before the call. Thread: any, several at once. Blocks: until connect_deadline and deadline.
 */
SP_MUST_CHECK enum sp_code sp_http_do(struct sp_http *http, const struct sp_http_request *request,
                                      struct sp_http_response *out, struct sp_error *err);
