/*
 * The far-end supervisor, run here as a user without rights by each shell that it is written for:
 * how a program's end is told, and that nothing of a run stays.
 */
#include "providers/supervisor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"
#include "tests/support.h"
#include "tests/support/until.h"

enum { OWN_IDS = 600000 }; /* of users that nobody else has */

/* argv before the script. */
static const struct shell {
    const char *name, *argument;
} shells[] = {{"dash", NULL}, {"busybox", "sh"}, {"bash", "--posix"}};

static char root[64];
static uid_t user;

static void enter(void)
{
    snprintf(root, sizeof root, "/tmp/sp-supervisor-XXXXXX");
    cr_assert(mkdtemp(root) != NULL);
    user = geteuid() == 0 ? OWN_IDS + (uid_t)getpid() : geteuid();
    cr_assert(zero(int, chown(root, user, (gid_t)-1)));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void leave(void)
{
    nftw(root, remove_one, 32, FTW_DEPTH | FTW_PHYS);
}

TestSuite(supervisor, .init = enter, .fini = leave);

struct run {
    char id[40], home[128];
    pid_t pid;
    int in, out, err; /* -1: closed */
    struct sp_buf text[2];
};

static void put(const char *folder, const char *name, const void *data, size_t len)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    cr_assert(file != NULL && fwrite(data, 1, len, file) == len, "%s", path);
    fclose(file);
    cr_assert(zero(int, chown(path, user, (gid_t)-1)));
}

static void put_folder(const char *path)
{
    cr_assert(zero(int, mkdir(path, 0700)), "%s", path);
    cr_assert(zero(int, chown(path, user, (gid_t)-1)));
}

static void make_home(struct run *r)
{
    struct sp_bytes script = sp_supervisor();
    char path[256];

    *r = (struct run){.in = -1, .out = -1, .err = -1};
    r->text[0] = r->text[1] = SP_BUF_INIT(64 << 20);
    sp_random_uuid(r->id);
    snprintf(r->home, sizeof r->home, "%s/" SP_SUPERVISOR_HOME "%s", root, r->id);
    put_folder(r->home);
    snprintf(path, sizeof path, "%s/" SP_SUPERVISOR_WORK, r->home);
    put_folder(path);
    put(r->home, SP_SUPERVISOR_FILE, script.data, script.len);
}

/* In the child: argv behind the script, NULL-terminated. */
static void become(const struct shell *shell, const struct run *r, const char *const *arguments,
                   const int ends[3])
{
    const char *argv[16], **arg = argv;
    char script[256];

    snprintf(script, sizeof script, "%s/" SP_SUPERVISOR_FILE, r->home);
    *arg++ = shell->name;
    if (shell->argument)
        *arg++ = shell->argument;
    *arg++ = script;
    while (*arguments)
        *arg++ = *arguments++;
    *arg = NULL;
    for (int i = 0; i < 3; i++)
        dup2(ends[i], i);
    for (int fd = 3; fd < 256; fd++)
        close(fd);
    setsid();
    if (geteuid() == 0 && (setresgid(user, user, user) || setresuid(user, user, user)))
        _exit(126);
    setenv("LEAKED", "yes", 1);
    execvp(shell->name, (char *const *)(uintptr_t)argv);
    _exit(127);
}

static void start(const struct shell *shell, struct run *r, const char *const *arguments)
{
    int in[2], out[2], err[2];

    cr_assert(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 &&
              pipe2(err, O_CLOEXEC) == 0);
    r->pid = fork();
    if (r->pid == 0)
        become(shell, r, arguments, (int[]){in[0], out[1], err[1]});
    close(in[0]);
    close(out[1]);
    close(err[1]);
    r->in = in[1];
    r->out = out[0];
    r->err = err[0];
}

/* A shell script as the program, its first positional parameter the number of this test's user. */
static void start_script(const struct shell *shell, struct run *r, const char *script)
{
    make_home(r);
    start(shell, r, (const char *const[]){"run", "30", "sh", "-c", script, NULL});
}

