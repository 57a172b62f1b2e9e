#include "tests/support/redis_server.h"

#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/port.h"

enum { MAX_ARGS = 32, TRIES = 6000, TRY_US = 20000 };

static bool find_place(struct sp_redis_server *server)
{
    if (!server->dir[0]) {
        snprintf(server->dir, sizeof server->dir, "/tmp/sandpiper-redis-XXXXXX");
        if (!mkdtemp(server->dir)) {
            server->dir[0] = '\0';
            return false;
        }
        snprintf(server->socket, sizeof server->socket, "%s/redis.sock", server->dir);
        snprintf(server->url, sizeof server->url, "unix://%s", server->socket);
        server->port = sp_free_port();
    }
    return server->port > 0;
}

/* Runs in the child. */
static void become_server(const struct sp_redis_server *server, char *const *args, pid_t parent)
{
    char port[16], dir[64], path[96];
    char *argv[MAX_ARGS] = {
        "redis-server", "--port",    port,       "--bind", "127.0.0.1", "--unixsocket",
        path,           "--dir",     dir,        "--save", "",          "--loglevel",
        "warning",      "--logfile", "redis.log"};
    size_t n = 15;

    snprintf(port, sizeof port, "%d", server->port);
    snprintf(dir, sizeof dir, "%s", server->dir);
    snprintf(path, sizeof path, "%s", server->socket);
    for (size_t i = 0; args && args[i] && n < MAX_ARGS - 1; i++)
        argv[n++] = args[i];
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
        _exit(126);
    execvp(argv[0], argv);
    _exit(127);
}

/* Any answer will do: a server that wants a password says so. */
static bool answers(const struct sp_redis_server *server)
{
    redisContext *c = redisConnectUnix(server->socket);
    redisReply *reply = c && !c->err ? redisCommand(c, "PING") : NULL;
    bool ok = reply && (reply->type == REDIS_REPLY_STATUS ||
                        (reply->type == REDIS_REPLY_ERROR && !strncmp(reply->str, "NOAUTH", 6)));

    if (reply)
        freeReplyObject(reply);
    if (c)
        redisFree(c);
    return ok;
}

bool sp_redis_server_start(struct sp_redis_server *server, char *const *args)
{
    pid_t parent = getpid();

    if (!find_place(server))
        return false;
    server->pid = fork();
    if (!server->pid)
        become_server(server, args, parent);
    for (int i = 0; i < TRIES && server->pid > 0; i++) {
        if (answers(server))
            return true;
        if (waitpid(server->pid, NULL, WNOHANG) == server->pid)
            server->pid = 0;
        usleep(TRY_US);
    }
    sp_redis_server_kill(server);
    return false;
}

void sp_redis_server_kill(struct sp_redis_server *server)
{
    if (server->pid > 0) {
        kill(server->pid, SIGKILL);
        waitpid(server->pid, NULL, 0);
    }
    server->pid = 0;
    if (server->dir[0])
        unlink(server->socket);
}

void sp_redis_server_stop(struct sp_redis_server *server)
{
    char log[96];

    sp_redis_server_kill(server);
    if (!server->dir[0])
        return;
    snprintf(log, sizeof log, "%s/redis.log", server->dir);
    unlink(log);
    rmdir(server->dir);
    server->dir[0] = '\0';
}
