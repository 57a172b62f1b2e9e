/* What sp_provider_* adds around every provider. */
#include "providers/provider.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "providers/registry.h"
#include "tests/support.h"

/* The failures to destroy are told for the log; here they are the fake's only answer. */
static void quiet(void)
{
    sp_log_setup(SP_ERROR, true);
}

TestSuite(provider, .init = quiet);

struct fake_settings {
    char *name, *token;
    int64_t timeout;
};

struct fake {
    struct sp_provider base;
    struct fake_settings *settings;
};

static const struct sp_field fields[] = {
    SP_ROW_STR(struct fake_settings, name, .help = "a name"),
    SP_ROW_STR(struct fake_settings, token, .flags = SP_SECRET, .help = "a secret"),
    SP_ROW_INT(struct fake_settings, timeout, SP_RANGE(1, 60), .def_int = 30, .help = "seconds"),
};

/* What the fake does and has seen. */
static struct {
    int64_t seen_timeout_ms, says_execution_us;
    enum sp_code rc;
    enum sp_started started;
    const char *value;
    int closed, destroyed, swept, validated;
    char token[32];
} fake;

static enum sp_code fake_validate(json_t *settings, struct sp_error *err)
{
    fake.validated++;
    if (json_object_get(settings, "bad"))
        return sp_error_set(err, SP_E_INVALID, "bad: Account ID");
    return SP_OK;
}

static struct sp_provider_ops ops;

static enum sp_code fake_open(void *settings, const struct sp_host *host, struct sp_provider **out,
                              struct sp_error *err)
{
    (void)host;
    struct fake_settings *s = settings;
    if (strcmp(s->name, "refuse") == 0)
        return sp_error_set(err, SP_E_INVALID, "name: refused");
    struct fake *p = calloc(1, sizeof(*p));
    snprintf(fake.token, sizeof(fake.token), "%s", s->token);
    p->settings = s;
    p->base.ops = &ops;
    p->base.timeout_ms = s->timeout * 1000;
    *out = &p->base;
    return SP_OK;
}

static enum sp_code fake_create(struct sp_provider *p, const struct sp_request *req,
                                const struct sp_run *run, struct sp_instance **out,
                                struct sp_error *err)
{
    (void)req, (void)run;
    if (fake.rc)
        return sp_error_set(err, fake.rc, "as told");
    *out = calloc(1, sizeof(**out));
    (*out)->provider = p;
    snprintf((*out)->id, sizeof((*out)->id), "instance-1");
    return SP_OK;
}

static enum sp_code fake_execute(struct sp_instance *i, const struct sp_request *req,
                                 const struct sp_run *run, struct sp_result *out,
                                 struct sp_error *err)
{
    (void)i, (void)req;
    fake.seen_timeout_ms = run->timeout_ms;
    out->started = fake.started;
    out->execution_us = fake.says_execution_us;
    out->exit_code = 3;
    if (fake.value) {
        out->result_value = sp_strdup(fake.value);
        out->result_value_len = strlen(fake.value);
        out->result_present = true;
    }
    return fake.rc ? sp_error_set(err, fake.rc, "as told") : SP_OK;
}

static enum sp_code fake_destroy(struct sp_instance *i, const struct sp_run *run,
                                 struct sp_error *err)
{
    (void)run;
    fake.destroyed++;
    free(i);
    return sp_error_set(err, SP_E_UNAVAILABLE, "a failure that is only logged");
}

static void fake_sweep(struct sp_provider *p)
{
    (void)p;
    fake.swept++;
}

static void fake_close(struct sp_provider *p)
{
    struct fake *self = (struct fake *)p;
    sp_fields_clear(fields, SP_COUNT(fields), self->settings);
    free(self->settings);
    free(self);
    fake.closed++;
}

static struct sp_provider_ops ops = {
    .name = "fake",
    .fields = fields,
    .n_fields = SP_COUNT(fields),
    .settings_size = sizeof(struct fake_settings),
    .validate = fake_validate,
    .open = fake_open,
    .create = fake_create,
    .execute = fake_execute,
    .destroy = fake_destroy,
    .sweep = fake_sweep,
    .close = fake_close,
};

