#include "providers/http_pool.h"

#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "providers/http.h"
#include "providers/http_authorities.h"

enum {
    RECEIVE_BYTES = 8 * 1024, /* buffers of each handle: there are hundreds */
    SEND_BYTES = 16 * 1024,
    CONNECTIONS = 1, /* kept by a handle */
    /* Common servers close an idle connection after 5 s; libcurl takes away fractions of a second
       before it compares, so this is "up to 4 s". */
    IDLE_S = 3,
    KEEP_MS = 5000, /* an idle handle, once its connections are of no use */
    LOOK_MS = 500,
    PROBE_IDLE_S = 30,
    PROBE_EVERY_S = 10,
};

/* The same for every call. */
static const struct {
    CURLoption option;
    long value;
} numbers[] = {
    {CURLOPT_NOSIGNAL, 1},
    {CURLOPT_QUICK_EXIT, 1}, /* a name server that hangs holds nobody up */
    {CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1},
    {CURLOPT_FOLLOWLOCATION, 0},
    {CURLOPT_PATH_AS_IS, 1}, /* as it may be signed */
    {CURLOPT_BUFFERSIZE, RECEIVE_BYTES},
    {CURLOPT_UPLOAD_BUFFERSIZE, SEND_BYTES},
    {CURLOPT_MAXAGE_CONN, IDLE_S},
    {CURLOPT_TCP_NODELAY, 1},
    {CURLOPT_TCP_KEEPALIVE, 1},
    {CURLOPT_TCP_KEEPIDLE, PROBE_IDLE_S},
    {CURLOPT_TCP_KEEPINTVL, PROBE_EVERY_S},
};
static const struct {
    CURLoption option;
    const char *value;
} texts[] = {
    {CURLOPT_PROTOCOLS_STR, "http,https"},
    {CURLOPT_CAINFO, NULL}, /* use_authorities() has them */
    {CURLOPT_CAPATH, NULL},
    {CURLOPT_USERAGENT, "sandpiper/" SP_VERSION},
};

struct sp_http {
    CURLSH *share;
    pthread_mutex_t shared[CURL_LOCK_DATA_LAST]; /* each guards one kind of data in share */
    X509_STORE *authorities;                     /* NULL: they cannot be read */
    pthread_mutex_t lock;                        /* guards idle and look_at */
    struct sp_http_handle *idle; /* the one used last is the first: its connection lives best */
    int64_t look_at;             /* when to look for old ones again */
};

static void lock_shared(CURL *easy, curl_lock_data data, curl_lock_access access, void *ctx)
{
    struct sp_http *http = ctx;

    (void)easy;
    (void)access;
    (void)pthread_mutex_lock(&http->shared[data]);
}

static void unlock_shared(CURL *easy, curl_lock_data data, void *ctx)
{
    struct sp_http *http = ctx;

    (void)easy;
    (void)pthread_mutex_unlock(&http->shared[data]);
}

static bool make_share(struct sp_http *http)
{
    http->share = curl_share_init();
    return http->share && !curl_share_setopt(http->share, CURLSHOPT_LOCKFUNC, lock_shared) &&
           !curl_share_setopt(http->share, CURLSHOPT_UNLOCKFUNC, unlock_shared) &&
           !curl_share_setopt(http->share, CURLSHOPT_USERDATA, http) &&
           !curl_share_setopt(http->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
}

enum sp_code sp_http_new(struct sp_http **out, struct sp_error *err)
{
    /* May be called by any thread and as often as one likes: since libcurl 7.84 it counts. */
    if (curl_global_init(CURL_GLOBAL_DEFAULT))
        return sp_error_set(err, SP_E_NOMEM, "libcurl does not start");
    struct sp_http *http = calloc(1, sizeof *http);
    if (!http)
        return sp_error_set(err, SP_E_NOMEM, "no memory");
    (void)pthread_mutex_init(&http->lock, NULL);
    for (size_t i = 0; i < SP_COUNT(http->shared); i++)
        (void)pthread_mutex_init(&http->shared[i], NULL);
    http->authorities = sp_http_authorities_read();
    if (!make_share(http)) {
        sp_http_free(http);
        return sp_error_set(err, SP_E_NOMEM, "no memory");
    }
    *out = http;
    return SP_OK;
}

/* All of the list; NULL is fine. */
static void handles_free(struct sp_http_handle *handle)
{
    while (handle) {
        struct sp_http_handle *next = handle->next;
        curl_easy_cleanup(handle->easy);
        (void)curl_multi_cleanup(handle->multi);
        free(handle->origin);
        free(handle);
        handle = next;
    }
}

void sp_http_free(struct sp_http *http)
{
    if (!http)
        return;
    handles_free(http->idle);
    (void)curl_share_cleanup(http->share);
    X509_STORE_free(http->authorities);
    for (size_t i = 0; i < SP_COUNT(http->shared); i++)
        (void)pthread_mutex_destroy(&http->shared[i]);
    (void)pthread_mutex_destroy(&http->lock);
    free(http);
}

/* Scheme, host and port: how much of an address that is. */
static size_t origin_len(const char *url)
{
    const char *host = strstr(url, "://");
    size_t scheme = host ? (size_t)(host + 3 - url) : 0;

    return scheme + strcspn(url + scheme, "/?#");
}

static struct sp_http_handle *handle_new(struct sp_http *http, const char *url)
{
    struct sp_http_handle *handle = calloc(1, sizeof *handle);

    if (!handle)
        return NULL;
    handle->socket = CURL_SOCKET_BAD;
    handle->origin = sp_memdup(url, origin_len(url));
    handle->easy = curl_easy_init();
    handle->multi = curl_multi_init();
    if (handle->origin && handle->easy && handle->multi &&
        !curl_multi_setopt(handle->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS) &&
        !curl_easy_setopt(handle->easy, CURLOPT_SHARE, http->share))
        return handle;
    handles_free(handle);
    return NULL;
}

static CURLcode use_authorities(CURL *easy, void *tls, void *ctx)
{
    const struct sp_http *http = ctx;

    (void)easy;
    if (!http->authorities)
        return CURLE_SSL_CACERT_BADFILE;
    SSL_CTX_set1_cert_store(tls, http->authorities);
    return CURLE_OK;
}

static CURLcode set_options(struct sp_http *http, CURL *easy)
{
    CURLcode rc = curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, use_authorities);

    if (!rc)
        rc = curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, http);
    for (size_t i = 0; !rc && i < SP_COUNT(texts); i++)
        rc = curl_easy_setopt(easy, texts[i].option, texts[i].value);
    for (size_t i = 0; !rc && i < SP_COUNT(numbers); i++)
        rc = curl_easy_setopt(easy, numbers[i].option, numbers[i].value);
    return rc;
}

