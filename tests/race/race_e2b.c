/*
 * Many threads on one provider e2b in mode kernel with sandboxes made ahead: the pool, the folders
 * and contexts of kernels, leases, sweeps and the close that ends what is left. Passes when every
 * run ended as the service says, every sandbox that was made was ended, and no lease is left.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "providers/registry.h"
#include "tests/support/http_server.h"
#include "tests/support/leases.h"

enum { THREADS = 12, RUNS = 15, POOL = 3 };

#define CELL                                                                                       \
    "{\"type\":\"stdout\",\"text\":\"hi\\n\"}\n"                                                   \
    "{\"type\":\"end_of_execution\"}\n"

static const struct {
    const char *method, *path;
    int status;
    const char *body; /* the first row whose path is part of the target; NULL: a new sandbox */
} answers[] = {
    {"GET", "/health", 204, ""},
    {"POST", "/MakeDir", 200, "{\"entry\":{\"path\":\"/home/user/x\"}}"},
    {"POST", "/Stat", 404, "{\"code\":\"not_found\",\"message\":\"no artifacts\"}"},
    {"POST", "/contexts", 200, "{\"id\":\"ctx\",\"language\":\"python\",\"cwd\":\"/x\"}"},
    {"POST", "/execute", 200, CELL},
    {"POST", "/sandboxes", 201, NULL},
    {"GET", "/v2/sandboxes", 200, "[]"},
    {"DELETE", "/sandboxes/", 204, ""},
};

static struct sp_provider *provider;
static struct test_leases leases;
static atomic_int made, ended, wrong, turn;

static bool answer(void *ctx, struct sp_exchange *x)
{
    char sandbox[160];
    size_t i = 0;

    (void)ctx;
    while (i < SP_COUNT(answers) &&
           (strcmp(x->method, answers[i].method) != 0 || !strstr(x->target, answers[i].path)))
        i++;
    if (i == SP_COUNT(answers)) {
        (void)fprintf(stderr, "%s %s is unknown here\n", x->method, x->target);
        atomic_fetch_add(&wrong, 1);
        return false;
    }
    if (answers[i].body) {
        atomic_fetch_add(&ended, strcmp(x->method, "DELETE") == 0);
        return sp_exchange_json(x, answers[i].status, answers[i].body);
    }
    if (atomic_fetch_add(&turn, 1) % 5 == 4)
        return sp_exchange_json(x, 400, "{\"code\":400,\"message\":\"no\"}"); /* none is made */
    (void)snprintf(sandbox, sizeof sandbox,
                   "{\"sandboxID\":\"box%d\",\"templateID\":\"t\",\"envdVersion\":\"0.5.0\","
                   "\"envdAccessToken\":\"token\"}",
                   atomic_fetch_add(&made, 1));
    return sp_exchange_json(x, answers[i].status, sandbox);
}

static bool is_as_it_should(enum sp_code rc, const struct sp_result *result)
{
    if (rc)
        return rc == SP_E_INVALID; /* refused by the service */
    return result->outcome == SP_OUTCOME_EXITED && result->out.text &&
           strcmp(result->out.text, "hi\n") == 0;
}

static void run_once(enum sp_language language)
{
    static char code[] = "1";
    const struct sp_request req = {.language = language, .code = code, .code_len = 1};
    const struct sp_run run = {.setup_deadline = sp_deadline_in(30000),
                               .deadline = SP_NEVER,
                               .timeout_ms = 5000,
                               .teardown_ms = 10000,
                               .cancel_fd = -1};
    sp_auto(sp_result_clear) struct sp_result result = {0};
    struct sp_instance *instance = NULL;
    struct sp_error err = {0};

    enum sp_code rc = sp_provider_create(provider, &req, &run, &instance, &err);
    if (!rc)
        rc = sp_provider_execute(instance, &req, &run, &result, &err);
    if (!is_as_it_should(rc, &result)) {
        (void)fprintf(stderr, "%s: %s\n", sp_code_name(rc), err.msg);
        atomic_fetch_add(&wrong, 1);
    }
    sp_provider_destroy(instance, &run);
}

static void *work(void *arg)
{
    (void)arg;
    for (int i = 0; i < RUNS; i++) {
        run_once(i % 2 ? SP_JAVASCRIPT : SP_PYTHON);
        if (i % 5 == 0)
            sp_provider_sweep(provider);
    }
    return NULL;
}

static enum sp_code open_provider(const char *url, const struct sp_host *host, struct sp_error *err)
{
    json_auto_t *settings = json_pack("{s:s, s:s, s:s, s:s, s:i}", "api_key", "e2b_0", "api_url",
                                      url, "sandbox_url", url, "mode", "kernel", "pool_size", POOL);
    return sp_provider_open(&sp_provider_e2b, settings, host, &provider, err);
}

static bool run_all(void)
{
    pthread_t threads[THREADS];

    for (size_t i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, work, NULL))
            return false;
    }
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return true;
}

int main(void)
{
    static const struct sp_limits limits = {.output_bytes = 1000,
                                            .response_bytes = 10000,
                                            .artifacts = 1,
                                            .artifact_bytes = 1,
                                            .artifacts_total = 1};
    struct sp_host host = {.worker_id = "w", .limits = &limits};
    struct sp_http_server server = {0};
    struct sp_error err = {0};

    sp_log_setup(SP_ERROR, true);
    test_leases_init(&leases);
    test_leases_use(&leases, &host);
    if (!sp_http_server_start(&server, answer, NULL) || open_provider(server.url, &host, &err)) {
        (void)fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    if (!run_all())
        return 1;
    sp_provider_close(provider);
    sp_http_server_stop(&server);
    int left = test_leases_count(&leases);
    test_leases_clear(&leases);
    (void)fprintf(stderr, "%d made, %d ended, %d leases left, %d wrong\n", atomic_load(&made),
                  atomic_load(&ended), left, atomic_load(&wrong));
    return wrong || left > 0 || ended < made || made < THREADS;
}
