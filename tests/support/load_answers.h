/* What the load server answers: one row a path. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct sp_load_answer {
    const char *request; /* method and path: "POST /run" */
    bool delayed;        /* after the delay, else at once */
    const char *body;    /* JSON; with its head shorter than a socket's buffer */
};

/* The row of a request line's method and path; NULL: there is none. */
const struct sp_load_answer *sp_load_answer_find(const char *request);
