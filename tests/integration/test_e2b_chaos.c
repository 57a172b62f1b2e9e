/*
 * Many runs at once on a service that fails in every way, some cancelled, some of workers that die:
 * each has an end that is known or an error, and once the leases have run out and were swept no
 * sandbox lives.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/support.h"
#include "tests/support/e2b_stage.h"

enum { THREADS = 8, EACH = 63, SETUP_MS = 15000, SWEEPS = 20 };

static struct e2b_stage s;
static atomic_int fine, failed;

static void stop(void)
{
    e2b_stage_stop(&s);
}

static const char *const faults[] = {
    "{\"on\":\"*\",\"times\":0,\"chance\":0.03,\"reset\":true}",
    "{\"on\":\"*\",\"times\":0,\"chance\":0.03,\"delay_ms\":300}",
    "{\"on\":\"*\",\"times\":0,\"chance\":0.03,\"answer\":{\"status\":502,\"body\":\"<html>\"}}",
    "{\"on\":\"create\",\"times\":0,\"chance\":0.1,\"cut_at\":\"body\"}",
    "{\"on\":\"create\",\"times\":0,\"chance\":0.1,\"work\":true,\"answer\":{\"status\":504,"
    "\"body\":\"\"}}",
    "{\"on\":\"process.Start\",\"times\":0,\"chance\":0.1,\"cut_at\":\"end\"}",
    "{\"on\":\"process.Start\",\"times\":0,\"chance\":0.1,\"die_at\":\"data\"}",
    "{\"on\":\"process.Start\",\"times\":0,\"chance\":0.1,\"split\":true}",
    "{\"on\":\"delete\",\"times\":0,\"chance\":0.3,\"answer\":{\"status\":500,\"body\":\"\"}}",
};

/* Every eighth is cancelled in its middle, every eighth dies behind its making. */
static void run_one(int number, int cancel_fd)
{
    char code[64], want[32];
    snprintf(code, sizeof code, "import time\ntime.sleep(0.05)\nprint(%d)", number);
    snprintf(want, sizeof want, "%d\n", number);
    const struct sp_provider_job job = {.code = code, .setup_ms = SETUP_MS, .cancel_fd = cancel_fd};
    struct sp_run run = sp_provider_job_limits(&job);
    struct sp_request req = sp_provider_job_request(&job);
    struct sp_instance *instance = NULL;
    struct sp_result result = {.exit_code = 0};
    struct sp_error err = {0};

    enum sp_code rc = sp_provider_create(s.provider, &req, &run, &instance, &err);
    if (!rc && number % 8 == 1)
        cr_assert(eq(sz, (size_t)write(cancel_fd, &(uint64_t){1}, 8), 8));
    if (!rc)
        rc = sp_provider_execute(instance, &req, &run, &result, &err);
    if (number % 8 == 2) /* its end is nobody's any more */
        run.teardown_ms = 0;
    sp_provider_destroy(instance, &run);
    cr_expect(rc == SP_OK || err.msg[0]);
    if (!rc && result.outcome == SP_OUTCOME_EXITED) {
        cr_expect(result.out.text && strcmp(result.out.text, want) == 0, "%s", want);
        fine++;
    } else {
        failed++;
    }
    sp_result_clear(&result);
}

static void *run_some(void *arg)
{
    for (int i = 0; i < EACH; i++) {
        int cancel_fd = eventfd(0, EFD_CLOEXEC);
        run_one(*(int *)arg * EACH + i, cancel_fd);
        close(cancel_fd);
    }
    return NULL;
}

Test(e2b_chaos, no_sandbox_lives_on, .fini = stop)
{
    pthread_t threads[THREADS];
    int numbers[THREADS];

    e2b_stage_start(&s, "");
    for (size_t i = 0; i < SP_COUNT(faults); i++)
        e2b_stage_fault(&s, faults[i]);
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        cr_assert(zero(int, pthread_create(&threads[i], NULL, run_some, &numbers[i])));
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    json_decref(e2b_stage_tell(&s, "DELETE", "faults", NULL));
    for (int i = 0; i < SWEEPS && test_leases_count(&s.leases) > 0; i++) { /* 5 s each at most */
        test_leases_expire(&s.leases);
        sp_provider_sweep(s.provider);
    }

    cr_expect(eq(int, fine + failed, THREADS * EACH));
    cr_expect(lt(int, THREADS *EACH / 4, fine), "%d", fine);
    cr_expect(lt(int, THREADS *EACH / 10, failed), "%d", failed);
    cr_expect(zero(int, e2b_stage_alive(&s)));
    cr_expect(zero(int, test_leases_count(&s.leases)));
}
