#include "base/status.h"

#include <assert.h>

#include "base/defs.h"

static const char *const status_names[SP_STATUS_COUNT] = {
    [SP_STATUS_OK] = "ok",
    [SP_STATUS_FAILED] = "failed",
    [SP_STATUS_TIMEOUT] = "timeout",
    [SP_STATUS_EXPIRED] = "expired",
    [SP_STATUS_CANCELLED] = "cancelled",
    [SP_STATUS_REJECTED] = "rejected",
    [SP_STATUS_ERROR] = "error",
};

static const struct sp_sb_row rows[SP_SB_COUNT] = {
    [SP_SB001_NOT_CONFIGURED] = {"SB001", "config", "no provider is configured", SP_STATUS_ERROR,
                                 true},
    [SP_SB002_BAD_CONFIGURATION] = {"SB002", "config", "the provider's configuration is wrong",
                                    SP_STATUS_ERROR, true},
    [SP_SB003_CONNECTION] = {"SB003", "runtime",
                             "the connection broke when the program may have started",
                             SP_STATUS_ERROR, false},
    [SP_SB004_INSTANCE] = {"SB004", "runtime", "an instance could not be made or prepared",
                           SP_STATUS_ERROR, true},
    [SP_SB005_TIMEOUT] = {"SB005", "timeout", "the run's time or its deadline passed",
                          SP_STATUS_TIMEOUT, false},
    [SP_SB006_LIMIT] = {"SB006", "runtime", "a resource limit ended the program", SP_STATUS_FAILED,
                        false},
    [SP_SB007_POLICY] = {"SB007", "rejected", "refused by policy", SP_STATUS_REJECTED, false},
    [SP_SB008_RATE_LIMITED] = {"SB008", "busy", "the provider throttles", SP_STATUS_ERROR, true},
    [SP_SB009_UNAVAILABLE] = {"SB009", "runtime", "the provider is unavailable", SP_STATUS_ERROR,
                              true},
    [SP_SB010_EXPIRED] = {"SB010", "expired", "too late before it started", SP_STATUS_EXPIRED,
                          false},
    [SP_SB011_CANCELLED] = {"SB011", "cancelled", "cancelled before or while running",
                            SP_STATUS_CANCELLED, false},
    [SP_SB012_BAD_REQUEST] = {"SB012", "rejected", "the request is unusable", SP_STATUS_REJECTED,
                              false},
    [SP_SB013_INTERNAL] = {"SB013", "internal", "a fault of Sandpiper's own", SP_STATUS_ERROR,
                           false},
    [SP_SB014_CRASHED] = {"SB014", "internal",
                          "a worker died while running it and it may not run again",
                          SP_STATUS_ERROR, false},
};

const char *sp_status_name(enum sp_status status)
{
    assert(status < SP_STATUS_COUNT);
    return status_names[status];
}

const struct sp_sb_row *sp_sb_row(enum sp_sb code)
{
    assert(code > SP_SB_NONE && code < SP_SB_COUNT);
    return &rows[code];
}
