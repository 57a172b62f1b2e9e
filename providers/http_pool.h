/*
 * The libcurl handles of one provider: for each host as many as calls to it were ever in flight at
 * once, less those that nobody needed for a while. Each keeps one connection, because libcurl
 * cannot share them between threads; TLS sessions are shared. Used by http.c.
 */
#pragma once

#include <curl/curl.h>
#include <stdint.h>

#include "base/error.h"

struct sp_http;

/* Of one call at a time. */
struct sp_http_handle {
    CURL *easy;
    CURLM *multi;         /* holds the connection */
    curl_socket_t socket; /* of the connection that is kept; CURL_SOCKET_BAD: none */
    char *origin;         /* where it leads: "https://host:port" */
    struct sp_http_handle *next;
    int64_t idle_since;
};

/* The one that was used last for the host of this URL, else a new one, with the options that are
 * the same for every call. SP_E_NOMEM. Thread of both: any. */
SP_MUST_CHECK enum sp_code sp_http_take(struct sp_http *http, const char *url,
                                        struct sp_http_handle **out, struct sp_error *err);
/* Ends its call and resets its options, so that nothing of the call stays but the connection. */
void sp_http_give(struct sp_http *http, struct sp_http_handle *handle);
/* The same for a call that failed: its handle is not used again. (libcurl 7.88 keeps a buffer after
 * a name was not found, and then takes no options any more.) */
void sp_http_drop(struct sp_http_handle *handle);
