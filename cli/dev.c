/*
 * `dev`: everything on one machine, for development. This process only watches: the broker
 * (cli/mock_broker.h), a private redis-server and the worker are its children, so the worker runs
 * as it does in production, and all of it ends together.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/dev_dir.h"
#include "cli/files.h"
#include "cli/mock_broker.h"
#include "cli/overseer.h"
#include "providers/registry.h"
#include "settings/store.h"
#include "worker/queue_config.h"
#include "worker/worker.h"

#define START_MS 30000
#define STOP_MS 5000
#define PARTITIONS 4

struct dev_options {
    struct sp_common_options common;
    const char *dir, *ready_file;
};

/* In the order of their start. */
enum { BROKER, REDIS, WORKER, CHILDREN };

struct dev {
    const struct sp_call *call;
    struct sp_dev_dir dir;
    char conf[PATH_MAX];
    char address[SP_READY_LINE_MAX]; /* of the broker */
    char http[SP_READY_LINE_MAX];    /* of the worker */
    char redis_url[512];
    struct sp_config *config;
    struct sp_topics topics;
    struct sp_child children[CHILDREN];
    struct sp_overseer overseer;
};

/* ---- broker ---- */

static int fail(const struct dev *dev, const struct sp_error *err)
{
    return sp_call_fail(dev->call, err);
}

static enum sp_code open_broker(const struct dev *dev, struct sp_mock_broker **out,
                                struct sp_error *err)
{
    const struct sp_topics *t = &dev->topics;
    size_t n = 0;
    char dlq[32][256];
    struct sp_mock_topic topics[2 + 2 * SP_COUNT(dlq)];
    if (t->n_requests > SP_COUNT(dlq)) {
        return sp_error_set(err, SP_E_INVALID, "queue.request_topics: at most %zu here",
                            SP_COUNT(dlq));
    }
    topics[n++] = (struct sp_mock_topic){t->reply, PARTITIONS};
    topics[n++] = (struct sp_mock_topic){t->control, 1};
    for (size_t i = 0; i < t->n_requests; i++) {
        topics[n++] = (struct sp_mock_topic){t->requests[i], PARTITIONS};
        sp_topic_dlq(t, t->requests[i], dlq[i], sizeof(dlq[i]));
        if (i == 0 || !t->dlq) /* one that is named serves all */
            topics[n++] = (struct sp_mock_topic){dlq[i], PARTITIONS};
    }
    return sp_mock_broker_open(topics, n, out, err);
}

static int broker_body(void *ctx, int fd)
{
    const struct dev *dev = ctx;
    sp_auto(sp_mock_broker_close) struct sp_mock_broker *broker = NULL;
    struct sp_error err = {0};
    sigset_t stop;
    int got = 0;
    /* Before the cluster's threads start, so that none of them takes the signal. */
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    (void)pthread_sigmask(SIG_BLOCK, &stop, NULL);
    if (open_broker(dev, &broker, &err))
        return fail(dev, &err);
    (void)dprintf(fd, "%s\n", sp_mock_broker_address(broker));
    close(fd);
    (void)sigwait(&stop, &got);
    return EXIT_SUCCESS;
}

/* ---- redis ---- */

/* The socket's URL; a path may hold what means something in one. */
static void write_redis_url(struct dev *dev)
{
    size_t len = (size_t)snprintf(dev->redis_url, sizeof(dev->redis_url), "unix://");
    for (const char *c = dev->dir.path; *c; c++) {
        bool plain = strchr("/-_.~", *c) || (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') ||
                     (*c >= 'A' && *c <= 'Z');
        len += (size_t)snprintf(dev->redis_url + len, sizeof(dev->redis_url) - len,
                                plain ? "%c" : "%%%02X", (unsigned char)*c);
    }
    (void)snprintf(dev->redis_url + len, sizeof(dev->redis_url) - len, "/redis.sock");
}

static int redis_body(void *ctx, int fd)
{
    const struct dev *dev = ctx;
    if (chdir(dev->dir.path) == 0) {
        (void)execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", "redis.sock",
                     "--unixsocketperm", "700", "--save", "", "--appendonly", "no",
                     "--maxmemory-policy", "noeviction", "--loglevel", "warning", "--logfile",
                     "redis.log", (char *)NULL);
    }
    (void)dprintf(fd, "redis-server: %s (install it: apt-get install redis-server)\n",
                  strerrordesc_np(errno));
    return EXIT_FAILURE;
}

