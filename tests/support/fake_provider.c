#include "tests/support/fake_provider.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

struct fake_settings {
    char *fails, *token;
};

struct fake {
    struct sp_provider base;
    struct fake_settings *settings;
};

struct fake_counts fake_counts;
int fake_gate = -1;

static const struct sp_field fields[] = {
    SP_ROW_STR(struct fake_settings, fails, .help = "The step that fails"),
    SP_ROW_STR(struct fake_settings, token, .flags = SP_SECRET, .help = "A secret"),
};

static bool fails(const struct sp_provider *p, const char *step)
{
    const struct fake *fake = (const struct fake *)p;
    return fake->settings->fails && strcmp(fake->settings->fails, step) == 0;
}

static enum sp_code fake_open(void *settings, const struct sp_host *host, struct sp_provider **out,
                              struct sp_error *err)
{
    struct fake *fake = calloc(1, sizeof *fake);
    (void)host;
    fake->base.ops = &fake_provider;
    fake->base.timeout_ms = 60000;
    fake->settings = settings;
    if (fails(&fake->base, "open")) {
        free(fake);
        return sp_error_set(err, SP_E_INVALID, "open broke");
    }
    *out = &fake->base;
    return SP_OK;
}

/* True: cancelled; false: the time is up. */
static bool wait_for_cancel(const struct sp_run *run, int timeout_ms)
{
    struct pollfd cancel = {.fd = run->cancel_fd, .events = POLLIN};
    return poll(&cancel, 1, timeout_ms) > 0;
}

static enum sp_code fake_check(struct sp_provider *p, const struct sp_run *run,
                               struct sp_error *err)
{
    atomic_fetch_add(&fake_counts.checks_begun, 1);
    if (fails(p, "check"))
        return sp_error_set(err, SP_E_UNAVAILABLE, "check broke");
    if (fails(p, "throttle"))
        return sp_error_set(err, SP_E_BUSY, "too many requests");
    if (!fails(p, "hang"))
        return SP_OK;
    if (!wait_for_cancel(run, sp_deadline_left(run->setup_deadline)))
        return sp_error_set(err, SP_E_TIMEOUT, "no answer");
    atomic_fetch_add(&fake_counts.checks_cancelled, 1);
    return sp_error_set(err, SP_E_CANCELLED, "cancelled");
}

static const struct {
    const char *code, *message;
    enum sp_code rc;
} refusals[] = {
    {"away", "nobody there", SP_E_UNAVAILABLE},
    {"busy", "too many requests", SP_E_BUSY},
    {"lacking", "fake has no moon", SP_E_UNSUPPORTED},
};

static enum sp_code fake_create(struct sp_provider *p, const struct sp_request *req,
                                const struct sp_run *run, struct sp_instance **out,
                                struct sp_error *err)
{
    (void)run;
    atomic_fetch_add(&fake_counts.tried, 1);
    if (fails(p, "create"))
        return sp_error_set(err, SP_E_UNAVAILABLE, "create broke");
    for (size_t i = 0; i < SP_COUNT(refusals); i++) {
        if (strcmp(req->code, refusals[i].code) == 0)
            return sp_error_set(err, refusals[i].rc, "%s", refusals[i].message);
    }
    struct sp_instance *instance = calloc(1, sizeof *instance);
    instance->provider = p;
    atomic_fetch_add(&fake_counts.created, 1);
    *out = instance;
    return SP_OK;
}

static void print(struct sp_result *out, const char *text)
{
    out->out.text = sp_strdup(text);
    out->out.len = strlen(text);
    out->out.bytes = (int64_t)out->out.len;
}

static void do_ok(struct sp_instance *i, const struct sp_run *run, struct sp_result *out)
{
    (void)i, (void)run;
    print(out, "done\n");
}

static void do_exit(struct sp_instance *i, const struct sp_run *run, struct sp_result *out)
{
    (void)i, (void)run;
    out->exit_code = 3;
}

