/* Kafka, Redis or the provider are away, or a message is lost. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "tests/chaos/cases.h"
#include "tests/support.h"
#include "tests/support/until.h"

#define WORKERS 2
#define REPLIES_LIMIT_MS 300000
#define FLOW_LIMIT_MS 120000 /* for the first reply after an outage */

/* The row's limit is on how long this takes. */
static void until_flow(struct chaos *c)
{
    if (c->n_replied < c->n_jobs)
        chaos_until_replied(c, c->n_replied + 1, FLOW_LIMIT_MS);
}

static void freeze_broker(struct chaos *c)
{
    pid_t broker = chaos_broker(c);
    chaos_fault(c, "broker");
    cr_assert(kill(broker, SIGSTOP) == 0);
    chaos_pass(c, c->size.seconds * 1000);
    cr_assert(kill(broker, SIGCONT) == 0);
    chaos_healed(c, "broker");
    until_flow(c);
}

static void kill_broker(struct chaos *c, int64_t away_ms)
{
    chaos_fault(c, "broker");
    cr_assert(kill(chaos_broker(c), SIGKILL) == 0);
    chaos_pass(c, away_ms);
    while (chaos_read(c)) /* what was fetched before is no sign of life */
        ;
    chaos_broker_start(c);
    chaos_healed(c, "broker");
    until_flow(c);
}

void case_broker_outage(struct chaos *c)
{
    chaos_workers(c, WORKERS);
    chaos_send_sleeps(c, c->size.jobs, 10, 50);
    chaos_flush(c);
    chaos_until_replied(c, c->size.jobs / 6, REPLIES_LIMIT_MS);
    freeze_broker(c);
    chaos_until_replied(c, c->size.jobs / 2, REPLIES_LIMIT_MS);
    kill_broker(c, c->size.seconds > 10 ? c->size.seconds * 1000 : 0);
    chaos_until_replied(c, c->n_jobs, REPLIES_LIMIT_MS);
}

static void lose_redis(struct chaos *c, int64_t away_ms, bool kill_a_worker)
{
    chaos_fault(c, "redis");
    sp_redis_server_kill(&c->redis);
    chaos_pass(c, away_ms / 2);
    if (kill_a_worker) {
        int worker = chaos_pick(c);
        chaos_kill(c, worker);
        chaos_start(c, worker);
    }
    chaos_pass(c, away_ms - away_ms / 2);
    chaos_healed(c, "redis"); /* before: what began until then had no claim */
    cr_assert(sp_redis_server_start(&c->redis, NULL));
    until_flow(c);
}

/* The settings are in the control topic, too, as a Redis that comes back empty is refilled from
 * there. */
void case_redis_lost(struct chaos *c)
{
    char document[384];
    snprintf(document, sizeof document,
             "{\"provider_type\":\"ledger\",\"providers\":{\"ledger\":{\"ledger\":\"%s\","
             "\"outage\":\"%s\"}}}",
             c->ledger_path, c->outage_path);
    sp_stage_control(c->stage, "settings", document);
    chaos_workers(c, WORKERS);
    chaos_send_sleeps(c, c->size.jobs, 10, 50);
    chaos_flush(c);
    chaos_until_replied(c, c->size.jobs / 6, REPLIES_LIMIT_MS);
    lose_redis(c, 1000, false);
    chaos_until_replied(c, c->size.jobs / 2, REPLIES_LIMIT_MS);
    lose_redis(c, c->size.seconds * 1000, true);
    chaos_until_replied(c, c->n_jobs, REPLIES_LIMIT_MS);
}

void case_provider_outage(struct chaos *c)
{
    chaos_workers(c, WORKERS);
    chaos_send_sleeps(c, c->size.jobs, 20, 60);
    chaos_flush(c);
    chaos_until_replied(c, c->size.jobs / 5, REPLIES_LIMIT_MS);
    chaos_fault(c, "provider");
    close(open(c->outage_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    chaos_pass(c, c->size.seconds * 1000);
    cr_assert(unlink(c->outage_path) == 0);
    chaos_healed(c, "provider");
    until_flow(c);
    chaos_until_replied(c, c->n_jobs, REPLIES_LIMIT_MS);
}

/* The version that a worker says it has applied; -1: it says nothing. */
static int64_t applied(struct chaos *c)
{
    sp_auto(sp_free_str) char *text =
        sp_stage_redis(c->stage, "GET %s:worker:chaos", c->stage->prefix);
    json_auto_t *record = text ? json_loads(text, 0, NULL) : NULL;
    json_t *version = json_object_get(record, "settings_version");
    return json_is_integer(version) ? json_integer_value(version) : -1;
}

static bool has_applied(struct chaos *c, int64_t version)
{
    return applied(c) == version;
}

static void change_silently(struct chaos *c)
{
    sp_auto(sp_free_str) char *text =
        sp_stage_redis(c->stage, "HINCRBY %s:settings version 1", c->stage->prefix);
    int64_t version = 0, from = sp_mono_ms();
    cr_assert(text && sp_parse_i64(text, 0, INT64_MAX, &version));
    chaos_until(c, has_applied, version, FLOW_LIMIT_MS);
    int64_t took = sp_mono_ms() - from;
    if (c->measured[CHECKER_SLOWEST_MS] < took)
        c->measured[CHECKER_SLOWEST_MS] = took;
}

void case_hint_dropped(struct chaos *c)
{
    chaos_option(c, "worker.id=chaos");
    chaos_workers(c, 1);
    cr_assert(chaos_until(c, has_applied, 1, FLOW_LIMIT_MS), "the first settings");
    chaos_send_sleeps(c, c->size.jobs, 20, 200);
    chaos_flush(c);
    for (int64_t i = 0; i < c->size.faults; i++)
        change_silently(c);
    chaos_until_replied(c, c->n_jobs, REPLIES_LIMIT_MS);
}
