/*
 * One sandbox: what the service said when it made it, and how its ports are reached (reference e2b
 * 2.2, 3). What comes from the service decides where a token goes, so it is checked first.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"

enum {
    SP_E2B_ENVD = 49983,
    SP_E2B_INTERPRETER = 49999,
    SP_E2B_PORT_HEADERS = 6, /* at most, with the NULL */
};

struct sp_e2b_sandbox {
    char id[64];
    char domain[254];
    char *access_token, *traffic_token; /* header lines; NULL: none */
    bool old;                           /* without a default user: calls have to name one */
    bool doubled; /* there may be another one of the same label, if the service does not know
                     repeated calls by their Idempotency-Key */
};

/* Reads the answer of a create. domain: what holds where the answer names none. secure: there must
 * be a token. SP_E_INVALID: it is not what the protocol says; out->id is set where it could be
 * read, so that the sandbox can be ended. SP_E_NOMEM. *out is zeroed before. */
SP_MUST_CHECK enum sp_code sp_e2b_sandbox_read(const char *json, size_t len, const char *domain,
                                               bool secure, struct sp_e2b_sandbox *out,
                                               struct sp_error *err);
void sp_e2b_sandbox_clear(struct sp_e2b_sandbox *sandbox);

/* Letters and digits, as all of the service's proxies want it; the old form has a dash. */
bool sp_e2b_is_id(const char *text);
/* A host name without a port. */
bool sp_e2b_is_host(const char *text);

/* A port of a sandbox. */
struct sp_e2b_port {
    char *base; /* without a slash at its end */
    char id_line[96], port_line[32];
    const char *headers[SP_E2B_PORT_HEADERS]; /* that every call to it has; NULL-terminated */
    size_t n_headers;
};

/* sandbox_url: the address of all sandboxes and ports; "": each has its own. The sandbox is
 * borrowed for as long as the port is used. SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_e2b_port_open(const struct sp_e2b_sandbox *sandbox,
                                            const char *sandbox_url, int port,
                                            struct sp_e2b_port *out, struct sp_error *err);
void sp_e2b_port_close(struct sp_e2b_port *port);
