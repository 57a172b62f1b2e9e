/* An open provider `aliyun_codeinterpreter` in front of a scripted AgentRun, and leases in memory.
 * For its tests only. Each test has a process of its own, so the stage may be global. */
#pragma once

#include <pthread.h>
#include <stdlib.h>

#include "tests/providers/provider_stage.h"

enum { STEPS_MAX = 16, LEASES_MAX = 1000 };

/* What is asked for, by what its address looks like. */
enum route {
    LIST_TEMPLATES = 1,
    GET_TEMPLATE,
    MAKE_TEMPLATE,
    CREATE,
    HEALTH,
    CONTEXT,
    EXECUTE,
    LIST,
    FETCH,
    DELETE_BOX,
};

/* One request's answer. Steps of a route are played in order; the usual answer comes after them. */
struct step {
    enum route route; /* 0 ends a script */
    int status;       /* 0: the connection is closed without an answer; -1: no answer at all */
    const char *body; /* NULL: the usual one; @END@ is the program's last line, with `document` */
    const char *headers;
    const char *document; /* NULL: the usual one */
};

#define READY                                                                                      \
    "{\"code\":\"SUCCESS\",\"requestId\":\"R1\",\"data\":{\"templateName\":\"t\","                 \
    "\"status\":\"READY\"}}"
#define TEMPLATE_IS(state) "{\"code\":\"SUCCESS\",\"data\":{\"status\":\"" state "\"}}"
#define NO_TEMPLATE "{\"code\":\"ERR_NOT_FOUND\",\"message\":\"template not found\"}"
#define END_ITEM "{\"type\":\"stdout\",\"text\":\"@END@\"}"
#define RESULTS(items) "{\"results\":[" items "],\"contextId\":\"ctx-1\"}"
#define ENDED RESULTS(END_ITEM ",{\"type\":\"endOfExecution\",\"status\":\"ok\"}")
#define DONE "{\"present\":false,\"exit\":0,\"us\":1500}"

struct lease {
    char id[64], data[128];
    int64_t ttl_ms;
    bool expired, dropped;
};

static struct service {
    int64_t cancelled_at;
    pthread_mutex_t lock;             /* guards used and leases */
    struct step steps[STEPS_MAX + 1]; /* a copy: the server outlives the test's own */
    bool warm_ones_sicken;            /* they are well once, and not again */
    bool used[STEPS_MAX];
    struct lease leases[LEASES_MAX];
    size_t n_leases;
} service = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- the service ---- */

static const struct {
    enum route route;
    const char *method, *path; /* a part of it */
    const char *usual;
} routes[] = {
    {GET_TEMPLATE, "GET", "/2025-09-10/templates/", READY},
    {LIST_TEMPLATES, "GET", "/2025-09-10/templates?", "{\"code\":\"SUCCESS\",\"data\":{}}"},
    {MAKE_TEMPLATE, "POST", "/2025-09-10/templates", READY},
    {HEALTH, "GET", "/health", "{\"status\":\"ok\"}"},
    {EXECUTE, "POST", "/contexts/execute", ENDED},
    {CONTEXT, "POST", "/contexts",
     "{\"id\":\"ctx-1\",\"language\":\"python\",\"cwd\":\"/home/user\"}"},
    {FETCH, "GET", "/filesystem/download?", "x"},
    {LIST, "GET", "/filesystem?", "{\"path\":\"/home/user/artifacts\",\"entries\":[]}"},
    {CREATE, "POST", "/sandboxes", "{\"code\":\"SUCCESS\",\"data\":{\"status\":\"READY\"}}"},
    {DELETE_BOX, "DELETE", "/sandboxes/",
     "{\"code\":\"SUCCESS\",\"requestId\":\"R2\",\"data\":{}}"},
};

static inline size_t row_of(const struct sp_exchange *x)
{
    size_t i = 0;
    while (i < SP_COUNT(routes) &&
           (strcmp(x->method, routes[i].method) != 0 || !strstr(x->target, routes[i].path)))
        i++;
    cr_assert(i < SP_COUNT(routes), "nobody asks for %s %s", x->method, x->target);
    return i;
}

