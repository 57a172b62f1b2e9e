/* `providers` and `workers`: what there is, and what is running. */
#include <string.h>

#include "base/clock.h"
#include "cli/admin.h"
#include "cli/commands.h"

struct inventory_options {
    struct sp_common_options common;
};

static json_t *words(const char *const *list)
{
    json_t *array = json_array();
    for (size_t i = 0; list && list[i]; i++)
        (void)json_array_append_new(array, json_string(list[i]));
    return array;
}

static size_t count_in_force(const json_t *workers, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(workers); i++) {
        const char *provider =
            json_string_value(json_object_get(json_array_get(workers, i), "provider"));
        n += provider && strcmp(provider, name) == 0;
    }
    return n;
}

static json_t *provider_json(const struct sp_provider_ops *ops, const char *active,
                             const json_t *workers)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:b, s:I}", "id", ops->name, "name", ops->title,
                     "description", ops->description, "tags", words(ops->tags), "languages",
                     words(ops->languages), "active", active && strcmp(active, ops->name) == 0,
                     "in_force", (json_int_t)(workers ? count_in_force(workers, ops->name) : 0));
}

static void join(const json_t *array, struct sp_buf *out)
{
    for (size_t i = 0; i < json_array_size(array); i++)
        (void)sp_buf_addf(out, "%s%s", i ? ", " : "", json_string_value(json_array_get(array, i)));
}

static const char *text(const json_t *object, const char *key)
{
    const char *found = json_string_value(json_object_get(object, key));
    return found ? found : "-";
}

static void print_provider(const struct sp_call *call, const json_t *provider, size_t n_workers)
{
    sp_auto(sp_buf_clear) struct sp_buf languages = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_buf_clear) struct sp_buf tags = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    char state[96] = "";
    json_int_t in_force = json_integer_value(json_object_get(provider, "in_force"));
    join(json_object_get(provider, "languages"), &languages);
    join(json_object_get(provider, "tags"), &tags);
    if (in_force > 0 || json_is_true(json_object_get(provider, "active"))) {
        (void)snprintf(state, sizeof(state), "; in force on %lld of %zu worker%s",
                       (long long)in_force, n_workers, n_workers == 1 ? "" : "s");
    }
    fprintf(call->out, "%c %-24s%s (%s%s)\n  %-24s%s [%s]\n",
            json_is_true(json_object_get(provider, "active")) ? '*' : ' ', text(provider, "id"),
            text(provider, "name"), sp_buf_str(&languages), state, "",
            text(provider, "description"), sp_buf_str(&tags));
}

static void print_providers(const struct sp_call *call, const json_t *list, const json_t *workers)
{
    const struct inventory_options *options = call->options;
    if (options->common.json) {
        sp_call_print_json(call, list);
        return;
    }
    for (size_t i = 0; i < json_array_size(list); i++)
        print_provider(call, json_array_get(list, i), json_array_size(workers));
    fputs("\n* is the active one.\n", call->out);
}

static int run_providers(const struct sp_call *call)
{
    sp_auto(sp_admin_clear) struct sp_admin admin = {0};
    json_auto_t *workers = NULL;
    struct sp_error err = {0};
    enum sp_code rc = sp_admin_open(call, &admin, &err);
    if (!rc)
        rc = sp_admin_fleet(&admin, &workers, &err);
    /* The list itself needs no Redis. */
    if (rc)
        fprintf(call->err, "%s: which one is active is not known: %s\n", call->path, err.msg);
    const char *active = rc ? NULL : sp_admin_active(&admin);
    json_auto_t *list = json_array();
    const struct sp_provider_ops *ops = NULL;
    for (size_t i = 0; (ops = sp_registry_at(i)); i++)
        (void)json_array_append_new(list, provider_json(ops, active, workers));
    print_providers(call, list, workers);
    return rc ? SP_EXIT_FAILURE : SP_EXIT_OK;
}

static void print_age(FILE *out, int64_t started_ms)
{
    int64_t s = (sp_wall_ms() - started_ms) / 1000;
    if (s < 120) {
        fprintf(out, "%llds", (long long)(s < 0 ? 0 : s));
    } else if (s < 7200) {
        fprintf(out, "%lldm", (long long)(s / 60));
    } else {
        fprintf(out, "%lldh", (long long)(s / 3600));
    }
}

static void print_worker(const struct sp_call *call, const json_t *worker)
{
    char busy[48];
    const json_t *failed = json_object_get(worker, "settings_error");
    (void)snprintf(busy, sizeof(busy), "%lld/%lld",
                   (long long)json_integer_value(json_object_get(worker, "running")),
                   (long long)json_integer_value(json_object_get(worker, "concurrency")));
    fprintf(call->out, "%-28s %-16s %7lld %-10s %-22s %8lld %9s %10zu  ", text(worker, "id"),
            text(worker, "host"), (long long)json_integer_value(json_object_get(worker, "pid")),
            text(worker, "state"), text(worker, "provider"),
            (long long)json_integer_value(json_object_get(worker, "settings_version")), busy,
            json_array_size(json_object_get(worker, "partitions")));
    print_age(call->out, json_integer_value(json_object_get(worker, "started")));
    (void)fputc('\n', call->out);
    if (json_is_object(failed))
        fprintf(call->out, "    settings were not applied: %s\n", text(failed, "message"));
}

static int run_workers(const struct sp_call *call)
{
    const struct inventory_options *options = call->options;
    sp_auto(sp_admin_clear) struct sp_admin admin = {0};
    json_auto_t *workers = NULL;
    struct sp_error err = {0};
    enum sp_code rc = sp_admin_open(call, &admin, &err);
    if (!rc)
        rc = sp_admin_fleet(&admin, &workers, &err);
    if (rc)
        return sp_call_fail(call, &err);
    if (options->common.json) {
        sp_call_print_json(call, workers);
        return SP_EXIT_OK;
    }
    if (json_array_size(workers) == 0) {
        fputs("No worker is running. 'sandpiper worker' starts one.\n", call->out);
        return SP_EXIT_OK;
    }
    fprintf(call->out, "%-28s %-16s %7s %-10s %-22s %8s %9s %10s  %s\n", "ID", "HOST", "PID",
            "STATE", "PROVIDER", "SETTINGS", "RUNNING", "PARTITIONS", "UP");
    for (size_t i = 0; i < json_array_size(workers); i++)
        print_worker(call, json_array_get(workers, i));
    return SP_EXIT_OK;
}

static const struct sp_option inventory_options[] = {
    SP_CONFIG_OPTIONS(struct inventory_options),
    SP_JSON_OPTION(struct inventory_options),
};

const struct sp_command sp_command_providers = {
    .name = "providers",
    .operands = "",
    .summary = "List the providers and which one is active.",
    .options = inventory_options,
    .n_options = SP_COUNT(inventory_options),
    .options_size = sizeof(struct inventory_options),
    .run = run_providers,
};

const struct sp_command sp_command_workers = {
    .name = "workers",
    .operands = "",
    .summary = "List the workers that are running and what they do.",
    .options = inventory_options,
    .n_options = SP_COUNT(inventory_options),
    .options_size = sizeof(struct inventory_options),
    .run = run_workers,
};
