/* A small HTTP server for health and metrics: GET and HEAD of fixed paths, one thread. */
#pragma once

#include "base/buf.h"
#include "base/error.h"

/* Fills out and returns the HTTP status. Thread: http. */
typedef unsigned (*sp_http_answer_fn)(void *ctx, struct sp_buf *out);

struct sp_http_route {
    const char *path, *content_type;
    sp_http_answer_fn answer;
};

struct sp_http;

/*
 * listen: "host:port", "[::1]:port"; port 0 is any free one. Routes are borrowed until
 * sp_http_stop(). SP_E_INVALID: listen is malformed or its host unknown; SP_E_UNAVAILABLE: the
 * address cannot be bound.
 */
SP_MUST_CHECK enum sp_code sp_http_start(const char *listen, const struct sp_http_route *routes,
                                         size_t n, void *ctx, struct sp_http **out,
                                         struct sp_error *err);
/* NULL is nothing. */
void sp_http_stop(struct sp_http *http);
/* "127.0.0.1:38111": the address with the port in use. */
const char *sp_http_address(const struct sp_http *http);
