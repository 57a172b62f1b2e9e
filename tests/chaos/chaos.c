/* A case from its beginning to its numbers: jobs and replies. Workers are in chaos_workers.c. */
#include "tests/chaos/chaos.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "tests/chaos/chaos_report.h"
#include "tests/support.h"
#include "tests/support/until.h"

#define PARTITIONS 6
#define READ_MS 20
#define READ_END_MS 120000
#define COMMIT_LIMIT_MS 120000
#define BROKER_START_MS 60000

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

/* What makes things quick; 1 s is the least that the test broker grants a session. */
static const char *const usual_options[] = {
    "kafka.session.timeout.ms=3000",
    "kafka.heartbeat.interval.ms=500",
    ("worker.concurrency=" TEXT(CHAOS_EXECUTORS)),
    "worker.drain=10s",
    "log.level=warn",
};

int64_t chaos_random(struct chaos *c, int64_t below)
{
    uint64_t x = c->random += 0x9e3779b97f4a7c15u; /* splitmix64 */
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (int64_t)((x ^ (x >> 31)) % (uint64_t)below);
}

static void note(struct chaos *c, const struct ledger_event *event)
{
    cr_assert(ledger_add(c->ledger, event), "%s: %s", c->ledger_path, strerror(errno));
}

static void note_what(struct chaos *c, enum ledger_kind kind, const char *what)
{
    struct ledger_event event = {.kind = kind};
    snprintf(event.what, sizeof event.what, "%s", what);
    note(c, &event);
}

void chaos_fault(struct chaos *c, const char *what)
{
    note_what(c, LEDGER_FAULT, what);
}

void chaos_healed(struct chaos *c, const char *what)
{
    note_what(c, LEDGER_HEALED, what);
}

/* Sending */

static void keep_job(struct chaos *c)
{
    if (c->n_jobs == c->cap_jobs) {
        c->cap_jobs = c->cap_jobs ? c->cap_jobs * 2 : 1024;
        c->jobs = realloc(c->jobs, (size_t)c->cap_jobs * sizeof *c->jobs);
        cr_assert(c->jobs != NULL);
    }
    c->jobs[c->n_jobs] = (struct chaos_job){.sent_us = sp_mono_us()};
    c->n_jobs++;
}

int64_t chaos_send(struct chaos *c, const struct chaos_request *request)
{
    struct ledger_event event = {.kind = LEDGER_SENT, .run = c->n_jobs};
    sp_auto(sp_free_str) char *value = NULL;
    snprintf(event.id, sizeof event.id, "j%lld", (long long)c->n_jobs);
    snprintf(event.what, sizeof event.what, "%s", request->want ? request->want : "ok");
    snprintf(event.key, sizeof event.key, "%s", request->key ? request->key : "");
    cr_assert(asprintf(&value, "{\"code\":\"%s\"%s%s}", request->code, request->members ? "," : "",
                       request->members ? request->members : "") > 0);
    keep_job(c);
    note(c, &event);
    int32_t partition = request->key ? RD_KAFKA_PARTITION_UA : (int32_t)(event.run % c->partitions);
    sp_stage_send(c->stage, partition, request->key, value,
                  &(struct sp_stage_header){.name = "sandpiper_request_id", .value = event.id}, 1);
    return c->n_jobs - 1;
}

void chaos_send_sleeps(struct chaos *c, int64_t n, int64_t least_ms, int64_t most_ms)
{
    for (int64_t i = 0; i < n; i++) {
        char code[32];
        long long ms = least_ms + chaos_random(c, most_ms - least_ms + 1);
        snprintf(code, sizeof code, "sleep %lld", ms);
        chaos_send(c, &(struct chaos_request){.code = code});
    }
}

void chaos_flush(struct chaos *c)
{
    sp_stage_flush(c->stage);
}

/* Reading */

/* The last header of a name as text; "" when there is none. */
static void header(const rd_kafka_message_t *m, const char *name, char *out, size_t size)
{
    rd_kafka_headers_t *headers = NULL;
    const void *value = NULL;
    size_t len = 0;
    out[0] = '\0';
    if (!rd_kafka_message_headers(m, &headers) &&
        !rd_kafka_header_get_last(headers, name, &value, &len))
        snprintf(out, size, "%.*s", (int)len, (const char *)value);
}

static int number_in_header(const rd_kafka_message_t *m, const char *name)
{
    char text[16];
    int64_t number = 0;
    header(m, name, text, sizeof text);
    return sp_parse_i64(text, 0, INT32_MAX, &number) ? (int)number : 0;
}

static void mark_replied(struct chaos *c, const struct ledger_event *event)
{
    int64_t n = 0;
    if (event->id[0] != 'j' || !sp_parse_i64(event->id + 1, 0, c->n_jobs - 1, &n) ||
        c->jobs[n].replied_us)
        return;
    c->jobs[n].replied_us = sp_mono_us();
    c->jobs[n].attempt = event->attempt;
    c->n_replied++;
}

