/*
 * The provider's service goes away: what becomes of the jobs (CONTRACT.md 3.1, DESIGN.md 3). The
 * service is an executor_manager that really runs programs, stopped and started at one address.
 */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "tests/support.h"
#include "tests/support/manager.h"
#include "tests/support/port.h"
#include "tests/support/stage.h"
#include "tests/support/until.h"

#define LIMIT_MS 180000
#define OUTAGE_MS 30000
#define SECOND_OUTAGE_MS 10000 /* after its begin the first service goes as well */
#define TICK_MS 250            /* a job each */
#define HOLD_MS 7000           /* longer than a worker waits between two checks */
#define CONCURRENCY 4

static const char *const options[] = {"worker.concurrency=4", NULL};
static const char *const words[] = {"SANDBOX_EXECUTOR_MANAGER_POOL_SIZE=4", NULL};

/* A worker of its own, with its own service. */
struct scene {
    const char *name;
    struct sp_stage *s;
    struct sp_manager manager, other;
    int sent;
    char runs[96]; /* a folder with a file for each run */
};

static void open_scene(struct scene *c)
{
    c->s = sp_stage_new(2);
    snprintf(c->runs, sizeof c->runs, "/tmp/%s.runs", c->s->prefix);
    cr_assert(mkdir(c->runs, 0700) == 0);
}

static void close_scene(struct scene *c)
{
    sp_remove_tree(c->runs);
    sp_stage_free(c->s);
}

/* At a port that stays free while nobody listens there. */
static void start_manager(struct sp_manager *m)
{
    if (!m->port)
        m->port = sp_free_port();
    sp_manager_start(m, words);
}

static int64_t use(struct scene *c, const struct sp_manager *m, const char *more)
{
    char settings[160];
    snprintf(settings, sizeof settings, "{\"endpoint\":\"%s\"%s}", m->url, more);
    return sp_stage_settings(c->s, "self_managed", settings);
}

static void send_job(struct scene *c, const char *members)
{
    char id[16], code[256];
    snprintf(id, sizeof id, "j%d", c->sent++);
    snprintf(code, sizeof code,
             "import time\nfrom pathlib import Path\nPath(f'%s/%s.{time.time_ns()}').touch()",
             c->runs, id);
    sp_stage_submit(c->s, id, "python", code, members);
}

static int runs_of(const struct scene *c, int job)
{
    char pattern[128];
    glob_t files = {0};
    snprintf(pattern, sizeof pattern, "%s/j%d.*", c->runs, job);
    (void)glob(pattern, 0, NULL, &files);
    int n = (int)files.gl_pathc;
    globfree(&files);
    return n;
}

static struct sp_stage_answer *answer_of(struct scene *c, int job)
{
    char id[16];
    snprintf(id, sizeof id, "j%d", job);
    return sp_stage_reply(c->s, id, LIMIT_MS);
}

static void expect_answer(struct scene *c, int job, const char *status, const char *code)
{
    struct sp_stage_answer *a = answer_of(c, job);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "status"), (char *)status), "%s", a->value);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "error.code"), (char *)code), "%s", a->value);
    cr_expect(sp_stage_answer_is(a, "attempt", "1"), "%s", a->value);
}

/* Sends the next job, which has to run. */
static void expect_run(struct scene *c)
{
    send_job(c, "");
    expect_answer(c, c->sent - 1, "ok", "");
}

/* ---- three outages of 30 s, side by side ---- */

enum { UNDER_LOAD, AT_THE_START, AT_A_CHANGE, SCENES };

static struct scene scenes[SCENES] = {
    [UNDER_LOAD] = {.name = "under load"},
    [AT_THE_START] = {.name = "at the start"},
    [AT_A_CHANGE] = {.name = "at a change of the settings"},
};

/* Jobs for all, and the answers of all, for so long. */
static void keep_busy(int64_t ms)
{
    int64_t until = sp_deadline_in(ms);
    while (sp_deadline_left(until) > 0) {
        int64_t tick = sp_deadline_in(TICK_MS);
        for (size_t i = 0; i < SCENES; i++)
            send_job(&scenes[i], "");
        for (size_t i = 0; sp_deadline_left(tick) > 0; i = (i + 1) % SCENES)
            (void)sp_stage_wait(scenes[i].s, SIZE_MAX, 20);
    }
}

static void open_scenes(void)
{
    for (size_t i = 0; i < SCENES; i++) {
        open_scene(&scenes[i]);
        start_manager(&scenes[i].manager);
    }
    start_manager(&scenes[AT_A_CHANGE].other);
    sp_manager_stop(&scenes[AT_A_CHANGE].other);
    sp_manager_stop(&scenes[AT_THE_START].manager);
    for (size_t i = 0; i < SCENES; i++) {
        use(&scenes[i], &scenes[i].manager, "");
        sp_stage_worker(scenes[i].s, options);
    }
}