/* NULL: none is left for the route. */
static inline const struct step *take_step(enum route route)
{
    const struct step *found = NULL;
    pthread_mutex_lock(&service.lock);
    for (size_t i = 0; !found && service.steps[i].route; i++) {
        if (service.steps[i].route == route && !service.used[i]) {
            service.used[i] = true;
            found = &service.steps[i];
        }
    }
    pthread_mutex_unlock(&service.lock);
    return found;
}

/* The job that the code carries: its JSON text. */
static inline void read_job(const struct sp_exchange *x, struct sp_buf *out)
{
    const char *job = strstr(x->body, "'JOB': '");
    job = job ? job + 8 : strstr(x->body, "'sandpiper_cell.cjs', '");
    cr_assert(job != NULL, "%s", x->body);
    if (job[0] == '\'')
        job += strlen("'sandpiper_cell.cjs', '");
    cr_assert(eq(int, sp_base64_decode(job, strcspn(job, "'"), out), SP_OK));
}

static inline void read_marker(const struct sp_exchange *x, char *out, size_t size)
{
    sp_auto(sp_buf_clear) struct sp_buf job = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    read_job(x, &job);
    const char *marker = strstr(sp_buf_str(&job), "__RAGFLOW_RESULT_");
    cr_assert(marker != NULL);
    snprintf(out, size, "%.*s", (int)strcspn(marker, "\""), marker);
}

/* The body with the program's last line in its place. */
static inline void fill_in(const struct sp_exchange *x, const char *body, const char *document,
                           struct sp_buf *out)
{
    const char *place = strstr(body, "@END@");
    char marker[128];
    if (!place) {
        cr_assert(eq(int, sp_buf_adds(out, body), SP_OK));
        return;
    }
    read_marker(x, marker, sizeof(marker));
    cr_assert(eq(int, sp_buf_addf(out, "%.*s\\n%s", (int)(place - body), body, marker), SP_OK));
    cr_assert(eq(int, sp_base64_encode(document, strlen(document), out), SP_OK));
    cr_assert(eq(int, sp_buf_addf(out, "\\n%s", place + 5), SP_OK));
}

/* id: what begins with it. */
static inline bool was_made_ahead(const char *id)
{
    for (int i = 0; i < sp_http_server_requests(&stage.server); i++) {
        const struct sp_exchange *x = sp_http_server_request(&stage.server, i);
        const char *given = x ? strstr(x->body, "\"sandboxId\":\"") : NULL;
        if (given && strncmp(given + 13, id, 26) == 0)
            return strstr(x->body, "\"sandboxIdleTimeoutSeconds\":300}");
    }
    return false;
}

static inline bool is_sick(const struct sp_exchange *x)
{
    int before = 0;
    for (int i = 0; i < x->index; i++) {
        const struct sp_exchange *other = sp_http_server_request(&stage.server, i);
        before += other && strcmp(other->target, x->target) == 0;
    }
    return service.warm_ones_sicken && before > 0 && was_made_ahead(x->target + 11);
}

static inline bool play(void *ctx, struct sp_exchange *x)
{
    (void)ctx;
    size_t row = row_of(x);
    const struct step usual = {.route = routes[row].route, .status = 200};
    const struct step *step = take_step(routes[row].route);
    sp_auto(sp_buf_clear) struct sp_buf body = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    if (!step)
        step = &usual;
    if (routes[row].route == HEALTH && is_sick(x))
        return sp_exchange_reply(x, 404, NULL, "sandbox not found", 17);
    if (step->status < 0)
        return sp_exchange_hold(x);
    if (step->status == 0)
        return false;
    fill_in(x, step->body ? step->body : routes[row].usual, step->document ? step->document : DONE,
            &body);
    return sp_exchange_reply(x, step->status, step->headers, body.data, body.len);
}

/* ---- leases ---- */

static inline struct lease *find_lease(const char *id)
{
    for (size_t i = 0; i < service.n_leases; i++)
        if (strcmp(service.leases[i].id, id) == 0)
            return &service.leases[i];
    return NULL;
}

