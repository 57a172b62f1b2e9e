/*
 * A TCP proxy on a free loopback port, in a thread of the test's process: forwards bytes to another
 * loopback port, counts, and cuts, stalls or delays when told to.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct sp_tcp_proxy {
    int port;
    struct sp_tcp_proxy_state *state;
};

/* to_port 0: connections are accepted and nothing ever answers. False where no port was free. */
bool sp_tcp_proxy_start(struct sp_tcp_proxy *proxy, int to_port);
/* Closes everything. A stopped (or zeroed) proxy is fine. */
void sp_tcp_proxy_stop(struct sp_tcp_proxy *proxy);

/* Thread of these: any. Connections accepted so far. */
int sp_tcp_proxy_connections(const struct sp_tcp_proxy *proxy);
/* Those that are open now. */
int sp_tcp_proxy_open(const struct sp_tcp_proxy *proxy);
/* Every connection that is there now is reset. */
void sp_tcp_proxy_cut(struct sp_tcp_proxy *proxy);
/* The same once so many more bytes have gone to the server (up) or to the client (down); 0: never.
 */
void sp_tcp_proxy_cut_after(struct sp_tcp_proxy *proxy, int64_t up_bytes, int64_t down_bytes);
/* Nothing moves any more, on old and new connections, until it is lifted. */
void sp_tcp_proxy_stall(struct sp_tcp_proxy *proxy, bool stalled);
/* Every byte from here on takes so long, each way. */
void sp_tcp_proxy_delay(struct sp_tcp_proxy *proxy, int64_t delay_ms);