/* Jobs that do not want to wait; they are the next two. */
static void send_hasty(struct scene *c)
{
    char members[64];
    send_job(c, "\"queue_ttl\":\"4s\"");
    snprintf(members, sizeof members, "\"deadline_ms\":%lld", (long long)sp_wall_ms() + 4000);
    send_job(c, members);
}

/* What was in flight when the service went may be lost to us; everything else has run, once. */
static void expect_once(struct scene *c, int n_expired)
{
    int broken = 0, expired = 0;
    for (int i = 0; i < c->sent; i++) {
        struct sp_stage_answer *a = answer_of(c, i);
        const char *status = sp_stage_answer_text(a, "status");
        bool is_ok = strcmp(status, "ok") == 0, is_late = strcmp(status, "expired") == 0;
        bool is_lost = strcmp(sp_stage_answer_text(a, "error.code"), "SB003") == 0;
        cr_expect(is_ok || is_late || is_lost, "%s: %s", c->name, a->value);
        cr_expect(ge(int, runs_of(c, i), is_ok), "%s: %s", c->name, a->value);
        cr_expect(le(int, runs_of(c, i), is_ok || is_lost), "%s: %s", c->name, a->value);
        cr_expect(sp_stage_answer_is(a, "attempt", "1"), "%s: %s", c->name, a->value);
        expired += is_late;
        broken += is_lost;
    }
    cr_expect(eq(sz, c->s->n_answers, (size_t)c->sent), "%s: answered once each", c->name);
    cr_expect(eq(int, expired, n_expired), "%s", c->name);
    cr_expect(le(int, broken, CONCURRENCY), "%s", c->name);
}

Test(outage, of_30_s_loses_nothing_and_ends_by_itself)
{
    struct scene *load = &scenes[UNDER_LOAD], *change = &scenes[AT_A_CHANGE];
    open_scenes();
    expect_run(load);
    expect_run(change);
    keep_busy(1000);

    int64_t back_at = sp_deadline_in(OUTAGE_MS);
    sp_manager_stop(&load->manager);
    int64_t version = use(change, &change->other, "");
    int hasty = load->sent, during = change->sent;
    send_hasty(load);
    keep_busy(SECOND_OUTAGE_MS);
    struct sp_stage_answer *by_the_first = answer_of(change, during);
    sp_manager_stop(&change->manager);
    keep_busy(sp_deadline_left(back_at));

    for (size_t i = 0; i < SCENES; i++) {
        sp_stage_until_metric(scenes[i].s, 0, "sandpiper_jobs_held", 10, LIMIT_MS);
        start_manager(i == AT_A_CHANGE ? &change->other : &scenes[i].manager);
    }
    keep_busy(1000);
    expect_answer(load, hasty, "expired", "SB010");
    expect_answer(load, hasty + 1, "expired", "SB010");
    cr_expect(eq(i64, version, 2));
    cr_expect(sp_stage_answer_is(by_the_first, "settings_version", "1"));
    cr_expect(sp_stage_answer_is(answer_of(change, change->sent - 1), "settings_version", "2"));
    for (size_t i = 0; i < SCENES; i++) {
        struct scene *c = &scenes[i];
        expect_once(c, c == load ? 2 : 0);
        sp_manager_stop(i == AT_A_CHANGE ? &c->other : &c->manager);
        close_scene(c);
    }
}

/* ---- longer than worker.hold ---- */

static void tell(struct sp_manager *m, const char *command)
{
    json_decref(sp_manager_tell(m, command));
}

Test(outage, longer_than_worker_hold_is_answered_by_its_reason)
{
    struct scene c = {.name = "hold"};
    open_scene(&c);
    start_manager(&c.manager);
    use(&c, &c.manager, ",\"max_retries\":0");
    sp_stage_worker(c.s, (const char *const[]){"worker.hold=7s", NULL});
    expect_run(&c);

    sp_manager_stop(&c.manager);
    int64_t since = sp_mono_ms();
    send_job(&c, "");
    expect_answer(&c, c.sent - 1, "error", "SB009");
    cr_expect(sp_mono_ms() - since >= HOLD_MS);

    start_manager(&c.manager);
    sp_stage_until_metric(c.s, 0, "sandpiper_provider_up", 1, LIMIT_MS);
    expect_run(&c);

    tell(&c.manager, "{\"faults\":[{\"path\":\"/run\",\"times\":0,\"status\":429}]}");
    since = sp_mono_ms();
    send_job(&c, "");
    expect_answer(&c, c.sent - 1, "error", "SB008");
    cr_expect(sp_mono_ms() - since >= HOLD_MS);

    tell(&c.manager, "{\"faults\":[]}");
    expect_run(&c);
    cr_expect(eq(sz, c.s->n_answers, (size_t)c.sent));
    sp_manager_stop(&c.manager);
    close_scene(&c);
}
