/*
 * The Code Interpreter sandbox of Aliyun AgentRun (references aliyun-agentrun, ragflow 2.2): one
 * sandbox for each run, made from a template and deleted after it.
 */
#include "providers/aliyun_codeinterpreter/aliyun.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "providers/lease.h"
#include "providers/registry.h"
#include "providers/settings_check.h"

#define ALIBABA_KEY_ID "ALIBABA_CLOUD_ACCESS_KEY_ID"
#define ACCOUNT_ENV "AGENTRUN_ACCOUNT_ID FC_ACCOUNT_ID"
#define TOKEN_ENV "AGENTRUN_SECURITY_TOKEN"

static const char *const regions[] = {"cn-hangzhou", "cn-beijing",   "cn-shanghai",
                                      "cn-shenzhen", "cn-guangzhou", "ap-southeast-1",
                                      NULL};

static const struct sp_field fields[] = {
    SP_ROW_STR(struct aliyun_settings, access_key_id, .flags = SP_REQUIRED | SP_NO_DEFAULT,
               .env = "AGENTRUN_ACCESS_KEY_ID " ALIBABA_KEY_ID, .label = "Access Key ID",
               .placeholder = "LTAI5t...",
               .help = "AccessKey ID of a user that may use AgentRun; begins with LTAI"),
    SP_ROW_STR(struct aliyun_settings, access_key_secret,
               .flags = SP_REQUIRED | SP_SECRET | SP_NO_DEFAULT,
               .env = "AGENTRUN_ACCESS_KEY_SECRET ALIBABA_CLOUD_ACCESS_KEY_SECRET",
               .label = "Access Key Secret", .placeholder = "••••••••••••••••",
               .help = "secret of that AccessKey"),
    SP_ROW_STR(struct aliyun_settings, account_id, .flags = SP_REQUIRED | SP_NO_DEFAULT,
               .env = ACCOUNT_ENV, .label = "Account ID", .placeholder = "1234567890...",
               .help = "ID of the main account, digits"),
    SP_ROW_STR(struct aliyun_settings, region, .def_str = "cn-hangzhou",
               .env = "AGENTRUN_REGION FC_REGION", .label = "Region", .options = regions,
               .help = "region of the sandboxes"),
    SP_ROW_STR(struct aliyun_settings, template_name, .label = "Template Name",
               .placeholder = "my-interpreter",
               .help = "template of the sandboxes; empty: ragflow-python-default or "
                       "ragflow-javascript-default, made when missing"),
    SP_ROW_INT(struct aliyun_settings, timeout, SP_RANGE(1, 30), .def_int = 30,
               .label = "Execution Timeout (seconds)",
               .help = "longest run of a program, seconds; the service allows 30"),
    SP_ROW_STR(struct aliyun_settings, security_token, .flags = SP_SECRET | SP_NO_DEFAULT,
               .env = TOKEN_ENV, .label = "Security Token",
               .help = "token that belongs to temporary credentials; empty: none, or "
                       "ALIBABA_CLOUD_SECURITY_TOKEN where the key is that of "
                       "ALIBABA_CLOUD_ACCESS_KEY_ID"),
    SP_ROW_STR(struct aliyun_settings, control_endpoint, .env = "AGENTRUN_CONTROL_ENDPOINT",
               .label = "Control Endpoint",
               .placeholder = "https://agentrun.cn-hangzhou.aliyuncs.com",
               .help = "address for templates; empty: the region's"),
    SP_ROW_STR(struct aliyun_settings, data_endpoint, .env = "AGENTRUN_DATA_ENDPOINT",
               .label = "Data Endpoint",
               .help = "address for sandboxes; empty: made of account and region"),
    SP_ROW_INT(struct aliyun_settings, pool_size, SP_RANGE(0, 100), .def_int = 0,
               .label = "Pool Size", .help = "sandboxes kept ready; 0: each is made for its run"),
};

/* Of the settings, or of the environment where they leave it out; "": of neither. */
static const char *text_or_env(json_t *settings, const char *key, const char *env)
{
    char name[SP_ENV_NAME_MAX];
    const char *text = json_object_get(settings, key) ? NULL : sp_env_first(env, name);

    return text ? text : sp_setting_text(settings, key);
}

