/* See stage.h. The reader assigns partitions itself and keeps every record that it saw. */
#include "tests/support/stage.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "settings/store.h"
#include "tests/support.h"

#define START_LIMIT_MS 30000
#define TOPIC_LIMIT_MS 20000

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

static rd_kafka_t *client(struct sp_stage *s, rd_kafka_type_t type, const char *const *options)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", s->kafka, text, sizeof(text));
    rd_kafka_conf_set(conf, "log_level", "3", text, sizeof(text));
    rd_kafka_conf_set(conf, "reconnect.backoff.max.ms", "1000", text, sizeof(text));
    for (size_t i = 0; options[i]; i += 2)
        cr_assert(rd_kafka_conf_set(conf, options[i], options[i + 1], text, sizeof(text)) ==
                      RD_KAFKA_CONF_OK,
                  "%s", text);
    rd_kafka_t *rk = rd_kafka_new(type, conf, text, sizeof(text));
    cr_assert(rk != NULL, "%s", text);
    return rk;
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

/* Topics */

/* Partitions of a topic, waiting until the broker tells of it. */
static int partitions_of(struct sp_stage *s, const char *name)
{
    int64_t end = sp_deadline_in(START_LIMIT_MS);
    int n = 0;
    while (n == 0 && sp_deadline_left(end) > 0) {
        const struct rd_kafka_metadata *md;
        rd_kafka_topic_t *topic = rd_kafka_topic_new(s->producer, name, NULL);
        if (rd_kafka_metadata(s->producer, 0, topic, &md, 5000) == 0) {
            n = md->topic_cnt == 1 && md->topics[0].err == 0 ? md->topics[0].partition_cnt : 0;
            rd_kafka_metadata_destroy(md);
        }
        rd_kafka_topic_destroy(topic);
    }
    cr_assert(n > 0, "no topic %s", name);
    return n;
}

/* False: the broker cannot do it yet, as one that was held up for its session time. */
static bool create_topic(struct sp_stage *s, rd_kafka_NewTopic_t *topic, char problem[256])
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(s->producer);
    rd_kafka_CreateTopics(s->producer, &topic, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 20000);
    cr_assert(event != NULL && !rd_kafka_event_error(event), "creating a topic");
    size_t n;
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
    bool created = rd_kafka_topic_result_error(results[0]) == 0;
    if (!created)
        snprintf(problem, 256, "%s", rd_kafka_topic_result_error_string(results[0]));
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    return created;
}

void sp_stage_topic(struct sp_stage *s, const char *name, int partitions, const char *config)
{
    char text[256];
    int64_t until = sp_deadline_in(TOPIC_LIMIT_MS);
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, partitions, 1, text, sizeof(text));
    if (config) {
        char key[128];
        snprintf(key, sizeof(key), "%s", config);
        char *value = strchr(key, '=');
        *value++ = '\0';
        rd_kafka_NewTopic_set_config(topic, key, value);
    }
    while (!create_topic(s, topic, text)) {
        cr_assert(sp_deadline_left(until) > 0, "creating %s: %s", name, text);
        poll(NULL, 0, 200);
    }
    rd_kafka_NewTopic_destroy(topic);
    partitions_of(s, name);
}

