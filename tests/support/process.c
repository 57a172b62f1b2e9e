#include "tests/support/process.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "tests/support.h"

enum { STOP_MS = 30000, POLL_MS = 5, LINE_BYTES_MAX = 64 << 20, DESCRIPTORS = 256 };

/* Only async-signal-safe calls: other threads may exist when the test forks. */
static void become(const char *const *argv, int in, int out, pid_t parent)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    for (int fd = STDERR_FILENO + 1; fd < DESCRIPTORS; fd++)
        close(fd);
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) || getppid() != parent)
        _exit(126);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

void sp_process_start(struct sp_process *p, const char *const *argv)
{
    pid_t parent = getpid();
    int in[2], out[2];

    signal(SIGPIPE, SIG_IGN);
    cr_assert(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    p->pid = fork();
    cr_assert(p->pid >= 0);
    if (p->pid == 0)
        become(argv, in[0], out[1], parent);
    close(in[0]);
    close(out[1]);
    p->in = in[1];
    p->out = out[0];
    p->begin = p->end = 0;
}

/* Waits for more of its output. */
static void fill(struct sp_process *p, int64_t end)
{
    struct pollfd output = {.fd = p->out, .events = POLLIN};
    ssize_t n =
        poll(&output, 1, sp_deadline_left(end)) > 0 ? read(p->out, p->read, sizeof p->read) : 0;

    cr_assert(n > 0, "no line from process %d", (int)p->pid);
    p->begin = 0;
    p->end = (size_t)n;
}

char *sp_process_line(struct sp_process *p, int64_t limit_ms)
{
    struct sp_buf line = SP_BUF_INIT(LINE_BYTES_MAX);
    int64_t end = sp_deadline_in(limit_ms);

    for (;;) {
        if (p->begin == p->end)
            fill(p, end);
        const char *from = p->read + p->begin;
        size_t left = p->end - p->begin;
        const char *newline = memchr(from, '\n', left);
        size_t n = newline ? (size_t)(newline - from) : left;
        cr_assert(sp_buf_add(&line, from, n) == SP_OK);
        p->begin += newline ? n + 1 : n;
        if (newline)
            return sp_buf_take(&line, NULL);
    }
}

void sp_process_say(struct sp_process *p, const char *line)
{
    size_t len = strlen(line);

    cr_assert(write(p->in, line, len) == (ssize_t)len && write(p->in, "\n", 1) == 1,
              "process %d does not read", (int)p->pid);
}

json_t *sp_process_ask(struct sp_process *p, const char *line, int64_t limit_ms)
{
    sp_process_say(p, line);
    char *answer = sp_process_line(p, limit_ms);
    json_t *json = json_loads(answer, JSON_ALLOW_NUL, NULL);
    cr_assert(json != NULL, "%s", answer);
    free(answer);
    return json;
}

void sp_process_stop(struct sp_process *p)
{
    int64_t end = sp_deadline_in(STOP_MS);

    if (p->pid <= 0)
        return;
    kill(p->pid, SIGTERM);
    while (waitpid(p->pid, NULL, WNOHANG) == 0) {
        if (sp_deadline_left(end) == 0)
            kill(p->pid, SIGKILL);
        poll(NULL, 0, POLL_MS);
    }
    close(p->in);
    close(p->out);
    p->pid = 0;
}

static bool connects(int port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    addr.sin_port = htons((uint16_t)port);
    bool ok = connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0;
    close(fd);
    return ok;
}

bool sp_process_listens(int port, int64_t limit_ms)
{
    int64_t end = sp_deadline_in(limit_ms);

    while (!connects(port)) {
        if (sp_deadline_left(end) == 0)
            return false;
        poll(NULL, 0, POLL_MS);
    }
    return true;
}
