/* `settings`: the table of its commands, and those that change nothing. */
#include "cli/settings.h"

#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/probe.h"
#include "worker/leases.h"

/* Longer than a connection test takes: nobody keeps them. */
static const struct sp_lease_times lease_times = {.life_ms = 120000};

enum sp_code sp_settings_candidate(const struct sp_call *call, json_t **keep,
                                   struct sp_candidate *out, struct sp_error *err)
{
    const struct sp_settings_options *options = call->options;
    enum sp_code rc = options->from ? sp_candidate_read(options->from, keep, err) : SP_OK;
    if (rc)
        return rc;
    *out = (struct sp_candidate){
        .whole = *keep,
        .assignments = call->operands + 1,
        .n_assignments = call->n_operands > 0 ? call->n_operands - 1 : 0,
        .unset = &options->unset,
    };
    return SP_OK;
}

/* The stored object of one provider, secrets masked. New reference; NULL where it cannot be shown.
 */
static json_t *masked(const struct sp_admin *admin, const char *name)
{
    json_t *object = NULL;
    const struct sp_provider_ops *ops = sp_registry_find(name);
    if (!ops || sp_document_provider(&admin->doc, name, &object, NULL))
        return NULL;
    sp_fields_mask(ops->fields, ops->n_fields, object);
    return object;
}

static json_t *document_json(const struct sp_admin *admin)
{
    const struct sp_document *doc = &admin->doc;
    json_t *providers = json_object();
    const char *name = NULL;
    json_t *text = NULL;
    json_object_foreach (doc->providers, name, text) {
        json_t *object = masked(admin, name);
        (void)json_object_set_new(providers, name, object ? object : json_null());
    }
    return json_pack("{s:o, s:s?, s:o, s:s?, s:s?}", "version",
                     doc->has_version ? json_integer(doc->version) : json_null(), "provider_type",
                     doc->provider_type, "providers", providers, "author", doc->author, "comment",
                     doc->comment);
}

static void print_provider(const struct sp_call *call, const struct sp_admin *admin,
                           const char *name)
{
    json_auto_t *object = masked(admin, name);
    const char *key = NULL;
    json_t *value = NULL;
    fprintf(call->out, "\n%s%s\n", name,
            strcmp(name, sp_admin_active(admin)) == 0 ? " (active)" : "");
    if (!object) {
        fputs("  cannot be shown: no such provider, or no JSON object\n", call->out);
    } else if (json_object_size(object) == 0) {
        fputs("  (nothing set: the defaults hold)\n", call->out);
    }
    json_object_foreach (object, key, value) {
        fprintf(call->out, "  %-20s ", key);
        if (json_is_string(value)) {
            fputs(json_string_value(value), call->out);
        } else {
            (void)json_dumpf(value, call->out, JSON_ENCODE_ANY);
        }
        (void)fputc('\n', call->out);
    }
}

static void print_document(const struct sp_call *call, const struct sp_admin *admin)
{
    const struct sp_document *doc = &admin->doc;
    const char *name = NULL;
    json_t *text = NULL;
    fprintf(call->out, "version   %lld\nactive    %s%s\n", (long long)doc->version,
            sp_admin_active(admin), doc->provider_type ? "" : " (no type is stored)");
    if (doc->author)
        fprintf(call->out, "author    %s\n", doc->author);
    if (doc->comment)
        fprintf(call->out, "comment   %s\n", doc->comment);
    json_object_foreach (doc->providers, name, text) {
        print_provider(call, admin, name);
    }
}

static int get_one(const struct sp_call *call, const struct sp_admin *admin, const char *name)
{
    const struct sp_settings_options *options = call->options;
    const struct sp_provider_ops *ops = NULL;
    struct sp_error err = {0};
    if (sp_registry_get(name, &ops, &err))
        return sp_call_misuse(call, &err);
    json_auto_t *object = NULL;
    if (sp_document_provider(&admin->doc, name, &object, &err))
        return sp_call_fail(call, &err);
    if (options->common.json) {
        sp_fields_mask(ops->fields, ops->n_fields, object);
        sp_call_print_json(call, object);
    } else {
        print_provider(call, admin, name);
    }
    return SP_EXIT_OK;
}

static int run_get(const struct sp_call *call)
{
    const struct sp_settings_options *options = call->options;
    sp_auto(sp_admin_clear) struct sp_admin admin = {0};
    struct sp_error err = {0};
    if (sp_admin_open(call, &admin, &err))
        return sp_call_fail(call, &err);
    if (call->n_operands == 1)
        return get_one(call, &admin, call->operands[0]);
    if (options->common.json) {
        json_auto_t *document = document_json(&admin);
        sp_call_print_json(call, document);
    } else if (admin.doc.present || admin.doc.provider_type) {
        print_document(call, &admin);
    } else {
        fputs("Nothing is set. 'sandpiper settings import conf/system_settings.json' loads the "
              "defaults.\n",
              call->out);
    }
    return SP_EXIT_OK;
}

