/* A worker as a process of its own: its signals, its log and what it asks of the system. */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "worker/worker.h"

static void exit_at_once(int signal)
{
    (void)signal;
    _exit(1);
}

/* From here on a signal that ends the process does so without waiting for anything. */
static void arm_second_signal(void)
{
    sigset_t ending;
    const struct sigaction at_once = {.sa_handler = exit_at_once};
    sigaction(SIGTERM, &at_once, NULL);
    sigaction(SIGINT, &at_once, NULL);
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    pthread_sigmask(SIG_UNBLOCK, &ending, NULL);
}

static void wait_for_the_end(struct sp_worker *worker, const sigset_t *signals)
{
    int signal = 0;
    while (sigwait(signals, &signal) || signal == SIGHUP)
        sp_worker_reload(worker);
}

static void report_ready(const struct sp_worker *worker, int fd)
{
    if (fd < 0)
        return;
    dprintf(fd, "ready %s\n", sp_worker_http(worker));
    close(fd);
}

static void set_up_log(const struct sp_config *config)
{
    enum sp_level level = SP_INFO;
    (void)sp_log_level_parse(config->log.level, &level); /* the options of the field are these */
    sp_log_setup(level, strcmp(config->log.format, "json") == 0);
}

/* A job at a provider over HTTP takes four descriptors, and the usual soft limit of 1024 is there
 * for programs with select(2), which nothing here uses. */
static void raise_open_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

int sp_worker_run(const struct sp_config *config, int ready_fd)
{
    sigset_t signals;
    struct sp_worker *worker = NULL;
    struct sp_error err = {0};
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* inherited by every thread */
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    set_up_log(config);
    raise_open_files();
    /* One arena per thread would keep what each once needed. */
    mallopt(M_ARENA_MAX, 2); /* NOLINT(concurrency-mt-unsafe): there is no other thread yet */

    if (sp_worker_start(config, &worker, &err)) {
        sp_log(SP_ERROR, "start_failed", sp_s("error", err.msg));
        return 1;
    }
    report_ready(worker, ready_fd);
    wait_for_the_end(worker, &signals);
    arm_second_signal();
    sp_worker_stop(worker);
    return 0;
}
