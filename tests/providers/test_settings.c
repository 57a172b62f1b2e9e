/* The settings of the providers: what is accepted, what is refused and in which words. */
#include <stdlib.h>
#include <string.h>

#include "providers/registry.h"
#include "tests/support.h"

#define ALIYUN "\"access_key_id\":\"LTAI5tx\",\"access_key_secret\":\"s\",\"account_id\":\"12345\""
#define SSH "\"host\":\"h\",\"username\":\"u\",\"password\":\"p\""
#define FINGERPRINT "SHA256:ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmno12"

static const struct {
    const char *provider, *settings;
} good[] = {
    {"self_managed", "{}"},
    {"self_managed", "{\"endpoint\":\"https://h:9385/\",\"timeout\":5,\"max_retries\":0,"
                     "\"pool_size\":100,\"api_token\":\"file:/run/token\"}"},
    {"aliyun_codeinterpreter", "{" ALIYUN "}"},
    {"aliyun_codeinterpreter", "{" ALIYUN ",\"region\":\"cn-beijing\",\"timeout\":1,"
                               "\"data_endpoint\":\"http://127.0.0.1:1\",\"pool_size\":0}"},
    {"aliyun_codeinterpreter", "{" ALIYUN ",\"region\":\"\"}"},
    {"aliyun_codeinterpreter",
     "{\"access_key_id\":\"STS.x\",\"access_key_secret\":\"s\",\"security_token\":\"t\","
     "\"account_id\":\"1\"}"},
    {"e2b", "{\"api_key\":\"k\"}"},
    {"e2b", "{\"api_key\":\"env:KEY\",\"mode\":\"kernel\",\"domain\":\"e2b.example.org\","
            "\"allow_internet\":false,\"timeout\":300}"},
    {"ssh", "{" SSH "}"},
    {"ssh",
     "{" SSH ",\"port\":2222,\"max_artifacts\":0,\"host_key_fingerprint\":\"" FINGERPRINT "\"}"},
    {"ssh", "{\"host\":\"h\",\"username\":\"u\",\"private_key\":\"/etc/key\"}"},
};

SP_TABLE_TEST(settings, what_is_right_is_accepted, good, row)
{
    json_auto_t *obj = json_loads(row->settings, 0, NULL);
    struct sp_error err = {0};

    enum sp_code rc = sp_provider_validate(sp_registry_find(row->provider), obj, &err);

    cr_expect(eq(int, rc, SP_OK), "%s: %s", row->provider, err.msg);
}

static const struct {
    const char *provider, *settings, *message;
} bad[] = {
    {"self_managed", "{\"endpoint\":\"ftp://h\"}", "endpoint: Invalid endpoint format \"ftp://h\""},
    {"self_managed", "{\"endpoint\":\"\"}", "endpoint: required"},
    {"self_managed", "{\"executor_manager_pool_size\":0,\"timeout\":1}",
     "executor_manager_pool_size: Pool size must be between 1 and 100"},
    {"self_managed", "{\"timeout\":4,\"max_retries\":11}",
     "timeout: Timeout must be between 5 and 300 seconds"},
    {"self_managed", "{\"timeout\":301}", "timeout: Timeout must be between 5 and 300 seconds"},
    {"self_managed", "{\"max_retries\":11}", "max_retries: Max retries must be between 0 and 10"},
    {"self_managed", "{\"timeout\":\"30\"}", "timeout: expected an integer"},
    {"self_managed", "{\"region\":\"x\"}", "region: unknown setting"},
    {"aliyun_codeinterpreter", "{}", "account_id: the Account ID is required"},
    {"aliyun_codeinterpreter", "{\"access_key_id\":\"AKIA\"}",
     "access_key_id: Invalid AccessKey ID format"},
    {"aliyun_codeinterpreter", "{\"access_key_id\":\"LTAIx\",\"account_id\":\"\"}",
     "account_id: the Account ID is required"},
    {"aliyun_codeinterpreter", "{\"account_id\":\"a.example/\"}", "account_id: the Account ID"},
    {"aliyun_codeinterpreter", "{" ALIYUN ",\"region\":\"us\",\"timeout\":31}",
     "region: Invalid region \"us\", it must be one of cn-hangzhou, cn-beijing"},
    {"aliyun_codeinterpreter", "{" ALIYUN ",\"timeout\":31}",
     "timeout: Timeout must be between 1 and 30 seconds"},
    {"aliyun_codeinterpreter", "{" ALIYUN ",\"timeout\":0}",
     "timeout: Timeout must be between 1 and 30 seconds"},
    {"aliyun_codeinterpreter", "{\"access_key_id\":\"LTAIx\",\"account_id\":\"1\"}",
     "access_key_secret: required"},
    {"aliyun_codeinterpreter", "{" ALIYUN ",\"data_endpoint\":\"h\"}",
     "data_endpoint: Invalid endpoint format"},
    {"e2b", "{}", "api_key: required"},
    {"e2b", "{\"api_key\":\"\"}", "api_key: required"},
    {"e2b", "{\"api_key\":\"k\",\"timeout\":4}", "timeout: 4 is out of range"},
    {"e2b", "{\"api_key\":\"k\",\"mode\":\"vm\"}", "mode: must be one of process, kernel"},
    {"e2b", "{\"api_key\":\"k\",\"domain\":\"a/b\"}", "domain: must be a plain host name"},
    {"e2b", "{\"api_key\":\"k\",\"api_url\":\"a\"}", "api_url: Invalid endpoint format"},
    {"ssh", "{}", "host: required"},
    {"ssh", "{\"host\":\"h\"}", "username: required"},
    {"ssh", "{\"host\":\"h\",\"username\":\"u\",\"python_bin\":\"\"}",
     "password: a password or a private_key is required"},
    {"ssh", "{" SSH ",\"python_bin\":\"\",\"port\":0}", "python_bin: must not be empty"},
    {"ssh", "{" SSH ",\"node_bin\":\"\",\"port\":0}", "node_bin: must not be empty"},
    {"ssh", "{" SSH ",\"port\":0,\"timeout\":0}", "port: SSH port must be between 1 and 65535"},
    {"ssh", "{" SSH ",\"port\":\"22\"}", "port: expected an integer"},
    {"ssh", "{" SSH ",\"work_dir\":\"\"}", "work_dir: must not be empty"},
    {"ssh", "{" SSH ",\"max_sessions\":1}", "max_sessions: Max sessions must be between 2 and 100"},
    {"ssh", "{" SSH ",\"timeout\":0}", "timeout: Timeout must be between 1 and 600 seconds"},
    {"ssh", "{" SSH ",\"max_output_bytes\":1}",
     "max_output_bytes: Max output must be between 1024 and 10485760 bytes"},
    {"ssh", "{" SSH ",\"max_artifacts\":-1}", "max_artifacts: Max artifacts must be between 0"},
    {"ssh", "{" SSH ",\"max_artifact_bytes\":0}", "max_artifact_bytes: Max artifact size must be"},
    {"ssh", "{" SSH ",\"host_key_fingerprint\":\"MD5:00\"}",
     "host_key_fingerprint: must be SHA256:"},
    {"ssh", "{" SSH ",\"command_template\":\"x\"}", "command_template: unknown setting"},
};

