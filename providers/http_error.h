/* What went wrong in an HTTP call, as a code and a text. The text names scheme, host and port, and
 * what libcurl said only where that holds host names at most. Used by http.c. */
#pragma once

#include <curl/curl.h>
#include <stdbool.h>

#include "base/error.h"

/* "scheme://host:port: text", or "the URL: text" where it is none. Returns code. */
enum sp_code sp_http_error(struct sp_error *err, enum sp_code code, const char *url,
                           const char *text);

struct sp_http_failure {
    bool connected;     /* it came to the sending */
    int os_error;       /* errno of the connection; 0: none */
    const char *reason; /* what libcurl left in CURLOPT_ERRORBUFFER */
};

/* For a result other than CURLE_OK. */
enum sp_code sp_http_curl_error(struct sp_error *err, CURLcode result, const char *url,
                                const struct sp_http_failure *failure);