/* The key of temporary credentials, which are of no use without their token. */
static bool is_temporary(json_t *settings, const char *key_id)
{
    return strncmp(key_id, "STS.", 4) == 0 && *text_or_env(settings, "security_token", TOKEN_ENV);
}

static enum sp_code check_account(json_t *settings, struct sp_error *err)
{
    const char *key_id = sp_setting_text(settings, "access_key_id");
    const char *account = text_or_env(settings, "account_id", ACCOUNT_ENV);

    if (*key_id && strncmp(key_id, "LTAI", 4) != 0 && !is_temporary(settings, key_id)) {
        return sp_error_set(err, SP_E_INVALID,
                            "access_key_id: Invalid AccessKey ID format, it must begin with LTAI");
    }
    if (!*account)
        return sp_error_set(err, SP_E_INVALID, "account_id: the Account ID is required");
    if (account[strspn(account, "0123456789")])
        return sp_error_set(err, SP_E_INVALID, "account_id: the Account ID has digits only");
    return SP_OK;
}

static enum sp_code check_region(json_t *settings, struct sp_error *err)
{
    const char *region = sp_setting_text(settings, "region");
    if (!*region)
        return SP_OK;
    for (size_t i = 0; regions[i]; i++) {
        if (strcmp(regions[i], region) == 0)
            return SP_OK;
    }
    return sp_error_set(err, SP_E_INVALID,
                        "region: Invalid region \"%.40s\", it must be one of cn-hangzhou, "
                        "cn-beijing, cn-shanghai, cn-shenzhen, cn-guangzhou, ap-southeast-1",
                        region);
}

static enum sp_code validate(json_t *settings, struct sp_error *err)
{
    static const struct sp_setting_range ranges[] = {{"timeout", "Timeout", " seconds"}};

    enum sp_code rc = check_account(settings, err);
    if (!rc)
        rc = check_region(settings, err);
    if (!rc)
        rc = sp_setting_check_ranges(settings, fields, ranges, SP_COUNT(ranges), err);
    if (!rc)
        rc = sp_setting_check_url(settings, "control_endpoint", err);
    if (!rc)
        rc = sp_setting_check_url(settings, "data_endpoint", err);
    return rc;
}

static void aliyun_close(struct sp_provider *p)
{
    struct aliyun *a = (struct aliyun *)p;

    if (!a)
        return;
    sp_warm_pool_free(a->pool);
    sp_templates_free(a->templates);
    sp_agentrun_free(a->service);
    if (a->settings)
        sp_fields_clear(fields, SP_COUNT(fields), a->settings);
    free(a->settings);
    free(a);
}

/* The variable ALIBABA_CLOUD_SECURITY_TOKEN, which platforms set, belongs to one key. */
static const char *token_of(const struct aliyun_settings *s)
{
    const char *key_id = secure_getenv(ALIBABA_KEY_ID);
    bool is_its_key = key_id && strcmp(key_id, s->access_key_id) == 0;

    return *s->security_token || !is_its_key ? s->security_token
                                             : secure_getenv("ALIBABA_CLOUD_SECURITY_TOKEN");
}

static enum sp_code open_pool(struct aliyun *a, int64_t size, struct sp_error *err)
{
    const struct sp_warm_options options = {.ops = &sp_aliyun_warm_ops,
                                            .ctx = a,
                                            .provider = a->base.ops->name,
                                            .size = size,
                                            .max_age_ms = SP_ALIYUN_WARM_MS};
    return sp_warm_pool_new(&options, &a->pool, err);
}

static enum sp_code aliyun_open(void *settings, const struct sp_host *host,
                                struct sp_provider **out, struct sp_error *err)
{
    const struct aliyun_settings *s = settings;
    const struct sp_agentrun_options options = {.key = {.id = s->access_key_id,
                                                        .secret = s->access_key_secret,
                                                        .token = token_of(s),
                                                        .region = s->region},
                                                .account_id = s->account_id,
                                                .control_endpoint = s->control_endpoint,
                                                .data_endpoint = s->data_endpoint};
    struct aliyun *a = calloc(1, sizeof *a);