static inline enum sp_code put_lease(void *ctx, const char *provider, const char *id,
                                     const char *json, int64_t ttl_ms, struct sp_error *err)
{
    (void)ctx, (void)err;
    cr_assert(eq(str, (char *)(uintptr_t)provider, "aliyun_codeinterpreter"));
    pthread_mutex_lock(&service.lock);
    cr_assert(service.n_leases < LEASES_MAX);
    struct lease *lease = &service.leases[service.n_leases++];
    snprintf(lease->id, sizeof(lease->id), "%s", id);
    snprintf(lease->data, sizeof(lease->data), "%s", json);
    lease->ttl_ms = ttl_ms;
    pthread_mutex_unlock(&service.lock);
    return SP_OK;
}

static inline enum sp_code drop_lease(void *ctx, const char *provider, const char *id,
                                      struct sp_error *err)
{
    (void)ctx, (void)provider, (void)err;
    pthread_mutex_lock(&service.lock);
    struct lease *lease = find_lease(id);
    cr_assert(lease != NULL, "a lease that nobody put: %s", id);
    lease->dropped = true;
    pthread_mutex_unlock(&service.lock);
    return SP_OK;
}

static inline enum sp_code list_leases(void *ctx, const char *provider, json_t **out,
                                       struct sp_error *err)
{
    (void)ctx, (void)provider, (void)err;
    *out = json_array();
    pthread_mutex_lock(&service.lock);
    for (size_t i = 0; i < service.n_leases; i++) {
        const struct lease *l = &service.leases[i];
        if (!l->dropped && l->expired)
            json_array_append_new(*out, json_pack("{s:s, s:s}", "id", l->id, "data", l->data));
    }
    pthread_mutex_unlock(&service.lock);
    return SP_OK;
}

/* One that a dead worker left. */
static inline void leave_lease(const char *id, const char *address)
{
    char data[128];
    snprintf(data, sizeof(data), "{\"service\":\"%s\"}", address);
    cr_assert(eq(int, put_lease(NULL, "aliyun_codeinterpreter", id, data, 1000, NULL), SP_OK));
    service.leases[service.n_leases - 1].expired = true;
}

static inline size_t leases_left(void)
{
    size_t n = 0;
    pthread_mutex_lock(&service.lock);
    for (size_t i = 0; i < service.n_leases; i++)
        n += !service.leases[i].dropped;
    pthread_mutex_unlock(&service.lock);
    return n;
}

/* ---- the provider ---- */

static inline enum sp_code open_provider(const char *more)
{
    char text[768];
    snprintf(
        text, sizeof(text),
        "{\"access_key_id\":\"LTAI-test\",\"access_key_secret\":\"test-secret\","
        "\"account_id\":\"1234567890\",\"control_endpoint\":\"%s\",\"data_endpoint\":\"%s\"%s}",
        stage.server.url, stage.server.url, more);
    return open_at_stage(&sp_provider_aliyun_codeinterpreter, text);
}

/* more: further settings (",\"timeout\":5"). */
static inline void set_stage(const struct step *steps, const char *more)
{
    for (size_t i = 0; steps && steps[i].route; i++) {
        cr_assert(i < STEPS_MAX);
        service.steps[i] = steps[i];
    }
    prepare_stage(play, NULL);
    stage.host.lease_put = put_lease;
    stage.host.lease_drop = drop_lease;
    stage.host.lease_list = list_leases;
    cr_assert(eq(int, open_provider(more), SP_OK), "%s", stage.err.msg);
}

static inline void cancel_now(void)
{
    service.cancelled_at = sp_mono_ms();
    cr_assert(eq(int, eventfd_write(stage.cancel, 1), 0));
}

/* A thread; arg: an int, the number of requests until then. */
static inline void *cancel_when_asked(void *arg)
{
    sp_http_server_wait_requests(&stage.server, *(const int *)arg);
    cancel_now();
    return NULL;
}

/* How often a route was asked for, and the n-th request of it; NULL: there is none. */
static inline const struct sp_exchange *find_request(enum route route, int n)
{
    for (int i = 0; i < sp_http_server_requests(&stage.server); i++) {
        const struct sp_exchange *x = sp_http_server_request(&stage.server, i);
        if (routes[row_of(x)].route == route && n-- == 0)
            return x;
    }
    return NULL;
}

static inline int asked(enum route route)
{
    int n = 0;
    while (find_request(route, n))
        n++;
    return n;
}