/* Reads both streams to their end; how long that took. */
static int64_t read_out(struct run *r)
{
    int64_t began = sp_mono_ms(), limit = sp_deadline_in(30000);

    while (r->out >= 0 || r->err >= 0) {
        struct pollfd fds[] = {{.fd = r->out, .events = POLLIN}, {.fd = r->err, .events = POLLIN}};
        int *ours[] = {&r->out, &r->err};

        cr_assert(lt(int, 0, poll(fds, 2, sp_deadline_left(limit))), "the output has no end");
        for (int i = 0; i < 2; i++) {
            char piece[65536];
            ssize_t n = fds[i].revents ? read(fds[i].fd, piece, sizeof piece) : 1;

            if (fds[i].revents && n > 0)
                cr_assert(zero(int, sp_buf_add(&r->text[i], piece, (size_t)n)));
            if (n > 0)
                continue;
            close(*ours[i]);
            *ours[i] = -1;
        }
    }
    return sp_mono_ms() - began;
}

static size_t read_file(const struct run *r, const char *name, char *out, size_t size)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", r->home, name);
    FILE *file = fopen(path, "r");
    cr_assert(file != NULL, "%s", path);
    size_t len = fread(out, 1, size - 1, file);
    fclose(file);
    out[len] = '\0';
    return len;
}

static struct sp_supervisor_end read_end(const struct run *r, char *document, size_t size)
{
    struct sp_supervisor_end end;
    struct sp_bytes found;
    char file[4096];

    sp_supervisor_read(file, read_file(r, SP_SUPERVISOR_RESULT, file, sizeof file), &end, &found);
    snprintf(document, size, "%.*s", (int)found.len, found.data);
    return end;
}

