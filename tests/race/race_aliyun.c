/* The provider aliyun_codeinterpreter: also its templates. See cloud.h. */
#include "providers/registry.h"
#include "tests/race/cloud.h"

static const struct cloud_answer answers[] = {
    {"GET", "/templates/", 200, "{\"code\":\"SUCCESS\",\"data\":{\"status\":\"READY\"}}",
     CLOUD_TEXT},
    {"GET", "/health", 200, "{\"status\":\"ok\"}", CLOUD_TEXT},
    {"POST", "/execute", 200, "{\"results\":[{\"type\":\"error\",\"text\":\"no\"}]}", CLOUD_TEXT},
    {"POST", "/contexts", 200, "{\"id\":\"ctx\"}", CLOUD_TEXT},
    {"GET", "/filesystem", 200, "{\"entries\":[]}", CLOUD_TEXT},
    {"POST", "/sandboxes", 200, "{\"code\":\"SUCCESS\",\"data\":{}}", CLOUD_MAKE},
    {"DELETE", "/sandboxes/", 200, "{}", CLOUD_END},
};

int main(void)
{
    return cloud_race(&(struct cloud){.ops = &sp_provider_aliyun_codeinterpreter,
                                      .settings =
                                          "{\"access_key_id\":\"LTAI\",\"access_key_secret\":\"s\","
                                          "\"account_id\":\"1\"}",
                                      .urls = {"control_endpoint", "data_endpoint"},
                                      .answers = answers,
                                      .n_answers = SP_COUNT(answers),
                                      .exit_code = 1,
                                      .out = ""});
}
