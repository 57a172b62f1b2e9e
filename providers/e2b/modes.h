/* The two ways of running a program in a sandbox: as a process of its own, and as a cell of a
 * kernel. */
#pragma once

#include "base/limits.h"
#include "providers/e2b/envd.h"
#include "providers/e2b/kernel.h"
#include "providers/provider.h"

/* Where programs run: one sandbox, used by one run at a time. */
struct sp_e2b_place {
    const struct sp_limits *limits;
    struct sp_envd envd;
    struct sp_kernels kernels;
    char *folder;      /* of the contexts; NULL: not made yet */
    char *contexts[2]; /* by language, kept from run to run */
};
void sp_e2b_place_clear(struct sp_e2b_place *place);

struct sp_e2b_mode {
    const char *name, *template; /* the template where the settings name none */
    /* Does ahead of a run what it would do first, for this language; NULL: there is nothing. */
    enum sp_code (*prepare)(struct sp_e2b_place *place, enum sp_language language,
                            const struct sp_run *run, struct sp_error *err);
    /* As execute() of a provider. *spoilt: something may still be running, so the place is good for
     * nothing but its end. */
    enum sp_code (*run)(struct sp_e2b_place *place, const struct sp_request *req,
                        const struct sp_run *run, struct sp_result *out, bool *spoilt,
                        struct sp_error *err);
    const char *const *limits; /* CONTRACT.md 3.5 */
};

enum sp_code sp_e2b_run_process(struct sp_e2b_place *place, const struct sp_request *req,
                                const struct sp_run *run, struct sp_result *out, bool *spoilt,
                                struct sp_error *err);
/* Makes the context that a cell of this language needs. */
enum sp_code sp_e2b_need_context(struct sp_e2b_place *place, enum sp_language language,
                                 const struct sp_run *run, struct sp_error *err);
enum sp_code sp_e2b_run_cell(struct sp_e2b_place *place, const struct sp_request *req,
                             const struct sp_run *run, struct sp_result *out, bool *spoilt,
                             struct sp_error *err);
