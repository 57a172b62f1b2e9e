#include "tests/race/cloud.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "providers/http.h"
#include "tests/support/http_server.h"
#include "tests/support/leases.h"

enum { THREADS = 12, RUNS = 15, POOL = 3, SETUP_MS = 30000, TIMEOUT_MS = 5000 };

static const struct cloud *with;
static struct sp_http_server server;
static struct sp_host host;
static struct test_leases leases;
static struct sp_provider *provider;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards living */
static json_t *living;                                   /* object: id -> label */
static atomic_int made, wrong, turn;

/* ---- the service ---- */

static bool make(struct sp_exchange *x, const struct cloud_answer *row)
{
    json_auto_t *order = json_loads(x->body, 0, NULL), *sandbox = json_loads(row->body, 0, NULL);
    const char *label = json_string_value(json_object_get(order, "sandboxId"));
    char id[64];
    size_t n = 0;

    if (atomic_fetch_add(&turn, 1) % 5 == 4)
        return sp_exchange_json(x, 400, "{\"code\":400}");
    if (!label)
        label =
            json_string_value(json_object_get(json_object_get(order, "metadata"), "sandpiper_run"));
    for (const char *at = label; *at; at++) {
        if (*at != '-')
            id[n++] = *at;
    }
    id[n] = '\0';
    (void)pthread_mutex_lock(&lock);
    json_object_set_new(living, id, json_string(label));
    (void)pthread_mutex_unlock(&lock);
    atomic_fetch_add(&made, 1);
    json_object_set_new(sandbox, "sandboxID", json_string(id));
    char *text = json_dumps(sandbox, 0);
    bool good = sp_exchange_json(x, row->status, text);
    free(text);
    return good;
}

static bool end(struct sp_exchange *x, const struct cloud_answer *row)
{
    (void)pthread_mutex_lock(&lock);
    bool found = json_object_del(living, strrchr(x->target, '/') + 1) == 0;
    (void)pthread_mutex_unlock(&lock);
    return found ? sp_exchange_json(x, row->status, row->body) : sp_exchange_json(x, 404, "{}");
}

static bool list(struct sp_exchange *x, const struct cloud_answer *row)
{
    json_auto_t *all = json_array();
    const char *id = NULL;
    json_t *label = NULL;

    (void)pthread_mutex_lock(&lock);
    json_object_foreach (living, id, label)
        json_array_append_new(
            all, json_pack("{s:s, s:{s:O}}", "sandboxID", id, "metadata", "sandpiper_run", label));
    char *text = json_dumps(all, 0);
    (void)pthread_mutex_unlock(&lock);
    bool good = sp_exchange_json(x, row->status, text);
    free(text);
    return good;
}

static bool answer(void *ctx, struct sp_exchange *x)
{
    static bool (*const kinds[])(struct sp_exchange *, const struct cloud_answer *) = {
        [CLOUD_MAKE] = make, [CLOUD_END] = end, [CLOUD_LIST] = list};
    const struct cloud_answer *row = with->answers, *behind = row + with->n_answers;

    (void)ctx;
    while (row < behind && (strcmp(x->method, row->method) != 0 || !strstr(x->target, row->path)))
        row++;
    if (row < behind) {
        return row->kind == CLOUD_TEXT ? sp_exchange_json(x, row->status, row->body)
                                       : kinds[row->kind](x, row);
    }
    if (strcmp(x->target, "/") != 0) { /* that is wait_for_the_cut_off()'s */
        (void)fprintf(stderr, "%s %s is unknown\n", x->method, x->target);
        atomic_fetch_add(&wrong, 1);
    }
    return sp_exchange_json(x, 404, "{}");
}

/* ---- the provider ---- */

static bool open_provider(void)
{
    json_auto_t *settings = json_loads(with->settings, 0, NULL);
    struct sp_error err = {0};

    for (size_t i = 0; i < SP_COUNT(with->urls); i++)
        json_object_set_new(settings, with->urls[i], json_string(server.url));
    json_object_set_new(settings, "pool_size", json_integer(POOL));
    if (!sp_provider_open(with->ops, settings, &host, &provider, &err))
        return true;
    (void)fprintf(stderr, "%s\n", err.msg);
    return false;
}

static bool is_right(enum sp_code rc, const struct sp_result *result)
{
    if (rc)
        return rc == SP_E_INVALID; /* refused by the service */
    return result->outcome == SP_OUTCOME_EXITED && result->exit_code == with->exit_code &&
           strcmp(result->out.text, with->out) == 0;
}

static void run_once(enum sp_language language)
{
    static char code[] = "1";
    const struct sp_request req = {.language = language, .code = code, .code_len = 1};
    const struct sp_run run = {.setup_deadline = sp_deadline_in(SETUP_MS),
                               .deadline = SP_NEVER,
                               .timeout_ms = TIMEOUT_MS,
                               .teardown_ms = SETUP_MS,
                               .cancel_fd = -1};
    sp_auto(sp_result_clear) struct sp_result result = {0};
    struct sp_instance *instance = NULL;
    struct sp_error err = {0};

    enum sp_code rc = sp_provider_create(provider, &req, &run, &instance, &err);
    if (!rc)
        rc = sp_provider_execute(instance, &req, &run, &result, &err);
    if (!is_right(rc, &result)) {
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

/* What the close has cut off may be on its way to the service yet: a call that comes behind it is
 * answered, and then every connection is read to its end. */
static bool wait_for_the_cut_off(void)
{
    sp_auto(sp_http_free) struct sp_http *http = NULL;
    sp_auto(sp_http_response_clear) struct sp_http_response response = {0};
    struct sp_error err = {0};
    const struct sp_http_request request = {.method = "GET",
                                            .url = server.url,
                                            .max_body = 100,
                                            .connect_deadline = sp_deadline_in(SETUP_MS),
                                            .deadline = sp_deadline_in(SETUP_MS),
                                            .cancel_fd = -1};

    if (sp_http_new(&http, &err) || sp_http_do(http, &request, &response, &err))
        return false;
    sp_http_forget(http, server.url);
    return sp_http_server_wait_ended(&server, sp_http_server_connections(&server));
}

/* As another worker would, a while later. */
static bool sweep(void)
{
    test_leases_expire(&leases);
    if (!open_provider())
        return false;
    sp_provider_sweep(provider);
    sp_provider_close(provider);
    return true;
}

int cloud_race(const struct cloud *cloud)
{
    static const struct sp_limits limits = {.output_bytes = 1000,
                                            .response_bytes = 10000,
                                            .artifacts = 1,
                                            .artifact_bytes = 1,
                                            .artifacts_total = 1};

    with = cloud;
    living = json_object();
    host = (struct sp_host){.worker_id = "w", .limits = &limits};
    sp_log_setup(SP_ERROR, true);
    test_leases_init(&leases);
    test_leases_use(&leases, &host);
    if (!sp_http_server_start(&server, answer, NULL) || !open_provider() || !run_all())
        return 1;
    sp_provider_close(provider);
    int cut_off = test_leases_count(&leases);
    if (!wait_for_the_cut_off() || !sweep())
        return 1;
    sp_http_server_stop(&server);
    int left = test_leases_count(&leases), alive = (int)json_object_size(living);
    (void)fprintf(stderr, "%d made, %d cut off by the close, %d alive, %d leases left, %d wrong\n",
                  atomic_load(&made), cut_off, alive, left, atomic_load(&wrong));
    test_leases_clear(&leases);
    json_decref(living);
    return atomic_load(&wrong) || left > 0 || alive > 0 || atomic_load(&made) < THREADS;
}