    if (!a)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    a->base.ops = &sp_provider_aliyun_codeinterpreter;
    a->base.timeout_ms = s->timeout * 1000;
    a->host = host;
    enum sp_code rc = sp_agentrun_new(&options, &a->service, err);
    if (!rc)
        rc = sp_templates_new(a->service, s->template_name, &a->templates, err);
    if (!rc)
        rc = open_pool(a, s->pool_size, err);
    if (rc) {
        aliyun_close(&a->base); /* the settings stay the caller's */
        return rc;
    }
    a->settings = settings;
    *out = &a->base;
    return SP_OK;
}

/* As RAGFlow does, but believing the answer. What may pass is no reason to refuse the settings. */
static enum sp_code aliyun_check(struct sp_provider *p, const struct sp_run *run,
                                 struct sp_error *err)
{
    static const struct sp_aliyun_pair query[] = {{"pageNumber", "1"}, {"pageSize", "10"}};
    sp_auto(sp_agentrun_answer_clear) struct sp_agentrun_answer answer = {0};
    const struct sp_agentrun_time time = {run->setup_deadline, run->cancel_fd};
    const struct sp_agentrun_call call = {.what = "list templates",
                                          .action = "ListTemplates",
                                          .method = "GET",
                                          .path = "/2025-09-10/templates",
                                          .query = query,
                                          .n_query = SP_COUNT(query),
                                          .to_log = true,
                                          .time = &time};

    enum sp_code rc = sp_agentrun_do(((struct aliyun *)p)->service, &call, &answer, err);
    bool may_pass = rc == SP_E_TIMEOUT || (rc == SP_E_INVALID && answer.http.status / 100 == 5);
    return may_pass ? sp_error_wrap(err, SP_E_UNAVAILABLE, "the control plane") : rc;
}

static enum sp_code aliyun_create(struct sp_provider *p, const struct sp_request *req,
                                  const struct sp_run *run, struct sp_instance **out,
                                  struct sp_error *err)
{
    struct aliyun_instance *i = NULL;

    enum sp_code rc = sp_aliyun_make((struct aliyun *)p, req->language, run, &i, err);
    if (!rc)
        *out = &i->base;
    return rc;
}

static enum sp_code end_lease(void *ctx, const struct sp_lease *lease, int64_t deadline,
                              struct sp_error *err)
{
    const struct sp_agentrun_time time = {deadline, -1};

    return sp_sandbox_delete(((struct aliyun *)ctx)->service, lease->id, &time, NULL, err);
}

static void aliyun_sweep(struct sp_provider *p)
{
    struct aliyun *a = (struct aliyun *)p;

    sp_lease_sweep(a->host, p->ops->name, sp_agentrun_address(a->service), end_lease, a);
}

static enum sp_code aliyun_destroy(struct sp_instance *instance, const struct sp_run *run,
                                   struct sp_error *err)
{
    struct aliyun *a = (struct aliyun *)instance->provider;
    enum sp_code rc = sp_aliyun_end(a, instance->id, run, err);
    free(instance);
    return rc;
}

const struct sp_provider_ops sp_provider_aliyun_codeinterpreter = {
    .name = "aliyun_codeinterpreter",
    .title = "Aliyun Code Interpreter",
    .description = "Code Interpreter sandboxes of Aliyun AgentRun, made for each run",
    .tags = (const char *const[]){"saas", "cloud", "scalable", "aliyun", NULL},
    .languages = (const char *const[]){"python", "javascript", NULL},
    .fields = fields,
    .n_fields = SP_COUNT(fields),
    .settings_size = sizeof(struct aliyun_settings),
    .result_in_stdout = true,
    .validate = validate,
    .open = aliyun_open,
    .check = aliyun_check,
    .create = aliyun_create,
    .execute = sp_aliyun_execute,
    .destroy = aliyun_destroy,
    .sweep = aliyun_sweep,
    .close = aliyun_close,
};
