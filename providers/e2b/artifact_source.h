/* What a program left in a sandbox's artifacts/, and what a kernel showed (reference e2b 4.7, 6.4).
 */
#pragma once

#include "providers/artifacts.h"
#include "providers/e2b/envd.h"
#include "providers/e2b/kernel_output.h"

/*
 * Collects what `folder` (absolute; it may be missing) and `shown` (may be NULL) hold, by the rules
 * of providers/artifacts.h. What is read of `shown` is taken out of it. SP_E_NOMEM.
 */
SP_MUST_CHECK enum sp_code sp_e2b_artifacts(const struct sp_envd *envd, const char *folder,
                                            struct sp_kernel_shown *shown,
                                            const struct sp_artifact_rules *rules,
                                            const struct sp_e2b_limits *limits,
                                            struct sp_result *result);
