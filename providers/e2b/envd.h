/*
 * envd, the daemon in every sandbox: files over plain HTTP, folders over Connect's unary calls
 * (reference e2b 4). Codes of all: sp_e2b_do(). Blocks: until the limits' deadline.
 */
#pragma once

#include "providers/e2b/call.h"
#include "providers/e2b/sandbox.h"

struct sp_envd {
    struct sp_http *http;           /* borrowed */
    const struct sp_e2b_port *port; /* borrowed */
    bool old;                       /* it has no default user */
};

struct sp_envd_file {
    const char *path; /* absolute, or below the user's home */
    struct sp_bytes data;
};
/* Puts files, with the folders above them. *first: where the first one is, absolute; the caller
 * frees; may be NULL. */
SP_MUST_CHECK enum sp_code sp_envd_put(const struct sp_envd *envd, const struct sp_envd_file *files,
                                       size_t n, const struct sp_e2b_limits *limits, char **first,
                                       struct sp_error *err);
/* Into a buffer with a ceiling (SP_E_LIMIT). *missing, where not NULL: there is no such file, which
 * is SP_OK then. */
SP_MUST_CHECK enum sp_code sp_envd_get(const struct sp_envd *envd, const char *path,
                                       const struct sp_e2b_limits *limits, struct sp_buf *out,
                                       bool *missing, struct sp_error *err);

/* A unary call of filesystem.Filesystem about one path. */
struct sp_envd_question {
    const char *method; /* "ListDir" */
    const char *path;
    size_t max_body;
    bool *missing; /* there is no such thing, which is SP_OK then; NULL: an error */
    bool *exists;  /* there is one already: likewise */
};
SP_MUST_CHECK enum sp_code sp_envd_ask(const struct sp_envd *envd,
                                       const struct sp_envd_question *question,
                                       const struct sp_e2b_limits *limits, struct sp_buf *out,
                                       struct sp_error *err);

/* After a stream broke: what became of the sandbox. Takes 5 s at most. */
enum sp_envd_state { SP_ENVD_UNKNOWN, SP_ENVD_ALIVE, SP_ENVD_GONE };
enum sp_envd_state sp_envd_look(const struct sp_envd *envd, const struct sp_e2b_limits *limits);

/* The headers of a Connect call: the port's, and those given (NULL-terminated). */
enum { SP_ENVD_HEADERS = 12 };
void sp_envd_headers(const struct sp_envd *envd, const char *const *more,
                     const char *out[SP_ENVD_HEADERS]);