/* An error has to say what is wrong, to who has to put it right. The first one that does not is
 * shown. */
static void look_at_error(struct chaos *c, const rd_kafka_message_t *m, const char *status)
{
    static const char member[] = "\"error\":{";
    if (!c->clear || strcmp(status, "error") != 0 ||
        memmem(m->payload, m->len, c->clear, strlen(c->clear)))
        return;
    const char *text = m->payload, *at = memmem(text, m->len, member, sizeof member - 1);
    size_t len = at ? m->len - (size_t)(at - text) : 0;
    if (c->measured[CHECKER_UNCLEAR]++ == 0) {
        printf("%s: no \"%s\" in %.*s\n", c->row->name, c->clear, len < 200 ? (int)len : 200,
               at ? at : "");
    }
}

static void take_reply(struct chaos *c, const rd_kafka_message_t *m)
{
    struct ledger_event event = {.kind = LEDGER_REPLY,
                                 .attempt = number_in_header(m, "sandpiper_attempt")};
    char dedupe[16];
    header(m, "sandpiper_request_id", event.id, sizeof event.id);
    header(m, "sandpiper_status", event.what, sizeof event.what);
    header(m, "sandpiper_result_id", event.key, sizeof event.key);
    header(m, "sandpiper_dedupe", dedupe, sizeof dedupe);
    event.digest = ledger_digest(LEDGER_DIGEST, m->key, m->key_len);
    event.digest = ledger_digest(event.digest, m->payload, m->len);
    look_at_error(c, m, event.what);
    event.run = strcmp(dedupe, "degraded") == 0;
    note(c, &event);
    mark_replied(c, &event);
}

static void take_dead_letter(struct chaos *c, const rd_kafka_message_t *m)
{
    struct ledger_event event = {.kind = LEDGER_DLQ,
                                 .attempt = number_in_header(m, "sandpiper_dlq_attempts")};
    header(m, "sandpiper_request_id", event.id, sizeof event.id);
    c->n_dead_letters++;
    note(c, &event);
}

bool chaos_read(struct chaos *c)
{
    chaos_revive(c);
    rd_kafka_poll(c->stage->producer, 0);
    rd_kafka_message_t *m = rd_kafka_consumer_poll(c->stage->reader, READ_MS);
    if (!m)
        return false;
    if (m->err == 0) {
        bool dead = strcmp(rd_kafka_topic_name(m->rkt), c->stage->dlq) == 0;
        (dead ? take_dead_letter : take_reply)(c, m);
    }
    rd_kafka_message_destroy(m);
    return true;
}

void chaos_pass(struct chaos *c, int64_t ms)
{
    int64_t end = sp_deadline_in(ms);
    do {
        chaos_read(c);
    } while (sp_mono_ms() < end);
}

bool chaos_until(struct chaos *c, bool (*cond)(struct chaos *c, int64_t arg), int64_t arg,
                 int64_t limit_ms)
{
    int64_t end = sp_deadline_in(limit_ms);
    while (!cond(c, arg)) {
        if (sp_mono_ms() >= end)
            return false;
        chaos_read(c);
    }
    return true;
}

static bool has_replied(struct chaos *c, int64_t n)
{
    return c->n_replied >= n;
}

bool chaos_until_replied(struct chaos *c, int64_t n, int64_t limit_ms)
{
    return chaos_until(c, has_replied, n, limit_ms);
}

int64_t chaos_runs(struct chaos *c, const char *id)
{
    sp_auto(ledger_clear) struct ledger ledger = {0};
    struct sp_error err = {0};
    cr_assert(ledger_read(c->ledger_path, &ledger, &err) == SP_OK, "%s", err.msg);
    return checker_runs_of(&ledger, id);
}

/* The end */

/* Whether the reader is at the end of every partition that it reads. */
static bool has_read_all(struct chaos *c, int64_t unused)
{
    (void)unused;
    rd_kafka_topic_partition_list_t *list = NULL;
    rd_kafka_t *reader = c->stage->reader;
    bool all = rd_kafka_assignment(reader, &list) == 0 && rd_kafka_position(reader, list) == 0;
    for (int i = 0; all && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *at = &list->elems[i];
        int64_t low = 0, high = 0;
        all = !rd_kafka_query_watermark_offsets(reader, at->topic, at->partition, &low, &high,
                                                READ_END_MS) &&
              (high == low || at->offset >= high);
    }
    rd_kafka_topic_partition_list_destroy(list);
    return all;
}

static bool has_committed_all(struct chaos *c, int64_t unused)
{
    (void)unused;
    return sp_stage_committed(c->stage) == sp_stage_end_offsets(c->stage);
}

void chaos_wind_up(struct chaos *c)
{
    c->measured[CHECKER_UNCOMMITTED] = !chaos_until(c, has_committed_all, 0, COMMIT_LIMIT_MS);
    chaos_stop_all(c);
}

