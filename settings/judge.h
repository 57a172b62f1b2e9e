/*
 * What of the settings is in force: the judge is shown documents by the settings thread
 * (settings/watcher.c), opens and checks what is new in them, and shows the rest what came of it
 * (settings/in_force.h). The rules are DESIGN.md 3. Thread: settings.
 */
#pragma once

#include "settings/in_force.h"

struct sp_judge;

/* All but out and err are borrowed. SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_judge_new(const struct sp_apply_ops *ops, void *ctx,
                                        struct sp_in_force *shown, struct sp_judge **out,
                                        struct sp_error *err);
void sp_judge_free(struct sp_judge *j);

/* due: it is time to try again what waits for its peer; resolve: also where nothing changed. Calls
 * ops->open and ops->check. */
void sp_judge_compare(struct sp_judge *j, const struct sp_document *doc, bool due, bool resolve);
/* The key in Redis is no hash. */
void sp_judge_no_hash(struct sp_judge *j, const struct sp_error *err);
/* The next look at the one in force, which has not passed its last check. Calls ops->check. */
void sp_judge_check_again(struct sp_judge *j);
/* Redis does not answer; it does (name: its own, for the log). */
void sp_judge_redis_away(struct sp_judge *j, const struct sp_error *err);
void sp_judge_redis_back(struct sp_judge *j, const char *name);
/* False: no document has been read from Redis since the start. */
bool sp_judge_has_read(const struct sp_judge *j);

/* The one in force is not up; something else waits for its peer. */
bool sp_judge_is_down(const struct sp_judge *j);
bool sp_judge_waits(const struct sp_judge *j);
/* Where a job has doubted the one in force since the last call, it is not up any more. Monotonic ms
 * of the last check's end then, else SP_NEVER. */
int64_t sp_judge_take_doubt(struct sp_judge *j);