static int run_schema(const struct sp_call *call)
{
    const struct sp_provider_ops *ops = NULL;
    struct sp_error err = {0};
    if (sp_registry_get(call->operands[0], &ops, &err))
        return sp_call_misuse(call, &err);
    json_auto_t *schema = sp_fields_schema(ops->fields, ops->n_fields);
    sp_call_print_json(call, schema);
    return SP_EXIT_OK;
}

static void show_step(const void *ctx, const char *step, int64_t took_ms,
                      const struct sp_error *error)
{
    const struct sp_call *call = ctx;
    const struct sp_settings_options *options = call->options;
    if (options->common.json)
        return;
    if (error) {
        fprintf(call->out, "%-9s failed: %s\n", step, error->msg);
    } else {
        fprintf(call->out, "%-9s ok (%lld ms)\n", step, (long long)took_ms);
    }
    (void)fflush(call->out);
}

static int print_probe(const struct sp_call *call, const struct sp_provider_ops *ops,
                       const struct sp_probe *probe)
{
    const struct sp_settings_options *options = call->options;
    json_auto_t *answer = sp_probe_json(ops, probe);
    if (options->common.json) {
        sp_call_print_json(call, answer);
    } else {
        fprintf(call->out, "%s\n", json_string_value(json_object_get(answer, "message")));
    }
    return probe->step ? SP_EXIT_FAILURE : SP_EXIT_OK;
}

SP_AUTO(struct sp_redis_link *, sp_redis_link_free)

static int probe(const struct sp_call *call, struct sp_admin *admin,
                 const struct sp_provider_ops *ops, json_t *settings)
{
    /* A provider keeps leases here as in a worker, so that what this process leaves behind if it is
       killed is ended by a worker's sweep. */
    sp_auto(sp_redis_link_free) struct sp_redis_link *link = NULL;
    struct sp_error err = {0};
    if (sp_redis_link_new(admin->redis, &link, &err))
        return sp_call_fail(call, &err);
    admin->redis = NULL;
    sp_auto(sp_leases_free) struct sp_leases *leases = NULL;
    if (sp_leases_new(link, admin->config->redis.prefix, &lease_times, &leases, &err))
        return sp_call_fail(call, &err);
    const struct sp_host host = sp_leases_host(leases, "settings-test", &admin->config->limits);
    const struct sp_probe_watch watch = {call, show_step};
    struct sp_probe found = {0};
    (void)sp_probe_run(ops, settings, &host, &watch, &found);
    int code = print_probe(call, ops, &found);
    sp_result_clear(&found.result);
    return code;
}

static int run_test(const struct sp_call *call)
{
    sp_auto(sp_admin_clear) struct sp_admin admin = {0};
    const struct sp_provider_ops *ops = NULL;
    json_auto_t *whole = NULL;
    json_auto_t *settings = NULL;
    struct sp_candidate candidate = {0};
    struct sp_error err = {0};
    if (sp_settings_candidate(call, &whole, &candidate, &err) || sp_admin_open(call, &admin, &err))
        return sp_call_fail(call, &err);
    const char *name = call->n_operands > 0 ? call->operands[0] : sp_admin_active(&admin);
    if (sp_registry_get(name, &ops, &err))
        return sp_call_misuse(call, &err);
    if (sp_candidate_make(&admin, ops, &candidate, &settings, &err))
        return sp_call_fail(call, &err);
    return probe(call, &admin, ops, settings);
}

#define FROM_OPTION                                                                                \
    SP_TEXT_OPTION(struct sp_settings_options, from, "from", .value = "FILE",                      \
                   .help =                                                                         \
                       "the provider's whole settings as a JSON object; \"-\": standard input")
#define UNSET_OPTION                                                                               \
    SP_LIST_OPTION(struct sp_settings_options, unset, "unset", .value = "KEY",                     \
                   .help = "remove a key, so that its default holds; repeatable")
#define CHANGE_OPTIONS                                                                             \
    SP_TEXT_OPTION(struct sp_settings_options, author, "author", .value = "NAME",                  \
                   .help = "who makes the change, kept beside it"),                                \
        SP_TEXT_OPTION(struct sp_settings_options, comment, "comment", .value = "TEXT",            \
                       .help = "why, kept beside it"),                                             \
        SP_DURATION_OPTION(struct sp_settings_options, wait, "wait", .letter = 'w',                \
                           .value = "TIME", .help = "wait until every worker has applied it"),     \
        SP_FLAG_OPTION(struct sp_settings_options, redis_only, "redis-only",                       \
                       .help =                                                                     \
                           "leave Kafka out; the next change on the control topic replaces it")

