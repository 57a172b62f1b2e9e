/*
 * A scripted HTTP/1.1 server on a free loopback port, in threads of the test's process: it records
 * what comes and lets a handler answer, as slowly, partly or wrongly as the test wants. One thread
 * per connection, so a handler that waits holds up its own connection only.
 *
 *     static bool busy_then_fine(void *ctx, struct sp_exchange *x)
 *     {
 *         return sp_exchange_json(x, x->index == 0 ? 503 : 200, "{}");
 *     }
 *
 *     struct sp_http_server server = {0};
 *     cr_assert(sp_http_server_start(&server, busy_then_fine, NULL));
 *     ... requests to server.url ...
 *     cr_expect(eq(int, sp_http_server_requests(&server), 2));
 *     sp_http_server_stop(&server);
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct sp_exchange;

/* Answers one request on its connection's thread. True keeps the connection for the next one, false
 * closes it at once, with whatever was sent. */
typedef bool (*sp_exchange_fn)(void *ctx, struct sp_exchange *x);

struct sp_http_server {
    int port;
    char url[64]; /* "http://127.0.0.1:PORT" */
    struct sp_http_server_state *state;
};

/* A request as it came; owned by the server, until its stop. */
struct sp_exchange {
    int index;      /* of the request at the server, from 0 */
    int connection; /* that it came on, from 0 in the order of their acceptance */
    char *method, *target;
    char *headers; /* the lines as sent, each with its CRLF */
    char *body;    /* NUL-terminated; "" for none */
    size_t body_len;
    struct sp_http_server_state *server;
    int fd;
};

/* False where no port could be opened. Handlers get ctx. */
bool sp_http_server_start(struct sp_http_server *server, sp_exchange_fn handler, void *ctx);
/* Ends every connection and wakes handlers that hold. A stopped (or zeroed) server is fine. */
void sp_http_server_stop(struct sp_http_server *server);

/* Thread of these: any. Connections accepted, requests read to their end, connections ended. */
int sp_http_server_connections(const struct sp_http_server *server);
int sp_http_server_requests(const struct sp_http_server *server);
int sp_http_server_ended(const struct sp_http_server *server);
/* Wait until there are at least n of them; false after 20 s. */
bool sp_http_server_wait_requests(const struct sp_http_server *server, int n);
bool sp_http_server_wait_ended(const struct sp_http_server *server, int n);
/* NULL where there is none yet. */
const struct sp_exchange *sp_http_server_request(const struct sp_http_server *server, int index);
/* Lets every handler in sp_exchange_hold() go on, also those that come to it later. */
void sp_http_server_release(const struct sp_http_server *server);

/* For handlers. All return whether the connection is still good, so a handler can return it. */

/* A whole answer with Content-Length. headers: further lines, each with its CRLF; NULL: none. */
bool sp_exchange_reply(struct sp_exchange *x, int status, const char *headers, const void *body,
                       size_t len);
/* The same with a text as application/json. */
bool sp_exchange_json(struct sp_exchange *x, int status, const char *json);
/* Bytes as they are. */
bool sp_exchange_send(struct sp_exchange *x, const void *data, size_t len);
bool sp_exchange_sends(struct sp_exchange *x, const char *text);
/* One chunk of a chunked answer, whose head went out by sp_exchange_sends(); len 0 ends it. */
bool sp_exchange_chunk(struct sp_exchange *x, const void *data, size_t len);
/* Waits for sp_http_server_release(). False when the client hung up or the server stops. */
bool sp_exchange_hold(struct sp_exchange *x);
/* Copies a header of the request; false (and "") where there is none. The name in any case. */
bool sp_exchange_header(const struct sp_exchange *x, const char *name, char *out, size_t size);