void sp_stage_watch(struct sp_stage *s, const char *topic)
{
    int n = partitions_of(s, topic);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(n);
    for (int32_t p = 0; p < n; p++)
        rd_kafka_topic_partition_list_add(list, topic, p)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_error_t *error = rd_kafka_incremental_assign(s->reader, list);
    cr_assert(error == NULL, "watching %s", topic);
    rd_kafka_topic_partition_list_destroy(list);
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
    s->producer = client(s, RD_KAFKA_PRODUCER,
                         (const char *const[]){"partitioner", "murmur2_random", "message.max.bytes",
                                               "8000000", "linger.ms", "1", NULL});
    s->reader =
        client(s, RD_KAFKA_CONSUMER,
               (const char *const[]){"group.id", s->prefix, "enable.auto.commit", "false",
                                     "auto.offset.reset", "earliest", "fetch.message.max.bytes",
                                     "8000000", "fetch.wait.max.ms", "50", NULL});
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
    char command[128];
    snprintf(command, sizeof(command), "rm -rf /tmp/%s", s->prefix);
    cr_expect(system(command) == 0); /* NOLINT(cert-env33-c): a name of our own making */
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

/* Workers */

/* Only async-signal-safe calls: other threads exist when the test forks. */
static void exec_worker(const char *program, char *const *argv, int ready_fd, int log_fd)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    dup2(log_fd, STDOUT_FILENO);
    dup2(log_fd, STDERR_FILENO);
    int moved = fcntl(ready_fd, F_DUPFD, 10);
    dup2(moved, 3);
    for (int fd = 4; fd < 256; fd++)
        close(fd);
    execv(program, argv);
    _exit(127);
}

static size_t worker_args(struct sp_stage *s, const char *const *options, char args[][224],
                          size_t max)
{
    size_t n = 0;
    snprintf(args[n++], 224, "kafka.bootstrap.servers=%s", s->kafka);
    snprintf(args[n++], 224, "kafka.group.id=%s.workers", s->prefix);
    snprintf(args[n++], 224, "kafka.session.timeout.ms=6000");
    snprintf(args[n++], 224, "queue.request_topics=%s", s->requests);
    snprintf(args[n++], 224, "queue.reply_topic=%s", s->results);
    snprintf(args[n++], 224, "queue.control_topic=%s", s->control);
    snprintf(args[n++], 224, "queue.reply_allow=%s.reply.*", s->prefix);
    snprintf(args[n++], 224, "redis.url=redis://%s/0", s->redis);
    snprintf(args[n++], 224, "redis.prefix=%s", s->prefix);
    snprintf(args[n++], 224, "http.listen=127.0.0.1:0");
    for (size_t i = 0; options && options[i]; i++) {
        cr_assert(n < max);
        snprintf(args[n++], 224, "%s", options[i]);
    }
    return n;
}

/* The read end of the pipe on which the worker says that it is ready. */
static int spawn_worker(struct sp_stage *s, int index, const char *const *options)
{
    static char args[40][224];
    size_t n = worker_args(s, options, args, SP_COUNT(args));
    char *argv[2 * SP_COUNT(args) + 5] = {(char *)"sandpiper", (char *)"worker",
                                          (char *)"--ready-fd", (char *)"3"};
    for (size_t i = 0; i < n; i++) {
        argv[4 + 2 * i] = (char *)"-X";
        argv[5 + 2 * i] = args[i];
    }
    cr_assert(index < (int)SP_COUNT(s->workers));
    struct sp_stage_worker *w = &s->workers[index];
    snprintf(w->log, sizeof(w->log), "/tmp/%s.%d.log", s->prefix, index);
    int log_fd = open(w->log, O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0600);
    int ready[2];
    cr_assert(log_fd >= 0 && pipe2(ready, O_CLOEXEC) == 0);
    pid_t pid = fork();
    cr_assert(pid >= 0);
    if (pid == 0)
        exec_worker(s->program ? s->program : SANDPIPER_BIN, argv, ready[1], log_fd);
    close(ready[1]);
    close(log_fd);
    w->pid = pid;
    return ready[0];
}

int sp_stage_worker_start(struct sp_stage *s, const char *const *options)
{
    close(spawn_worker(s, s->n_workers, options));
    return s->n_workers++;
}

void sp_stage_worker_again(struct sp_stage *s, int index, const char *const *options)
{
    cr_assert(index < s->n_workers && s->workers[index].pid == 0);
    close(spawn_worker(s, index, options));
}

static void show_log(const struct sp_stage_worker *w)
{
    char text[4096];
    FILE *f = fopen(w->log, "r");
    size_t n = f ? fread(text, 1, sizeof(text), f) : 0;
    fprintf(stderr, "%.*s\n", (int)n, text);
    if (f)
        fclose(f);
}

