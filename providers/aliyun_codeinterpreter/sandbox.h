/* The life of one sandbox at AgentRun (reference aliyun-agentrun 3.2, 3.3). */
#pragma once

#include "base/request.h"
#include "providers/aliyun_codeinterpreter/agentrun.h"

enum { SP_SANDBOX_ID_MAX = 64 };

/* The service's limit on a sandbox that nobody uses, seconds: what is left behind goes by itself.
 */
enum { SP_SANDBOX_IDLE_S = 60 };

/* A name of the service's kind that no other sandbox has. */
void sp_sandbox_new_id(char out[SP_SANDBOX_ID_MAX]);

/* What a failed creation leaves. */
struct sp_sandbox_loss {
    bool maybe_there; /* it is to be deleted */
    bool no_template; /* the service does not know the template */
};
/* Makes it under our name, so that asking again is safe and a sandbox whose answer was lost can be
 * deleted. *loss is filled on failure. */
SP_MUST_CHECK enum sp_code sp_sandbox_create(struct sp_agentrun *service, const char *id,
                                             const char *template_name, int64_t idle_s,
                                             const struct sp_agentrun_time *time,
                                             struct sp_sandbox_loss *loss, struct sp_error *err);
/* Waits until it answers. SP_E_TIMEOUT. */
SP_MUST_CHECK enum sp_code sp_sandbox_wait(struct sp_agentrun *service, const char *id,
                                           const struct sp_agentrun_time *time,
                                           struct sp_error *err);
/* Whether it answers now; the same, once. */
bool sp_sandbox_is_well(struct sp_agentrun *service, const char *id,
                        const struct sp_agentrun_time *time);
/* Deletes it; gone is success. *found (may be NULL): it was there. Messages are fit for a log. Asks
 * twice. A cancellation leaves a second for it, and then it returns what came of that. */
SP_MUST_CHECK enum sp_code sp_sandbox_delete(struct sp_agentrun *service, const char *id,
                                             const struct sp_agentrun_time *time, bool *found,
                                             struct sp_error *err);

/* A kernel with its own variables. */
struct sp_context {
    char id[80];    /* "": there is none yet */
    char cwd[1024]; /* its folder */
};
SP_MUST_CHECK enum sp_code sp_context_create(struct sp_agentrun *service, const char *sandbox,
                                             enum sp_language language,
                                             const struct sp_agentrun_time *time,
                                             struct sp_context *out, struct sp_error *err);
