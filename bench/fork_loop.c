/*
 * The baseline for `local`: fork and exec of python3 with the worker's own wrapper, the same
 * program, pipes read to the end, and nothing else; THREADS loops side by side until JOBS are done.
 * Meanwhile RATE requests a second go to a topic of the broker, so that Kafka is fed as it is when
 * the worker runs.
 *
 *   fork_loop BROKER TOPIC JOBS THREADS RATE PYTHON CODE-FILE      prints {"jobs_per_s": …}
 */
#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "providers/protocol.h"

static struct {
    char *broker, *topic, *python, *code, *dir, *wrapper;
    int64_t jobs, rate;
    atomic_llong started;
    atomic_bool done;
} bench;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void copy_file(const char *from, const char *to)
{
    char text[65536];
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ssize_t n = in >= 0 ? read(in, text, sizeof(text)) : -1;
    if (n < 0 || out < 0 || write(out, text, (size_t)n) != n)
        fail(from);
    close(in);
    close(out);
}

static void read_to_end(int fd)
{
    char text[4096];
    while (read(fd, text, sizeof(text)) > 0)
        ;
    close(fd);
}

static void run_one(long long n)
{
    char dir[256], program[300];
    snprintf(dir, sizeof(dir), "%s/%lld", bench.dir, n);
    snprintf(program, sizeof(program), "%s/main.py", dir);
    if (mkdir(dir, 0700) != 0)
        fail(dir);
    copy_file(bench.code, program);

    int out[2], err[2], result[2];
    if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC) || pipe2(result, O_CLOEXEC))
        fail("pipe");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, err[1], 2);
    posix_spawn_file_actions_adddup2(&actions, result[1], SP_FD_RESULT);
    posix_spawn_file_actions_addopen(&actions, SP_FD_JOB, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addchdir_np(&actions, dir);
    /* Sessions of their own as the worker's have: schedulers share a busy machine by session. */
    posix_spawnattr_t attr;
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID);
    static char flags[] = "-uB", main_py[] = "main.py",
                path[] = "PATH=/usr/local/bin:/usr/bin:/bin", lang[] = "LANG=C.UTF-8";
    char *argv[] = {bench.python, flags, bench.wrapper, main_py, NULL};
    char *envp[] = {path, lang, NULL};
    pid_t pid;
    if (posix_spawn(&pid, bench.python, &actions, &attr, argv, envp) != 0)
        fail(bench.python);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    close(out[1]);
    close(err[1]);
    close(result[1]);
    read_to_end(out[0]);
    read_to_end(err[0]);
    read_to_end(result[0]);
    int status;
    waitpid(pid, &status, 0);
    if (status != 0) {
        fprintf(stderr, "fork_loop: the program ended with %d\n", status);
        exit(1);
    }
    unlink(program);
    rmdir(dir);
}

static void *loop(void *arg)
{
    (void)arg;
    for (long long n = atomic_fetch_add(&bench.started, 1); n < bench.jobs;
         n = atomic_fetch_add(&bench.started, 1))
        run_one(n);
    return NULL;
}

/* Publishes bench.rate records a second, a tenth of them every 100 ms. */
static void *feed(void *arg)
{
    (void)arg;
    char text[256], value[300] = {0};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", bench.broker, text, sizeof(text));
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    if (!rk)
        fail(text);
    memset(value, 'x', sizeof(value) - 1);
    while (!atomic_load(&bench.done)) {
        for (int64_t i = 0; i < bench.rate / 10; i++) {
            rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(bench.topic),
                              RD_KAFKA_V_VALUE(value, sizeof(value)),
                              RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        }
        rd_kafka_poll(rk, 100);
    }
    rd_kafka_flush(rk, 5000);
    rd_kafka_destroy(rk);
    return NULL;
}

static void write_wrapper(void)
{
    const struct sp_wrapper *w = sp_wrapper(SP_PYTHON);
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", bench.dir, w->file);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, w->text, w->len) != (ssize_t)w->len)
        fail(path);
    close(fd);
    bench.wrapper = path;
}

int main(int argc, char **argv)
{
    if (argc != 8) {
        fprintf(stderr, "usage: fork_loop BROKER TOPIC JOBS THREADS RATE PYTHON CODE-FILE\n");
        return 2;
    }
    char dir[] = "/tmp/sandpiper-fork-loop.XXXXXX";
    bench.dir = mkdtemp(dir);
    bench.broker = argv[1];
    bench.topic = argv[2];
    bench.jobs = strtoll(argv[3], NULL, 10);
    bench.rate = strtoll(argv[5], NULL, 10);
    bench.python = argv[6];
    bench.code = argv[7];
    write_wrapper();

    pthread_t threads[64], feeder;
    int n = (int)strtol(argv[4], NULL, 10);
    pthread_create(&feeder, NULL, feed, NULL);
    int64_t from = sp_mono_us();
    for (int i = 0; i < n && i < 64; i++)
        pthread_create(&threads[i], NULL, loop, NULL);
    for (int i = 0; i < n && i < 64; i++)
        pthread_join(threads[i], NULL);
    double seconds = (double)(sp_mono_us() - from) / 1e6;
    atomic_store(&bench.done, true);
    pthread_join(feeder, NULL);
    printf("{\"jobs\": %lld, \"jobs_per_s\": %.1f}\n", (long long)bench.jobs,
           (double)bench.jobs / seconds);
    unlink(bench.wrapper);
    rmdir(bench.dir);
    return 0;
}
