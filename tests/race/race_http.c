/*
 * Many threads on one sp_http: calls that end well, are cancelled, run out of time, or break off.
 * Passes when every call ended as its answer says and got the answer to its own request.
 */
#include "providers/http.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/support/http_server.h"

enum { THREADS = 16, CALLS = 100, SHORT_MS = 5, LONG_MS = 30000 };
enum { ECHO, CLOSE, HOLD_AND_CANCEL, HOLD_TO_DEADLINE, KINDS };

static const struct {
    const char *path;
    enum sp_code code;
} kinds[KINDS] = {
    [ECHO] = {"/echo", SP_OK},
    [CLOSE] = {"/close", SP_E_UNAVAILABLE},
    [HOLD_AND_CANCEL] = {"/hold", SP_E_CANCELLED},
    [HOLD_TO_DEADLINE] = {"/hold", SP_E_TIMEOUT},
};

static struct sp_http_server server;
static struct sp_http *http;
static atomic_int wrong;

static bool answer(void *ctx, struct sp_exchange *x)
{
    (void)ctx;
    if (strcmp(x->target, kinds[CLOSE].path) == 0)
        return false;
    if (strcmp(x->target, kinds[HOLD_AND_CANCEL].path) == 0)
        return sp_exchange_hold(x);
    return sp_exchange_reply(x, 200, NULL, x->body, x->body_len);
}

static void call(int kind, const char *word)
{
    char url[128];
    struct itimerspec when = {.it_value.tv_nsec =
                                  kind == HOLD_AND_CANCEL ? SHORT_MS * 1000000L : 0};
    sp_auto(sp_http_response_clear) struct sp_http_response response = {0};
    struct sp_error err = {0};
    struct sp_http_request request = {
        .method = "POST",
        .url = url,
        .body = word,
        .body_len = strlen(word),
        .max_body = 100,
        .connect_deadline = sp_deadline_in(LONG_MS),
        .deadline = sp_deadline_in(kind == HOLD_TO_DEADLINE ? SHORT_MS : LONG_MS),
        .cancel_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), /* 0: never readable */
    };

    (void)timerfd_settime(request.cancel_fd, 0, &when, NULL);
    (void)snprintf(url, sizeof url, "%s%s", server.url, kinds[kind].path);
    enum sp_code rc = sp_http_do(http, &request, &response, &err);
    if (rc != kinds[kind].code || (kind == ECHO && strcmp(sp_buf_str(&response.body), word) != 0)) {
        (void)fprintf(stderr, "kind %d: %s, %s\n", kind, sp_code_name(rc), err.msg);
        atomic_fetch_add(&wrong, 1);
    }
    close(request.cancel_fd);
}

static void *work(void *arg)
{
    const int *thread = arg;
    char word[32];

    for (int i = 0; i < CALLS; i++) {
        (void)snprintf(word, sizeof word, "%d of %d", i, *thread);
        call(i % 5 ? ECHO : (i / 5) % KINDS, word);
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    int numbers[THREADS];
    struct sp_error err = {0};

    if (!sp_http_server_start(&server, answer, NULL) || sp_http_new(&http, &err))
        return 1;
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        if (pthread_create(&threads[i], NULL, work, &numbers[i]))
            return 1;
    }
    for (int i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);

    printf("%d requests on %d connections, %d wrong\n", sp_http_server_requests(&server),
           sp_http_server_connections(&server), atomic_load(&wrong));
    sp_http_free(http);
    sp_http_server_stop(&server);
    return atomic_load(&wrong) ? 1 : 0;
}
