#include "providers/http_error.h"

#include <stdio.h>

/* libcurl's reason is shown for TLS only: other texts quote proxies with their passwords, or what a
 * peer sent. */
static const struct row {
    CURLcode result;
    enum sp_code code;
    const char *text;
    bool reason;
} rows[] = {
    {CURLE_URL_MALFORMAT, SP_E_INVALID, "not a valid URL", false},
    {CURLE_UNSUPPORTED_PROTOCOL, SP_E_INVALID, "the URL must begin with http:// or https://",
     false},
    {CURLE_WEIRD_SERVER_REPLY, SP_E_INVALID, "the answer is not HTTP/1", false},
    {CURLE_COULDNT_RESOLVE_HOST, SP_E_UNAVAILABLE, "the host's name cannot be resolved", false},
    {CURLE_COULDNT_RESOLVE_PROXY, SP_E_UNAVAILABLE, "the proxy's name cannot be resolved", false},
    {CURLE_COULDNT_CONNECT, SP_E_UNAVAILABLE, "no connection", false},
    {CURLE_SSL_CONNECT_ERROR, SP_E_UNAVAILABLE, "TLS failed", true},
    {CURLE_PEER_FAILED_VERIFICATION, SP_E_DENIED, "certificate refused", true},
    {CURLE_SSL_CACERT_BADFILE, SP_E_INVALID,
     "the authorities of SSL_CERT_FILE or SSL_CERT_DIR cannot be read", false},
    {CURLE_GOT_NOTHING, SP_E_UNAVAILABLE, "the connection was closed without an answer", false},
    {CURLE_PARTIAL_FILE, SP_E_UNAVAILABLE, "the connection was closed within the answer", false},
    {CURLE_SEND_ERROR, SP_E_UNAVAILABLE, "the connection broke", false},
    {CURLE_RECV_ERROR, SP_E_UNAVAILABLE, "the connection broke", false},
    {CURLE_ABORTED_BY_CALLBACK, SP_E_UNAVAILABLE, "the connection was closed without an answer",
     /* and libcurl wanted to send again */ false},
    {CURLE_OUT_OF_MEMORY, SP_E_NOMEM, "no memory", false},
};

SP_AUTO(CURLU *, curl_url_cleanup)
SP_AUTO(char *, curl_free)

/* Never userinfo, path or query. */
static void endpoint(const char *url, char *out, size_t size)
{
    sp_auto(curl_url_cleanup) CURLU *parts = curl_url();
    sp_auto(curl_free) char *scheme = NULL;
    sp_auto(curl_free) char *host = NULL;
    sp_auto(curl_free) char *port = NULL;

    (void)snprintf(out, size, "the URL");
    if (parts &&
        !curl_url_set(parts, CURLUPART_URL, url, CURLU_GUESS_SCHEME | CURLU_NON_SUPPORT_SCHEME) &&
        !curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) &&
        !curl_url_get(parts, CURLUPART_HOST, &host, 0) &&
        !curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT)) {
        (void)snprintf(out, size, "%s://%s:%s", scheme, host, port);
    }
}

enum sp_code sp_http_error(struct sp_error *err, enum sp_code code, const char *url,
                           const char *text)
{
    char where[160];

    endpoint(url, where, sizeof where);
    return sp_error_set(err, code, "%s: %s", where, text);
}

/* The same results mean other things once a request was on its way. */
static const struct row timed_out[] = {
    {CURLE_OPERATION_TIMEDOUT, SP_E_TIMEOUT, "no connection in time", false},
    {CURLE_OPERATION_TIMEDOUT, SP_E_TIMEOUT, "no whole answer in time", false},
};

static const struct row *find_row(CURLcode result, bool connected)
{
    static const struct row other = {CURLE_OK, SP_E_UNAVAILABLE, "the call failed", false};

    if (result == CURLE_OPERATION_TIMEDOUT)
        return &timed_out[connected];
    if (result == CURLE_UNSUPPORTED_PROTOCOL && connected)
        result = CURLE_WEIRD_SERVER_REPLY; /* bytes without a head */
    for (size_t i = 0; i < SP_COUNT(rows); i++) {
        if (rows[i].result == result)
            return &rows[i];
    }
    return &other;
}

enum sp_code sp_http_curl_error(struct sp_error *err, CURLcode result, const char *url,
                                const struct sp_http_failure *failure)
{
    const struct row *row = find_row(result, failure->connected);
    char where[160];

    endpoint(url, where, sizeof where);
    if (row->reason)
        return sp_error_set(err, row->code, "%s: %s: %s", where, row->text, failure->reason);
    if (failure->os_error && row->code == SP_E_UNAVAILABLE)
        return sp_error_errno(err, row->code, failure->os_error, "%s: %s", where, row->text);
    return sp_error_set(err, row->code, "%s: %s", where, row->text);
}