SP_TABLE_TEST(settings, what_is_wrong_is_named, bad, row)
{
    json_auto_t *obj = json_loads(row->settings, 0, NULL);
    struct sp_error err = {0};

    enum sp_code rc = sp_provider_validate(sp_registry_find(row->provider), obj, &err);

    cr_expect(eq(int, rc, SP_E_INVALID), "%s %s", row->provider, row->settings);
    cr_expect(strncmp(err.msg, row->message, strlen(row->message)) == 0, "%s: %s", row->settings,
              err.msg);
}

Test(settings, an_account_from_the_environment_is_enough)
{
    json_auto_t *obj = json_object();
    struct sp_error err = {0};
    setenv("AGENTRUN_ACCESS_KEY_ID", "LTAIx", 1);
    setenv("AGENTRUN_ACCESS_KEY_SECRET", "s", 1);
    setenv("AGENTRUN_ACCOUNT_ID", "1", 1);

    enum sp_code rc = sp_provider_validate(sp_registry_find("aliyun_codeinterpreter"), obj, &err);

    cr_expect(eq(int, rc, SP_OK), "%s", err.msg);
}

/* The defaults of a deployment come from its environment. */
Test(settings, deployment_defaults_come_from_the_environment)
{
    setenv("SANDBOX_EXECUTOR_MANAGER_POOL_SIZE", "7", 1);
    setenv("SANDBOX_EXECUTOR_MANAGER_PORT", "19485", 1);
    setenv("SANDBOX_ENABLE_SECCOMP", "true", 1);
    setenv("SANDBOX_MAX_MEMORY", "512m", 1);
    setenv("SANDBOX_TIMEOUT", "25s", 1);
    const struct sp_provider_ops *ops = sp_registry_find("self_managed");

    json_auto_t *schema = sp_fields_schema(ops->fields, ops->n_fields);

    json_t *pool = json_object_get(schema, "executor_manager_pool_size");
    json_t *memory = json_object_get(schema, "max_memory");
    cr_expect(eq(i64, json_integer_value(json_object_get(pool, "default")), 7));
    cr_expect(eq(str, (char *)json_string_value(json_object_get(memory, "default")), "512m"));
    cr_expect(json_object_get(json_object_get(schema, "enable_seccomp"), "default") == json_true());
    cr_expect(json_object_get(memory, "readonly") == json_true());
    cr_expect(eq(str, (char *)json_string_value(json_object_get(memory, "scope")), "deployment"));
}

/* A default that came from the environment would show a secret in every form. */
Test(settings, no_schema_shows_a_secret_of_the_environment)
{
    static const char *const names[] = {"SANDBOX_EXECUTOR_MANAGER_API_TOKEN", "E2B_API_KEY",
                                        "AGENTRUN_ACCESS_KEY_SECRET", "AGENTRUN_SECURITY_TOKEN"};
    for (size_t i = 0; i < SP_COUNT(names); i++)
        setenv(names[i], "hidden-value", 1);
    const struct sp_provider_ops *ops;

    for (size_t i = 0; (ops = sp_registry_at(i)) != NULL; i++) {
        json_auto_t *schema = sp_fields_schema(ops->fields, ops->n_fields);
        char *text = json_dumps(schema, 0);
        cr_expect(strstr(text, "hidden-value") == NULL, "%s", ops->name);
        free(text);
    }
}