static void do_big(struct sp_instance *i, const struct sp_run *run, struct sp_result *out)
{
    (void)i, (void)run;
    out->out.text = malloc(FAKE_BIG_BYTES + 1);
    out->out.len = FAKE_BIG_BYTES;
    out->out.bytes = FAKE_BIG_BYTES;
    snprintf(out->out.text, FAKE_BIG_BYTES + 1, "%0*d", FAKE_BIG_BYTES, 0);
}

static void do_gate(struct sp_instance *i, const struct sp_run *run, struct sp_result *out)
{
    (void)i;
    struct pollfd fds[] = {{.fd = run->cancel_fd, .events = POLLIN},
                           {.fd = fake_gate, .events = POLLIN}};
    int n = poll(fds, SP_COUNT(fds), (int)run->timeout_ms);
    out->outcome = n <= 0           ? SP_OUTCOME_TIMEOUT
                   : fds[0].revents ? SP_OUTCOME_CANCELLED
                                    : SP_OUTCOME_EXITED;
}

static void do_wait(struct sp_instance *i, const struct sp_run *run, struct sp_result *out)
{
    (void)i;
    out->outcome =
        wait_for_cancel(run, (int)run->timeout_ms) ? SP_OUTCOME_CANCELLED : SP_OUTCOME_TIMEOUT;
    out->exit_code = -1;
}

static void do_probe(struct sp_instance *i, const struct sp_run *run, struct sp_result *out)
{
    (void)run;
    const char *value = fails(i->provider, "value") ? "{}" : "{\"ok\": true}";
    print(out, fails(i->provider, "output") ? "nothing\n" : "TEST_PASSED\n");
    out->exit_code = fails(i->provider, "exit") ? 3 : 0;
    out->result_present = true;
    out->result_value = sp_strdup(value);
    out->result_value_len = strlen(value);
}

static const struct {
    const char *code;
    void (*run)(struct sp_instance *i, const struct sp_run *run, struct sp_result *out);
} programs[] = {
    {"ok", do_ok}, {"exit 3", do_exit}, {"big", do_big}, {"wait", do_wait}, {"gate", do_gate},
};

static enum sp_code fake_execute(struct sp_instance *i, const struct sp_request *req,
                                 const struct sp_run *run, struct sp_result *out,
                                 struct sp_error *err)
{
    if (fails(i->provider, "execute"))
        return sp_error_set(err, SP_E_UNAVAILABLE, "execute broke");
    out->started = SP_STARTED_YES;
    out->language = sp_language_name(req->language);
    for (size_t n = 0; n < SP_COUNT(programs); n++) {
        if (strcmp(req->code, programs[n].code) == 0) {
            programs[n].run(i, run, out);
            return SP_OK;
        }
    }
    do_probe(i, run, out);
    return SP_OK;
}

static enum sp_code fake_destroy(struct sp_instance *i, const struct sp_run *run,
                                 struct sp_error *err)
{
    (void)run, (void)err;
    atomic_fetch_add(&fake_counts.destroyed, 1);
    free(i);
    return SP_OK;
}

static void fake_close(struct sp_provider *p)
{
    struct fake *fake = (struct fake *)p;
    atomic_fetch_add(&fake_counts.closed, 1);
    sp_fields_clear(fields, SP_COUNT(fields), fake->settings);
    free(fake->settings);
    free(fake);
}

static const char *const languages[] = {"python", NULL};
static const char *const tags[] = {"test", NULL};

const struct sp_provider_ops fake_provider = {
    .name = "fake",
    .title = "Fake",
    .description = "For tests",
    .tags = tags,
    .languages = languages,
    .fields = fields,
    .n_fields = SP_COUNT(fields),
    .settings_size = sizeof(struct fake_settings),
    .open = fake_open,
    .check = fake_check,
    .create = fake_create,
    .execute = fake_execute,
    .destroy = fake_destroy,
    .close = fake_close,
};
