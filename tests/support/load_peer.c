#include "tests/support/load_peer.h"

#include <signal.h>
#include <stdio.h>

#include "base/text.h"
#include "tests/support.h"

enum { LIMIT_MS = 30000 };

struct sp_load_peer sp_load_peer_start(int64_t delay_ms)
{
    struct sp_load_peer peer = {0};
    char delay[24];
    snprintf(delay, sizeof delay, "%lld", (long long)delay_ms);
    sp_process_start(&peer.process, (const char *const[]){LOAD_SERVER_BIN, delay, NULL});
    sp_auto(sp_free_str) char *line = sp_process_line(&peer.process, LIMIT_MS);
    cr_assert(sscanf(line, "ready %d", &peer.port) == 1, "%s", line);
    return peer;
}

struct sp_load_count sp_load_peer_end(struct sp_load_peer *peer)
{
    struct sp_load_count count;
    kill(peer->process.pid, SIGTERM);
    sp_auto(sp_free_str) char *line = sp_process_line(&peer->process, LIMIT_MS);
    cr_assert(sscanf(line,
                     "{\"connections\": %lld, \"requests\": %lld, \"most_waiting\": %lld, "
                     "\"cut_off\": %lld}",
                     &count.connections, &count.requests, &count.most_waiting, &count.cut_off) == 4,
              "%s", line);
    sp_process_stop(&peer->process);
    return count;
}
