/*
 * Stands in for python3 at the far end of an SSH job, to tell what the program itself takes there:
 * starts python3 with its own arguments, waits for it, and adds a line "own_us=N" to the standard
 * error, which comes back in the reply. `load trips` takes it off. What this costs is not in N, so
 * it counts as overhead.
 */
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

#define PYTHON "/usr/bin/python3"

int main(int argc, char **argv)
{
    int64_t from = sp_mono_us();
    pid_t pid = 0;
    int status = 0;
    (void)argc;
    if (posix_spawn(&pid, PYTHON, NULL, NULL, argv, environ) != 0 ||
        waitpid(pid, &status, 0) != pid) {
        perror(PYTHON);
        return 127;
    }
    fprintf(stderr, "own_us=%lld\n", (long long)(sp_mono_us() - from));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
