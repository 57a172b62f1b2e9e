#include "tests/support/aliyun_stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "providers/registry.h"
#include "tests/support.h"

enum { START_MS = 20000, ANSWER_MS = 20000, WORDS = 24 };

json_t *aliyun_stage_settings(const struct aliyun_stage *s, const char *more)
{
    char text[512], url[64];

    snprintf(text, sizeof text, "{%s}", more);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", s->port);
    json_auto_t *given = json_loads(text, 0, NULL);
    cr_assert(given != NULL, "%s", text);
    json_t *settings = json_pack("{s:s, s:s, s:s, s:s, s:s}", "access_key_id", ALIYUN_KEY_ID,
                                 "access_key_secret", ALIYUN_SECRET, "account_id",
                                 "1234567890123456", "control_endpoint", url, "data_endpoint", url);
    json_object_update(settings, given);
    return settings;
}

void aliyun_stage_open(struct aliyun_stage *s, const char *more)
{
    json_auto_t *settings = aliyun_stage_settings(s, more);

    sp_provider_close(s->provider);
    s->provider = NULL;
    enum sp_code rc = sp_provider_open(sp_registry_find("aliyun_codeinterpreter"), settings,
                                       &s->host, &s->provider, &s->err);
    cr_assert(eq(int, rc, SP_OK), "%s", s->err.msg);
}

void aliyun_stage_start(struct aliyun_stage *s, const char *const *options, const char *more)
{
    const char *argv[WORDS] = {SYSTEM_PYTHON, "-E", "-B", AGENTRUN_PY};

    for (size_t n = 4; options && *options && n < WORDS - 1; options++)
        argv[n++] = *options;
    sp_process_start(&s->process, argv);
    char *line = sp_process_line(&s->process, START_MS);
    cr_assert(sscanf(line, "ready %d", &s->port) == 1, "%s", line);
    free(line);
    s->limits = sp_usual_limits;
    test_leases_init(&s->leases);
    s->host = (struct sp_host){.worker_id = "test", .limits = &s->limits};
    test_leases_use(&s->leases, &s->host);
    aliyun_stage_open(s, more);
}

void aliyun_stage_stop(struct aliyun_stage *s)
{
    aliyun_stage_destroy(s);
    json_auto_t *seen = aliyun_stage_tell(s, "{}");
    json_t *wrong = json_object_get(seen, "violations");
    char *text = json_dumps(wrong, JSON_INDENT(1));

    cr_expect(zero(sz, json_array_size(wrong)), "%s", text);
    cr_expect(zero(sz, json_array_size(json_object_get(seen, "alive"))), "a sandbox lives on");
    cr_expect(zero(int, test_leases_count(&s->leases)), "a lease is left");
    free(text);
    sp_result_clear(&s->result);
    sp_provider_close(s->provider);
    s->provider = NULL;
    test_leases_clear(&s->leases);
    sp_process_stop(&s->process);
}

enum sp_code aliyun_stage_check(struct aliyun_stage *s)
{
    s->err = (struct sp_error){0};
    return sp_provider_job_check(s->provider, &s->err);
}

enum sp_code aliyun_stage_create(struct aliyun_stage *s, const struct sp_provider_job *job)
{
    struct sp_run run = sp_provider_job_limits(job);
    struct sp_request req = sp_provider_job_request(job);

    s->err = (struct sp_error){0};
    return sp_provider_create(s->provider, &req, &run, &s->instance, &s->err);
}

enum sp_code aliyun_stage_execute(struct aliyun_stage *s, const struct sp_provider_job *job)
{
    struct sp_run run = sp_provider_job_limits(job);
    struct sp_request req = sp_provider_job_request(job);

    sp_result_clear(&s->result);
    s->err = (struct sp_error){0};
    return sp_provider_execute(s->instance, &req, &run, &s->result, &s->err);
}

void aliyun_stage_destroy(struct aliyun_stage *s)
{
    struct sp_run run = sp_provider_job_limits(&(struct sp_provider_job){0});

    sp_provider_destroy(s->instance, &run);
    s->instance = NULL;
}

enum sp_code aliyun_stage_run(struct aliyun_stage *s, const struct sp_provider_job *job)
{
    int64_t began = sp_mono_ms();

    sp_result_clear(&s->result);
    s->err = (struct sp_error){0};
    enum sp_code rc = sp_provider_job_run(s->provider, job, &s->result, &s->err);
    s->took_ms = sp_mono_ms() - began;
    return rc;
}

void aliyun_stage_run_well(struct aliyun_stage *s, const struct sp_provider_job *job)
{
    enum sp_code rc = aliyun_stage_run(s, job);

    cr_assert(eq(int, rc, SP_OK), "%s", s->err.msg);
    cr_assert(s->result.outcome == SP_OUTCOME_EXITED && s->result.exit_code == 0, "exit %d: %s",
              s->result.exit_code, sp_provider_job_err(&s->result));
}

void aliyun_stage_sweep(struct aliyun_stage *s)
{
    test_leases_expire(&s->leases);
    sp_provider_sweep(s->provider);
}

json_t *aliyun_stage_tell(struct aliyun_stage *s, const char *command)
{
    return sp_process_ask(&s->process, command, ANSWER_MS);
}

void aliyun_stage_do(struct aliyun_stage *s, const char *command)
{
    json_decref(aliyun_stage_tell(s, command));
}

int aliyun_stage_count(struct aliyun_stage *s, const char *name)
{
    json_auto_t *seen = aliyun_stage_tell(s, "{}");
    return (int)json_integer_value(json_object_get(seen, name));
}

int aliyun_stage_calls(struct aliyun_stage *s, const char *operation)
{
    json_auto_t *seen = aliyun_stage_tell(s, "{}");
    return (int)json_integer_value(json_object_get(json_object_get(seen, "calls"), operation));
}

int aliyun_stage_alive(struct aliyun_stage *s)
{
    json_auto_t *seen = aliyun_stage_tell(s, "{}");
    return (int)json_array_size(json_object_get(seen, "alive"));
}