int sp_stage_worker(struct sp_stage *s, const char *const *options)
{
    int fd = spawn_worker(s, s->n_workers, options);
    struct sp_stage_worker *w = &s->workers[s->n_workers];
    char line[128] = "";
    size_t len = 0;
    int64_t end = sp_deadline_in(START_LIMIT_MS);
    while (!strchr(line, '\n')) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t n = poll(&p, 1, sp_deadline_left(end)) > 0
                        ? read(fd, line + len, sizeof(line) - 1 - len)
                        : 0;
        if (n <= 0) {
            show_log(w);
            cr_fatal("the worker did not become ready");
        }
        len += (size_t)n;
        line[len] = '\0';
    }
    close(fd);
    cr_assert(sscanf(line, "ready %63s", w->http) == 1, "%s", line);
    return s->n_workers++;
}

int sp_stage_worker_end(struct sp_stage *s, int index, int signal)
{
    struct sp_stage_worker *w = &s->workers[index];
    int status = -1;
    if (kill(w->pid, signal) != 0)
        signal = SIGKILL;
    int64_t end = sp_deadline_in(20000);
    while (waitpid(w->pid, &status, WNOHANG) == 0) {
        if (sp_deadline_left(end) == 0) {
            show_log(w);
            kill(w->pid, SIGKILL);
            waitpid(w->pid, &status, 0);
            cr_fail("the worker did not end");
            break;
        }
        poll(NULL, 0, 10);
    }
    w->pid = 0;
    return status;
}

static size_t keep_body(char *data, size_t size, size_t n, void *body)
{
    return sp_buf_add(body, data, size * n) == SP_OK ? size * n : 0;
}

int sp_stage_http(struct sp_stage *s, int index, const char *path, char **body)
{
    struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    char url[128];
    snprintf(url, sizeof(url), "http://%s%s", s->workers[index].http, path);
    CURL *curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 5L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &text);
    long status = 0;
    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(curl);
    *body = sp_buf_take(&text, NULL);
    return (int)status;
}

double sp_stage_metric(struct sp_stage *s, int index, const char *name)
{
    char *body = NULL;
    cr_assert(sp_stage_http(s, index, "/metrics", &body) == 200, "/metrics");
    double value = NAN;
    size_t len = strlen(name);
    for (char *line = body; line && *line;
         line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (strncmp(line, name, len) == 0 && line[len] == ' ')
            value = strtod(line + len + 1, NULL);
    free(body);
    return value;
}

long sp_stage_resident_kb(struct sp_stage *s, int index)
{
    char path[64], line[128];
    long kb = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)s->workers[index].pid);
    FILE *f = fopen(path, "r");
    cr_assert(f != NULL);
    while (fgets(line, sizeof(line), f))
        if (sscanf(line, "VmRSS: %ld", &kb) == 1)
            break;
    fclose(f);
    return kb;
}

/* Sending */

