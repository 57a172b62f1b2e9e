/*
 * The code interpreter of a sandbox: contexts, each with a kernel, and cells that run in them
 * (reference e2b 5). It knows no deadline: who gives up has to end the sandbox, because the context
 * is of no use any more.
 */
#pragma once

#include "base/request.h"
#include "base/result.h"
#include "providers/e2b/call.h"
#include "providers/e2b/kernel_output.h"
#include "providers/e2b/sandbox.h"

struct sp_kernels {
    struct sp_http *http;           /* borrowed */
    const struct sp_e2b_port *port; /* borrowed */
};

/* Makes a context whose folder (absolute) is there; *id is its name, which the caller frees. Codes:
 * sp_e2b_do(); SP_E_INVALID also where the template has no code interpreter. */
SP_MUST_CHECK enum sp_code sp_kernels_add(const struct sp_kernels *kernels,
                                          enum sp_language language, const char *folder,
                                          const struct sp_e2b_limits *limits, char **id,
                                          struct sp_error *err);

/* All borrowed for the call. */
struct sp_kernel_cell {
    const char *context;
    const char *code;
    size_t len, max_bytes; /* of the whole answer */
    struct sp_e2b_limits limits;
};
/*
 * SP_OK: the kernel came to the cell's end, whatever *out says of it. SP_E_UNAVAILABLE: it did not;
 * else as sp_e2b_do(). *started is set in any case, *out (initialised) is filled as far as it came.
 */
SP_MUST_CHECK enum sp_code sp_kernels_run(const struct sp_kernels *kernels,
                                          const struct sp_kernel_cell *cell,
                                          struct sp_kernel_output *out, enum sp_started *started,
                                          struct sp_error *err);