static struct sp_provider *open_fake(const char *settings)
{
    struct sp_provider *p = NULL;
    struct sp_error err = {0};
    json_auto_t *obj = json_loads(settings, 0, NULL);
    cr_assert(eq(int, sp_provider_open(&ops, obj, NULL, &p, &err), SP_OK), "%s", err.msg);
    return p;
}

static const struct {
    const char *settings, *message;
} bad_settings[] = {
    {"{\"timeout\":0}", "timeout: 0 is out of range"},
    {"{\"unknown\":1}", "unknown: unknown setting"},
    {"{\"token\":\"env:SP_TEST_NOT_SET\"}", "token: environment variable SP_TEST_NOT_SET"},
    {"{\"name\":\"refuse\"}", "name: refused"},
    /* the provider's own checks come before the fields' */
    {"{\"bad\":1,\"timeout\":0}", "bad: Account ID"},
};

SP_TABLE_TEST(provider, settings_that_cannot_be_opened_are_named, bad_settings, row)
{
    json_auto_t *obj = json_loads(row->settings, 0, NULL);
    struct sp_provider *p = NULL;
    struct sp_error err = {0};

    enum sp_code rc = sp_provider_open(&ops, obj, NULL, &p, &err);

    cr_expect(eq(int, rc, SP_E_INVALID), "%s", row->settings);
    cr_expect(strncmp(err.msg, row->message, strlen(row->message)) == 0, "%s", err.msg);
    cr_expect(p == NULL);
}

Test(provider, references_are_resolved_at_open_and_not_needed_to_validate)
{
    json_auto_t *obj = json_pack("{s:s}", "token", "env:SP_TEST_TOKEN");
    struct sp_error err = {0};
    cr_assert(eq(int, sp_provider_validate(&ops, obj, &err), SP_OK), "%s", err.msg);
    setenv("SP_TEST_TOKEN", "hidden", 1);

    sp_auto(sp_provider_close) struct sp_provider *p =
        open_fake("{\"token\":\"env:SP_TEST_TOKEN\"}");

    cr_expect(eq(str, fake.token, "hidden"));
    cr_expect(
        eq(str, (char *)json_string_value(json_object_get(obj, "token")), "env:SP_TEST_TOKEN"));
    cr_expect(p->timeout_ms == 30000);
}

static const struct {
    int64_t asked, effective;
} timeouts[] = {{0, 20000}, {5000, 5000}, {20000, 20000}, {60000, 20000}};

SP_TABLE_TEST(provider, a_time_out_is_clamped_to_the_providers, timeouts, row)
{
    sp_auto(sp_provider_close) struct sp_provider *p = open_fake("{\"timeout\":20}");
    sp_auto(sp_result_clear) struct sp_result r = {0};
    const struct sp_run run = {.timeout_ms = row->asked, .cancel_fd = -1};
    struct sp_request req = {0};
    struct sp_instance *i = NULL;
    cr_assert(eq(int, sp_provider_create(p, &req, &run, &i, NULL), SP_OK));

    cr_assert(eq(int, sp_provider_execute(i, &req, &run, &r, NULL), SP_OK));
    sp_provider_destroy(i, &run);

    cr_expect(eq(i64, fake.seen_timeout_ms, row->effective));
    cr_expect(eq(i64, r.timeout_ms, row->effective));
    cr_expect(eq(int, r.exit_code, 3));
    cr_expect(eq(str, r.instance_id, "instance-1"));
    cr_expect(eq(int, fake.destroyed, 1));
}

static const struct {
    enum sp_started started;
    int64_t says;
    enum { ZERO, SAME, MEASURED } want;
} times[] = {
    {SP_STARTED_NO, 0, ZERO},
    {SP_STARTED_YES, 1234, SAME},
    {SP_STARTED_YES, 0, MEASURED},
    {SP_STARTED_MAYBE, 0, MEASURED},
};

SP_TABLE_TEST(provider, the_program_is_timed_when_it_started, times, row)
{
    sp_auto(sp_provider_close) struct sp_provider *p = open_fake("{}");
    sp_auto(sp_result_clear) struct sp_result r = {0};
    const struct sp_run run = {.timeout_ms = 1000, .cancel_fd = -1};
    struct sp_request req = {0};
    struct sp_instance *i = NULL;
    cr_assert(eq(int, sp_provider_create(p, &req, &run, &i, NULL), SP_OK));
    fake.started = row->started;
    fake.says_execution_us = row->says;

    cr_assert(eq(int, sp_provider_execute(i, &req, &run, &r, NULL), SP_OK));
    sp_provider_destroy(i, &run);

    cr_expect(row->want != ZERO || r.execution_us == 0);
    cr_expect(row->want != SAME || r.execution_us == 1234);
    cr_expect(row->want != MEASURED || (r.execution_us >= 0 && r.execution_us < 1000000));
}

