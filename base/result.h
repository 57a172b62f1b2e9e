/* What a run gave. Providers fill it, queue/reply.c writes it (CONTRACT.md 3). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Whether the user's program began. Only what surely did not start may be tried again. */
enum sp_started { SP_STARTED_NO, SP_STARTED_MAYBE, SP_STARTED_YES };

enum sp_outcome {
    SP_OUTCOME_EXITED,    /* by itself or by a signal: exit_code says */
    SP_OUTCOME_TIMEOUT,   /* the run's time passed; partial output kept */
    SP_OUTCOME_CANCELLED, /* the cancel descriptor; partial output kept */
    SP_OUTCOME_LIMIT,     /* a resource limit ended it: `limit` names it (SB006) */
};

/* Valid UTF-8 already. */
struct sp_stream {
    char *text;
    size_t len;
    int64_t bytes; /* as the program produced, or as seen */
    bool truncated, invalid_utf8;
};

struct sp_artifact {
    char *name;            /* relative to artifacts/, forward slashes */
    const char *mime_type; /* static */
    char *data;
    size_t len;
};

struct sp_artifact_refused {
    char *name;
    int64_t size;
    char *reason;
};

/* Owned by the struct, save where noted. Zero is an empty result. */
struct sp_result {
    enum sp_started started;
    enum sp_outcome outcome;
    int exit_code;     /* negative for a signal; -1 where no program ended by itself */
    int signal;        /* that ended the program; 0: none */
    const char *limit; /* static text for SP_OUTCOME_LIMIT: "memory", "cpu time", "file size",
                          "response size", ... */
    int64_t execution_us;
    int64_t timeout_ms; /* effective */
    struct sp_stream out, err;
    bool result_present;
    char *result_value; /* one JSON value, raw; NULL when not present */
    size_t result_value_len;
    char *
        warning; /* result_warning; NULL: none. Several are joined with "; " by sp_result_warn(). */
    struct sp_artifact *artifacts;
    size_t n_artifacts;
    struct sp_artifact_refused *refused;
    size_t n_refused;
    char instance_id[64];
    const char *language;                  /* the provider's name for it; static */
    const char *isolation;                 /* level, static; NULL: the provider has none to tell */
    const char *const *defences;           /* static, NULL-terminated; may be NULL */
    const char *const *limits_of_provider; /* static, NULL-terminated; may be NULL */
    char *metadata;                        /* further members, raw JSON `"a":1,"b":2`; NULL: none */
};

void sp_result_clear(struct sp_result *result);
SP_AUTO_CLEAR(struct sp_result, sp_result_clear)
/* Adds one warning. Without memory the warning is dropped. */
void sp_result_warn(struct sp_result *result, const char *fmt, ...) SP_PRINTF(2, 3);
/* Both take ownership of data on SP_OK only; names and reasons are copied. SP_E_NOMEM. */
enum sp_code sp_result_add_artifact(struct sp_result *result, const char *name,
                                    const char *mime_type, char *data, size_t len);
enum sp_code sp_result_refuse_artifact(struct sp_result *result, const char *name, int64_t size,
                                       const char *reason);
