/* What a reply takes of a run's artifacts, and what it says of the others; the same wherever they
 * come from (reference ragflow 2). */
#pragma once

#include "providers/artifacts.h"

/* Of one run. Zero but for the first two, which are borrowed. */
struct sp_artifact_intake {
    const struct sp_artifact_rules *rules;
    struct sp_result *result;
    int64_t count, total; /* taken so far; total: bytes */
    size_t unnamed;       /* refused without a line of its own */
};

enum { SP_ARTIFACT_REASON_MAX = 96 };

/* The type of an allowed extension (case-insensitive), NULL for any other. Static. */
const char *sp_artifact_mime(const char *name);
/* Why one of this name cannot be taken whatever it holds; NULL: it can. Static, or in text. */
const char *sp_artifact_reason(const struct sp_artifact_intake *in, const char *name,
                               char text[SP_ARTIFACT_REASON_MAX]);
/* The longest that can be taken now, bytes. */
int64_t sp_artifact_room(const struct sp_artifact_intake *in);
/* Takes one that has no reason against it and fits. SP_E_NOMEM; *data is empty then, too. */
SP_MUST_CHECK enum sp_code sp_artifact_take(struct sp_artifact_intake *in, const char *name,
                                            struct sp_buf *data);
/* The first refusals are named in the reply, the rest is counted. SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_artifact_refuse(struct sp_artifact_intake *in, const char *name,
                                              int64_t size, const char *reason);
/* The same for one that does not fit, which is what the reason says. */
SP_MUST_CHECK enum sp_code sp_artifact_refuse_size(struct sp_artifact_intake *in, const char *name,
                                                   int64_t size);
/* Says how many were refused without being named. */
void sp_artifact_intake_end(const struct sp_artifact_intake *in);
