/* Files that a program left in artifacts/: the allow-list, the limits, and reading them safely
 * (reference ragflow 2). */
#pragma once

#include "base/result.h"

struct sp_artifact_rules {
    int64_t max_count, max_bytes, max_total; /* total of all artifacts of the run */
};

/* The type of an allowed extension (case-insensitive), NULL for any other. Static. */
const char *sp_artifact_mime(const char *name);
/*
 * Reads `artifacts` below the directory workspace_fd into result, sorted by path, recursively,
 * regular files with one link only, never through a link. Each refused file is named with its
 * reason; nothing refused fails the run. Ends early (with a warning) when deadline_ms passes.
 * SP_E_NOMEM. A folder that is not there is no artifacts.
 */
SP_MUST_CHECK enum sp_code sp_artifacts_collect(int workspace_fd,
                                                const struct sp_artifact_rules *rules,
                                                int64_t deadline_ms, struct sp_result *result);
