/*
 * The private sshd of the test harness (tests/support/ssh_server.h) as a program. Prints one line
 * "ready PORT USER KEY-FILE FINGERPRINT"; ends at SIGTERM and with the process that started it, and
 * prints {"connections": accepted}.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "tests/support/ssh_server.h"

static bool start(struct sp_ssh_server *server)
{
    char key[128], fingerprint[64];
    if (!sp_ssh_server_start(server, NULL) ||
        !sp_ssh_server_make_key(server, "ed25519", "RFC4716", "", key) ||
        !sp_ssh_server_fingerprint(server, "ed25519", fingerprint))
        return false;
    printf("ready %d %s %s %s\n", server->port, server->user, key, fingerprint);
    fflush(stdout);
    return true;
}

int main(void)
{
    struct sp_ssh_server server = {0};
    sigset_t ending;
    int received = 0;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigprocmask(SIG_BLOCK, &ending, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);

    bool ok = start(&server);
    if (ok) {
        sigwait(&ending, &received);
        printf("{\"connections\": %d}\n", sp_ssh_server_connections(&server));
    }
    sp_ssh_server_stop(&server);
    return ok ? 0 : 1;
}