static void count(struct chaos *c, struct checker_numbers *out)
{
    sp_auto(ledger_clear) struct ledger ledger = {0};
    struct sp_error err = {0};
    cr_expect(chaos_until(c, has_read_all, 0, READ_END_MS), "the replies were not read to the end");
    cr_assert(ledger_read(c->ledger_path, &ledger, &err) == SP_OK, "%s", err.msg);
    cr_assert(checker_count(&ledger, out));
    for (size_t i = 0; i < CHECKER_COUNT; i++)
        out->of[i] += c->measured[i];
    out->of[CHECKER_UNCOMMITTED] += sp_stage_end_offsets(c->stage) - sp_stage_committed(c->stage);
}

/* The beginning */

static void run_servers(const char *command, const char *dir, const char *more)
{
    char line[512];
    snprintf(line, sizeof line, SERVERS " %s %s %s", command, dir, more);
    cr_assert(system(line) == 0, "%s", line);
}

static void start_own_broker(struct chaos *c)
{
    char pid[16], env[128];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    snprintf(c->broker_dir, sizeof c->broker_dir, "%s/servers", c->dir);
    run_servers("start", c->broker_dir, pid);
    snprintf(env, sizeof env, "%s/env", c->broker_dir);
    cr_assert(setenv("SANDPIPER_TEST_SERVERS", env, 1) == 0);
}

pid_t chaos_broker(const struct chaos *c)
{
    char path[128];
    int pid = 0;
    snprintf(path, sizeof path, "%s/kafka.pid", c->broker_dir);
    FILE *file = fopen(path, "re");
    cr_assert(file && fscanf(file, "%d", &pid) == 1);
    fclose(file);
    return pid;
}

void chaos_broker_start(struct chaos *c)
{
    run_servers("kafka", c->broker_dir, "");
}

static void make_paths(struct chaos *c)
{
    snprintf(c->dir, sizeof c->dir, "/tmp/sandpiper-chaos-XXXXXX");
    cr_assert(mkdtemp(c->dir) != NULL);
    snprintf(c->ledger_path, sizeof c->ledger_path, "%s/ledger", c->dir);
    snprintf(c->outage_path, sizeof c->outage_path, "%s/outage", c->dir);
    snprintf(c->clock_path, sizeof c->clock_path, "%s/clock", c->dir);
    c->ledger = ledger_open(c->ledger_path);
    cr_assert(c->ledger >= 0, "%s", c->ledger_path);
}

static void set_the_scene(struct chaos *c)
{
    char settings[256];
    make_paths(c);
    if (c->row->own_broker)
        start_own_broker(c);
    c->partitions = c->row->partitions ? c->row->partitions : PARTITIONS;
    c->stage = sp_stage_new(c->partitions);
    c->stage->program = LEDGER_WORKER_BIN;
    if (c->row->own_redis)
        c->redis = sp_stage_own_redis(c->stage, NULL);
    if (c->row->own_broker) { /* whose absence is no news */
        rd_kafka_set_log_level(c->stage->producer, 0);
        rd_kafka_set_log_level(c->stage->reader, 0);
    }
    sp_stage_topic(c->stage, c->stage->control, 1, "cleanup.policy=compact");
    snprintf(settings, sizeof settings, "{\"ledger\":\"%s\",\"outage\":\"%s\"}", c->ledger_path,
             c->outage_path);
    sp_stage_settings(c->stage, "ledger", settings);
    for (size_t i = 0; i < SP_COUNT(usual_options); i++)
        chaos_option(c, usual_options[i]);
    for (size_t i = 0; c->row->options[i]; i++)
        chaos_option(c, c->row->options[i]);
}

static void clear_the_stage(struct chaos *c, bool keep)
{
    if (keep)
        chaos_keep_logs(c);
    sp_stage_free(c->stage);
    sp_redis_server_stop(&c->redis);
    if (c->row->own_broker)
        run_servers("stop", c->broker_dir, "");
    close(c->ledger);
    free(c->jobs);
    if (keep) {
        printf("%s: ledger and logs are in %s\n", c->row->name, c->dir);
    } else {
        sp_remove_tree(c->dir);
    }
    fflush(stdout);
}

bool chaos_run(const struct chaos_case *row, const struct chaos_order *order)
{
    struct chaos c = {.row = row, .size = order->size, .random = order->seed};
    struct chaos_outcome outcome = {.seed = order->seed};
    int64_t from = sp_mono_ms();
    set_the_scene(&c);
    row->run(&c);
    chaos_wind_up(&c);
    count(&c, &outcome.numbers);
    outcome.seconds = (sp_mono_ms() - from + 500) / 1000;
    snprintf(outcome.name, sizeof outcome.name, "%s", row->name);
    chaos_report_judge(&outcome, row->most);
    chaos_report_add(order->report, &outcome);
    clear_the_stage(&c, order->keep || !outcome.passed);
    return outcome.passed;
}
