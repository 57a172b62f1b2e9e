/* The provider e2b in mode kernel: also the folders and contexts of kernels. See cloud.h. */
#include "providers/registry.h"
#include "tests/race/cloud.h"

#define CELL                                                                                       \
    "{\"type\":\"stdout\",\"text\":\"hi\\n\"}\n"                                                   \
    "{\"type\":\"end_of_execution\"}\n"

static const struct cloud_answer answers[] = {
    {"GET", "/health", 204, "", CLOUD_TEXT},
    {"POST", "/MakeDir", 200, "{\"entry\":{\"path\":\"/home/user/x\"}}", CLOUD_TEXT},
    {"POST", "/Stat", 404, "{\"code\":\"not_found\",\"message\":\"no artifacts\"}", CLOUD_TEXT},
    {"POST", "/contexts", 200, "{\"id\":\"ctx\"}", CLOUD_TEXT},
    {"POST", "/execute", 200, CELL, CLOUD_TEXT},
    {"POST", "/sandboxes", 201, "{\"envdVersion\":\"0.5.0\",\"envdAccessToken\":\"token\"}",
     CLOUD_MAKE},
    {"GET", "/sandboxes", 200, "", CLOUD_LIST},
    {"DELETE", "/sandboxes/", 204, "", CLOUD_END},
};

int main(void)
{
    return cloud_race(&(struct cloud){.ops = &sp_provider_e2b,
                                      .settings = "{\"api_key\":\"e2b_0\",\"mode\":\"kernel\"}",
                                      .urls = {"api_url", "sandbox_url"},
                                      .answers = answers,
                                      .n_answers = SP_COUNT(answers),
                                      .exit_code = -1, /* nothing records an end */
                                      .out = "hi\n"});
}
