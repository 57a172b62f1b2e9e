/* See stage.h: workers as processes, what they show over HTTP and in their logs. */
#include "tests/support/stage.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"
#include "tests/support.h"

#define START_LIMIT_MS 120000
#define END_LIMIT_MS 90000

/* Only async-signal-safe calls: other threads exist when the test forks. */
static void exec_worker(const char *program, char *const *argv, int ready_fd, int log_fd)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    dup2(log_fd, STDOUT_FILENO);
    dup2(log_fd, STDERR_FILENO);
    int moved = fcntl(ready_fd, F_DUPFD, 10);
    dup2(moved, 3);
    for (int fd = 4; fd < 256; fd++)
        close(fd);
    execv(program, argv);
    _exit(127);
}

static size_t worker_args(struct sp_stage *s, const char *const *options, char args[][224],
                          size_t max)
{
    size_t n = 0;
    snprintf(args[n++], 224, "kafka.bootstrap.servers=%s", s->kafka);
    snprintf(args[n++], 224, "kafka.group.id=%s.workers", s->prefix);
    snprintf(args[n++], 224, "kafka.session.timeout.ms=6000");
    snprintf(args[n++], 224, "queue.request_topics=%s", s->requests);
    snprintf(args[n++], 224, "queue.reply_topic=%s", s->results);
    snprintf(args[n++], 224, "queue.control_topic=%s", s->control);
    snprintf(args[n++], 224, "queue.reply_allow=%s.reply.*", s->prefix);
    snprintf(args[n++], 224, "redis.url=redis://%s/0", s->redis);
    snprintf(args[n++], 224, "redis.prefix=%s", s->prefix);
    snprintf(args[n++], 224, "http.listen=127.0.0.1:0");
    for (size_t i = 0; options && options[i]; i++) {
        cr_assert(n < max);
        snprintf(args[n++], 224, "%s", options[i]);
    }
    return n;
}

/* The read end of the pipe on which the worker says that it is ready. */
static int spawn_worker(struct sp_stage *s, int index, const char *const *options)
{
    static char args[40][224];
    size_t n = worker_args(s, options, args, SP_COUNT(args));
    char *argv[2 * SP_COUNT(args) + 5] = {(char *)"sandpiper", (char *)"worker",
                                          (char *)"--ready-fd", (char *)"3"};
    for (size_t i = 0; i < n; i++) {
        argv[4 + 2 * i] = (char *)"-X";
        argv[5 + 2 * i] = args[i];
    }
    cr_assert(index < (int)SP_COUNT(s->workers));
    struct sp_stage_worker *w = &s->workers[index];
    snprintf(w->log, sizeof(w->log), "/tmp/%s.%d.log", s->prefix, index);
    int log_fd = open(w->log, O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0600);
    int ready[2];
    cr_assert(log_fd >= 0 && pipe2(ready, O_CLOEXEC) == 0);
    pid_t pid = fork();
    cr_assert(pid >= 0);
    if (pid == 0)
        exec_worker(s->program ? s->program : SANDPIPER_BIN, argv, ready[1], log_fd);
    close(ready[1]);
    close(log_fd);
    w->pid = pid;
    return ready[0];
}

int sp_stage_worker_start(struct sp_stage *s, const char *const *options)
{
    close(spawn_worker(s, s->n_workers, options));
    return s->n_workers++;
}

void sp_stage_worker_again(struct sp_stage *s, int index, const char *const *options)
{
    cr_assert(index < s->n_workers && s->workers[index].pid == 0);
    close(spawn_worker(s, index, options));
}

void sp_stage_show_logs(const struct sp_stage *s)
{
    for (size_t i = 0; i < SP_COUNT(s->workers) && s->workers[i].log[0]; i++) {
        char text[4096];
        FILE *f = fopen(s->workers[i].log, "r");
        if (!f)
            continue;
        if (fseek(f, -(long)sizeof(text), SEEK_END) != 0)
            rewind(f);
        size_t n = fread(text, 1, sizeof(text), f);
        fprintf(stderr, "%.*s\n", (int)n, text);
        fclose(f);
    }
}

int sp_stage_worker(struct sp_stage *s, const char *const *options)
{
    int fd = spawn_worker(s, s->n_workers, options);
    struct sp_stage_worker *w = &s->workers[s->n_workers];
    char line[128] = "";
    size_t len = 0;
    int64_t end = sp_deadline_in(START_LIMIT_MS);
    while (!strchr(line, '\n')) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t n = poll(&p, 1, sp_deadline_left(end)) > 0
                        ? read(fd, line + len, sizeof(line) - 1 - len)
                        : 0;
        if (n <= 0) {
            sp_stage_show_logs(s);
            cr_fatal("the worker did not become ready");
        }
        len += (size_t)n;
        line[len] = '\0';
    }
    close(fd);
    cr_assert(sscanf(line, "ready %63s", w->http) == 1, "%s", line);
    return s->n_workers++;
}

