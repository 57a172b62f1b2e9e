/* A small HTTP server for health and metrics: GET and HEAD of fixed paths, one thread. */
#pragma once

#include "base/buf.h"
#include "base/error.h"

/* Fills out and returns the HTTP status. Thread: http. */
typedef unsigned (*sp_httpd_answer_fn)(void *ctx, struct sp_buf *out);

struct sp_httpd_route {
    const char *path, *content_type;
    sp_httpd_answer_fn answer;
};

struct sp_httpd;

/*
 * listen: "host:port", "[::1]:port"; port 0 is any free one. Routes are borrowed until
 * sp_httpd_stop(). SP_E_INVALID: listen is malformed or its host unknown; SP_E_UNAVAILABLE: the
 * address cannot be bound.
 */
SP_MUST_CHECK enum sp_code sp_httpd_start(const char *listen, const struct sp_httpd_route *routes,
                                          size_t n, void *ctx, struct sp_httpd **out,
                                          struct sp_error *err);
/* NULL is nothing. */
void sp_httpd_stop(struct sp_httpd *http);
/* "127.0.0.1:38111": the address with the port in use. */
const char *sp_httpd_address(const struct sp_httpd *http);
