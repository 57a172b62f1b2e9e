/* The artifacts folder of a sandbox, through AgentRun's files API (reference aliyun-agentrun 3.5):
 * a source for providers/artifacts.h. */
#pragma once

#include "providers/aliyun_codeinterpreter/agentrun.h"
#include "providers/artifact_listing.h"
#include "providers/artifacts.h"

struct sp_sandbox_files {
    struct sp_artifact_source base;
    struct sp_agentrun *service;
    const char *sandbox; /* its id */
    const char *folder;  /* absolute */
    const struct sp_agentrun_time *time;
    struct sp_artifact_listing listing;
    struct sp_buf open; /* path of the open one */
};

/* All borrowed. */
struct sp_sandbox_files sp_sandbox_files(struct sp_agentrun *service, const char *sandbox,
                                         const char *folder, const struct sp_agentrun_time *time);
void sp_sandbox_files_clear(struct sp_sandbox_files *files);
SP_AUTO_CLEAR(struct sp_sandbox_files, sp_sandbox_files_clear)
