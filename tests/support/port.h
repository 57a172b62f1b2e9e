/* Loopback ports for the servers that a test starts. */
#pragma once

/* A port that nothing listens on, below those of outgoing connections, so that none takes it while
 * its server is down. 0: none found. */
int sp_free_port(void);