/* The executed program has closed the pipe without a line; else the line says what went wrong. */
static enum sp_code check_redis_start(int fd, struct sp_error *err)
{
    char line[SP_READY_LINE_MAX] = "";
    struct sp_error ignored = {0};
    if (sp_overseer_read_line(fd, "redis-server", line, &ignored))
        return SP_OK;
    return sp_error_set(err, SP_E_UNAVAILABLE, "%s", line);
}

static enum sp_code await_redis(struct dev *dev, struct sp_redis *redis, struct sp_error *err)
{
    int64_t deadline = sp_deadline_in(START_MS);
    for (;;) {
        sp_auto(freeReplyObject) redisReply *reply = NULL;
        enum sp_code rc = sp_redis_command(redis, &reply, err, "PING");
        if (rc != SP_E_UNAVAILABLE || sp_deadline_left(deadline) == 0)
            return rc;
        enum sp_happening what = sp_overseer_next(&dev->overseer, -1, sp_deadline_in(20));
        if (what == SP_HAPPENED_STOP)
            return sp_error_set(err, SP_E_CANCELLED, "stopped");
        if (what == SP_HAPPENED_CHILD && sp_overseer_ended(&dev->overseer)) {
            return sp_error_set(err, SP_E_UNAVAILABLE,
                                "redis-server ended while starting; %s/redis.log says why",
                                dev->dir.path);
        }
    }
}

/* What a development worker starts with. */
static enum sp_code import_settings(const struct dev *dev, struct sp_redis *redis,
                                    struct sp_error *err)
{
    const struct sp_provider_ops *local = sp_registry_find("local");
    char runs[PATH_MAX];
    int64_t version = 0;
    enum sp_stored stored;
    (void)snprintf(runs, sizeof(runs), "%s/runs", dev->dir.path);
    json_auto_t *settings = json_pack("{s:s, s:s}", "isolation", "none", "work_dir", runs);
    json_auto_t *providers = json_pack("{s:O}", local->name, settings);
    enum sp_code rc = sp_provider_validate(local, settings, err);
    if (rc)
        return rc;
    const struct sp_change change = {
        .provider_type = local->name,
        .providers = providers,
        .replace = true,
        .author = "sandpiper dev",
        .comment = "for development: no isolation",
    };
    return sp_store_change(redis, dev->config->redis.prefix, &change, &version, &stored, err);
}

static enum sp_code start_redis(struct dev *dev, struct sp_error *err)
{
    int fd = -1;
    enum sp_code rc = sp_child_start(&dev->children[REDIS], &fd, err);
    if (rc)
        return rc;
    rc = check_redis_start(fd, err);
    close(fd);
    return rc;
}

static enum sp_code fill_redis(struct dev *dev, struct sp_error *err)
{
    sp_auto(sp_redis_free) struct sp_redis *redis = NULL;
    enum sp_code rc = sp_redis_new(dev->config, &redis, err);
    if (!rc)
        rc = await_redis(dev, redis, err);
    return rc ? rc : import_settings(dev, redis, err);
}

/* ---- worker ---- */

static int worker_body(void *ctx, int fd)
{
    const struct dev *dev = ctx;
    return sp_worker_run(dev->config, fd);
}

/* ---- configuration ---- */

/* dev.conf is all that other commands need to find this set-up. */
static enum sp_code write_conf(struct dev *dev, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    const struct sp_config *c = dev->config;
    (void)snprintf(dev->conf, sizeof(dev->conf), "%s/dev.conf", dev->dir.path);
    enum sp_code rc =
        sp_buf_addf(&text,
                    "; Written by 'sandpiper dev'; gone when it ends.\n"
                    "[kafka]\nbootstrap.servers = %s\n"
                    /* The mock cluster holds an empty fetch for all of this time. */
                    "fetch.wait.max.ms = 10\n"
                    "[queue]\nrequest_topics = %s\nreply_topic = %s\ncontrol_topic = %s\n"
                    "dlq_topic = %s\nreply_allow = %s\n"
                    "[redis]\nurl = %s\nprefix = %s\n"
                    "[http]\nlisten = 127.0.0.1:0\n"
                    "[log]\nformat = text\n",
                    dev->address, c->queue.request_topics, c->queue.reply_topic,
                    c->queue.control_topic, c->queue.dlq_topic ? c->queue.dlq_topic : "",
                    c->queue.reply_allow, dev->redis_url, c->redis.prefix);
    if (rc)
        return sp_error_set(err, rc, "no memory");
    return sp_file_replace(dev->conf, text.data, text.len, err);
}

