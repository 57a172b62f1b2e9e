#include "tests/chaos/ledger_provider.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/chaos/ledger.h"
#include "tests/chaos/ledger_words.h"

struct ledger_settings {
    char *ledger, *outage;
};

struct provider {
    struct sp_provider base;
    struct ledger_settings *settings;
    int fd;
};

/* Over all providers of the process: a reload opens a second one. */
static atomic_llong runs;

static const struct sp_field fields[] = {
    SP_ROW_STR(struct ledger_settings, ledger, .flags = SP_REQUIRED, .help = "the ledger's path"),
    SP_ROW_STR(struct ledger_settings, outage, .flags = SP_REQUIRED,
               .help = "while a file of this path exists, the provider is unavailable"),
};

static enum sp_code ledger_provider_open(void *settings, const struct sp_host *host,
                                         struct sp_provider **out, struct sp_error *err)
{
    (void)host;
    struct ledger_settings *s = settings;
    struct provider *p = calloc(1, sizeof *p);
    if (!p)
        return sp_error_set(err, SP_E_NOMEM, "provider");
    p->fd = ledger_open(s->ledger);
    if (p->fd < 0) {
        free(p);
        return sp_error_set(err, SP_E_INVALID, "ledger: %s cannot be opened", s->ledger);
    }
    p->base = (struct sp_provider){.ops = &ledger_provider, .timeout_ms = 600000};
    p->settings = s;
    *out = &p->base;
    return SP_OK;
}

static enum sp_code ledger_provider_check(struct sp_provider *base, const struct sp_run *run,
                                          struct sp_error *err)
{
    (void)run;
    const struct provider *p = (const struct provider *)base;
    if (access(p->settings->outage, F_OK) == 0)
        return sp_error_set(err, SP_E_UNAVAILABLE, "the ledger's outage is on");
    return SP_OK;
}

static enum sp_code ledger_provider_create(struct sp_provider *base, const struct sp_request *req,
                                           const struct sp_run *run, struct sp_instance **out,
                                           struct sp_error *err)
{
    (void)req;
    enum sp_code rc = ledger_provider_check(base, run, err);
    if (rc)
        return rc;
    struct sp_instance *i = calloc(1, sizeof *i);
    if (!i)
        return sp_error_set(err, SP_E_NOMEM, "instance");
    i->provider = base;
    *out = i;
    return SP_OK;
}

static const char *ending(enum sp_outcome outcome)
{
    switch (outcome) {
    case SP_OUTCOME_CANCELLED:
        return "cancelled";
    case SP_OUTCOME_TIMEOUT:
        return "timeout";
    case SP_OUTCOME_EXITED:
    case SP_OUTCOME_LIMIT:
        break;
    }
    return "exited";
}

/* A ledger that misses a line proves nothing. */
static void note(int fd, const struct ledger_event *event)
{
    if (!ledger_add(fd, event)) {
        perror("chaos: the ledger cannot be written");
        abort();
    }
}

static enum sp_code ledger_provider_execute(struct sp_instance *i, const struct sp_request *req,
                                            const struct sp_run *run, struct sp_result *out,
                                            struct sp_error *err)
{
    int fd = ((const struct provider *)i->provider)->fd;
    struct ledger_event event = {
        .kind = LEDGER_BEGIN, .pid = getpid(), .run = atomic_fetch_add(&runs, 1) + 1};
    snprintf(event.id, sizeof event.id, "%.31s", req->id);
    note(fd, &event);
    out->started = SP_STARTED_YES;
    out->language = "python";
    enum sp_code rc = ledger_words_run(req->code, run, out, err);
    event.kind = LEDGER_END;
    snprintf(event.what, sizeof event.what, "%s", ending(out->outcome));
    note(fd, &event);
    return rc;
}

static enum sp_code ledger_provider_destroy(struct sp_instance *i, const struct sp_run *run,
                                            struct sp_error *err)
{
    (void)run, (void)err;
    free(i);
    return SP_OK;
}

static void ledger_provider_close(struct sp_provider *base)
{
    struct provider *p = (struct provider *)base;
    close(p->fd);
    sp_fields_clear(fields, SP_COUNT(fields), p->settings);
    free(p->settings);
    free(p);
}

static const char *const languages[] = {"python", NULL};
static const char *const tags[] = {"test", NULL};

const struct sp_provider_ops ledger_provider = {
    .name = "ledger",
    .title = "Ledger",
    .description = "Notes every execution; for the chaos cases.",
    .tags = tags,
    .languages = languages,
    .fields = fields,
    .n_fields = SP_COUNT(fields),
    .settings_size = sizeof(struct ledger_settings),
    .open = ledger_provider_open,
    .check = ledger_provider_check,
    .create = ledger_provider_create,
    .execute = ledger_provider_execute,
    .destroy = ledger_provider_destroy,
    .close = ledger_provider_close,
};
