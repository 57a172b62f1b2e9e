/* The program as it is installed: its table of commands, its exit codes, `dev` from start to end.
 */
#include <dirent.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/support.h"
#include "tests/support/until.h"

#define START_MS 60000

static char root[] = "/tmp/sandpiper-binary-XXXXXX";
static char out[16384];

static void make_root(void)
{
    cr_assert(ne(ptr, mkdtemp(root), NULL));
    cr_assert(eq(int, chdir(root), 0));
}

static void remove_root(void)
{
    sp_remove_tree(root);
}

TestSuite(binary, .init = make_root, .fini = remove_root);

/* Runs a line of the shell with $S as the program; the exit code, and what it printed in `out`. */
static int shell(const char *line)
{
    char command[1024];
    snprintf(command, sizeof(command), "S=%s; { %s; } 2>&1", SP_BINARY, line);
    FILE *f = popen(command, "r");
    size_t n = fread(out, 1, sizeof(out) - 1, f);
    out[n] = '\0';
    int status = pclose(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Test(binary, every_command_is_listed_and_has_help)
{
    static const char *const names[] = {"run",      "submit",    "wait",    "worker",
                                        "settings", "providers", "workers", "dev"};
    char line[64];
    for (size_t i = 0; i < SP_COUNT(names); i++) {
        cr_expect(eq(int, shell("$S --help"), 0));
        cr_expect(ne(ptr, strstr(out, names[i]), NULL), "%s", names[i]);
        snprintf(line, sizeof(line), "$S %s --help", names[i]);
        cr_expect(eq(int, shell(line), 0), "%s", out);
        cr_expect(eq(int, strncmp(out, "Usage: sandpiper ", 17), 0), "%s", out);
    }
}

Test(binary, wrong_use_exits_with_2)
{
    cr_expect(eq(int, shell("$S"), 2));
    cr_expect(eq(int, shell("$S wrker"), 2));
    cr_expect(ne(ptr, strstr(out, "did you mean worker?"), NULL), "%s", out);
    cr_expect(eq(int, shell("$S run"), 2));
}

Test(binary, the_version_is_told)
{
    cr_expect(eq(int, shell("$S --version"), 0));
    cr_expect(eq(int, strncmp(out, "sandpiper ", 10), 0));
}

Test(binary, a_reader_that_has_enough_is_no_error_message)
{
    /* The reader is gone before the first byte is written. */
    cr_expect(eq(int, shell("mkfifo p; true <p & exec 3>p; wait; $S --help >&3"), 141));

    cr_expect(eq(str, out, ""));
}

Test(binary, output_that_cannot_be_written_is_a_failure)
{
    cr_expect(eq(int, shell("$S --help >/dev/full"), 1));

    cr_expect(ne(ptr, strstr(out, "No space left"), NULL), "%s", out);
}

Test(binary, a_wrong_configuration_is_named_by_its_key)
{
    cr_expect(eq(int, shell("$S worker -X worker.nonsense=3"), 1));

    cr_expect(ne(ptr, strstr(out, "nonsense"), NULL), "%s", out);
}

/* ---- dev ---- */

static pid_t start_dev(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        if (!freopen("log", "w", stdout))
            _exit(127);
        (void)dup2(STDOUT_FILENO, STDERR_FILENO);
        execl(SP_BINARY, "sandpiper", "dev", "--dir", "dev", "--ready-file", "ready", NULL);
        _exit(127);
    }
    int64_t deadline = sp_deadline_in(START_MS);
    while (access("ready", R_OK) && sp_deadline_left(deadline) > 0 && !waitpid(pid, NULL, WNOHANG))
        usleep(20000);
    if (access("ready", R_OK)) {
        (void)shell("cat log");
        cr_fatal("dev did not start: %s", out);
    }
    return pid;
}

struct seen {
    int pid, parent;
    char name[32], state;
};

/* False: there is no such process. */
static bool look_at(const char *pid, struct seen *out)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
    FILE *f = fopen(path, "r");
    bool there =
        f && fscanf(f, "%d (%31[^)]) %c %d", &out->pid, out->name, &out->state, &out->parent) == 4;
    if (f)
        fclose(f);
    return there;
}

static size_t children_of(pid_t parent, struct seen *list, size_t max)
{
    size_t n = 0;
    DIR *proc = opendir("/proc");
    struct dirent *entry = NULL;
    while (n < max && (entry = readdir(proc)))
        n += look_at(entry->d_name, &list[n]) && list[n].parent == parent;
    closedir(proc);
    return n;
}

/* Nobody may be there to reap it. */
static bool is_gone(pid_t pid)
{
    struct seen seen;
    char name[24];
    snprintf(name, sizeof(name), "%d", (int)pid);
    return !look_at(name, &seen) || seen.state == 'Z';
}

static bool gone(pid_t pid)
{
    return SP_UNTIL(START_MS, is_gone(pid));
}

