/* sandpiper, the one binary: its table of commands. */
#include <errno.h>
#include <jansson.h>
#include <libssh2.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cli/commands.h"

static const struct sp_command *const commands[] = {
    &sp_command_run,
    &sp_command_submit,
    &sp_command_wait,
    &sp_command_cancel,
    &sp_command_worker,
    &sp_command_settings,
    &sp_command_providers,
    &sp_command_workers,
    &sp_command_dlq,
    &sp_command_dev,
    NULL,
};

static const struct sp_command sandpiper = {
    .name = "sandpiper",
    .summary = "Runs other people's code: requests come from Kafka, results go back to it.",
    .details =
        "'sandpiper --version' prints the version. Exit codes: 0 success, 1 failure, 2 wrong "
        "use;\n'run' and 'wait' give the program's own.",
    .commands = commands,
};

/* Output that could not be written is a failure, unless the reader just had enough of it. */
static int finish(int code)
{
    if (!fflush(stdout) && !ferror(stdout))
        return code;
    if (errno == EPIPE)
        return SP_EXIT_SIGNAL + SIGPIPE;
    perror("sandpiper: standard output");
    return code ? code : SP_EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    /* Before any thread: jansson seeds its hash tables, libssh2 starts its cryptography, and a peer
       that hangs up is an error code rather than the end of the process. */
    json_object_seed(0);
    if (libssh2_init(0)) {
        fputs("sandpiper: libssh2 does not start\n", stderr);
        return SP_EXIT_FAILURE;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    sp_log_setup(SP_ERROR, false); /* commands speak for themselves; the worker sets its own */
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("sandpiper " SP_VERSION);
        return finish(SP_EXIT_OK);
    }
    return finish(sp_command_main(&sandpiper, argc, argv, stdout, stderr));
}
