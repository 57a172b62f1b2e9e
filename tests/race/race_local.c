/* Runs on one provider `local` from several threads, while the guardian is killed under them. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "providers/registry.h"

enum { THREADS = 4, RUNS = 10 };

static struct sp_provider *provider;
static atomic_int failures, finished;

static const struct sp_limits limits = {.response_bytes = 1 << 20, .artifacts_total = 1 << 20};

static void run_once(void)
{
    static char code[] = "def main(n): return n";
    static char arguments[] = "{\"n\":7}";
    const struct sp_request req = {.code = code,
                                   .code_len = sizeof code - 1,
                                   .arguments = arguments,
                                   .arguments_len = sizeof arguments - 1};
    const struct sp_run run = {.setup_deadline = sp_deadline_in(30000),
                               .deadline = SP_NEVER,
                               .timeout_ms = 30000,
                               .teardown_ms = 10000,
                               .cancel_fd = -1};
    struct sp_instance *instance = NULL;
    struct sp_result result = {0};
    struct sp_error err = {0};

    if (sp_provider_create(provider, &req, &run, &instance, &err) ||
        sp_provider_execute(instance, &req, &run, &result, &err) || !result.result_present ||
        strcmp(result.result_value, "7") != 0) {
        fprintf(stderr, "run: %s\n", err.msg);
        failures++;
    }
    sp_provider_destroy(instance, &run);
    sp_result_clear(&result);
}

static void *run_many(void *arg)
{
    for (int i = 0; i < RUNS; i++)
        run_once();
    finished++;
    return arg;
}

/* The children of the main thread; the guardian is the only process among them. */
static int guardian_pid(void)
{
    char path[64], line[256] = "";
    FILE *file;
    int pid = 0;

    snprintf(path, sizeof path, "/proc/%d/task/%d/children", getpid(), getpid());
    file = fopen(path, "r");
    if (file && fgets(line, sizeof line, file))
        pid = (int)strtol(line, NULL, 10);
    if (file)
        fclose(file);
    return pid;
}

int main(void)
{
    char work_dir[] = "/tmp/sp-race-XXXXXX";
    const struct sp_host host = {.worker_id = "race", .limits = &limits};
    json_t *settings;
    pthread_t threads[THREADS];
    struct sp_error err = {0};
    int first;

    sp_log_setup(SP_ERROR, true);
    if (!mkdtemp(work_dir))
        return 1;
    settings = json_pack("{s:s,s:s}", "isolation", "none", "work_dir", work_dir);
    if (sp_provider_open(sp_registry_find("local"), settings, &host, &provider, &err)) {
        fprintf(stderr, "open: %s\n", err.msg);
        return 1;
    }
    json_decref(settings);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, run_many, NULL);
    first = guardian_pid();
    run_once();
    if (first > 0)
        kill(first, SIGKILL);
    while (finished < THREADS) {
        if (sp_provider_check(
                provider, &(struct sp_run){.setup_deadline = sp_deadline_in(5000), .cancel_fd = -1},
                &err))
            failures++;
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    sp_provider_close(provider);
    if (rmdir(work_dir)) /* the provider has left nothing in it */
        failures++;
    return failures == 0 ? 0 : 1;
}
