/* The machine gives less than a worker may hope for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/chaos/cases.h"
#include "tests/chaos/stepped_clock.h"
#include "tests/support.h"

#define REPLIES_LIMIT_MS 300000
#define STEP_MAX_S INT64_C(2700) /* brokers refuse records that are an hour ahead */
#define US_PER_S 1000000

void case_clock_steps(struct chaos *c)
{
    char option[128];
    snprintf(option, sizeof option, "chaos.clock=%s", c->clock_path);
    chaos_option(c, option);
    cr_assert(stepped_clock_set(c->clock_path, 0));
    chaos_workers(c, 2);
    chaos_send_sleeps(c, c->size.jobs, 10, 40);
    chaos_flush(c);
    for (int64_t i = 0; i < c->size.faults; i++) {
        chaos_until_replied(c, (i + 1) * c->size.jobs / (c->size.faults + 1), REPLIES_LIMIT_MS);
        int64_t step_s = chaos_random(c, 2 * STEP_MAX_S) - STEP_MAX_S;
        cr_assert(stepped_clock_set(c->clock_path, step_s * US_PER_S));
    }
    chaos_until_replied(c, c->n_jobs, REPLIES_LIMIT_MS);
}

void case_full_log(struct chaos *c)
{
    chaos_workers(c, 2);
    chaos_send_sleeps(c, c->size.jobs, 1, 20);
    chaos_flush(c);
    chaos_until_replied(c, c->n_jobs, REPLIES_LIMIT_MS);
}

static void use_local(struct chaos *c, const char *work_dir)
{
    char settings[192];
    snprintf(settings, sizeof settings, "{\"isolation\":\"none\",\"work_dir\":\"%s\"}", work_dir);
    cr_assert(mkdir(work_dir, 0700) == 0);
    sp_stage_settings(c->stage, "local", settings);
}

static void send_python(struct chaos *c, const char *code, const char *want, const char *members)
{
    chaos_send(c, &(struct chaos_request){.code = code, .want = want, .members = members});
}

/* A file of 300 KiB for a disk of 256. */
static char *large_file(void)
{
    enum { ENCODED = 409600 };
    char *text = malloc(ENCODED + 64);
    cr_assert(text != NULL);
    snprintf(text, ENCODED + 64, "\"files\":[{\"name\":\"a\",\"content_b64\":\"%0*d\"}]", ENCODED,
             0);
    return text;
}

void case_full_work_dir(struct chaos *c)
{
    char work_dir[96], option[128];
    snprintf(work_dir, sizeof work_dir, "%s/work", c->dir);
    snprintf(option, sizeof option, "chaos.small_disk=%s", work_dir);
    chaos_option(c, option);
    use_local(c, work_dir);
    c->clear = "No space left on device";
    char *file = large_file();
    chaos_workers(c, 1);
    for (int64_t i = 0; i < c->size.jobs; i++) {
        send_python(c, "pass", "error", file);
        chaos_until_replied(c, c->n_jobs, REPLIES_LIMIT_MS);
        send_python(c, "pass", "ok", NULL);
        chaos_until_replied(c, c->n_jobs, REPLIES_LIMIT_MS);
    }
    free(file);
}

void case_few_descriptors(struct chaos *c)
{
    char work_dir[96];
    snprintf(work_dir, sizeof work_dir, "%s/work", c->dir);
    use_local(c, work_dir);
    chaos_option(c, "chaos.descriptors=100");
    c->clear = "open files";
    chaos_workers(c, 1);
    for (int64_t i = 0; i < c->size.jobs; i++)
        send_python(c, "import time; time.sleep(0.3)", "any", NULL);
    chaos_until_replied(c, c->n_jobs, REPLIES_LIMIT_MS);
    for (int64_t i = 0; i < c->size.jobs / 10; i++) {
        send_python(c, "pass", "ok", NULL);
        chaos_until_replied(c, c->n_jobs, REPLIES_LIMIT_MS);
    }
}
