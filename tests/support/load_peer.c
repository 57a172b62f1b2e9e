/* See load_peer.h. */
#include "tests/support/load_peer.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support.h"

/* Its next line; it prints whole lines and few of them. */
static void read_line(const struct sp_load_peer *peer, char *line, size_t size)
{
    ssize_t n = read(peer->output, line, size - 1);
    cr_assert(n > 0, "the load server prints nothing");
    line[n] = '\0';
}

struct sp_load_peer sp_load_peer_start(int64_t delay_ms)
{
    char delay[24], line[64];
    int out[2];
    snprintf(delay, sizeof delay, "%lld", (long long)delay_ms);
    cr_assert(pipe2(out, O_CLOEXEC) == 0);
    pid_t pid = fork();
    cr_assert(pid >= 0);
    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        execl(LOAD_SERVER_BIN, "load_server", delay, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    struct sp_load_peer peer = {.pid = pid, .output = out[0]};
    read_line(&peer, line, sizeof line);
    cr_assert(sscanf(line, "ready %d", &peer.port) == 1, "%s", line);
    return peer;
}

struct sp_load_count sp_load_peer_end(struct sp_load_peer *peer)
{
    struct sp_load_count count;
    char line[256];
    int status = -1;
    kill(peer->pid, SIGTERM);
    read_line(peer, line, sizeof line);
    cr_assert(sscanf(line,
                     "{\"connections\": %lld, \"requests\": %lld, \"most_waiting\": %lld, "
                     "\"cut_off\": %lld}",
                     &count.connections, &count.requests, &count.most_waiting, &count.cut_off) == 4,
              "%s", line);
    waitpid(peer->pid, &status, 0);
    close(peer->output);
    cr_expect(status == 0, "the load server ended with status %x", (unsigned)status);
    peer->pid = 0;
    return count;
}
