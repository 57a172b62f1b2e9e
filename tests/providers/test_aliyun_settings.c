/* Where aliyun_codeinterpreter's settings come from, and which hosts they lead to. Hosts are seen
 * at a proxy, which answers nothing. */
#include "tests/providers/agentrun_stage.h"

static bool refuse_all(void *ctx, struct sp_exchange *x)
{
    (void)ctx;
    return sp_exchange_reply(x, 403, NULL, "", 0);
}

static void set_proxy(void)
{
    cr_assert(sp_http_server_start(&stage.server, refuse_all, NULL));
    setenv("https_proxy", stage.server.url, 1);
    setenv("http_proxy", stage.server.url, 1);
    unsetenv("no_proxy");
    stage.limits = (struct sp_limits){.response_bytes = 1 << 20};
    stage.host = (struct sp_host){.worker_id = "test",
                                  .limits = &stage.limits,
                                  .lease_put = put_lease,
                                  .lease_drop = drop_lease,
                                  .lease_list = list_leases};
    stage.run = (struct sp_run){.setup_deadline = sp_deadline_in(LONG_MS),
                                .deadline = SP_NEVER,
                                .teardown_ms = 1000,
                                .cancel_fd = -1};
}

static void clear_proxy(void)
{
    sp_provider_close(stage.provider);
    sp_http_server_stop(&stage.server);
}

TestSuite(aliyun_settings, .init = set_proxy, .fini = clear_proxy);

static enum sp_code open_with(const char *text)
{
    json_auto_t *settings = json_loads(text, 0, NULL);
    cr_assert(settings != NULL, "%s", text);
    return sp_provider_open(&sp_provider_aliyun_codeinterpreter, settings, &stage.host,
                            &stage.provider, &stage.err);
}

#define KEY                                                                                        \
    "\"access_key_id\":\"LTAI-given\",\"access_key_secret\":\"s\",\"account_id\":\"1234567890\""

static const struct {
    const char *settings, *control, *data; /* the parts of the targets that name the hosts */
    const char *service;
} hosts[] = {
    {"{" KEY "}", "agentrun.cn-hangzhou.aliyuncs.com:443",
     "1234567890-ram.agentrun-data.cn-hangzhou.aliyuncs.com:443",
     "https://1234567890-ram.agentrun-data.cn-hangzhou.aliyuncs.com 1234567890"},
    {"{" KEY ",\"region\":\"ap-southeast-1\"}", "agentrun.ap-southeast-1.aliyuncs.com:443",
     "1234567890-ram.agentrun-data.ap-southeast-1.aliyuncs.com:443",
     "https://1234567890-ram.agentrun-data.ap-southeast-1.aliyuncs.com 1234567890"},
    {"{" KEY ",\"control_endpoint\":\"https://agentrun-vpc.cn-hangzhou.aliyuncs.com/\","
     "\"data_endpoint\":\"https://x.agentrun-data.cn-hangzhou.aliyuncs.com:8443//\"}",
     "agentrun-vpc.cn-hangzhou.aliyuncs.com:443",
     "x-ram.agentrun-data.cn-hangzhou.aliyuncs.com:8443",
     "https://x-ram.agentrun-data.cn-hangzhou.aliyuncs.com:8443 1234567890"},
    {"{" KEY ",\"data_endpoint\":\"https://x-ram.agentrun-data.cn-hangzhou.aliyuncs.com\"}", "",
     "x-ram.agentrun-data.cn-hangzhou.aliyuncs.com:443",
     "https://x-ram.agentrun-data.cn-hangzhou.aliyuncs.com 1234567890"},
    {"{" KEY ",\"data_endpoint\":\"https://x.funagent-data-pre.cn-hangzhou.aliyuncs.com\"}", "",
     "x-ram.funagent-data-pre.cn-hangzhou.aliyuncs.com:443",
     "https://x-ram.funagent-data-pre.cn-hangzhou.aliyuncs.com 1234567890"},
    {"{" KEY ",\"control_endpoint\":\"http://proxy.example:81\","
     "\"data_endpoint\":\"http://agentrun-data.example\"}",
     "http://proxy.example:81/2025-09-10/templates?", "http://agentrun-data.example/sandboxes/DEAD",
     "http://agentrun-data.example 1234567890"},
};