/* Files of other set-ups have no say here; the environment and -X do, save about the addresses. */
static enum sp_code load_config(struct dev *dev, const char *path, struct sp_error *err)
{
    const struct dev_options *options = dev->call->options;
    char kafka[SP_READY_LINE_MAX + 32];
    char redis[sizeof(dev->redis_url) + 16];
    size_t n = options->common.set.n;
    const char **overrides = calloc(n + 2, sizeof(*overrides));
    if (!overrides)
        return sp_error_set(err, SP_E_NOMEM, "no memory");
    for (size_t i = 0; i < n; i++)
        overrides[i] = options->common.set.items[i];
    (void)snprintf(redis, sizeof(redis), "redis.url=%s", dev->redis_url);
    (void)snprintf(kafka, sizeof(kafka), "kafka.bootstrap.servers=%s", dev->address);
    overrides[n++] = redis;
    if (dev->address[0])
        overrides[n++] = kafka;
    sp_config_free(dev->config);
    dev->config = NULL;
    enum sp_code rc = sp_config_load(path, overrides, n, &dev->config, err);
    free(overrides);
    return rc;
}

static enum sp_code prepare(struct dev *dev, struct sp_error *err)
{
    const struct dev_options *options = dev->call->options;
    enum sp_code rc = sp_dev_dir_make(&dev->dir, options->dir, err);
    if (rc)
        return rc;
    write_redis_url(dev);
    rc = load_config(dev, "/dev/null", err);
    if (rc)
        return rc;
    return sp_queue_config_topics(dev->config, &dev->topics, err);
}

/* ---- what people see ---- */

static void print_where(const struct dev *dev)
{
    FILE *out = dev->call->out;
    fprintf(out,
            "Sandpiper for development is running.\n\n"
            "  Kafka      %s (in memory: librdkafka's mock cluster)\n"
            "  Redis      %s (private)\n"
            "  Worker     http://%s/metrics, /healthz, /readyz\n"
            "  Provider   local, isolation none: programs run as you, with nothing between them\n"
            "             and your files. That is a choice for development; do not offer it to\n"
            "             others.\n\n"
            "In another terminal:\n\n"
            "  export SANDPIPER_CONF=%s\n"
            "  sandpiper run examples/hello.py --arg name=World --arg count=3\n"
            "  sandpiper settings get\n"
            "  sandpiper workers\n\n"
            "Ctrl-C ends it all and leaves nothing behind.\n",
            dev->address, dev->redis_url, dev->http, dev->conf);
    (void)fflush(out);
}

static enum sp_code write_ready_file(const struct dev *dev, struct sp_error *err)
{
    const struct dev_options *options = dev->call->options;
    if (!options->ready_file)
        return SP_OK;
    json_auto_t *where = json_pack("{s:s, s:s, s:s, s:s, s:I}", "config", dev->conf,
                                   "bootstrap_servers", dev->address, "redis_url", dev->redis_url,
                                   "http", dev->http, "pid", (json_int_t)getpid());
    sp_auto(sp_free_str) char *text = json_dumps(where, JSON_COMPACT);
    if (!text)
        return sp_error_set(err, SP_E_NOMEM, "no memory");
    enum sp_code rc = sp_file_replace(options->ready_file, text, strlen(text), err);
    return rc ? sp_error_wrap(err, rc, "--ready-file") : SP_OK;
}

/* ---- from start to end ---- */

