/* What the load server answers for a service: one table each, one row a call. */
#pragma once

#include <stdbool.h>

#include "base/defs.h"

enum { SP_LOAD_ROWS = 8, SP_LOAD_REPEATED = 128 };

/* Takes out of a request, head and body, what its answer repeats; false: it is not there. */
typedef bool (*sp_load_repeat_fn)(struct sp_bytes request, long long number,
                                  char out[SP_LOAD_REPEATED]);

/* With its head and what it repeats, an answer is shorter than a socket's buffer. */
struct sp_load_answer {
    const char *request; /* method and path: "DELETE /sandboxes/<any>"; any: one part of a path */
    int share;           /* of the time that a job takes, thousandths; 0: at once */
    int sandboxes;       /* 1: it makes one, -1: it ends one */
    const char *status;  /* NULL: "200 OK" */
    const char *type;    /* NULL: JSON */
    bool chunked;
    struct sp_bytes body;
    sp_load_repeat_fn repeat; /* NULL: the body is all */
    const char *rest;         /* of the body, behind what is repeated */
};

struct sp_load_service {
    const char *name; /* as a provider's */
    struct sp_load_answer answers[SP_LOAD_ROWS];
};

/* NULL: there is none. */
const struct sp_load_service *sp_load_service_find(const char *name);
/* The row of a method and a path, whose query does not matter; NULL: there is none. */
const struct sp_load_answer *sp_load_answer_find(const struct sp_load_service *service,
                                                 const char *request);
