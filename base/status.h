/* Statuses and error codes of a reply: CONTRACT.md 3.1, as one table. */
#pragma once

#include <stdbool.h>

enum sp_status {
    SP_STATUS_OK,
    SP_STATUS_FAILED,
    SP_STATUS_TIMEOUT,
    SP_STATUS_EXPIRED,
    SP_STATUS_CANCELLED,
    SP_STATUS_REJECTED,
    SP_STATUS_ERROR,
    SP_STATUS_COUNT
};

enum sp_sb {
    SP_SB_NONE = 0,
    SP_SB001_NOT_CONFIGURED,
    SP_SB002_BAD_CONFIGURATION,
    SP_SB003_CONNECTION,
    SP_SB004_INSTANCE,
    SP_SB005_TIMEOUT,
    SP_SB006_LIMIT,
    SP_SB007_POLICY,
    SP_SB008_RATE_LIMITED,
    SP_SB009_UNAVAILABLE,
    SP_SB010_EXPIRED,
    SP_SB011_CANCELLED,
    SP_SB012_BAD_REQUEST,
    SP_SB013_INTERNAL,
    SP_SB014_CRASHED,
    SP_SB_COUNT
};

struct sp_sb_row {
    const char *code; /* "SB001" */
    const char *kind;
    const char *meaning;   /* for the README's table */
    enum sp_status status; /* that this error comes with */
    bool retryable;
};

const char *sp_status_name(enum sp_status status); /* lower case */
/* The row of a code other than SP_SB_NONE. */
const struct sp_sb_row *sp_sb_row(enum sp_sb code);
