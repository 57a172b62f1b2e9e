/*
 * What a kernel says while it runs a cell: one JSON object a line (reference e2b 5.1). The order is
 * not certain; keep-alive messages and kinds that are not known mean nothing.
 */
#pragma once

#include "providers/output.h"

/* One form of something shown that artifacts may have: a chart, a table. */
struct sp_kernel_item {
    const char *extension; /* static: "png" */
    struct sp_buf data;
    char name[32]; /* free for who collects them */
};
struct sp_kernel_shown {
    struct sp_kernel_item *items;
    size_t n;
    bool more; /* beyond SP_KERNEL_SHOWN_MAX, which are left out */
};
enum { SP_KERNEL_SHOWN_MAX = 10000 };

struct sp_kernel_output {
    struct sp_buf out;    /* all of standard output, with the marker line */
    struct sp_output err; /* standard error */
    struct sp_kernel_shown shown;
    bool began, ended; /* a line came; the last line came */
    /* The kernel's own word for a failure; "" for none. The program's are the driver's matter. */
    char error_name[64];
    int error_exit;           /* SystemExit: its value; else 1 */
    struct sp_buf error_text; /* the traceback, or what stands for it */
    struct sp_buf line;       /* not yet whole */
};

/* max_out: of standard output and of one line; max_err: see providers/output.h. */
void sp_kernel_output_init(struct sp_kernel_output *o, size_t max_out, int64_t max_err);
/* SP_E_INVALID: a line is no JSON object; SP_E_LIMIT: past max_out; SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_kernel_output_feed(struct sp_kernel_output *o, const char *data,
                                                 size_t len, struct sp_error *err);
void sp_kernel_output_clear(struct sp_kernel_output *o);
SP_AUTO_CLEAR(struct sp_kernel_output, sp_kernel_output_clear)