static bool leads_to(const struct sp_http_handle *handle, const char *url, size_t len)
{
    return strncmp(handle->origin, url, len) == 0 && handle->origin[len] == '\0';
}

/* The first one that leads there; NULL: there is none. */
static struct sp_http_handle *pop(struct sp_http *http, const char *url)
{
    size_t len = origin_len(url);

    (void)pthread_mutex_lock(&http->lock);
    struct sp_http_handle **at = &http->idle;
    while (*at && !leads_to(*at, url, len))
        at = &(*at)->next;
    struct sp_http_handle *handle = *at;
    if (handle) {
        *at = handle->next;
        handle->next = NULL;
    }
    (void)pthread_mutex_unlock(&http->lock);
    return handle;
}

/* Nothing may come on an idle connection. libcurl 7.88 would take it for the next answer. */
static bool is_spoilt(const struct sp_http_handle *handle)
{
    return poll(&(struct pollfd){.fd = handle->socket, .events = POLLIN}, 1, 0) > 0;
}

enum sp_code sp_http_take(struct sp_http *http, const char *url, struct sp_http_handle **out,
                          struct sp_error *err)
{
    struct sp_http_handle *handle = pop(http, url);

    while (handle && is_spoilt(handle)) {
        handles_free(handle);
        handle = pop(http, url);
    }
    if (!handle)
        handle = handle_new(http, url);
    CURLcode rc = handle ? set_options(http, handle->easy) : CURLE_OUT_OF_MEMORY;
    if (!rc) {
        *out = handle;
        return SP_OK;
    }
    handles_free(handle);
    return sp_error_set(err, rc == CURLE_OUT_OF_MEMORY ? SP_E_NOMEM : SP_E_INTERNAL, "libcurl: %s",
                        curl_easy_strerror(rc));
}

/* Under the lock: takes out those that nobody needed for a while. Looked for now and then only,
 * since all are looked at. */
static struct sp_http_handle *take_old(struct sp_http *http, int64_t now)
{
    struct sp_http_handle **at = &http->idle;

    if (now < http->look_at)
        return NULL;
    http->look_at = now + LOOK_MS;
    while (*at && (*at)->idle_since > now - KEEP_MS)
        at = &(*at)->next;
    struct sp_http_handle *old = *at;
    *at = NULL;
    return old;
}

void sp_http_give(struct sp_http *http, struct sp_http_handle *handle)
{
    int64_t now = sp_mono_ms();

    if (curl_easy_getinfo(handle->easy, CURLINFO_ACTIVESOCKET, &handle->socket))
        handle->socket = CURL_SOCKET_BAD;
    (void)curl_multi_remove_handle(handle->multi, handle->easy);
    curl_easy_reset(handle->easy);
    handle->idle_since = now;
    (void)pthread_mutex_lock(&http->lock);
    handle->next = http->idle;
    http->idle = handle;
    struct sp_http_handle *old = take_old(http, now);
    (void)pthread_mutex_unlock(&http->lock);
    handles_free(old);
}

void sp_http_drop(struct sp_http_handle *handle)
{
    (void)curl_multi_remove_handle(handle->multi, handle->easy);
    handles_free(handle);
}

void sp_http_forget(struct sp_http *http, const char *url)
{
    struct sp_http_handle *handle;

    while (url && (handle = pop(http, url)) != NULL)
        handles_free(handle);
}
