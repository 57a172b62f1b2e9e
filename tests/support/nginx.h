/* An nginx of the test's own in a temporary folder, on loopback, as a reverse proxy; as root and as
 * any other user. Every function asserts. */
#pragma once

#include "tests/support/process.h"

struct sp_nginx {
    struct sp_process process;
    char dir[64];
    int port;
    char url[64]; /* http:// or https://127.0.0.1:<port> */
    char ca[96];  /* PEM of the authority that signed its certificate, with TLS */
};

struct sp_nginx_options {
    int upstream;            /* loopback port that requests go to, over connections kept alive */
    const char *certificate; /* subjectAltName ("IP:127.0.0.1") of the certificate, signed by an
                                authority made for this test; NULL: no TLS */
    const char *directives;  /* further text of its server block; NULL: none */
};

/* Starts it and waits until it listens. */
void sp_nginx_start(struct sp_nginx *n, const struct sp_nginx_options *options);
/* Ends it and removes its folder. */
void sp_nginx_stop(struct sp_nginx *n);