SP_TABLE_TEST(aliyun_settings, hosts_follow_region_and_account, hosts, row)
{
    cr_assert(eq(int, open_with(row->settings), SP_OK), "%s", stage.err.msg);
    leave_lease("DEAD", row->service);

    cr_expect(ne(int, sp_provider_check(stage.provider, &stage.run, NULL), SP_OK));
    sp_provider_sweep(stage.provider);

    const struct sp_exchange *control = sp_http_server_request(&stage.server, 0);
    const struct sp_exchange *data = sp_http_server_request(&stage.server, 1);
    cr_assert(control != NULL && data != NULL);
    cr_expect(strncmp(control->target, row->control, strlen(row->control)) == 0, "%s",
              control->target);
    cr_expect(strncmp(data->target, row->data, strlen(row->data)) == 0, "%s", data->target);
}

static const struct {
    const char *name, *settings;
    const char *env[4][2];
    const char *key, *token; /* as sent */
} sources[] = {
    {"settings alone", "{" KEY "}", {{NULL}}, "LTAI-given", ""},
    {"AgentRun's variables come first",
     "{\"account_id\":\"1\"}",
     {{"AGENTRUN_ACCESS_KEY_ID", "LTAI-a"},
      {"AGENTRUN_ACCESS_KEY_SECRET", "a"},
      {"AGENTRUN_SECURITY_TOKEN", "ta"},
      {"ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI-b"}},
     "LTAI-a",
     "ta"},
    {"Alibaba Cloud's, with their token",
     "{\"account_id\":\"1\"}",
     {{"ALIBABA_CLOUD_ACCESS_KEY_ID", "STS.LTAI-b"},
      {"ALIBABA_CLOUD_ACCESS_KEY_SECRET", "b"},
      {"ALIBABA_CLOUD_SECURITY_TOKEN", "tb"}},
     "STS.LTAI-b",
     "tb"},
    {"a platform's token does not fit another key",
     "{" KEY "}",
     {{"ALIBABA_CLOUD_ACCESS_KEY_ID", "STS.LTAI-b"}, {"ALIBABA_CLOUD_SECURITY_TOKEN", "tb"}},
     "LTAI-given",
     ""},
    {"temporary ones, with the token of the environment",
     "{\"access_key_id\":\"STS.given\",\"access_key_secret\":\"s\",\"account_id\":\"1\"}",
     {{"AGENTRUN_SECURITY_TOKEN", "ta"}},
     "STS.given",
     "ta"},
    {"the account too",
     "{\"access_key_id\":\"LTAI-given\",\"access_key_secret\":\"s\"}",
     {{"FC_ACCOUNT_ID", "77"}},
     "LTAI-given",
     ""},
};

SP_TABLE_TEST(aliyun_settings, keys_come_from_settings_or_environment, sources, row)
{
    char header[512], credential[96];
    setenv("AGENTRUN_CONTROL_ENDPOINT", "http://control.example", 1);
    for (size_t i = 0; i < SP_COUNT(row->env) && row->env[i][0]; i++)
        setenv(row->env[i][0], row->env[i][1], 1);

    cr_assert(eq(int, open_with(row->settings), SP_OK), "%s: %s", row->name, stage.err.msg);
    cr_expect(eq(int, sp_provider_check(stage.provider, &stage.run, NULL), SP_E_DENIED));

    const struct sp_exchange *x = sp_http_server_request(&stage.server, 0);
    cr_assert(x != NULL);
    sp_exchange_header(x, "Authorization", header, sizeof(header));
    snprintf(credential, sizeof(credential), "Credential=%s,", row->key);
    cr_expect(strstr(header, credential) != NULL, "%s: %s", row->name, header);
    sp_exchange_header(x, "x-acs-security-token", header, sizeof(header));
    cr_expect(eq(str, header, (char *)(uintptr_t)row->token), "%s", row->name);
}

