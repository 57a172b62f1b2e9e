/*
 * A private redis-server for a test: on a unix socket in a folder of its own and on a free loopback
 * port, without persistence. It dies with the process that started it. Call from the main thread.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct sp_redis_server {
    char dir[64], socket[96], url[128]; /* url: of the socket */
    int port;
    pid_t pid; /* 0: not running */
};

/*
 * Starts it with `args` (NULL-terminated, or NULL) behind ours and waits until it answers. False
 * when it does not within 10 s. A stopped server that is started again has the same addresses and
 * no data.
 */
bool sp_redis_server_start(struct sp_redis_server *server, char *const *args);
/* Kills it (SIGKILL) and waits for its end; its addresses stay. */
void sp_redis_server_kill(struct sp_redis_server *server);
/* Kills it and removes the folder. */
void sp_redis_server_stop(struct sp_redis_server *server);