Test(binary, dev_answers_both_examples_and_leaves_nothing_behind)
{
    pid_t pid = start_dev();
    struct seen children[8];
    size_t n = children_of(pid, children, SP_COUNT(children));
    cr_expect(eq(sz, n, 3));

    cr_expect(eq(int,
                 shell("$S run -c dev/dev.conf " SP_SOURCE_DIR
                       "/examples/hello.py --arg name=World --arg count=2"),
                 0),
              "%s", out);
    cr_expect(ne(ptr, strstr(out, "{\"message\": \"Hello, World! Hello, World!\"}\n"), NULL), "%s",
              out);
    cr_expect(eq(int,
                 shell("$S run -c dev/dev.conf " SP_SOURCE_DIR
                       "/examples/hello.js --arg name=World --arg count=2"),
                 0),
              "%s", out);
    cr_expect(ne(ptr, strstr(out, "{\"message\":\"Hello, World! Hello, World!\"}\n"), NULL), "%s",
              out);
    cr_expect(
        eq(int, shell("printf 'import sys; sys.exit(9)' | $S run -c dev/dev.conf -l py -"), 9),
        "%s", out);
    cr_expect(
        eq(int, shell("printf 'while True: pass' | $S run -c dev/dev.conf -l py -t 1s -"), 124),
        "%s", out);
    cr_expect(eq(int, shell("$S settings test -c dev/dev.conf"), 0), "%s", out);
    cr_expect(eq(int, shell("$S workers -c dev/dev.conf"), 0), "%s", out);
    cr_expect(ne(ptr, strstr(out, "running"), NULL), "%s", out);

    int status = -1;
    kill(pid, SIGTERM);
    cr_assert(eq(int, waitpid(pid, &status, 0), pid));
    cr_expect(eq(int, status, 0));
    for (size_t i = 0; i < n; i++)
        cr_expect(gone(children[i].pid));
    cr_expect(ne(int, access("dev", F_OK), 0));
    cr_expect(ne(int, access("ready", F_OK), 0));
}

Test(binary, dev_that_is_killed_takes_its_children_along)
{
    pid_t pid = start_dev();
    struct seen children[8];
    size_t n = children_of(pid, children, SP_COUNT(children));

    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);

    for (size_t i = 0; i < n; i++)
        cr_expect(gone(children[i].pid));
}

Test(binary, dev_ends_when_a_part_of_it_ends)
{
    pid_t pid = start_dev();
    struct seen children[8];
    size_t n = children_of(pid, children, SP_COUNT(children));
    int status = -1, killed = 0;

    for (size_t i = 0; i < n; i++) {
        if (strcmp(children[i].name, "redis-server") == 0)
            killed += !kill(children[i].pid, SIGKILL);
    }
    cr_assert(eq(int, killed, 1));
    waitpid(pid, &status, 0);

    cr_expect(eq(int, status, 1 << 8)); /* exited with 1 */
    (void)shell("cat log");
    cr_expect(ne(ptr, strstr(out, "has ended; so does the rest"), NULL), "%s", out);
    cr_expect(ne(int, access("dev", F_OK), 0));
}

Test(binary, dev_without_redis_server_says_what_to_install)
{
    cr_expect(eq(int, shell("PATH=/nowhere $S dev --dir dev"), 1));

    cr_expect(ne(ptr, strstr(out, "apt-get install redis-server"), NULL), "%s", out);
    cr_expect(ne(int, access("dev", F_OK), 0));
}

Test(binary, dev_does_not_touch_a_folder_that_is_in_use)
{
    cr_expect(eq(int, shell("mkdir dev && touch dev/mine && $S dev --dir dev"), 1));

    cr_expect(ne(ptr, strstr(out, "no empty folder"), NULL), "%s", out);
    cr_expect(eq(int, access("dev/mine", F_OK), 0));
}

Test(binary, dev_does_not_share_its_folder_with_another)
{
    /* Before the first has put anything there, so that emptiness tells nothing. */
    cr_expect(eq(int, shell("mkdir dev && flock dev $S dev --dir dev"), 1));

    cr_expect(ne(ptr, strstr(out, "another 'sandpiper dev' uses dev"), NULL), "%s", out);
    cr_expect(eq(int, access("dev", F_OK), 0));
}

Test(binary, dev_removes_what_a_killed_one_has_left)
{
    cr_assert(eq(int,
                 shell("mkdir -p sandpiper-dev-old/runs sandpiper-dev-used sandpiper-dev-new &&"
                       "touch sandpiper-dev-old/dev.conf &&"
                       "touch -d '1 hour ago' sandpiper-dev-old sandpiper-dev-used &&"
                       "touch -d '1 hour' sandpiper-dev-new"),
                 0));

    (void)shell("XDG_RUNTIME_DIR=$PWD flock sandpiper-dev-used "
                "env PATH=/nowhere $S dev");

    cr_expect(ne(int, access("sandpiper-dev-old", F_OK), 0), "%s", out);
    cr_expect(eq(int, access("sandpiper-dev-used", F_OK), 0));
    cr_expect(eq(int, access("sandpiper-dev-new", F_OK), 0));
}