/* Ends standard input and waits for the supervisor; its exit code. */
static int finish(struct run *r)
{
    int status = 0;

    if (r->in >= 0)
        close(r->in);
    cr_assert(eq(int, waitpid(r->pid, &status, 0), r->pid));
    sp_buf_clear(&r->text[0]);
    sp_buf_clear(&r->text[1]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool is_there(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static bool is_gone(const char *path)
{
    return !is_there(path);
}

/* The processes that stand in the test's folder or name it. Zombies do neither. */
static int count_processes(void)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    int n = 0;

    while ((entry = readdir(proc))) {
        char path[300], cwd[256] = "", command[4096] = "";
        FILE *file;

        if (!strspn(entry->d_name, "0123456789"))
            continue;
        snprintf(path, sizeof path, "/proc/%s/cwd", entry->d_name);
        (void)!readlink(path, cwd, sizeof cwd - 1);
        snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        file = fopen(path, "r");
        size_t len = file ? fread(command, 1, sizeof command, file) : 0;
        if (file)
            fclose(file);
        n += strstr(cwd, root) || memmem(command, len, root, strlen(root));
    }
    closedir(proc);
    return n;
}

/* Nothing is left but the supervisor, once the part of it that waited for a line has gone. */
static bool is_alone(void)
{
    return SP_UNTIL(10000, count_processes() == 1);
}

static const struct {
    const char *script;
    int how, number;
} ends[] = {
    {"exit 0", SP_FAR_EXIT, 0},
    {"exit 3", SP_FAR_EXIT, 3},
    {"exit 125", SP_FAR_EXIT, 125},
    {"exit 137", SP_FAR_EXIT, 137},
    {"exit 255", SP_FAR_EXIT, 255},
    {"kill -KILL $$", SP_FAR_SIGNAL, SIGKILL},
    {"kill -TERM $$", SP_FAR_SIGNAL, SIGTERM},
    {"kill -SEGV $$", SP_FAR_SIGNAL, SIGSEGV},
    {"kill -ABRT $$", SP_FAR_SIGNAL, SIGABRT},
    {"kill -INT $$", SP_FAR_SIGNAL, SIGINT},
    {"kill -PIPE $$", SP_FAR_SIGNAL, SIGPIPE},
    {"kill -XCPU $$", SP_FAR_SIGNAL, SIGXCPU},
};

SP_TABLE_TEST(supervisor, tells_how_a_program_ended, ends, row)
{
    for (size_t i = 0; i < SP_COUNT(shells); i++) {
        struct run r;
        char document[64];

        start_script(&shells[i], &r, row->script);
        read_out(&r);
        struct sp_supervisor_end end = read_end(&r, document, sizeof document);

        cr_expect(eq(int, (int)end.how, row->how), "%s: %s", shells[i].name, row->script);
        cr_expect(eq(int, end.number, row->number), "%s: %s", shells[i].name, row->script);
        cr_expect(eq(str, (char *)sp_buf_str(&r.text[1]), ""));
        cr_expect(zero(int, finish(&r)));
        cr_expect(is_gone(r.home), "%s", r.home);
    }
}

/* bash tells of every process of its own that a signal ended, when it comes to it: here at once. */
Test(supervisor, the_watchers_end_is_not_taken_for_the_programs)
{
    const struct shell bash = {"bash", "--posix"};
    struct run r;
    char document[64];

    setenv("BASH_FUNC_kill%%", "() { command kill \"$@\"; command -p sleep 0.2; }", 1);
    start_script(&bash, &r, "exit 137");
    read_out(&r);
    struct sp_supervisor_end end = read_end(&r, document, sizeof document);

    cr_expect(eq(int, (int)end.how, SP_FAR_EXIT));
    cr_expect(eq(int, end.number, 137));
    cr_expect(zero(int, finish(&r)));
}

SP_TABLE_TEST(supervisor, keeps_streams_arguments_and_document_apart, shells, shell)
{
    struct run r;
    char document[64];

    make_home(&r);
    put(r.home, SP_SUPERVISOR_ARGUMENTS, "given", 5);
    start(shell, &r,
          (const char *const[]){"run", "30", "sh", "-c",
                                "cat <&4; echo bad >&2; cat; printf '%s' doc-\"$1\" >&3", "-",
                                "a 'b' $c", NULL});
    read_out(&r);
    struct sp_supervisor_end end = read_end(&r, document, sizeof document);

    cr_expect(eq(int, (int)end.how, SP_FAR_EXIT));
    cr_expect(eq(str, (char *)sp_buf_str(&r.text[0]), "given"));
    cr_expect(eq(str, (char *)sp_buf_str(&r.text[1]), "bad\n"));
    cr_expect(eq(str, document, "doc-a 'b' $c"));
    cr_expect(zero(int, finish(&r)));
}

SP_TABLE_TEST(supervisor, a_program_has_a_clean_environment_and_an_empty_input, shells, shell)
{
    struct run r;
    char want[512];

    make_home(&r);
    start(shell, &r,
          (const char *const[]){"run", "30", "sh", "-c",
                                "cat; pwd; env | grep -v ^PWD= | sort; ulimit -c", NULL});
    read_out(&r);
    snprintf(
        want, sizeof want,
        "%s/work\nHOME=%s/work\nLANG=C.UTF-8\nPATH=/usr/local/bin:/usr/bin:/bin\nTMPDIR=%s/work"
        "\n0\n",
        r.home, r.home, r.home);

    cr_expect(eq(str, (char *)sp_buf_str(&r.text[0]), want));
    cr_expect(zero(int, finish(&r)));
}

/* Each leaves processes behind and ends at once. */
static const struct {
    const char *script;
} leavers[] = {
    {"sleep 60 & exit 4"},
    {"setsid sleep 60 & exit 4"},
    {"(setsid sh -c 'sleep 61 & sleep 60' &) & exit 4"},
    {"env -i setsid sh -c 'trap \"\" TERM HUP INT; while :; do sleep 1; done' & exit 4"},
    {"for i in 1 2 3 4 5 6 7 8 9; do sleep 60 & done; exit 4"},
    {"sh -c 'ulimit -m 1000000; setsid sleep 60 &'; exit 4"}, /* as some bound their memory */
};

SP_TABLE_TEST(supervisor, what_a_program_left_running_is_gone_when_its_output_ends, leavers, row)
{
    for (size_t i = 0; i < SP_COUNT(shells); i++) {
        struct run r;
        char document[64];

        start_script(&shells[i], &r, row->script);
        read_out(&r);
        struct sp_supervisor_end end = read_end(&r, document, sizeof document);

        cr_expect(eq(int, end.number, 4), "%s", row->script);
        cr_expect(is_alone(), "%s: %s", shells[i].name, row->script);
        cr_expect(zero(int, finish(&r)));
        cr_expect(is_gone(r.home));
    }
}

/* What survived a program held the output open for at most this long. */
SP_TABLE_TEST(supervisor, leftovers_do_not_hold_the_end_back, shells, shell)
{
    struct run r;

    start_script(shell, &r, "setsid sleep 60 & echo ready");
    char first;
    cr_assert(eq(sz, (size_t)read(r.out, &first, 1), 1));
    int64_t took = read_out(&r);

    cr_expect(lt(i64, took, 20000), "%lld ms", (long long)took);
    cr_expect(zero(int, finish(&r)));
}

/* Ignores what can be ignored, forks, and floods its output. */
static const char wild[] =
    "trap '' TERM HUP INT PIPE; for i in 1 2 3; do setsid sh -c 'trap \"\" TERM HUP; while :; do "
    "sleep 60 & echo flood; wait $!; done' & done; echo ready; while :; do echo flood; done";

static void wait_until_ready(struct run *r)
{
    char piece[65536];
    ssize_t n = read(r->out, piece, sizeof piece);

    cr_assert(lt(int, 0, (int)n));
    cr_assert(zero(int, sp_buf_add(&r->text[0], piece, (size_t)n)));
}

SP_TABLE_TEST(supervisor, a_line_ends_a_program_that_minds_nothing, shells, shell)
{
    struct run r;
    char document[64];

    start_script(shell, &r, wild);
    wait_until_ready(&r);
    cr_assert(eq(sz, (size_t)write(r.in, "end\n", 4), 4));
    int64_t took = read_out(&r);
    struct sp_supervisor_end end = read_end(&r, document, sizeof document);

    cr_expect(lt(i64, took, 20000), "%lld ms", (long long)took);
    cr_expect(eq(int, (int)end.how, SP_FAR_SIGNAL));
    cr_expect(eq(int, end.number, SIGKILL));
    cr_expect(is_alone());
    cr_expect(is_there(r.home), "the output of a run that was ended is still to be fetched");
    cr_expect(zero(int, finish(&r)));
    cr_expect(is_gone(r.home));
}

/* Each takes the result file away, or puts something else in its place. */
static const struct {
    const char *script;
} takers[] = {
    {"rm ../result; mkfifo ../result; exit 4"},
    {"ln -sf /dev/zero ../result; exit 4"},
    {"ln -sf /dev/tty ../result; exit 4"},
    {"rm ../result; mkdir ../result; exit 4"},
    {"cd ..; rm -rf *; exit 4"},
    {"cd ../..; rm -rf *; exit 4"},
};

SP_TABLE_TEST(supervisor, a_result_that_was_replaced_does_not_hold_the_end_back, takers, row)
{
    for (size_t i = 0; i < SP_COUNT(shells); i++) {
        struct run r;

        start_script(&shells[i], &r, row->script);
        int64_t took = read_out(&r);

        cr_expect(lt(i64, took, 20000), "%s: %lld ms", shells[i].name, (long long)took);
        finish(&r);
        cr_expect(SP_UNTIL(10000, count_processes() == 0));
        cr_expect(is_gone(r.home));
    }
}

/* No process of it is there for longer than it takes to start the next. */
SP_TABLE_TEST(supervisor, a_line_ends_processes_that_only_hand_on, shells, shell)
{
    struct run r;

    start_script(shell, &r, "echo ready; h() { h & }; h; h; h; sleep 60");
    wait_until_ready(&r);
    cr_assert(eq(sz, (size_t)write(r.in, "end\n", 4), 4));
    read_out(&r);

    cr_expect(is_alone());
    cr_expect(zero(int, finish(&r)));
    cr_expect(is_gone(r.home));
}

SP_TABLE_TEST(supervisor, when_the_other_side_goes_all_goes, shells, shell)
{
    struct run r;

    start_script(shell, &r, wild);
    wait_until_ready(&r);
    close(r.in);
    r.in = -1;
    int64_t took = read_out(&r);

    cr_expect(lt(i64, took, 20000), "%lld ms", (long long)took);
    cr_expect(zero(int, finish(&r)));
    cr_expect(SP_UNTIL(10000, count_processes() == 0));
    cr_expect(is_gone(r.home));
}

SP_TABLE_TEST(supervisor, a_program_has_a_longest_life_of_its_own, shells, shell)
{
    struct run r;
    char document[64];

    make_home(&r);
    start(shell, &r, (const char *const[]){"run", "1", "sh", "-c", "sleep 50 & sleep 60", NULL});
    int64_t took = read_out(&r);
    struct sp_supervisor_end end = read_end(&r, document, sizeof document);

    cr_expect(lt(i64, took, 20000), "%lld ms", (long long)took);
    cr_expect(eq(int, (int)end.how, SP_FAR_SIGNAL));
    cr_expect(is_alone());
    cr_expect(zero(int, finish(&r)));
}

SP_TABLE_TEST(supervisor, signals_to_its_own_group_do_not_reach_the_supervisor, shells, shell)
{
    struct run r;
    char document[64];

    if (!strcmp(shell->name, "busybox")) /* its timeout makes no group; see docs/providers/ssh.md */
        return;
    start_script(shell, &r, "setsid sleep 60 & kill -KILL 0");
    read_out(&r);
    struct sp_supervisor_end end = read_end(&r, document, sizeof document);

    cr_expect(eq(int, (int)end.how, SP_FAR_SIGNAL));
    cr_expect(is_alone());
    cr_expect(zero(int, finish(&r)));
    cr_expect(is_gone(r.home));
}

SP_TABLE_TEST(supervisor, a_program_that_is_not_there_is_refused, shells, shell)
{
    struct run r;
    char document[64];

    make_home(&r);
    start(shell, &r, (const char *const[]){"run", "30", "no-such-program", NULL});
    read_out(&r);
    struct sp_supervisor_end end = read_end(&r, document, sizeof document);

    cr_expect(eq(int, (int)end.how, SP_FAR_REFUSED));
    cr_expect(eq(str, end.why, "interpreter"));
    cr_expect(eq(str, (char *)sp_buf_str(&r.text[1]), ""));
    cr_expect(zero(int, finish(&r)));
    cr_expect(is_gone(r.home));
}

/* What is written in the home while a program runs must not become part of how it ended. */
SP_TABLE_TEST(supervisor, folders_that_nobody_may_enter_are_removed_too, shells, shell)
{
    struct run r;

    start_script(shell, &r, "mkdir -p a/b/c; touch a/b/c/f; chmod 0 a/b/c a/b a; chmod 500 .");
    read_out(&r);

    cr_expect(zero(int, finish(&r)));
    cr_expect(is_gone(r.home));
}

/* As for a supervisor that hangs. */
SP_TABLE_TEST(supervisor, a_run_can_be_ended_and_removed_from_outside, shells, shell)
{
    struct run r;

    start_script(shell, &r, wild);
    wait_until_ready(&r);
    cr_assert(zero(int, kill(r.pid, SIGSTOP)));
    struct run helper = r;
    helper.text[0] = helper.text[1] = SP_BUF_INIT(1000);
    start(shell, &helper, (const char *const[]){"remove", NULL});
    read_out(&helper);
    cr_expect(zero(int, finish(&helper)));

    cr_expect(is_gone(r.home));
    cr_expect(zero(int, kill(r.pid, SIGCONT)));
    read_out(&r);
    finish(&r);
    cr_expect(SP_UNTIL(10000, count_processes() == 0));
}

SP_TABLE_TEST(supervisor, the_probe_names_what_is_missing, shells, shell)
{
    struct run r;

    make_home(&r);
    start(shell, &r, (const char *const[]){"probe", "sh", "no-such-program", "/no/such", NULL});
    read_out(&r);

    cr_expect(
        eq(str, (char *)sp_buf_str(&r.text[0]), "command no-such-program\ncommand /no/such\n"));
    cr_expect(zero(int, finish(&r)));
    cr_expect(is_gone(r.home));
}

SP_TABLE_TEST(supervisor, a_sweep_takes_what_no_supervisor_watches, shells, shell)
{
    struct run dead, live, other;
    char path[200];

    start_script(shell, &live, "echo ready; sleep 60");
    wait_until_ready(&live);
    make_home(&dead);
    snprintf(path, sizeof path, "%s/" SP_SUPERVISOR_HOME "AbCdEf", root);
    put_folder(path);
    make_home(&other);
    start(shell, &other, (const char *const[]){"sweep", "-1", NULL});
    read_out(&other);
    cr_expect(zero(int, finish(&other)));

    cr_expect(is_gone(dead.home));
    cr_expect(is_gone(other.home));
    cr_expect(is_there(path), "a folder of somebody else");
    cr_expect(is_there(live.home), "its supervisor lives");
    cr_expect(lt(i64, read_out(&live), 20000), "its program is past its time");
    finish(&live);
    cr_expect(SP_UNTIL(10000, count_processes() == 0));
}