int sp_stage_worker_end(struct sp_stage *s, int index, int signal)
{
    struct sp_stage_worker *w = &s->workers[index];
    int status = -1;
    if (kill(w->pid, signal) != 0)
        signal = SIGKILL;
    int64_t end = sp_deadline_in(END_LIMIT_MS);
    while (waitpid(w->pid, &status, WNOHANG) == 0) {
        if (sp_deadline_left(end) == 0) {
            sp_stage_show_logs(s);
            kill(w->pid, SIGKILL);
            waitpid(w->pid, &status, 0);
            cr_fail("the worker did not end");
            break;
        }
        poll(NULL, 0, 10);
    }
    w->pid = 0;
    return status;
}

static size_t keep_body(char *data, size_t size, size_t n, void *body)
{
    return sp_buf_add(body, data, size * n) == SP_OK ? size * n : 0;
}

int sp_stage_http(struct sp_stage *s, int index, const char *path, char **body)
{
    struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    char url[128];
    snprintf(url, sizeof(url), "http://%s%s", s->workers[index].http, path);
    CURL *curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 30L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &text);
    long status = 0;
    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(curl);
    *body = sp_buf_take(&text, NULL);
    return (int)status;
}

double sp_stage_metric(struct sp_stage *s, int index, const char *name)
{
    char *body = NULL;
    cr_assert(sp_stage_http(s, index, "/metrics", &body) == 200, "/metrics");
    double value = NAN;
    size_t len = strlen(name);
    for (char *line = body; line && *line;
         line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (strncmp(line, name, len) == 0 && line[len] == ' ')
            value = strtod(line + len + 1, NULL);
    free(body);
    return value;
}

/* What is waited for at a worker: a metric, or what /readyz says. */
struct sight {
    struct sp_stage *stage;
    int index, status;
    const char *text;
    double least;
};

static bool has_metric(void *arg)
{
    const struct sight *sight = arg;
    return sp_stage_metric(sight->stage, sight->index, sight->text) >= sight->least;
}

void sp_stage_until_metric(struct sp_stage *s, int index, const char *name, double least,
                           int64_t limit_ms)
{
    struct sight sight = {.stage = s, .index = index, .text = name, .least = least};
    sp_stage_until(has_metric, &sight, limit_ms, name);
}

static bool tells(void *arg)
{
    const struct sight *sight = arg;
    sp_auto(sp_free_str) char *body = NULL;
    int status = sp_stage_http(sight->stage, sight->index, "/readyz", &body);
    return status == sight->status && strstr(body ? body : "", sight->text);
}

void sp_stage_until_readyz(struct sp_stage *s, int index, int status, const char *text,
                           int64_t limit_ms)
{
    struct sight sight = {.stage = s, .index = index, .status = status, .text = text};
    sp_stage_until(tells, &sight, limit_ms, *text ? text : "/readyz");
}

long sp_stage_memory_kb(struct sp_stage *s, int index, const char *what)
{
    char path[64], line[128];
    long kb = 0;
    size_t len = strlen(what);
    snprintf(path, sizeof(path), "/proc/%d/status", (int)s->workers[index].pid);
    FILE *f = fopen(path, "r");
    cr_assert(f != NULL);
    while (kb == 0 && fgets(line, sizeof(line), f))
        if (strncmp(line, what, len) == 0 && line[len] == ':')
            kb = strtol(line + len + 1, NULL, 10);
    fclose(f);
    return kb;
}

json_t *sp_stage_log(const struct sp_stage *s, int index, const char *event)
{
    sp_auto(sp_free_str) char *line = NULL;
    size_t size = 0;
    json_t *lines = json_array();
    FILE *log = fopen(s->workers[index].log, "r");
    cr_assert(log != NULL && lines != NULL);
    while (getline(&line, &size, log) > 0) {
        json_auto_t *pairs = json_loads(line, 0, NULL); /* NULL: the last one is being written */
        const char *name = json_string_value(json_object_get(pairs, "event"));
        if (name && strcmp(name, event) == 0)
            json_array_append(lines, pairs);
    }
    fclose(log);
    return lines;
}
