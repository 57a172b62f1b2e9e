/* The load server (load_server.c says what it does) as a peer of a test. Every function asserts. */
#pragma once

#include <stdint.h>

#include "tests/support/process.h"

struct sp_load_peer {
    struct sp_process process;
    int port; /* of 127.0.0.1 */
};

/* What it counted; see load_server.c. */
struct sp_load_count {
    long long connections, most_connections, requests, most_waiting, cut_off, made, ended;
};

struct sp_load_peer sp_load_peer_start(const char *service, int64_t job_ms);
struct sp_load_count sp_load_peer_end(struct sp_load_peer *peer);
