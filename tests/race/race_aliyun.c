/*
 * Many threads on one provider aliyun_codeinterpreter with sandboxes made ahead: templates, the
 * pool, sweeps and the close that ends what is left. Passes when every run ended as the service
 * says and every sandbox that was made was deleted.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "providers/registry.h"
#include "tests/support/http_server.h"

enum { THREADS = 12, RUNS = 15, POOL = 3 };

static const struct {
    const char *method, *path, *body; /* the first row whose path is part of the target */
} answers[] = {
    {"GET", "/templates/", "{\"code\":\"SUCCESS\",\"data\":{\"status\":\"READY\"}}"},
    {"GET", "/health", "{\"status\":\"ok\"}"},
    {"POST", "/execute", "{\"results\":[{\"type\":\"error\",\"text\":\"no\"}]}"},
    {"POST", "/contexts", "{\"id\":\"ctx\"}"},
    {"GET", "/filesystem", "{\"entries\":[]}"},
    {"POST", "/sandboxes", "{\"code\":\"SUCCESS\",\"data\":{}}"},
    {"DELETE", "/sandboxes/", "{}"},
};

static struct sp_provider *provider;
static atomic_int made, deleted, sweeps, wrong, turn;

static bool answer(void *ctx, struct sp_exchange *x)
{
    size_t i = 0;

    (void)ctx;
    while (strcmp(x->method, answers[i].method) != 0 || !strstr(x->target, answers[i].path))
        i++;
    if (strcmp(x->target, "/sandboxes") == 0 && atomic_fetch_add(&turn, 1) % 5 == 4)
        return sp_exchange_json(x, 400, "{\"code\":\"X\"}"); /* nothing is made */
    atomic_fetch_add(&made, strcmp(x->target, "/sandboxes") == 0);
    atomic_fetch_add(&deleted, strcmp(x->method, "DELETE") == 0);
    return sp_exchange_json(x, 200, answers[i].body);
}

static enum sp_code list_leases(void *ctx, const char *name, json_t **out, struct sp_error *err)
{
    (void)ctx, (void)name, (void)err;
    atomic_fetch_add(&sweeps, 1);
    *out = json_array();
    return SP_OK;
}

static void run_once(enum sp_language language)
{
    static char code[] = "1";
    const struct sp_request req = {.language = language, .code = code, .code_len = 1};
    const struct sp_run run = {.setup_deadline = sp_deadline_in(30000),
                               .deadline = SP_NEVER,
                               .timeout_ms = 1000,
                               .teardown_ms = 10000,
                               .cancel_fd = -1};
    sp_auto(sp_result_clear) struct sp_result result = {0};
    struct sp_instance *instance = NULL;
    struct sp_error err = {0};

    enum sp_code rc = sp_provider_create(provider, &req, &run, &instance, &err);
    bool refused = rc == SP_E_INVALID;
    if (!rc)
        rc = sp_provider_execute(instance, &req, &run, &result, &err);
    if ((rc && !refused) || (!rc && result.exit_code != 1)) {
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
    json_auto_t *settings = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:i}", "access_key_id", "LTAI", "access_key_secret", "s",
        "account_id", "1", "control_endpoint", url, "data_endpoint", url, "pool_size", POOL);
    return sp_provider_open(&sp_provider_aliyun_codeinterpreter, settings, host, &provider, err);
}

int main(void)
{
    static const struct sp_limits limits = {.output_bytes = 1000,
                                            .response_bytes = 10000,
                                            .artifacts = 1,
                                            .artifact_bytes = 1,
                                            .artifacts_total = 1};
    const struct sp_host host = {.worker_id = "w", .limits = &limits, .lease_list = list_leases};
    struct sp_http_server server = {0};
    pthread_t threads[THREADS];
    struct sp_error err = {0};

    sp_log_setup(SP_ERROR, true);
    if (!sp_http_server_start(&server, answer, NULL) || open_provider(server.url, &host, &err)) {
        (void)fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    for (size_t i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, work, NULL))
            return 1;
    }
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    sp_provider_close(provider);
    sp_http_server_stop(&server);
    (void)fprintf(stderr, "%d made, %d deleted, %d sweeps, %d wrong\n", atomic_load(&made),
                  atomic_load(&deleted), atomic_load(&sweeps), atomic_load(&wrong));
    /* One whose making was cut off by the close is deleted to be sure. */
    return wrong || deleted < made || made < THREADS || sweeps < THREADS;
}
