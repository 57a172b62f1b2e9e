/* What jobs do to each other, and what is done to them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/chaos/cases.h"
#include "tests/support.h"

#define WORKERS 2
#define BUSY ((int64_t)WORKERS * CHAOS_EXECUTORS)
#define TAKEN_MAX 400 /* jobs that the workers surely take in at once: the rest stays in Kafka */
#define REPLIES_LIMIT_MS 300000

static bool has_dead_letter(struct chaos *c, int64_t n)
{
    return c->n_dead_letters >= n;
}

/* Exactly three runs and one dead letter for the guilty one, two attempts at most for the rest. */
void case_poison(struct chaos *c)
{
    c->revive = true;
    chaos_workers(c, WORKERS);
    chaos_send_sleeps(c, c->size.jobs / 2, 100, 400);
    int64_t poison =
        chaos_send(c, &(struct chaos_request){.code = "sleep 50 kill-worker", .want = "error"});
    chaos_send_sleeps(c, c->size.jobs - c->size.jobs / 2, 100, 400);
    chaos_flush(c);
    chaos_until_replied(c, c->n_jobs, REPLIES_LIMIT_MS);
    chaos_until(c, has_dead_letter, 1, REPLIES_LIMIT_MS);

    char id[32];
    snprintf(id, sizeof id, "j%lld", (long long)poison);
    c->measured[CHECKER_WRONG] += chaos_runs(c, id) != 3;
    c->measured[CHECKER_WRONG] += c->n_dead_letters < 1;
    for (int64_t n = 0; n < c->n_jobs; n++)
        c->measured[CHECKER_WRONG] += n != poison && c->jobs[n].attempt > 2;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Sends so many short jobs, 16 of them under way at any time; the 99th percentile of their time
 * from sending to reply. */
static int64_t short_jobs_p99_us(struct chaos *c, int64_t n)
{
    int64_t first = c->n_jobs, long_ones = first - c->n_replied;
    int64_t *took_us = calloc((size_t)n, sizeof *took_us);
    int64_t end = sp_deadline_in(REPLIES_LIMIT_MS);
    cr_assert(took_us != NULL);
    while (c->n_replied < first + n - long_ones && sp_mono_ms() < end) {
        if (c->n_jobs < first + n && c->n_jobs - c->n_replied - long_ones < 16) {
            chaos_send(c, &(struct chaos_request){.code = "sleep 5"});
        } else {
            chaos_read(c);
        }
    }
    for (int64_t i = 0; i < n; i++) {
        const struct chaos_job *job = &c->jobs[first + i];
        took_us[i] = job->replied_us ? job->replied_us - job->sent_us : REPLIES_LIMIT_MS * 1000LL;
    }
    qsort(took_us, (size_t)n, sizeof *took_us, by_value);
    int64_t p99_us = took_us[n * 99 / 100];
    free(took_us);
    return p99_us;
}

static bool has_begun(struct chaos *c, int64_t n)
{
    char id[32];
    snprintf(id, sizeof id, "j%lld", (long long)n);
    return chaos_runs(c, id) > 0;
}

void case_head_of_line(struct chaos *c)
{
    chaos_workers(c, 1);
    short_jobs_p99_us(c, 100);
    int64_t without = short_jobs_p99_us(c, c->size.jobs);
    int64_t slow = chaos_send(c, &(struct chaos_request){.code = "sleep 30000"});
    cr_assert(chaos_until(c, has_begun, slow, REPLIES_LIMIT_MS));
    int64_t with = short_jobs_p99_us(c, c->size.jobs);
    chaos_until_replied(c, c->n_jobs, REPLIES_LIMIT_MS);
    int64_t after = short_jobs_p99_us(c, c->size.jobs);
    c->measured[CHECKER_P99_PERCENT] = with * 100 / (after > without ? after : without);
}

static void cancel(struct chaos *c, int64_t n)
{
    char key[64];
    snprintf(key, sizeof key, "cancel:j%lld", (long long)n);
    sp_stage_control(c->stage, key, "{\"reason\":\"chaos\",\"by\":\"chaos\"}");
}

static void send_endless(struct chaos *c, int64_t n)
{
    const struct chaos_request endless = {
        .code = "sleep 300000", .want = "cancelled", .members = "\"timeout\":\"10m\""};
    for (int64_t i = 0; i < n; i++)
        chaos_send(c, &endless);
    chaos_flush(c);
}

static bool have_begun(struct chaos *c, int64_t n)
{
    return chaos_runs(c, NULL) >= n;
}

/* First those that wait behind the running ones, then these: else each would have its turn. */
static void cancel_what_a_worker_has(struct chaos *c, int64_t n)
{
    int64_t first = c->n_jobs;
    int64_t *at_us = calloc((size_t)n, sizeof *at_us);
    cr_assert(at_us != NULL);
    send_endless(c, n);
    cr_assert(chaos_until(c, have_begun, first + (n < BUSY ? n : BUSY), REPLIES_LIMIT_MS));
    for (int64_t i = n - 1; i >= 0; i--) {
        cancel(c, first + i);
        at_us[i] = sp_mono_us();
        while (chaos_read(c))
            ;
    }
    chaos_until_replied(c, c->n_jobs, REPLIES_LIMIT_MS);
    for (int64_t i = 0; i < n; i++) {
        int64_t took_ms = (c->jobs[first + i].replied_us - at_us[i]) / 1000;
        if (c->measured[CHECKER_SLOWEST_MS] < took_ms)
            c->measured[CHECKER_SLOWEST_MS] = took_ms;
    }
    free(at_us);
}

static void cancel_before_they_arrive(struct chaos *c, int64_t n)
{
    int64_t first = c->n_jobs;
    for (int64_t i = 0; i < n; i++)
        cancel(c, first + i);
    send_endless(c, n);
    chaos_until_replied(c, c->n_jobs, REPLIES_LIMIT_MS);
}

void case_cancel(struct chaos *c)
{
    int64_t taken = c->size.jobs * 4 / 5;
    if (taken > TAKEN_MAX)
        taken = TAKEN_MAX;
    chaos_workers(c, WORKERS);
    chaos_send_sleeps(c, 1, 1, 1);
    cr_assert(chaos_until_replied(c, c->n_jobs, REPLIES_LIMIT_MS), "the worker runs nothing");
    cancel_what_a_worker_has(c, taken);
    cancel_before_they_arrive(c, c->size.jobs - taken);
}

void case_key_order(struct chaos *c)
{
    chaos_workers(c, WORKERS);
    for (int64_t i = 0; i < c->size.jobs; i++) {
        char code[32], key[16];
        snprintf(code, sizeof code, "sleep %d", (int)(5 + chaos_random(c, 40)));
        snprintf(key, sizeof key, "k%d", (int)chaos_random(c, 20));
        chaos_send(c, &(struct chaos_request){.code = code, .key = key});
    }
    chaos_flush(c);
    for (int64_t i = 0; i < c->size.faults; i++) {
        chaos_until_replied(c, (i + 1) * c->size.jobs / (c->size.faults + 1), REPLIES_LIMIT_MS);
        int worker = chaos_pick(c);
        chaos_stop(c, worker);
        chaos_start(c, worker);
    }
    chaos_until_replied(c, c->n_jobs, REPLIES_LIMIT_MS);
}