void sp_stage_send_bytes(struct sp_stage *s, int32_t partition, const char *key, const void *value,
                         size_t len, const struct sp_stage_header *headers, size_t n)
{
    rd_kafka_headers_t *hdrs = rd_kafka_headers_new(n + 1);
    for (size_t i = 0; i < n; i++)
        rd_kafka_header_add(hdrs, headers[i].name, -1, headers[i].value,
                            headers[i].len ? (ssize_t)headers[i].len
                                           : (ssize_t)strlen(headers[i].value));
    rd_kafka_resp_err_t rc;
    do {
        rc = rd_kafka_producev(
            s->producer, RD_KAFKA_V_TOPIC(s->requests), RD_KAFKA_V_PARTITION(partition),
            RD_KAFKA_V_KEY(key, key ? strlen(key) : 0),
            RD_KAFKA_V_VALUE((void *)(uintptr_t)value, len), RD_KAFKA_V_HEADERS(hdrs),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        if (rc == RD_KAFKA_RESP_ERR__QUEUE_FULL)
            rd_kafka_poll(s->producer, 100);
    } while (rc == RD_KAFKA_RESP_ERR__QUEUE_FULL);
    cr_assert(rc == 0, "produce: %s", rd_kafka_err2str(rc));
}

void sp_stage_send(struct sp_stage *s, int32_t partition, const char *key, const char *value,
                   const struct sp_stage_header *headers, size_t n)
{
    sp_stage_send_bytes(s, partition, key, value, value ? strlen(value) : 0, headers, n);
}

void sp_stage_submit(struct sp_stage *s, const char *id, const char *language, const char *code,
                     const char *members)
{
    json_t *text = json_string(code);
    char *quoted = json_dumps(text, JSON_ENCODE_ANY);
    size_t size = strlen(quoted) + strlen(members) + strlen(id) + 128;
    char *value = malloc(size);
    snprintf(value, size, "{\"request_id\":\"%s\",\"language\":\"%s\",\"code\":%s%s%s}", id,
             language, quoted, *members ? "," : "", members);
    sp_stage_send(s, RD_KAFKA_PARTITION_UA, NULL, value, NULL, 0);
    free(value);
    free(quoted);
    json_decref(text);
}

void sp_stage_flush(struct sp_stage *s)
{
    cr_assert(rd_kafka_flush(s->producer, 30000) == 0, "flush");
}

/* Reading */

static void keep(struct sp_stage *s, const rd_kafka_message_t *m)
{
    struct sp_stage_answer *a = calloc(1, sizeof(*a));
    struct sp_stage_answer **more = realloc(s->answers, (s->n_answers + 1) * sizeof(*more));
    cr_assert(a != NULL && more != NULL);
    s->answers = more;
    snprintf(a->topic, sizeof(a->topic), "%s", rd_kafka_topic_name(m->rkt));
    a->partition = m->partition;
    a->offset = m->offset;
    if (m->key)
        a->key = sp_memdup(m->key, m->key_len);
    a->key_len = m->key_len;
    if (m->payload)
        a->value = sp_memdup(m->payload, m->len);
    a->value_len = m->len;
    const char *text = a->value ? a->value : "";
    a->json = json_loadb(text, m->len, JSON_ALLOW_NUL, NULL);
    if (!a->json) /* an integer beyond 64 bits; tests of such look at the text */
        a->json = json_loadb(text, m->len, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
    rd_kafka_headers_t *headers;
    if (rd_kafka_message_headers(m, &headers) == 0)
        a->headers = rd_kafka_headers_copy(headers);
    s->answers[s->n_answers++] = a;
}

/* Reads what comes within limit_ms; false when nothing came. */
static bool read_some(struct sp_stage *s, int limit_ms)
{
    rd_kafka_poll(s->producer, 0);
    rd_kafka_message_t *m = rd_kafka_consumer_poll(s->reader, limit_ms);
    if (!m)
        return false;
    if (m->err == 0)
        keep(s, m);
    rd_kafka_message_destroy(m);
    return true;
}

bool sp_stage_wait(struct sp_stage *s, size_t n, int64_t limit_ms)
{
    int64_t end = sp_deadline_in(limit_ms);
    while (s->n_answers < n && sp_deadline_left(end) > 0)
        read_some(s, 50);
    return s->n_answers >= n;
}

static struct sp_stage_answer *find(struct sp_stage *s, const char *id, size_t from)
{
    for (size_t i = from; i < s->n_answers; i++)
        if (strcmp(s->answers[i]->topic, s->dlq) != 0 &&
            strcmp(sp_stage_answer_text(s->answers[i], "request_id"), id) == 0)
            return s->answers[i];
    return NULL;
}

struct sp_stage_answer *sp_stage_reply(struct sp_stage *s, const char *id, int64_t limit_ms)
{
    int64_t end = sp_deadline_in(limit_ms);
    size_t seen = 0;
    struct sp_stage_answer *a = find(s, id, 0);
    while (!a && sp_deadline_left(end) > 0) {
        seen = s->n_answers;
        read_some(s, 50);
        a = find(s, id, seen);
    }
    if (!a)
        for (int i = 0; i < s->n_workers; i++)
            show_log(&s->workers[i]);
    cr_assert(a != NULL, "no reply to %s", id);
    return a;
}

size_t sp_stage_count(struct sp_stage *s, const char *id)
{
    while (read_some(s, 100))
        ;
    size_t n = 0;
    for (size_t i = 0; i < s->n_answers; i++)
        n += strcmp(s->answers[i]->topic, s->dlq) != 0 &&
             strcmp(sp_stage_answer_text(s->answers[i], "request_id"), id) == 0;
    return n;
}

const char *sp_stage_answer_header(const struct sp_stage_answer *a, const char *name, size_t *len)
{
    const void *value = NULL;
    size_t size = 0;
    if (!a->headers || rd_kafka_header_get_last(a->headers, name, &value, &size) != 0)
        return NULL;
    if (len)
        *len = size;
    return value;
}

json_t *sp_stage_answer_get(const struct sp_stage_answer *a, const char *path)
{
    json_t *at = a->json;
    char name[64];
    while (at && *path) {
        size_t n = strcspn(path, ".");
        snprintf(name, sizeof(name), "%.*s", (int)n, path);
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(name)) : json_object_get(at, name);
        path += n + (path[n] == '.');
    }
    return at;
}

const char *sp_stage_answer_text(const struct sp_stage_answer *a, const char *path)
{
    json_t *at = sp_stage_answer_get(a, path);
    return json_is_string(at) ? json_string_value(at) : "";
}

bool sp_stage_answer_is(const struct sp_stage_answer *a, const char *path, const char *json)
{
    json_t *at = sp_stage_answer_get(a, path);
    char *text = at ? json_dumps(at, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    bool same = text && strcmp(text, json) == 0;
    free(text);
    return same;
}

struct sp_stage_answer *sp_stage_expect(struct sp_stage *s, const struct sp_stage_case *c,
                                        int64_t limit_ms)
{
    struct sp_stage_answer *a = sp_stage_reply(s, c->id, limit_ms);

    for (size_t i = 0; i < SP_COUNT(c->expected) && c->expected[i].path; i++) {
        cr_expect(sp_stage_answer_is(a, c->expected[i].path, c->expected[i].json),
                  "%s is not %s: %s", c->expected[i].path, c->expected[i].json, a->value);
    }
    cr_expect(c->text == NULL || strstr(a->value, c->text), "no %s: %s", c->text, a->value);
    return a;
}

int64_t sp_stage_committed(struct sp_stage *s)
{
    char group[96];
    snprintf(group, sizeof(group), "%s.workers", s->prefix);
    rd_kafka_t *rk = client(s, RD_KAFKA_CONSUMER, (const char *const[]){"group.id", group, NULL});
    int n = partitions_of(s, s->requests);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(n);
    rd_kafka_topic_partition_list_add_range(list, s->requests, 0, n - 1);
    cr_assert(rd_kafka_committed(rk, list, 10000) == 0);
    int64_t sum = 0;
    for (int i = 0; i < list->cnt; i++)
        sum += list->elems[i].offset > 0 ? list->elems[i].offset : 0;
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(rk);
    return sum;
}

int64_t sp_stage_end_offsets(struct sp_stage *s)
{
    int n = partitions_of(s, s->requests);
    int64_t sum = 0;
    for (int32_t p = 0; p < n; p++) {
        int64_t low, high;
        cr_assert(
            rd_kafka_query_watermark_offsets(s->producer, s->requests, p, &low, &high, 10000) == 0);
        sum += high;
    }
    return sum;
}

void sp_stage_until(bool (*cond)(void *arg), void *arg, int64_t limit_ms, const char *what)
{
    int64_t end = sp_deadline_in(limit_ms);
    while (!cond(arg)) {
        cr_assert(sp_deadline_left(end) > 0, "not within %d ms: %s", (int)limit_ms, what);
        poll(NULL, 0, 20);
    }
}
