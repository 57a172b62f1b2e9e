/* The commands that change the settings. Every change is checked first, is a record on the control
 * topic next, and goes into Redis by the one script (cli/publish.h). */
#include <stdlib.h>
#include <string.h>

#include "cli/publish.h"
#include "cli/settings.h"

enum { AGAIN = 20 };

/* A change that is made from the settings as they are, once more where others were faster. */
struct edit {
    const struct sp_call *call;
    struct sp_admin *admin;
    const struct sp_provider_ops *ops; /* set, activate */
    struct sp_candidate candidate;     /* set; empty for activate */
    json_t *file;                      /* import */
    /* Fills *change; what it borrows lives in *keep. */
    enum sp_code (*make)(const struct edit *edit, struct sp_change *change, json_t **keep,
                         struct sp_error *err);
};

/* With --wait: until the fleet has it. */
static int await_fleet(const struct sp_call *call, struct sp_admin *admin, int64_t version)
{
    const struct sp_settings_options *options = call->options;
    struct sp_error err = {0};
    size_t n = 0;
    if (!options->wait)
        return SP_EXIT_OK;
    if (sp_admin_converge(admin, version, options->wait, &n, &err))
        return sp_call_fail(call, &err);
    if (n == 0) {
        fprintf(call->err, "No worker is running; the next one to start reads it.\n");
    } else {
        fprintf(call->err, "%zu worker%s applied it.\n", n, n == 1 ? " has" : "s have");
    }
    return SP_EXIT_OK;
}

struct outcome {
    int64_t version;
    bool applied;
};

static int announce(const struct sp_call *call, struct sp_admin *admin,
                    const struct outcome *outcome)
{
    const struct sp_settings_options *options = call->options;
    if (options->common.json) {
        json_auto_t *answer = json_pack("{s:I, s:b}", "version", (json_int_t)outcome->version,
                                        "applied", outcome->applied);
        sp_call_print_json(call, answer);
    } else if (outcome->applied) {
        fprintf(call->out, "version %lld\n", (long long)outcome->version);
    } else {
        fprintf(call->out, "there are settings already; nothing was changed (version %lld)\n",
                (long long)outcome->version);
    }
    return outcome->applied ? await_fleet(call, admin, outcome->version) : SP_EXIT_OK;
}

/* ---- publishing ---- */

/* Once; *outcome->applied is false where others were faster, or --if-absent found settings. */
static enum sp_code change_once(const struct edit *edit, struct sp_publisher *p,
                                struct outcome *outcome, struct sp_error *err)
{
    const struct sp_settings_options *options = edit->call->options;
    struct sp_change change = {.author = options->author, .comment = options->comment};
    json_auto_t *keep = NULL;
    enum sp_stored stored = SP_STORED_NOT;
    enum sp_code rc = edit->make(edit, &change, &keep, err);
    if (rc)
        return rc;
    if (options->redis_only) {
        rc = sp_store_change(edit->admin->redis, edit->admin->config->redis.prefix, &change,
                             &outcome->version, &stored, err);
    } else {
        rc = sp_publisher_send(p, &change, &outcome->version, &stored, err);
    }
    outcome->applied = stored != SP_STORED_NOT;
    return rc;
}

/* What the change is made from. */
static enum sp_code read_again(const struct edit *edit, struct sp_publisher *p,
                               struct sp_error *err)
{
    const struct sp_settings_options *options = edit->call->options;
    return options->redis_only ? sp_admin_read(edit->admin, err) : sp_publisher_sync(p, err);
}

static bool left_alone(const struct edit *edit, struct outcome *outcome)
{
    const struct sp_settings_options *options = edit->call->options;
    outcome->version = edit->admin->doc.version;
    return options->if_absent && edit->admin->doc.present;
}

static enum sp_code change_settings(const struct edit *edit, struct sp_publisher *p,
                                    struct outcome *outcome, struct sp_error *err)
{
    for (int i = 0; i < AGAIN; i++) {
        enum sp_code rc = read_again(edit, p, err);
        if (rc || left_alone(edit, outcome))
            return rc;
        rc = change_once(edit, p, outcome, err);
        if (rc || outcome->applied)
            return rc;
    }
    return sp_error_set(err, SP_E_UNAVAILABLE,
                        "others keep changing the settings; try again later");
}

