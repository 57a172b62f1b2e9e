#include "tests/support/load_peer.h"

#include <signal.h>
#include <stdio.h>

#include "base/text.h"
#include "tests/support.h"

enum { LIMIT_MS = 30000 };

struct sp_load_peer sp_load_peer_start(const char *service, int64_t job_ms)
{
    struct sp_load_peer peer = {0};
    char job[24];
    snprintf(job, sizeof job, "%lld", (long long)job_ms);
    sp_process_start(&peer.process, (const char *const[]){LOAD_SERVER_BIN, service, job, NULL});
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
                     "{\"connections\": %lld, \"most_connections\": %lld, \"requests\": %lld, "
                     "\"most_waiting\": %lld, \"cut_off\": %lld, \"made\": %lld, "
                     "\"ended\": %lld}",
                     &count.connections, &count.most_connections, &count.requests,
                     &count.most_waiting, &count.cut_off, &count.made, &count.ended) == 7,
              "%s", line);
    sp_process_stop(&peer->process);
    return count;
}