static const struct {
    const char *settings, *message;
} bad[] = {
    {"{" KEY ",\"data_endpoint\":\"http://h/path\"}", "data_endpoint: must be scheme://host"},
    {"{" KEY ",\"control_endpoint\":\"https://u@h\"}", "control_endpoint: must be scheme://host"},
    {"{" KEY ",\"control_endpoint\":\"https://\"}", "control_endpoint: must be scheme://host"},
};

SP_TABLE_TEST(aliyun_settings, an_endpoint_that_cannot_be_signed_for_does_not_open, bad, row)
{
    cr_expect(eq(int, open_with(row->settings), SP_E_INVALID));

    cr_expect(strncmp(stage.err.msg, row->message, strlen(row->message)) == 0, "%s", stage.err.msg);
}

static const char *const strange[] = {"://.agentrun-data.x", "ftp://x.agentrun-data.y",
                                      "file:///etc/passwd", "https://a\nb", "https://a\\b"};

SP_TABLE_TEST(aliyun_settings, a_strange_endpoint_in_the_environment_does_not_open, strange, text)
{
    setenv("AGENTRUN_DATA_ENDPOINT", *text, 1);

    cr_expect(eq(int, open_with("{" KEY "}"), SP_E_INVALID), "%s", *text);

    cr_expect(strncmp(stage.err.msg, "data_endpoint: must be ", 23) == 0, "%s: %s", *text,
              stage.err.msg);
}

static const struct {
    const char *endpoint, *host;
} ports[] = {
    {"http://control.example:80", "control.example"},
    {"http://control.example:080", "control.example:080"},
    {"http://control.example:443", "control.example:443"},
    {"http://[::1]:80/", "[::1]"},
};

/* The service signs for the host that clients send, who leave the usual port out. */
SP_TABLE_TEST(aliyun_settings, the_usual_port_is_not_part_of_the_host, ports, row)
{
    char header[128];
    setenv("AGENTRUN_CONTROL_ENDPOINT", row->endpoint, 1);
    cr_assert(eq(int, open_with("{" KEY "}"), SP_OK), "%s", stage.err.msg);

    cr_expect(ne(int, sp_provider_check(stage.provider, &stage.run, NULL), SP_OK));

    sp_exchange_header(sp_http_server_request(&stage.server, 0), "Host", header, sizeof(header));
    cr_expect(eq(str, header, (char *)(uintptr_t)row->host));
}

Test(aliyun_settings, another_account_behind_the_same_endpoint_is_not_swept)
{
    cr_assert(eq(int, open_with("{" KEY ",\"data_endpoint\":\"http://proxy.example\"}"), SP_OK));
    leave_lease("DEAD", "http://proxy.example 77");

    sp_provider_sweep(stage.provider);

    cr_expect(zero(int, sp_http_server_requests(&stage.server)));
}

Test(aliyun_settings, a_region_of_the_environment_is_checked)
{
    setenv("AGENTRUN_REGION", "x.example/#", 1);

    cr_expect(eq(int, open_with("{" KEY "}"), SP_E_INVALID));

    cr_expect(strstr(stage.err.msg, "AGENTRUN_REGION: region: must be one of") != NULL, "%s",
              stage.err.msg);
}

Test(aliyun_settings, an_endpoint_in_the_environment_needs_no_scheme)
{
    setenv("AGENTRUN_CONTROL_ENDPOINT", "control.example", 1);
    cr_assert(eq(int, open_with("{" KEY "}"), SP_OK), "%s", stage.err.msg);

    cr_expect(ne(int, sp_provider_check(stage.provider, &stage.run, NULL), SP_OK));

    cr_expect(eq(str, sp_http_server_request(&stage.server, 0)->target, "control.example:443"));
}