static void warn(const struct sp_call *call, const struct sp_publisher *p)
{
    const struct sp_settings_options *options = call->options;
    if (options->redis_only) {
        fputs("warning: only Redis was changed. The next change on the control topic replaces it, "
              "and a Redis that loses its data is refilled without it.\n",
              call->err);
    }
    if (p->plain_secret[0]) {
        fprintf(call->err,
                "warning: %s is on the control topic as it stands. A reference (env:NAME or "
                "file:PATH, which the workers resolve) would keep it out.\n",
                p->plain_secret);
    }
}

static int perform(struct edit *edit)
{
    const struct sp_call *call = edit->call;
    const struct sp_settings_options *options = call->options;
    sp_auto(sp_publisher_clear) struct sp_publisher p = {0};
    struct outcome outcome = {0};
    struct sp_error err = {0};
    if (!options->redis_only && sp_publisher_open(edit->admin, &p, &err))
        return sp_call_fail(call, &err);
    if (change_settings(edit, &p, &outcome, &err))
        return sp_call_fail(call, &err);
    if (outcome.applied)
        warn(call, &p);
    return announce(call, edit->admin, &outcome);
}

/* ---- the commands ---- */

/* Keys are set on top of what is stored; --from replaces it, whatever it is. */
static enum sp_code make_set(const struct edit *edit, struct sp_change *change, json_t **keep,
                             struct sp_error *err)
{
    const struct sp_settings_options *options = edit->call->options;
    const char *name = edit->ops->name;
    json_auto_t *settings = NULL;
    enum sp_code rc = sp_candidate_make(edit->admin, edit->ops, &edit->candidate, &settings, err);
    if (rc)
        return rc;
    *keep = change->providers = json_pack("{s:O}", name, settings);
    change->provider_type = options->activate ? name : NULL;
    change->base = edit->candidate.whole ? NULL : name;
    change->base_text = json_string_value(json_object_get(edit->admin->doc.providers, name));
    return SP_OK;
}

int sp_settings_set(const struct sp_call *call)
{
    const struct sp_settings_options *options = call->options;
    sp_auto(sp_admin_clear) struct sp_admin admin = {0};
    json_auto_t *whole = NULL;
    struct edit edit = {.call = call, .admin = &admin, .make = make_set};
    struct sp_error err = {0};
    if (!options->from && call->n_operands < 2 && !options->unset.n) {
        (void)sp_error_set(&err, SP_E_INVALID, "nothing to set: give KEY=VALUE, --from or --unset");
        return sp_call_misuse(call, &err);
    }
    if (sp_registry_get(call->operands[0], &edit.ops, &err))
        return sp_call_misuse(call, &err);
    if (sp_settings_candidate(call, &whole, &edit.candidate, &err) ||
        sp_admin_open(call, &admin, &err))
        return sp_call_fail(call, &err);
    return perform(&edit);
}

static enum sp_code make_activate(const struct edit *edit, struct sp_change *change, json_t **keep,
                                  struct sp_error *err)
{
    (void)keep;
    json_auto_t *settings = NULL;
    change->provider_type = edit->ops->name;
    return sp_candidate_make(edit->admin, edit->ops, &edit->candidate, &settings, err);
}

int sp_settings_activate(const struct sp_call *call)
{
    sp_auto(sp_admin_clear) struct sp_admin admin = {0};
    struct edit edit = {.call = call, .admin = &admin, .make = make_activate};
    struct sp_error err = {0};
    if (sp_registry_get(call->operands[0], &edit.ops, &err))
        return sp_call_misuse(call, &err);
    return sp_admin_open(call, &admin, &err) ? sp_call_fail(call, &err) : perform(&edit);
}

static enum sp_code make_import(const struct edit *edit, struct sp_change *change, json_t **keep,
                                struct sp_error *err)
{
    const struct sp_settings_options *options = edit->call->options;
    *keep = change->providers = json_object();
    change->replace = true;
    change->if_absent = options->if_absent;
    enum sp_code rc = sp_candidate_import(edit->admin, edit->file, change, err);
    return rc ? sp_error_wrap(err, rc, "%.80s", edit->call->operands[0]) : SP_OK;
}

int sp_settings_import(const struct sp_call *call)
{
    sp_auto(sp_admin_clear) struct sp_admin admin = {0};
    json_auto_t *file = NULL;
    struct sp_error err = {0};
    if (sp_candidate_read(call->operands[0], &file, &err) || sp_admin_open(call, &admin, &err))
        return sp_call_fail(call, &err);
    return perform(
        &(struct edit){.call = call, .admin = &admin, .file = file, .make = make_import});
}
