/* What an answer of AgentRun's says of a failure (reference aliyun-agentrun 6). Used by agentrun.c.
 */
#pragma once

#include "providers/aliyun_codeinterpreter/agentrun.h"

/* SP_OK: it is no failure. Else as sp_agentrun_do(); code, request id and the flags of *answer are
 * set. */
SP_MUST_CHECK enum sp_code sp_complaint_read(const struct sp_agentrun_call *call,
                                             struct sp_agentrun_answer *answer,
                                             struct sp_error *err);