static enum sp_code start_all(struct dev *dev, struct sp_error *err)
{
    char line[SP_READY_LINE_MAX];
    enum sp_code rc = prepare(dev, err);
    if (!rc)
        rc = sp_overseer_start(&dev->overseer, &dev->children[BROKER], dev->address, err);
    if (!rc)
        rc = write_conf(dev, err);
    if (!rc)
        rc = load_config(dev, dev->conf, err);
    if (!rc)
        rc = start_redis(dev, err);
    if (!rc)
        rc = fill_redis(dev, err);
    if (!rc)
        rc = sp_overseer_start(&dev->overseer, &dev->children[WORKER], line, err);
    if (rc)
        return rc;
    const char *address = strchr(line, ' ');
    (void)snprintf(dev->http, sizeof(dev->http), "%s", address ? address + 1 : line);
    return write_ready_file(dev, err);
}

/* Until a stop is asked for (SP_OK) or a child ends. */
static enum sp_code watch(struct dev *dev, struct sp_error *err)
{
    for (;;) {
        enum sp_happening what = sp_overseer_next(&dev->overseer, -1, SP_NEVER);
        if (what == SP_HAPPENED_STOP)
            return SP_OK;
        if (what == SP_HAPPENED_RELOAD)
            (void)kill(dev->children[WORKER].pid, SIGHUP);
        const char *ended = what == SP_HAPPENED_CHILD ? sp_overseer_ended(&dev->overseer) : NULL;
        if (ended)
            return sp_error_set(err, SP_E_UNAVAILABLE, "%s has ended; so does the rest", ended);
    }
}

/* The worker first, while it still has a broker to commit to. A second signal goes on to it and
 * makes it leave at once. */
static void stop_worker(struct dev *dev)
{
    struct sp_child *worker = &dev->children[WORKER];
    int status = 0;
    if (worker->pid > 0)
        (void)kill(worker->pid, SIGTERM);
    while (worker->pid > 0) {
        if (sp_overseer_next(&dev->overseer, -1, sp_deadline_in(1000)) == SP_HAPPENED_STOP)
            (void)kill(worker->pid, SIGTERM);
        (void)sp_child_ended(worker, &status);
    }
}

static void stop_all(struct dev *dev)
{
    const struct dev_options *options = dev->call->options;
    stop_worker(dev);
    sp_child_stop(&dev->children[REDIS], STOP_MS);
    sp_child_stop(&dev->children[BROKER], STOP_MS);
    if (options->ready_file && dev->http[0])
        (void)unlink(options->ready_file);
    sp_dev_dir_remove(&dev->dir);
    sp_topics_clear(&dev->topics);
    sp_config_free(dev->config);
    sp_overseer_close(&dev->overseer);
}

static int run_dev(const struct sp_call *call)
{
    struct dev dev = {
        .call = call,
        .children = {[BROKER] = {"the mock broker", broker_body, &dev, 0},
                     [REDIS] = {"redis-server", redis_body, &dev, 0},
                     [WORKER] = {"the worker", worker_body, &dev, 0}},
        .overseer = sp_overseer_open(dev.children, CHILDREN),
    };
    struct sp_error err = {0};
    enum sp_code rc = start_all(&dev, &err);
    if (!rc) {
        print_where(&dev);
        rc = watch(&dev, &err);
    }
    stop_all(&dev);
    return rc && rc != SP_E_CANCELLED ? sp_call_fail(call, &err) : SP_EXIT_OK;
}

static const struct sp_option dev_options[] = {
    SP_TEXT_OPTION(struct dev_options, dir, "dir", .letter = 'd', .value = "DIR",
                   .help = "empty or new folder for its files (else a temporary one)"),
    SP_TEXT_OPTION(struct dev_options, ready_file, "ready-file", .value = "FILE",
                   .help = "write where everything is to FILE, as JSON, once it runs"),
    SP_LIST_OPTION(struct dev_options, common.set, "set", .letter = 'X',
                   .value = "SECTION.KEY=VALUE", .help = "override one key; repeatable"),
};

const struct sp_command sp_command_dev = {
    .name = "dev",
    .operands = "",
    .summary = "Run a broker in memory, a private Redis and a worker, for development.",
    .details = "Configuration files are not read. DIR/dev.conf leads other commands there:\n"
               "'sandpiper run -c DIR/dev.conf ...'.",
    .options = dev_options,
    .n_options = SP_COUNT(dev_options),
    .options_size = sizeof(struct dev_options),
    .run = run_dev,
};
