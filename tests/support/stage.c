/* See stage.h: the servers, the settings, the begin and the end. */
#include "tests/support/stage.h"

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "settings/store.h"
#include "tests/support.h"
#include "tests/support/until.h"

/* Servers */

static void read_servers(struct sp_stage *s)
{
    const char *path = getenv("SANDPIPER_TEST_SERVERS");
    cr_assert(path != NULL, "SANDPIPER_TEST_SERVERS is not set; run the tests through ctest");
    FILE *f = fopen(path, "r");
    cr_assert(f != NULL, "no servers: %s", path);
    char line[64];
    while (fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "KAFKA=", 6) == 0)
            snprintf(s->kafka, sizeof(s->kafka), "%s", line + 6);
        if (strncmp(line, "REDIS=", 6) == 0)
            snprintf(s->redis, sizeof(s->redis), "%s", line + 6);
    }
    fclose(f);
}

static redisContext *redis(struct sp_stage *s)
{
    char host[64];
    snprintf(host, sizeof(host), "%s", s->redis);
    char *colon = strrchr(host, ':');
    *colon = '\0';
    redisContext *c = redisConnect(host, atoi(colon + 1));
    cr_assert(c != NULL && c->err == 0, "redis %s", s->redis);
    return c;
}

struct sp_redis_server sp_stage_own_redis(struct sp_stage *s, char *const *args)
{
    struct sp_redis_server server = {0};
    cr_assert(sp_redis_server_start(&server, args));
    snprintf(s->redis, sizeof(s->redis), "127.0.0.1:%d", server.port);
    return server;
}

char *sp_stage_redis(struct sp_stage *s, const char *fmt, ...)
{
    redisContext *c = redis(s);
    va_list args;
    va_start(args, fmt);
    redisReply *reply = redisvCommand(c, fmt, args);
    va_end(args);
    cr_assert(reply != NULL && reply->type != REDIS_REPLY_ERROR, "redis: %s",
              reply ? reply->str : c->errstr);
    char *text = NULL;
    if (reply->type == REDIS_REPLY_INTEGER) {
        text = malloc(32);
        snprintf(text, 32, "%lld", reply->integer);
    } else if (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS) {
        text = sp_memdup(reply->str, (size_t)reply->len);
    }
    freeReplyObject(reply);
    redisFree(c);
    return text;
}

struct sp_stage *sp_stage_new(int partitions)
{
    signal(SIGPIPE, SIG_IGN);
    struct sp_stage *s = calloc(1, sizeof(*s));
    cr_assert(s != NULL);
    read_servers(s);
    char id[17];
    sp_random_hex(id, 8);
    snprintf(s->prefix, sizeof(s->prefix), "t%s", id);
    snprintf(s->requests, sizeof(s->requests), "%s.requests", s->prefix);
    snprintf(s->results, sizeof(s->results), "%s.results", s->prefix);
    snprintf(s->dlq, sizeof(s->dlq), "%s-dlq", s->requests);
    snprintf(s->control, sizeof(s->control), "%s.control", s->prefix);
    snprintf(s->gate, sizeof(s->gate), "/tmp/%s.gate", s->prefix);
    s->producer =
        sp_stage_client(s, RD_KAFKA_PRODUCER,
                        (const char *const[]){"partitioner", "murmur2_random", "message.max.bytes",
                                              "8000000", "linger.ms", "1", NULL});
    s->reader = sp_stage_client(s, RD_KAFKA_CONSUMER,
                                (const char *const[]){"group.id", s->prefix, "enable.auto.commit",
                                                      "false", "auto.offset.reset", "earliest",
                                                      "fetch.message.max.bytes", "8000000",
                                                      "fetch.wait.max.ms", "50", NULL});
    rd_kafka_poll_set_consumer(s->reader);
    sp_stage_topic(s, s->requests, partitions, "max.message.bytes=4194304");
    sp_stage_topic(s, s->results, partitions, NULL);
    sp_stage_topic(s, s->dlq, partitions, "max.message.bytes=4194304");
    sp_stage_watch(s, s->results);
    sp_stage_watch(s, s->dlq);
    return s;
}

