/*
 * Sandboxes of aliyun_codeinterpreter that are made ahead of their runs; and many runs at once on a
 * service that fails in every way, some cancelled, some of workers that die: each has an end that
 * is known or an error, and once the leases have run out and were swept no sandbox lives.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "tests/support.h"
#include "tests/support/aliyun_stage.h"
#include "tests/support/until.h"

enum { THREADS = 8, EACH = 63, SETUP_MS = 10000, SWEEPS = 20, PATIENCE_MS = 120000 };

static struct aliyun_stage s;
static atomic_int fine, failed;

static void start(void)
{
    aliyun_stage_start(&s, NULL, "");
}

static void stop(void)
{
    aliyun_stage_stop(&s);
}

TestSuite(aliyun_pool, .init = start, .fini = stop);
TestSuite(aliyun_chaos, .init = start, .fini = stop);

/* ---- made ahead ---- */

static const struct sp_provider_job one = {.code = "def main():\n    return 1", .quiet = true};

static bool is_alive(const char *id, const json_t *seen)
{
    json_t *alive = NULL;
    size_t i = 0;

    json_array_foreach (json_object_get(seen, "alive"), i, alive) {
        if (strcmp(json_string_value(alive), id) == 0)
            return true;
    }
    return false;
}

/* Runs programs until one finds a sandbox that was there before it. */
static bool finds_a_warm_one(void)
{
    int64_t end = sp_deadline_in(PATIENCE_MS);

    while (sp_deadline_left(end) > 0) {
        json_auto_t *before = aliyun_stage_tell(&s, "{}");
        cr_assert(eq(int, aliyun_stage_run(&s, &one), SP_OK), "%s", s.err.msg);
        cr_assert(s.result.result_present, "%s", sp_provider_job_err(&s.result));
        if (is_alive(s.result.instance_id, before))
            return true;
    }
    return false;
}

Test(aliyun_pool, sandboxes_made_ahead_are_used_once_and_end_with_the_provider)
{
    aliyun_stage_open(&s, "\"pool_size\":2");

    cr_expect(finds_a_warm_one());
    json_auto_t *seen = aliyun_stage_tell(&s, "{}");
    cr_expect(not(is_alive(s.result.instance_id, seen)));
    aliyun_stage_open(&s, "");

    cr_expect(zero(int, aliyun_stage_alive(&s)));
}

Test(aliyun_pool, one_that_ended_while_it_waited_is_not_used)
{
    aliyun_stage_open(&s, "\"pool_size\":2");
    cr_expect(finds_a_warm_one());
    cr_assert(SP_UNTIL(PATIENCE_MS, aliyun_stage_alive(&s) > 0));

    aliyun_stage_do(&s, "{\"end\":true}");
    cr_assert(eq(int, aliyun_stage_run(&s, &one), SP_OK), "%s", s.err.msg);

    cr_expect(s.result.result_present, "%s", sp_provider_job_err(&s.result));
    aliyun_stage_open(&s, "");
}

/* ---- everything at once ---- */

#define FAULTS                                                                                     \
    "{\"faults\":["                                                                                \
    "{\"on\":\"*\",\"times\":0,\"chance\":0.03,\"cut\":\"unanswered\"},"                           \
    "{\"on\":\"*\",\"times\":0,\"chance\":0.03,\"cut\":\"midway\"},"                               \
    "{\"on\":\"*\",\"times\":0,\"chance\":0.03,\"error\":{\"status\":502,\"shape\":\"html\"}},"    \
    "{\"on\":\"*\",\"times\":0,\"chance\":0.03,\"error\":{\"status\":429,\"shape\":\"empty\"}},"   \
    "{\"on\":\"health\",\"times\":0,\"chance\":0.05,\"delay\":0.3},"                               \
    "{\"on\":\"create\",\"times\":0,\"chance\":0.1,\"cut\":\"unanswered\",\"work\":true},"         \
    "{\"on\":\"create\",\"times\":0,\"chance\":0.1,\"error\":{\"status\":504},\"work\":true},"     \
    "{\"on\":\"create\",\"times\":0,\"chance\":0.02,\"patch\":{\"code\":\"ERR\"}},"                \
    "{\"on\":\"contexts.create\",\"times\":0,\"chance\":0.05,\"die\":true},"                       \
    "{\"on\":\"execute\",\"times\":0,\"chance\":0.05,\"die\":true},"                               \
    "{\"on\":\"execute\",\"times\":0,\"chance\":0.1,\"cut\":\"midway\"},"                          \
    "{\"on\":\"delete\",\"times\":0,\"chance\":0.3,\"error\":{\"status\":500}}]}"

/* Every eighth is cancelled somewhere on its way, the worker of every eighth dies behind it. */
static void run_one(int number, int cancel_fd)
{
    const struct itimerspec soon = {.it_value.tv_nsec = 1 + 1000000L * number};
    char code[64], want[32];
    snprintf(code, sizeof code, "import time\ntime.sleep(0.05)\nprint(%d)", number);
    snprintf(want, sizeof want, "%d\n", number);
    struct sp_provider_job job = {.code = code, .setup_ms = SETUP_MS, .cancel_fd = cancel_fd};
    sp_auto(sp_result_clear) struct sp_result result = {0};
    struct sp_error err = {0};

    if (number % 8 == 1)
        cr_assert(zero(int, timerfd_settime(cancel_fd, 0, &soon, NULL)));
    if (number % 8 == 2) /* its end is nobody's any more */
        job.teardown_ms = 1;
    enum sp_code rc = sp_provider_job_run(s.provider, &job, &result, &err);
    cr_expect(rc == SP_OK || err.msg[0]);
    if (!rc && result.outcome == SP_OUTCOME_EXITED && result.exit_code == 0) {
        cr_expect(result.out.text && strcmp(result.out.text, want) == 0, "%s", want);
        fine++;
    } else {
        failed++;
    }
}

static void *run_some(void *arg)
{
    for (int i = 0; i < EACH; i++) {
        int cancel_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
        run_one(*(int *)arg * EACH + i, cancel_fd);
        close(cancel_fd);
    }
    return NULL;
}

Test(aliyun_chaos, no_sandbox_lives_on)
{
    pthread_t threads[THREADS];
    int numbers[THREADS];

    aliyun_stage_do(&s, FAULTS);
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        cr_assert(zero(int, pthread_create(&threads[i], NULL, run_some, &numbers[i])));
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    json_auto_t *seen = aliyun_stage_tell(&s, "{\"faults\":[]}");
    for (int i = 0; i < SWEEPS && test_leases_count(&s.leases) > 0; i++)
        aliyun_stage_sweep(&s);

    cr_expect(eq(int, fine + failed, THREADS * EACH));
    cr_expect(lt(int, THREADS *EACH / 3, fine), "%d", fine);
    cr_expect(lt(int, THREADS *EACH / 10, failed), "%d", failed);
    cr_expect(json_integer_value(json_object_get(seen, "executions")) <= THREADS * EACH);
    cr_expect(zero(int, aliyun_stage_alive(&s)));
}
