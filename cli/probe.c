/* The steps of a connection test: open, check, create, execute, result; destroy always. */
#include "cli/probe.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

#define PROGRAM_MS 10000
#define SETUP_MS 60000
#define TEARDOWN_MS 10000
#define SHOWN 200 /* characters of each stream in the message */

static const char program[] = "import json\n"
                              "import math\n"
                              "\n"
                              "\n"
                              "def main():\n"
                              "    print(\"sum:\", sum(range(10)))\n"
                              "    print(json.dumps({\"probe\": True}))\n"
                              "    print(\"sqrt:\", math.sqrt(16))\n"
                              "    print(\"TEST_PASSED\")\n"
                              "    return {\"ok\": True}\n";

/* The probe under way. */
struct attempt {
    const struct sp_provider_ops *ops;
    json_t *settings;
    const struct sp_host *host;
    struct sp_request req;
    struct sp_run run;
    struct sp_provider *provider;
    struct sp_instance *instance;
    struct sp_probe *out;
};

static enum sp_code step_open(struct attempt *a)
{
    return sp_provider_open(a->ops, a->settings, a->host, &a->provider, &a->out->error);
}

/* A person waits for this one, and it waits for no instance. */
static enum sp_code step_check(struct attempt *a)
{
    struct sp_run run = a->run;
    run.setup_deadline = sp_deadline_in(SP_CHECK_MS);
    return sp_provider_check(a->provider, &run, &a->out->error);
}

static enum sp_code step_create(struct attempt *a)
{
    a->run.setup_deadline = sp_deadline_in(SETUP_MS);
    return sp_provider_create(a->provider, &a->req, &a->run, &a->instance, &a->out->error);
}

static enum sp_code step_execute(struct attempt *a)
{
    return sp_provider_execute(a->instance, &a->req, &a->run, &a->out->result, &a->out->error);
}

/* The value is looked at, too: a provider that loses it would fail every program with a main. */
static bool value_is_right(const struct sp_result *result)
{
    if (!result->result_present || !result->result_value)
        return false;
    json_auto_t *value =
        json_loadb(result->result_value, result->result_value_len, JSON_DECODE_ANY, NULL);
    return json_is_true(json_object_get(value, "ok"));
}

static enum sp_code step_result(struct attempt *a)
{
    const struct sp_result *result = &a->out->result;
    struct sp_error *err = &a->out->error;
    if (result->outcome == SP_OUTCOME_TIMEOUT) {
        return sp_error_set(err, SP_E_TIMEOUT, "the program did not end within %d s",
                            PROGRAM_MS / 1000);
    }
    if (result->outcome == SP_OUTCOME_LIMIT)
        return sp_error_set(err, SP_E_LIMIT, "the limit of %s ended the program", result->limit);
    if (result->exit_code != 0) {
        return sp_error_set(err, SP_E_INVALID, "the program ended with exit code %d",
                            result->exit_code);
    }
    if (!result->out.text || !strstr(result->out.text, "TEST_PASSED"))
        return sp_error_set(err, SP_E_INVALID, "TEST_PASSED is missing in the output");
    if (!value_is_right(result))
        return sp_error_set(err, SP_E_INVALID, "the value that main returned was lost");
    return SP_OK;
}

static const struct {
    const char *name;
    enum sp_code (*take)(struct attempt *a);
} steps[] = {
    {"open", step_open},       {"check", step_check},   {"create", step_create},
    {"execute", step_execute}, {"result", step_result},
};

static void take_steps(struct attempt *a, const struct sp_probe_watch *watch)
{
    for (size_t i = 0; i < SP_COUNT(steps); i++) {
        int64_t begun = sp_mono_ms();
        enum sp_code rc = steps[i].take(a);
        watch->step(watch->ctx, steps[i].name, sp_mono_ms() - begun, rc ? &a->out->error : NULL);
        if (rc) {
            a->out->step = steps[i].name;
            return;
        }
    }
}

bool sp_probe_run(const struct sp_provider_ops *ops, json_t *settings, const struct sp_host *host,
                  const struct sp_probe_watch *watch, struct sp_probe *out)
{
    char id[] = "settings-test";
    char code[sizeof(program)];
    memcpy(code, program, sizeof(program));
    *out = (struct sp_probe){0};
    struct attempt a = {
        .ops = ops,
        .settings = settings,
        .host = host,
        .req = {.id = id, .language = SP_PYTHON, .code = code, .code_len = sizeof(code) - 1},
        .run = {.deadline = SP_NEVER,
                .timeout_ms = PROGRAM_MS,
                .teardown_ms = TEARDOWN_MS,
                .cancel_fd = -1},
        .out = out,
    };
    take_steps(&a, watch);
    if (a.instance)
        sp_provider_destroy(a.instance, &a.run);
    if (a.provider)
        sp_provider_close(a.provider);
    return !out->step;
}

static void add_stream(struct sp_buf *out, const char *name, const struct sp_stream *stream)
{
    if (stream->len == 0)
        return;
    size_t shown = stream->len > SHOWN ? sp_utf8_floor(stream->text, SHOWN) : stream->len;
    (void)sp_buf_addf(out, " | %s: ", name);
    (void)sp_buf_add(out, stream->text, shown);
    (void)sp_buf_adds(out, shown < stream->len ? "..." : "");
}

static void write_message(const struct sp_probe *probe, struct sp_buf *out)
{
    const struct sp_result *result = &probe->result;
    if (probe->step) {
        (void)sp_buf_addf(out, "FAILED at %s: %s", probe->step, probe->error.msg);
    } else {
        (void)sp_buf_adds(out, "PASSED");
    }
    if (result->started != SP_STARTED_YES)
        return;
    (void)sp_buf_addf(out, " | exit code: %d | time: %.2f s", result->exit_code,
                      (double)result->execution_us / 1e6);
    add_stream(out, "stdout", &result->out);
    add_stream(out, "stderr", &result->err);
}

static json_t *text_of(const struct sp_stream *stream)
{
    return json_stringn(stream->len ? stream->text : "", stream->len);
}

json_t *sp_probe_json(const struct sp_provider_ops *ops, const struct sp_probe *probe)
{
    sp_auto(sp_buf_clear) struct sp_buf message = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    const struct sp_result *result = &probe->result;
    bool ran = result->started == SP_STARTED_YES;
    write_message(probe, &message);
    return json_pack("{s:b, s:s, s:s, s:s?, s:{s:i, s:f, s:o, s:o}}", "success", !probe->step,
                     "message", sp_buf_str(&message), "provider_type", ops->name, "failed_step",
                     probe->step, "details", "exit_code", ran ? result->exit_code : -1,
                     "execution_time", (double)result->execution_us / 1e6, "stdout",
                     text_of(&result->out), "stderr", text_of(&result->err));
}