static const struct sp_option plain_options[] = {
    SP_CONFIG_OPTIONS(struct sp_settings_options),
    SP_JSON_OPTION(struct sp_settings_options),
};

static const struct sp_option set_options[] = {
    FROM_OPTION,
    UNSET_OPTION,
    SP_FLAG_OPTION(struct sp_settings_options, activate, "activate",
                   .help = "make this provider the active one, too"),
    CHANGE_OPTIONS,
    SP_CONFIG_OPTIONS(struct sp_settings_options),
    SP_JSON_OPTION(struct sp_settings_options),
};

static const struct sp_option activate_options[] = {
    CHANGE_OPTIONS,
    SP_CONFIG_OPTIONS(struct sp_settings_options),
    SP_JSON_OPTION(struct sp_settings_options),
};

static const struct sp_option import_options[] = {
    SP_FLAG_OPTION(struct sp_settings_options, if_absent, "if-absent",
                   .help = "do nothing where there are settings already"),
    CHANGE_OPTIONS,
    SP_CONFIG_OPTIONS(struct sp_settings_options),
    SP_JSON_OPTION(struct sp_settings_options),
};

static const struct sp_option watch_options[] = {
    SP_DURATION_OPTION(struct sp_settings_options, during, "for", .value = "TIME",
                       .help = "end after this time (else with Ctrl-C)"),
    SP_CONFIG_OPTIONS(struct sp_settings_options),
    SP_JSON_OPTION(struct sp_settings_options),
};

static const struct sp_option test_options[] = {
    FROM_OPTION,
    UNSET_OPTION,
    SP_CONFIG_OPTIONS(struct sp_settings_options),
    SP_JSON_OPTION(struct sp_settings_options),
};

#define OPTIONS(table)                                                                             \
    .options = (table), .n_options = SP_COUNT(table),                                              \
    .options_size = sizeof(struct sp_settings_options)
#define ANY_NUMBER SIZE_MAX

static const struct sp_command command_get = {
    .name = "get",
    .operands = "[PROVIDER]",
    .summary = "Show the settings, secrets masked.",
    .max_operands = 1,
    OPTIONS(plain_options),
    .run = run_get,
};

static const struct sp_command command_set = {
    .name = "set",
    .operands = "PROVIDER [KEY=VALUE ...]",
    .summary = "Change a provider's settings; workers apply them without a restart.",
    .details =
        "KEY=VALUE changes single keys; --from replaces all of them first. A secret may be a "
        "reference\nthat the worker resolves: KEY=env:NAME or KEY=file:PATH. A mask "
        "(" SP_MASK ") keeps what is stored.",
    .min_operands = 1,
    .max_operands = ANY_NUMBER,
    OPTIONS(set_options),
    .run = sp_settings_set,
};

static const struct sp_command command_activate = {
    .name = "activate",
    .operands = "PROVIDER",
    .summary = "Make a provider the active one.",
    .min_operands = 1,
    .max_operands = 1,
    OPTIONS(activate_options),
    .run = sp_settings_activate,
};

static const struct sp_command command_schema = {
    .name = "schema",
    .operands = "PROVIDER",
    .summary = "Print a provider's fields as JSON, for forms.",
    .min_operands = 1,
    .max_operands = 1,
    OPTIONS(plain_options),
    .run = run_schema,
};

static const struct sp_command command_test = {
    .name = "test",
    .operands = "[PROVIDER [KEY=VALUE ...]]",
    .summary = "Run a small program on a provider, step by step; stores nothing.",
    .details = "The provider is opened in this process, with the stored settings changed by "
               "KEY=VALUE, --from\nand --unset. Without PROVIDER the active one is tested.",
    .max_operands = ANY_NUMBER,
    OPTIONS(test_options),
    .run = run_test,
};

static const struct sp_command command_import = {
    .name = "import",
    .operands = "FILE",
    .summary = "Replace all settings by those of a file.",
    .details =
        "FILE is a JSON object with the names of the hash in Redis:\n"
        "  {\"sandbox.provider_type\": \"local\", \"sandbox.local\": {\"isolation\": \"none\"}}",
    .min_operands = 1,
    .max_operands = 1,
    OPTIONS(import_options),
    .run = sp_settings_import,
};

static const struct sp_command command_watch = {
    .name = "watch",
    .operands = "",
    .summary = "Show each change as it comes, and how the fleet follows.",
    .details = "With --json every line is one object.",
    OPTIONS(watch_options),
    .run = sp_settings_watch,
};

static const struct sp_command *const settings_commands[] = {
    &command_get,    &command_set,  &command_activate, &command_import,
    &command_schema, &command_test, &command_watch,    NULL,
};

const struct sp_command sp_command_settings = {
    .name = "settings",
    .summary = "Show and change which provider runs the programs, and how.",
    .commands = settings_commands,
};
