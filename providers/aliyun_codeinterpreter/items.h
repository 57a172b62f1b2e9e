/*
 * What execute answers (reference aliyun-agentrun 3.4): items of output, results and errors, read
 * from the raw text. Part of it is the program's, so nothing about it is trusted.
 */
#pragma once

#include "base/json_slice.h"
#include "base/result.h"
#include "providers/artifacts.h"

struct sp_items {
    struct sp_buf out, err;       /* what the program wrote; errors stand behind err */
    bool failed;                  /* an error, or an end that is not "ok" */
    bool timed_out;               /* an item that says so, in one of the ways that are known of */
    size_t unknown;               /* items of types that are not */
    struct sp_json_value results; /* all items; borrowed from the body */
};
void sp_items_clear(struct sp_items *items);
SP_AUTO_CLEAR(struct sp_items, sp_items_clear)

/* body must outlive *out, which is empty before. SP_E_INVALID: not such an answer; SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_items_read(const char *body, size_t len, struct sp_items *out,
                                         struct sp_error *err);
/* Whether an item is of that type. */
bool sp_items_is(const struct sp_json_value *item, const char *type);
/*
 * Rich results (images, pages, tables) become artifacts `result-<n>.<extension>`, n counting the
 * results from 1, beside those that *result has. Each refused one is named with its reason.
 * SP_E_NOMEM.
 */
SP_MUST_CHECK enum sp_code sp_items_take_results(const struct sp_items *items,
                                                 const struct sp_artifact_rules *rules,
                                                 struct sp_result *result);
