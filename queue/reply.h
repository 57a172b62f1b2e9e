/* Writes the reply of CONTRACT.md 3: one JSON object, every member always present. Schema:
 * conf/schema/reply.json. */
#pragma once

#include "base/buf.h"
#include "base/limits.h"
#include "base/request.h"
#include "base/result.h"
#include "base/status.h"

/* All borrowed for the call. */
struct sp_reply {
    const struct sp_request
        *req; /* id, metadata and timeout_ms are used; what could not be read is NULL */
    char result_id[33];
    enum sp_status status;
    enum sp_sb sb;                  /* SP_SB_NONE: error is null */
    const char *message;            /* of the error */
    const struct sp_result *result; /* NULL when nothing ran */
    const char *provider;           /* NULL: none was in force */
    int64_t settings_version;       /* 0: null */
    bool provider_defaulted; /* the settings named no provider type: said in result_warning */
    const char *worker;
    int64_t attempt;
    int64_t queue_time_us;
};

/* Where parts go that do not fit (3.3). put returns "redis:<key>" in ref. Thread: the caller's. May
 * block 2 s. */
struct sp_part_store {
    void *ctx;
    enum sp_code (*put)(void *ctx, const void *data, size_t len, char ref[128],
                        struct sp_error *err);
};

/*
 * Appends the reply to out. Over limit_bytes its largest parts move to the store, one after the
 * other; where the store is NULL or fails they are cut instead (reply_cut). SP_E_NOMEM only.
 */
SP_MUST_CHECK enum sp_code sp_reply_write(const struct sp_reply *reply, size_t limit_bytes,
                                          const struct sp_part_store *store, struct sp_buf *out);
