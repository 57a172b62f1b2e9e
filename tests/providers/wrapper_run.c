#include "tests/providers/wrapper_run.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

const char *run_interpreter(enum sp_language language)
{
    static const char *const paths[][3] = {
        [SP_PYTHON] = {"/usr/bin/python3", "/usr/local/bin/python3", NULL},
        [SP_JAVASCRIPT] = {"/usr/bin/node", "/usr/local/bin/node", NULL}};
    const char *chosen = getenv(language == SP_PYTHON ? "SP_TEST_PYTHON" : "SP_TEST_NODE");
    for (size_t i = 0; !chosen && paths[language][i]; i++)
        if (access(paths[language][i], X_OK) == 0)
            chosen = paths[language][i];
    cr_assert(chosen != NULL, "no interpreter for language %d", (int)language);
    return chosen;
}

void run_write(const char *folder, const char *name, const char *text, size_t len)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    cr_assert(file != NULL);
    cr_assert(eq(sz, fwrite(text, 1, len, file), len));
    fclose(file);
}

static int run_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void run_remove(const char *folder)
{
    nftw(folder, run_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

void run_clear(struct run *r)
{
    run_remove(r->folder);
    for (size_t i = 0; i < SP_COUNT(r->text); i++)
        sp_buf_clear(&r->text[i]);
}
/* In the child. The pipes' ends lie above 9, so that dup2 cannot overwrite one that is still
 * needed. */
static void run_exec(enum sp_language language, const char *folder, const char *option,
                     int ends[RUN_PIPES])
{
    static char *const environment[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", NULL};
    const struct sp_wrapper *w = sp_wrapper(language);
    char wrapper[256];

    snprintf(wrapper, sizeof(wrapper), "%s/wrapper/%s", folder, w->file);
    int null = open("/dev/null", O_RDONLY);
    dup2(null, 0);
    dup2(ends[RUN_OUT], 1);
    dup2(ends[RUN_ERR], 2);
    dup2(ends[RUN_DOC], SP_FD_RESULT);
    dup2(ends[RUN_JOB], SP_FD_JOB);
    for (int fd = 5; fd < 256; fd++)
        close(fd);
    if (chdir(folder) != 0 || chdir("program") != 0)
        _exit(126);
    const char *program = run_interpreter(language);
    const char *flag = language == SP_PYTHON ? "-uB" : "--max-old-space-size=256";
    execle(program, program, flag, wrapper, w->program, option, (char *)NULL, environment);
    _exit(127);
}

/* Reads what there is; false at end-of-file. */
static bool run_read(int fd, struct sp_buf *text)
{
    char piece[65536];
    ssize_t n = read(fd, piece, sizeof(piece));
    if (n > 0)
        cr_assert(eq(int, sp_buf_add(text, piece, (size_t)n), SP_OK));
    return n > 0 || (n < 0 && errno == EAGAIN);
}

static bool run_feed(int fd, const char **at, size_t *left)
{
    ssize_t n = *left > 0 ? write(fd, *at, *left) : 0;
    if (n > 0) {
        *at += n;
        *left -= (size_t)n;
    }
    return *left > 0 && (n > 0 || errno == EAGAIN);
}

/* Moves bytes until the three outputs are at their end. */
static void run_pump(struct run *r, int fds[RUN_PIPES], const char *job, size_t left)
{
    int64_t deadline = sp_deadline_in(60000);
    while (fds[RUN_OUT] >= 0 || fds[RUN_ERR] >= 0 || fds[RUN_DOC] >= 0) {
        struct pollfd polls[RUN_PIPES];
        for (int i = 0; i < RUN_PIPES; i++)
            polls[i] = (struct pollfd){.fd = fds[i], .events = i == RUN_JOB ? POLLOUT : POLLIN};
        cr_assert(lt(int, 0, poll(polls, RUN_PIPES, sp_deadline_left(deadline))), "run is stuck");
        for (int i = 0; i < RUN_PIPES; i++) {
            if (!polls[i].revents)
                continue;
            bool more =
                i == RUN_JOB ? run_feed(fds[i], &job, &left) : run_read(fds[i], &r->text[i]);
            if (more)
                continue;
            close(fds[i]);
            fds[i] = -1;
        }
    }
    if (fds[RUN_JOB] >= 0)
        close(fds[RUN_JOB]);
}

void run_program(struct run *r, enum sp_language language, const struct run_case *c,
                 size_t code_len)
{
    const struct sp_wrapper *w = sp_wrapper(language);
    int ours[RUN_PIPES], theirs[RUN_PIPES];
    char path[PATH_MAX], folder[64] = "/tmp/sp-wrapper-XXXXXX";

    *r = (struct run){0};
    cr_assert(mkdtemp(folder) != NULL && realpath(folder, path) != NULL);
    snprintf(r->folder, sizeof(r->folder), "%.60s", path);
    for (int i = 0; i < 3; i++)
        r->text[i] = SP_BUF_INIT(64 << 20);
    snprintf(path, sizeof(path), "%s/wrapper", r->folder);
    cr_assert(zero(int, mkdir(path, 0700)));
    run_write(path, w->file, w->text, w->len);
    snprintf(path, sizeof(path), "%s/program", r->folder);
    cr_assert(zero(int, mkdir(path, 0700)));
    run_write(path, w->program, c->code, code_len);
    if (c->file)
        run_write(path, c->file, c->file_text, strlen(c->file_text));

    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < RUN_PIPES; i++) {
        int ends[2];
        cr_assert(zero(int, pipe2(ends, O_CLOEXEC)));
        int end = ends[i == RUN_JOB ? 1 : 0];
        ours[i] = fcntl(end, F_DUPFD_CLOEXEC, 10);
        theirs[i] = fcntl(ends[i == RUN_JOB ? 0 : 1], F_DUPFD_CLOEXEC, 10);
        close(ends[0]);
        close(ends[1]);
        cr_assert(zero(int, fcntl(ours[i], F_SETFL, O_NONBLOCK)));
    }
    pid_t pid = fork();
    if (pid == 0)
        run_exec(language, r->folder, c->option, theirs);
    for (int i = 0; i < RUN_PIPES; i++)
        close(theirs[i]);
    run_pump(r, ours, c->arguments ? c->arguments : "", c->arguments ? strlen(c->arguments) : 0);
    int status = 0;
    cr_assert(eq(int, waitpid(pid, &status, 0), pid));
    r->exit_code = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

void run_check(enum sp_language language, const struct run_case *c)
{
    sp_auto(run_clear) struct run r = {0};
    run_program(&r, language, c, strlen(c->code));

    const char *err = sp_buf_str(&r.text[RUN_ERR]);
    cr_expect(eq(int, r.exit_code, c->exit_code), "%s: stderr: %s", c->name, err);
    cr_expect(eq(str, (char *)sp_buf_str(&r.text[RUN_OUT]), (char *)c->out), "%s", c->name);
    cr_expect(eq(str, (char *)sp_buf_str(&r.text[RUN_DOC]), (char *)c->doc), "%s", c->name);
    if (c->err)
        cr_expect(strstr(err, c->err) != NULL, "%s: stderr: %s", c->name, err);
    else
        cr_expect(eq(str, (char *)err, ""), "%s", c->name);
    cr_expect(strstr(err, "sandpiper_run") == NULL, "%s: the wrapper shows: %s", c->name, err);
}