static const struct {
    bool by_default;
    int option;
    const char *value, *out;
} echoes[] = {
    {false, SP_UNSET, "1", NULL}, {true, SP_UNSET, "1", "1\n"}, {false, SP_YES, "1", "1\n"},
    {true, SP_NO, "1", NULL},     {true, SP_UNSET, NULL, NULL},
};

SP_TABLE_TEST(provider, the_value_is_echoed_by_option_or_default, echoes, row)
{
    ops.result_in_stdout = row->by_default;
    sp_auto(sp_provider_close) struct sp_provider *p = open_fake("{}");
    sp_auto(sp_result_clear) struct sp_result r = {0};
    const struct sp_run run = {.timeout_ms = 1000, .cancel_fd = -1};
    struct sp_request req = {0};
    struct sp_instance *i = NULL;
    if (row->option == SP_YES)
        req.result_in_stdout = SP_YES;
    if (row->option == SP_NO)
        req.result_in_stdout = SP_NO;
    cr_assert(eq(int, sp_provider_create(p, &req, &run, &i, NULL), SP_OK));
    fake.value = row->value;

    cr_assert(eq(int, sp_provider_execute(i, &req, &run, &r, NULL), SP_OK));
    sp_provider_destroy(i, &run);

    cr_expect(eq(int, r.out.text == NULL, row->out == NULL));
    if (row->out && r.out.text)
        cr_expect(eq(str, r.out.text, (char *)row->out));
}

Test(provider, failures_pass_through)
{
    sp_auto(sp_provider_close) struct sp_provider *p = open_fake("{}");
    const struct sp_run run = {.timeout_ms = 1000, .cancel_fd = -1};
    struct sp_request req = {0};
    struct sp_instance *i = NULL;
    struct sp_error err = {0};
    fake.rc = SP_E_UNAVAILABLE;

    cr_expect(eq(int, sp_provider_create(p, &req, &run, &i, &err), SP_E_UNAVAILABLE));
    cr_expect(eq(str, err.msg, "as told"));
    cr_expect(
        eq(int,
           sp_provider_check(
               p, &(struct sp_run){.setup_deadline = sp_deadline_in(5000), .cancel_fd = -1}, &err),
           SP_OK)); /* there is none */
    sp_provider_sweep(p);
    cr_expect(eq(int, fake.swept, 1));
    sp_provider_destroy(NULL, &run);
    cr_expect(eq(int, fake.destroyed, 0));
}

/* The reason may quote a user's program: it goes into the reply, never into the log. */
Test(provider, the_reason_of_a_failed_step_is_not_logged)
{
    sp_auto(sp_provider_close) struct sp_provider *p =
        open_fake("{\"name\":\"n\",\"token\":\"t\"}");
    struct sp_request req = {0};
    struct sp_run run = {.timeout_ms = 1000, .cancel_fd = -1};
    struct sp_instance *i = NULL;
    sp_auto(sp_result_clear) struct sp_result out = {0};
    struct sp_error err = {0};
    char text[4096] = "";
    int ends[2];
    cr_assert(zero(int, pipe(ends)));
    int before = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    sp_log_setup(SP_DEBUG, true);

    cr_assert(eq(int, sp_provider_create(p, &req, &run, &i, &err), SP_OK));
    fake.rc = SP_E_BUSY;
    cr_expect(eq(int, sp_provider_execute(i, &req, &run, &out, &err), SP_E_BUSY));
    cr_expect(eq(int, sp_provider_create(p, &req, &run, &i, &err), SP_E_BUSY));

    dup2(before, STDERR_FILENO);
    close(ends[1]);
    cr_assert(ge(int, (int)read(ends[0], text, sizeof(text) - 1), 1));
    cr_expect(strstr(text, "\"code\":\"busy\"") != NULL, "%s", text);
    cr_expect(eq(ptr, strstr(text, "as told"), NULL), "%s", text);
    sp_provider_destroy(i, &run);
}