static void answer_free(struct sp_stage_answer *a)
{
    free(a->key);
    free(a->value);
    json_decref(a->json);
    if (a->headers)
        rd_kafka_headers_destroy(a->headers);
    free(a);
}

void sp_stage_environment(const struct sp_stage *s)
{
    char url[96];
    snprintf(url, sizeof(url), "redis://%s", s->redis);
    const char *const variables[][2] = {
        {"SANDPIPER_CONF", "/dev/null"},
        {"SANDPIPER_KAFKA_BOOTSTRAP_SERVERS", s->kafka},
        {"SANDPIPER_REDIS_URL", url},
        {"SANDPIPER_REDIS_PREFIX", s->prefix},
        {"SANDPIPER_QUEUE_REQUEST_TOPICS", s->requests},
        {"SANDPIPER_QUEUE_REPLY_TOPIC", s->results},
        {"SANDPIPER_QUEUE_DLQ_TOPIC", s->dlq},
        {"SANDPIPER_QUEUE_CONTROL_TOPIC", s->control},
    };
    for (size_t i = 0; i < SP_COUNT(variables); i++)
        cr_assert(setenv(variables[i][0], variables[i][1], 1) == 0);
}

void sp_stage_free(struct sp_stage *s)
{
    for (int i = 0; i < s->n_workers; i++) {
        if (s->workers[i].pid)
            sp_stage_worker_end(s, i, SIGTERM);
        unlink(s->workers[i].log);
    }
    for (size_t i = 0; i < s->n_answers; i++)
        answer_free(s->answers[i]);
    free(s->answers);
    rd_kafka_consumer_close(s->reader);
    rd_kafka_destroy(s->reader);
    rd_kafka_destroy(s->producer);
    char work_dir[96];
    snprintf(work_dir, sizeof(work_dir), "/tmp/%s", s->prefix);
    sp_remove_tree(work_dir);
    unlink(s->gate);
    free(s);
}

/* Settings */

int64_t sp_stage_settings(struct sp_stage *s, const char *provider, const char *json)
{
    json_error_t jerr;
    json_t *settings = json_loads(json, 0, &jerr);
    cr_assert(settings != NULL, "%s: %s", json, jerr.text);
    json_t *providers = json_pack("{s:o}", provider, settings);
    char url[96];
    snprintf(url, sizeof(url), "redis://%s/0", s->redis);
    struct sp_config config = {.redis = {.url = url, .prefix = s->prefix}};
    struct sp_redis *r = NULL;
    struct sp_error err = {0};
    cr_assert(sp_redis_new(&config, &r, &err) == SP_OK, "%s", err.msg);
    int64_t version = 0;
    enum sp_stored stored;
    struct sp_change change = {.provider_type = provider, .providers = providers, .author = "test"};
    cr_assert(sp_store_change(r, s->prefix, &change, &version, &stored, &err) == SP_OK, "%s",
              err.msg);
    sp_redis_free(r);
    json_decref(providers);
    return version;
}

int64_t sp_stage_local(struct sp_stage *s, const char *extra_members)
{
    char json[4096];
    snprintf(json, sizeof(json), "{\"isolation\":\"none\",\"work_dir\":\"/tmp/%s\"%s%s}", s->prefix,
             *extra_members ? "," : "", extra_members);
    return sp_stage_settings(s, "local", json);
}

void sp_stage_until(bool (*cond)(void *arg), void *arg, int64_t limit_ms, const char *what)
{
    int64_t end = sp_deadline_in(limit_ms);
    while (!cond(arg)) {
        cr_assert(sp_deadline_left(end) > 0, "not within %d ms: %s", (int)limit_ms, what);
        poll(NULL, 0, 20);
    }
}

const char *sp_stage_behind_gate(const struct sp_stage *s, const char *rest)
{
    static char code[512];
    int n = snprintf(code, sizeof(code),
                     "import os, time\nwhile not os.path.exists('%s'):\n    time.sleep(0.05)\n%s",
                     s->gate, rest);
    cr_assert(n < (int)sizeof(code));
    return code;
}

void sp_stage_open_gate(const struct sp_stage *s)
{
    int fd = open(s->gate, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    cr_assert(fd >= 0);
    close(fd);
}
