/* The pieces of `settings`: cli/settings.c has the table. */
#pragma once

#include "cli/candidate.h"

struct sp_settings_options {
    struct sp_common_options common;
    const char *from, *author, *comment;
    struct sp_list unset;
    bool activate, if_absent, redis_only;
    int64_t wait, during;
};

/*
 * What --from, --unset and the words KEY=VALUE behind the first operand say; borrows from call and
 * from *keep, which is the caller's. Call once: standard input is read to its end.
 */
SP_MUST_CHECK enum sp_code sp_settings_candidate(const struct sp_call *call, json_t **keep,
                                                 struct sp_candidate *out, struct sp_error *err);

/* cli/settings_change.c */
int sp_settings_set(const struct sp_call *call);
int sp_settings_activate(const struct sp_call *call);
int sp_settings_import(const struct sp_call *call);
/* cli/settings_watch.c */
int sp_settings_watch(const struct sp_call *call);
