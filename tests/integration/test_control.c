/* The control topic on a real broker: settings records and cancellations (CONTRACT.md 5, DESIGN.md
 * 3 "Config-change events"). */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/support.h"
#include "tests/support/stage.h"
#include "tests/support/until.h"

#define LIMIT_MS 120000
#define FLEET 3

static struct sp_stage *s;
static char root[] = "/tmp/sandpiper-control-XXXXXX";
static char out[16384]; /* what the last shell() printed, on both */

static void open_stage(void)
{
    s = sp_stage_new(2);
    cr_assert(mkdtemp(root) != NULL && chdir(root) == 0);
    sp_stage_environment(s);
}

static void close_stage(void)
{
    sp_stage_free(s);
    sp_remove_tree(root);
}

TestSuite(control, .init = open_stage, .fini = close_stage);

static int shell(const char *line)
{
    char command[2048];
    snprintf(command, sizeof(command), "S=%s; { %s; } 2>&1", SP_BINARY, line);
    FILE *f = popen(command, "r");
    cr_assert(f != NULL);
    out[fread(out, 1, sizeof(out) - 1, f)] = '\0';
    int status = pclose(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* An administrator who has nothing but Kafka. */
static void kcat(const char *key, const char *value)
{
    char command[256];
    snprintf(command, sizeof(command), "kcat -P -b %s -t %s -k '%s'", s->kafka, s->control, key);
    FILE *f = popen(command, "w");
    cr_assert(f != NULL && fputs(value, f) >= 0);
    cr_assert(eq(int, pclose(f), 0));
}

/* A settings record: local with this colour in the environment. */
static const char *settings(const char *colour)
{
    static char text[512];
    snprintf(text, sizeof(text),
             "{\"provider_type\":\"local\",\"providers\":{\"local\":{\"isolation\":\"none\","
             "\"work_dir\":\"%s/runs\",\"environment\":{\"COLOUR\":\"%s\"}}},\"author\":\"ann\","
             "\"comment\":\"%s it is\"}",
             root, colour, colour);
    return text;
}

static void control_topic(void)
{
    sp_stage_topic(s, s->control, 1, "cleanup.policy=compact");
}

static void fleet(int n)
{
    for (int i = 0; i < n; i++)
        sp_stage_worker(s, NULL);
}

static int64_t version_now(void)
{
    char *text = sp_stage_redis(s, "HGET %s:settings version", s->prefix);
    int64_t version = text ? atoll(text) : 0;
    free(text);
    return version;
}

static bool everybody_has(void *arg)
{
    for (int i = 0; i < s->n_workers; i++) {
        double version = sp_stage_metric(s, i, "sandpiper_settings_version");
        if (s->workers[i].pid && version != (double)*(int64_t *)arg)
            return false;
    }
    return true;
}

static void converge_within(int64_t version, int64_t limit_ms)
{
    sp_stage_until(everybody_has, &version, limit_ms, "every worker has the version");
}

static void converge(int64_t version)
{
    converge_within(version, LIMIT_MS);
}

static void expect_colour(const char *id, const char *colour)
{
    char expected[32];
    snprintf(expected, sizeof(expected), "%s\n", colour);
    sp_stage_submit(s, id, "python", "import os\nprint(os.environ['COLOUR'])", "");
    struct sp_stage_answer *a = sp_stage_reply(s, id, LIMIT_MS);
    cr_expect(eq(str, (char *)sp_stage_answer_text(a, "stdout"), expected), "%s", a->value);
}

static double applied(void)
{
    double total = 0;
    for (int i = 0; i < s->n_workers; i++)
        total += sp_stage_metric(s, i, "sandpiper_control_applied_total");
    return total;
}

static bool is_counted(void *arg)
{
    (void)arg;
    return applied() >= 1;
}

static bool file_says(void *arg)
{
    char text[4096] = "";
    FILE *f = fopen("watch.out", "r");
    if (!f)
        return false;
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    fclose(f);
    return strstr(text, arg) != NULL;
}

Test(control, a_bare_record_is_applied_once_by_a_fleet_of_three_and_watched)
{
    control_topic();
    sp_stage_local(s, "");
    fleet(FLEET);
    converge(1);
    cr_assert(zero(shell("$S settings watch --json --for 300s >watch.out 2>&1 & echo $! >pid")));
    sp_stage_until(file_says, (void *)"\"version\":1", LIMIT_MS, "the watch has begun");

    kcat("settings", settings("red"));

    converge(2);
    expect_colour("one", "red");
    cr_expect(eq(i64, version_now(), 2));
    sp_stage_until(is_counted, NULL, LIMIT_MS, "one worker says that it has applied it");
    cr_expect(eq(dbl, applied(), 1));
    sp_stage_until(file_says,
                   (void *)"\"version\":2,\"provider\":\"local\",\"author\":\"ann\",\"comment\":"
                           "\"red it is\"",
                   LIMIT_MS, "the watch shows author and comment");
    sp_stage_until(file_says, (void *)"\"version\":2,\"applied\":3,\"workers\":3", LIMIT_MS,
                   "the watch shows that the fleet has followed");
    cr_expect(zero(shell("kill $(cat pid)")));
}

/* The one worker shows that the first record is bad because of `arg`. */
static bool record_is_named(void *arg)
{
    cr_assert(zero(shell("$S workers --json")));
    json_auto_t *answer = json_loads(out, 0, NULL);
    json_t *workers = json_is_array(answer) ? answer : json_object_get(answer, "workers");
    json_t *error = json_object_get(json_array_get(workers, 0), "settings_error");
    const char *version = json_string_value(json_object_get(error, "version"));
    const char *message = json_string_value(json_object_get(error, "message"));
    return version && strcmp(version, "control:0") == 0 && message && strstr(message, arg);
}

Test(control, an_invalid_record_is_reported_by_name_and_changes_nothing)
{
    control_topic();
    sp_stage_local(s, "");
    fleet(1);
    converge(1);

    kcat("settings",
         "{\"provider_type\":\"local\",\"providers\":{\"local\":{\"isolation\":\"none\","
         "\"timeout\":0}}}");

    sp_stage_until(record_is_named, (void *)"timeout", LIMIT_MS, "the fleet record names it");
    sp_stage_until_readyz(
        s, 0, 200, "offset 0 of the control topic not applied: providers.local: timeout", LIMIT_MS);
    cr_expect(eq(i64, version_now(), 1));
}

static bool redis_is_filled(void *arg)
{
    (void)arg;
    return version_now() > 0;
}

static void jobs(const char *prefix, int n)
{
    char id[32];
    for (int i = 0; i < n; i++) {
        snprintf(id, sizeof(id), "%s%d", prefix, i);
        sp_stage_submit(s, id, "python", "import os\nprint(os.environ['COLOUR'])", "");
    }
    sp_stage_flush(s);
}

Test(control, an_emptied_redis_is_refilled_from_the_topic_while_jobs_go_on)
{
    struct sp_redis_server own = sp_stage_own_redis(s, NULL);
    sp_stage_environment(s);
    control_topic();
    kcat("settings", settings("red"));
    fleet(2);
    converge(1);
    jobs("before", 20);

    free(sp_stage_redis(s, "FLUSHALL"));
    jobs("after", 20);

    sp_stage_until(redis_is_filled, NULL, 10000, "Redis is filled within 10 s");
    cr_assert(sp_stage_wait(s, 40, LIMIT_MS), "%zu replies", s->n_answers);
    for (size_t i = 0; i < s->n_answers; i++) {
        cr_expect(eq(str, (char *)sp_stage_answer_text(s->answers[i], "stdout"), "red\n"), "%s",
                  s->answers[i]->value);
    }
    converge(1);
    cr_expect(zero(shell("$S settings get")));
    cr_expect(strstr(out, "author    ann") != NULL, "%s", out);
    sp_redis_server_stop(&own);
}

Test(control, an_emptied_redis_behind_an_invalid_record_is_refilled_with_what_is_in_force)
{
    struct sp_redis_server own = sp_stage_own_redis(s, NULL);
    sp_stage_environment(s);
    control_topic();
    sp_stage_local(s, "\"environment\":{\"COLOUR\":\"green\"}");
    fleet(1);
    converge(1);
    kcat("settings", "{}");
    sp_stage_until(record_is_named, (void *)"provider_type: required", LIMIT_MS, "it is read");

    free(sp_stage_redis(s, "FLUSHALL"));

    sp_stage_until(redis_is_filled, NULL, 10000, "Redis is filled within 10 s");
    expect_colour("one", "green");
    sp_redis_server_stop(&own);
}

Test(control, without_its_hint_a_change_is_applied_within_6_seconds)
{
    struct sp_redis_server own = sp_stage_own_redis(s, NULL);
    sp_stage_environment(s);
    control_topic();
    sp_stage_local(s, "");
    free(sp_stage_redis(s, "ACL SETUSER default on nopass ~* +@all resetchannels"));
    fleet(2);
    converge(1);

    cr_assert(zero(shell("$S settings set local timeout=7")), "%s", out);

    converge_within(2, 8000);
    sp_redis_server_stop(&own);
}

Test(control, administrators_at_once_lose_nothing)
{
    control_topic();
    sp_stage_local(s, "");
    fleet(1);
    converge(1);

    int failed = shell("$S settings set local timeout=7 & a=$!; "
                       "$S settings set local max_memory_mb=77 & b=$!; "
                       "$S settings set ssh host=h username=u password=env:P & c=$!; "
                       "wait $a && wait $b && wait $c");

    cr_expect(zero(failed), "%s", out);
    cr_expect(zero(shell("$S settings get --json")));
    json_auto_t *json = json_loads(out, 0, NULL);
    json_t *providers = json_object_get(json, "providers");
    json_t *local = json_object_get(providers, "local");
    cr_expect(eq(i64, json_integer_value(json_object_get(local, "timeout")), 7), "%s", out);
    cr_expect(eq(i64, json_integer_value(json_object_get(local, "max_memory_mb")), 77), "%s", out);
    cr_expect(json_object_get(json_object_get(providers, "ssh"), "host") != NULL, "%s", out);
    cr_expect(eq(str, (char *)json_string_value(json_object_get(json, "provider_type")), "local"));
}

Test(control, a_missing_topic_is_made_where_we_may)
{
    char *body = NULL;
    sp_stage_local(s, "");
    fleet(1);
    converge(1);

    kcat("settings", settings("blue"));

    converge(2);
    char command[256];
    snprintf(command, sizeof(command), "kcat -L -J -b %s -t %s", s->kafka, s->control);
    cr_assert(zero(shell(command)));
    json_auto_t *json = json_loads(out, 0, NULL);
    json_t *topic = json_array_get(json_object_get(json, "topics"), 0);
    cr_expect(eq(sz, json_array_size(json_object_get(topic, "partitions")), 1), "%s", out);
    sp_stage_until_readyz(s, 0, 200, "", LIMIT_MS);
    cr_expect(eq(int, sp_stage_http(s, 0, "/readyz", &body), 200));
    cr_expect(strstr(body, "control") == NULL, "%s", body);
    free(body);
}

/* The broker refuses a name that differs from another topic's in nothing but '.' and '_'. */
Test(control, without_a_topic_and_without_the_right_to_make_one_work_goes_on)
{
    char twin[96];
    snprintf(twin, sizeof(twin), "%s_control", s->prefix);
    sp_stage_topic(s, twin, 1, NULL);
    sp_stage_local(s, "\"environment\":{\"COLOUR\":\"red\"}");
    fleet(1);

    expect_colour("one", "red");

    sp_stage_until_readyz(s, 0, 200, "without the control topic: there is no topic", LIMIT_MS);
    cr_expect(eq(dbl, sp_stage_metric(s, 0, "sandpiper_control_missing"), 1));
    cr_expect(eq(int, shell("$S settings set local timeout=7"), 1));
    cr_expect(strstr(out, "cleanup.policy=compact") != NULL, "%s", out);
    cr_expect(eq(i64, version_now(), 1));
}

static bool topic_is_empty(void *arg)
{
    char command[256];
    (void)arg;
    snprintf(command, sizeof(command), "kcat -C -e -q -b %s -t %s", s->kafka, s->control);
    return shell(command) == 0 && !out[0];
}

Test(control, a_topic_that_is_made_anew_is_read_from_its_beginning)
{
    control_topic();
    kcat("settings", settings("red"));
    kcat("settings", settings("blue"));
    fleet(1);
    converge(1);

    sp_stage_delete_topic(s, s->control);
    sp_stage_until(topic_is_empty, NULL, LIMIT_MS, "the worker has made it again");
    kcat("settings", settings("green"));

    converge(2);
    expect_colour("one", "green");
}

Test(control, a_cancellation_outlives_the_workers)
{
    control_topic();
    sp_stage_local(s, "");
    fleet(1);
    cr_assert(zero(shell("$S cancel job-1 --reason 'no longer wanted' --by ann")), "%s", out);
    sp_stage_until_metric(s, 0, "sandpiper_control_cancels_total", 1, LIMIT_MS);
    sp_stage_worker_end(s, 0, SIGKILL);

    int again = sp_stage_worker(s, NULL);

    sp_stage_until_metric(s, again, "sandpiper_control_cancels_total", 1, LIMIT_MS);
    char command[256];
    snprintf(command, sizeof(command), "kcat -C -e -q -b %s -t %s -f '%%k=%%s\n'", s->kafka,
             s->control);
    cr_assert(zero(shell(command)));
    cr_expect(eq(str, out, "cancel:job-1={\"reason\":\"no longer wanted\",\"by\":\"ann\"}\n"));
}

Test(control, with_kafka_away_a_change_fails_unless_it_is_for_redis_alone)
{
    sp_stage_local(s, "");

    cr_expect(eq(
        int, shell("$S settings set -X kafka.bootstrap.servers=127.0.0.1:1 local timeout=7"), 1));
    cr_expect(strstr(out, "kafka.bootstrap.servers") != NULL, "%s", out);
    cr_expect(eq(i64, version_now(), 1));

    cr_expect(zero(shell("$S settings set -X kafka.bootstrap.servers=127.0.0.1:1 --redis-only "
                         "local timeout=7")),
              "%s", out);
    cr_expect(strstr(out, "warning: only Redis") != NULL, "%s", out);
    cr_expect(eq(i64, version_now(), 2));
}

Test(control, import_if_absent_leaves_the_topics_settings)
{
    control_topic();
    kcat("settings", settings("red"));

    FILE *f = fopen("all.json", "w");
    fputs("{\"sandbox.provider_type\":\"local\",\"sandbox.local\":{\"isolation\":\"none\"}}", f);
    fclose(f);
    cr_assert(zero(shell("$S settings import --if-absent all.json")), "%s", out);
    cr_expect(strstr(out, "nothing was changed") != NULL, "%s", out);
    cr_assert(zero(shell("$S settings get")));
    cr_expect(strstr(out, "red it is") != NULL, "%s", out);

    cr_assert(zero(shell("$S settings import all.json")), "%s", out);
    cr_assert(zero(shell("$S settings get")));
    cr_expect(strstr(out, "red it is") == NULL, "%s", out);
}
