/* What went wrong, in two forms: a code that tells the caller what it may do, a text that tells a
 * person. */
#pragma once

#include "base/defs.h"

enum sp_code {
    SP_OK = 0,
    SP_E_INVALID,     /* the input is wrong; the same input fails again */
    SP_E_UNAVAILABLE, /* a peer is down; the same input may work later */
    SP_E_BUSY,        /* a peer is there and throttles us; the same input may work later */
    SP_E_UNSUPPORTED, /* the peer lacks what the input asks for; another one may have it */
    SP_E_TIMEOUT,     /* our deadline passed; the peer may still be working */
    SP_E_DENIED,      /* credentials refused */
    SP_E_LIMIT,       /* a configured size or count was exceeded */
    SP_E_NOMEM,
    SP_E_CANCELLED, /* the cancel descriptor became readable */
    SP_E_INTERNAL,  /* a bug of ours */
};

/* Lives on the caller's stack, so reporting an error cannot fail. Zero is "no error". */
struct sp_error {
    enum sp_code code;
    char msg[240];
};

/* Both return `code`, so that a failure is one statement. err may be NULL. A text that is too long
 * is cut. */
enum sp_code sp_error_set(struct sp_error *err, enum sp_code code, const char *fmt, ...)
    SP_PRINTF(3, 4);
/* Puts "context: " before the text that is there. */
enum sp_code sp_error_wrap(struct sp_error *err, enum sp_code code, const char *fmt, ...)
    SP_PRINTF(3, 4);
/* As sp_error_set, with ": " and the text of errno_value behind. */
enum sp_code sp_error_errno(struct sp_error *err, enum sp_code code, int errno_value,
                            const char *fmt, ...) SP_PRINTF(4, 5);
/* "invalid", "unavailable", ... for logs. */
const char *sp_code_name(enum sp_code code);
