/*
 * The service's control plane: sandboxes are made, ended and counted there (reference e2b 2). The
 * endpoint that makes them has two versions; which one the service has is found out by itself.
 */
#pragma once

#include "providers/e2b/call.h"
#include "providers/e2b/sandbox.h"

struct sp_e2b_control;

/* All copied. */
struct sp_e2b_control_options {
    const char *api_key, *domain;
    const char *api_url; /* "": of the domain */
    const char *template;
    const char *worker_id; /* a label of each sandbox, for people */
    bool allow_internet, secure;
};

/* No network I/O. SP_E_INVALID names the setting; SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_e2b_control_new(const struct sp_e2b_control_options *options,
                                              struct sp_e2b_control **out, struct sp_error *err);
/* No call is in flight any more. NULL is fine. */
void sp_e2b_control_free(struct sp_e2b_control *control);
SP_AUTO(struct sp_e2b_control *, sp_e2b_control_free)

/* Which service and team this is, for leases: an address and a digest. As long as control lives. */
const char *sp_e2b_control_name(const struct sp_e2b_control *control);

/* One that is to be made. */
struct sp_e2b_creation {
    const char *label; /* of this sandbox alone, [0-9a-f-]; no second one is made under it */
    int64_t ttl_s;     /* then it ends by itself */
    struct sp_e2b_limits limits;
};
/*
 * Codes: sp_e2b_do(), sp_e2b_sandbox_read(). *out is the caller's to clear, on success. *left is
 * set in any case: a failure that may have left a sandbox behind, for sp_e2b_end_labelled().
 */
SP_MUST_CHECK enum sp_code sp_e2b_create(struct sp_e2b_control *control,
                                         const struct sp_e2b_creation *with,
                                         struct sp_e2b_sandbox *out, bool *left,
                                         struct sp_error *err);
/* Also of one that is gone already. Tried twice. The message is fit for a log. */
SP_MUST_CHECK enum sp_code sp_e2b_end(struct sp_e2b_control *control, const char *id,
                                      int64_t deadline, struct sp_error *err);
/* Ends whatever was made under this label. The message is fit for a log. */
SP_MUST_CHECK enum sp_code sp_e2b_end_labelled(struct sp_e2b_control *control, const char *label,
                                               int64_t deadline, struct sp_error *err);
/* Whether the service is there and takes the key. The message is fit for a log. */
SP_MUST_CHECK enum sp_code sp_e2b_check(struct sp_e2b_control *control,
                                        const struct sp_e2b_limits *limits, struct sp_error *err);
