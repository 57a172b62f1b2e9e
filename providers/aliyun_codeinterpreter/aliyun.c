/* The Code Interpreter sandbox of Aliyun AgentRun (reference aliyun-agentrun): settings only. */
#include <stdlib.h>
#include <string.h>

#include "providers/registry.h"
#include "providers/settings_check.h"

struct aliyun_settings {
    char *access_key_id, *access_key_secret, *account_id, *region, *template_name;
    int64_t timeout;
    char *security_token, *control_endpoint, *data_endpoint;
    int64_t pool_size;
};

#define ACCOUNT_ENV "AGENTRUN_ACCOUNT_ID"

static const char *const regions[] = {"cn-hangzhou", "cn-beijing",   "cn-shanghai",
                                      "cn-shenzhen", "cn-guangzhou", NULL};

static const struct sp_field fields[] = {
    SP_ROW_STR(struct aliyun_settings, access_key_id, .flags = SP_REQUIRED | SP_NO_DEFAULT,
               .env = "AGENTRUN_ACCESS_KEY_ID", .label = "Access Key ID",
               .placeholder = "LTAI5t...",
               .help = "AccessKey ID of a user that may use AgentRun; begins with LTAI"),
    SP_ROW_STR(struct aliyun_settings, access_key_secret,
               .flags = SP_REQUIRED | SP_SECRET | SP_NO_DEFAULT,
               .env = "AGENTRUN_ACCESS_KEY_SECRET", .label = "Access Key Secret",
               .placeholder = "••••••••••••••••", .help = "secret of that AccessKey"),
    SP_ROW_STR(struct aliyun_settings, account_id, .flags = SP_REQUIRED | SP_NO_DEFAULT,
               .env = ACCOUNT_ENV, .label = "Account ID", .placeholder = "1234567890...",
               .help = "ID of the main account, digits"),
    SP_ROW_STR(struct aliyun_settings, region, .def_str = "cn-hangzhou", .env = "AGENTRUN_REGION",
               .label = "Region", .options = regions, .help = "region of the sandboxes"),
    SP_ROW_STR(struct aliyun_settings, template_name, .label = "Template Name",
               .placeholder = "my-interpreter",
               .help = "template of the sandboxes; empty: ragflow-python-default or "
                       "ragflow-javascript-default, made when missing"),
    SP_ROW_INT(struct aliyun_settings, timeout, SP_RANGE(1, 30), .def_int = 30,
               .label = "Execution Timeout (seconds)",
               .help = "longest run of a program, seconds; the service allows 30"),
    SP_ROW_STR(struct aliyun_settings, security_token, .flags = SP_SECRET | SP_NO_DEFAULT,
               .env = "AGENTRUN_SECURITY_TOKEN", .label = "Security Token",
               .help = "token that belongs to temporary credentials; empty: none"),
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

static enum sp_code check_account(json_t *settings, struct sp_error *err)
{
    const char *key_id = sp_setting_text(settings, "access_key_id");
    const char *account = sp_setting_text(settings, "account_id");

    if (*key_id && strncmp(key_id, "LTAI", 4) != 0) {
        return sp_error_set(err, SP_E_INVALID,
                            "access_key_id: Invalid AccessKey ID format, it must begin with LTAI");
    }
    if (!*account && !json_object_get(settings, "account_id"))
        account = secure_getenv(ACCOUNT_ENV);
    if (!account || !*account)
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
                        "cn-beijing, cn-shanghai, cn-shenzhen, cn-guangzhou",
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
};
