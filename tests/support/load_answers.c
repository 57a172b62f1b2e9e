/* See load_answers.h. */
#include "tests/support/load_answers.h"

#include <string.h>

#include "base/defs.h"

static const struct sp_load_answer answers[] = {
    /* An executor_manager: reference 4.1. A plain script that printed what the provider looks for
     * in the run of its check. */
    {"GET /healthz", false, "{\"status\":\"ok\"}"},
    {"POST /run", true,
     "{\"status\":\"success\",\"stdout\":\"ready\\n\",\"stderr\":\"\",\"exit_code\":0,"
     "\"detail\":null,\"time_used_ms\":200.0,\"memory_used_kb\":null,\"resource_limit_type\":null,"
     "\"unauthorized_access_type\":null,\"runtime_error_type\":null,\"artifacts\":[],"
     "\"result\":null}"},
};

const struct sp_load_answer *sp_load_answer_find(const char *request)
{
    for (size_t i = 0; i < SP_COUNT(answers); i++) {
        if (strcmp(answers[i].request, request) == 0)
            return &answers[i];
    }
    return NULL;
}
