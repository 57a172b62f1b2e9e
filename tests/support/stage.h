/*
 * A stage for one integration test: the real servers that the run started, topics, a consumer group
 * and a Redis prefix of the test's own, workers as processes of their own, and an independent
 * reader of what they answer. The worker is driven through Kafka and Redis only. Every function
 * asserts: a failure ends the test with a text.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include <librdkafka/rdkafka.h>

#include "tests/support/redis_server.h"

struct sp_stage {
    char kafka[64], redis[64]; /* host:port */
    char prefix[64];           /* of Redis keys, topics and the group */
    const char *program;       /* of the workers started from now on; NULL: sandpiper */
    char requests[96], results[96], dlq[112], control[96];
    char gate[80]; /* a file that is not there before sp_stage_open_gate() */
    rd_kafka_t *producer, *reader;
    struct sp_stage_answer *
        *answers; /* as they came in, on results and dlq and whatever was watched */
    size_t n_answers;
    int n_workers;
    struct sp_stage_worker {
        pid_t pid; /* 0: ended */
        char http[64];
        char log[128]; /* path of its log */
    } workers[8];
};

/* One record that the reader saw. */
struct sp_stage_answer {
    char topic[112];
    int32_t partition;
    int64_t offset;
    char *key, *value; /* NUL-terminated; NULL for none */
    size_t key_len, value_len;
    json_t *json; /* of the value, NULL when it is none */
    rd_kafka_headers_t *headers;
};

struct sp_stage_header {
    const char *name, *value;
    size_t len; /* 0: strlen(value) */
};

/* Needs the environment variable SANDPIPER_TEST_SERVERS: the file that tests/support/servers wrote.
 */
struct sp_stage *sp_stage_new(int partitions);
/* For commands that this process starts: SANDPIPER_* variables that name the stage's servers,
 * topics and prefix, and no configuration file. */
void sp_stage_environment(const struct sp_stage *s);
/* Ends the workers (SIGTERM, then SIGKILL) and frees everything. */
void sp_stage_free(struct sp_stage *s);
/* A client of its broker with the properties of options: name, value, ..., NULL. The caller
 * destroys it. */
rd_kafka_t *sp_stage_client(const struct sp_stage *s, rd_kafka_type_t type,
                            const char *const *options);
/* One more topic, there when it returns. config: "key=value" or NULL. */
void sp_stage_topic(struct sp_stage *s, const char *name, int partitions, const char *config);
void sp_stage_delete_topic(struct sp_stage *s, const char *name);
void sp_stage_watch(struct sp_stage *s, const char *topic);

/* Sets the settings as an administrator would: provider's settings as JSON text, made active.
 * Returns the version. */
int64_t sp_stage_settings(struct sp_stage *s, const char *provider, const char *json);
/* `local` with isolation none and a work_dir of the stage's own; extra members as JSON text ("" for
 * none). */
int64_t sp_stage_local(struct sp_stage *s, const char *extra_members);
/* A Redis of the test's own, which it may stop and start; the stage and the workers started after
 * it use it. args: of redis-server, NULL-terminated, or NULL. */
struct sp_redis_server sp_stage_own_redis(struct sp_stage *s, char *const *args);
/* One Redis command, its answer as text (integers in decimal, NULL for nil). The caller frees. */
char *sp_stage_redis(struct sp_stage *s, const char *fmt, ...);

/* Starts a worker with further -X options (NULL-terminated, may be NULL) and waits until it is
 * ready. Its index. */
int sp_stage_worker(struct sp_stage *s, const char *const *options);
/* The same without waiting: for workers that cannot become ready. */
int sp_stage_worker_start(struct sp_stage *s, const char *const *options);
/* The same in the place of a worker that has ended; its log is carried on. */
void sp_stage_worker_again(struct sp_stage *s, int index, const char *const *options);
/* Sends the signal (0: none) and waits for the end; the wait status. */
int sp_stage_worker_end(struct sp_stage *s, int index, int signal);
/* GET of the worker's endpoint: status code, body (the caller frees). */
int sp_stage_http(struct sp_stage *s, int index, const char *path, char **body);
/* One value of /metrics by its name with labels, as it stands in the text; NAN when it is not
 * there. */
double sp_stage_metric(struct sp_stage *s, int index, const char *name);
/* Waits until it is at least so much; fails the test after limit_ms, as all sp_stage_until_*. */
void sp_stage_until_metric(struct sp_stage *s, int index, const char *name, double least,
                           int64_t limit_ms);
/* Waits until /readyz answers with this status and has this text in its body. */
void sp_stage_until_readyz(struct sp_stage *s, int index, int status, const char *text,
                           int64_t limit_ms);
/* A worker's memory as the kernel has it: "VmRSS", or "VmHWM" for the most it ever was. */
long sp_stage_memory_kb(struct sp_stage *s, int index, const char *what);
/* The lines of a worker's log that tell of an event, as objects; new reference. */
json_t *sp_stage_log(const struct sp_stage *s, int index, const char *event);
/* Shows the end of every worker's log, where a test fails. */
void sp_stage_show_logs(const struct sp_stage *s);

/* Publishes a request to the stage's request topic; partition -1: by key. headers: n of them. */
void sp_stage_send(struct sp_stage *s, int32_t partition, const char *key, const char *value,
                   const struct sp_stage_header *headers, size_t n);
void sp_stage_send_bytes(struct sp_stage *s, int32_t partition, const char *key, const void *value,
                         size_t len, const struct sp_stage_header *headers, size_t n);
/* A plain request: {"request_id": id, "code": code, "language": language, <members>}; members: JSON
 * text, "" for none. */
void sp_stage_submit(struct sp_stage *s, const char *id, const char *language, const char *code,
                     const char *members);
void sp_stage_submit_to(struct sp_stage *s, int32_t partition, const char *id, const char *language,
                        const char *code, const char *members);
/* A Python program that waits until the gate is open before it does the rest: so a test decides
 * how long a job runs, however fast the machine is. Good until the next call. */
const char *sp_stage_behind_gate(const struct sp_stage *s, const char *rest);
void sp_stage_open_gate(const struct sp_stage *s);
/* A record of the control topic; returns once Kafka has it. value NULL: a tombstone. */
void sp_stage_control(struct sp_stage *s, const char *key, const char *value);
/* All that was sent is in Kafka. */
void sp_stage_flush(struct sp_stage *s);

/* Reads on until n answers are there on any watched topic, or the limit passes. False: it passed.
 */
bool sp_stage_wait(struct sp_stage *s, size_t n, int64_t limit_ms);
/* The reply to a request id, waited for; fails the test after limit_ms. Borrowed. */
struct sp_stage_answer *sp_stage_reply(struct sp_stage *s, const char *id, int64_t limit_ms);
/* The first record with this key that was read from a topic; NULL: none. Borrowed. */
struct sp_stage_answer *sp_stage_find(const struct sp_stage *s, const char *topic, const char *key);
/* The same, waited for; fails the test after limit_ms. */
struct sp_stage_answer *sp_stage_record(struct sp_stage *s, const char *topic, const char *key,
                                        int64_t limit_ms);
/* How many replies there are to an id by now. */
size_t sp_stage_count(struct sp_stage *s, const char *id);
/* The last header of a name; NULL: none. *len may be NULL. */
const char *sp_stage_answer_header(const struct sp_stage_answer *a, const char *name, size_t *len);
/* A member of the reply by path ("metadata.result_value", "error.code"); NULL: not there. Borrowed.
 */
json_t *sp_stage_answer_get(const struct sp_stage_answer *a, const char *path);
const char *sp_stage_answer_text(const struct sp_stage_answer *a,
                                 const char *path); /* "" when it is no string */
/* The member is there and its compact JSON text is this ("null", "true", "[1,2]"). */
bool sp_stage_answer_is(const struct sp_stage_answer *a, const char *path, const char *json);
/* A request as sp_stage_submit() wants it, and the reply that it has to get. */
struct sp_stage_case {
    const char *id, *language, *code, *members;
    struct {
        const char *path, *json; /* as sp_stage_answer_is() takes them */
    } expected[20];
    const char *text; /* raw, somewhere in the reply; NULL: any */
};
/* Waits for the reply and expects it to be as the case says. Borrowed. */
struct sp_stage_answer *sp_stage_expect(struct sp_stage *s, const struct sp_stage_case *c,
                                        int64_t limit_ms);
/* The replies to <prefix>0 to <prefix>n-1 are there once each, all of them ok, and no others. */
void sp_stage_expect_each_once(struct sp_stage *s, const char *prefix, int n);
/* The group's committed offsets summed up over the request topic's partitions. */
int64_t sp_stage_committed(struct sp_stage *s);
/* The request topic's end offsets summed up. */
int64_t sp_stage_end_offsets(struct sp_stage *s);
/* Waits until they are the same. */
void sp_stage_until_committed(struct sp_stage *s, int64_t limit_ms);
/* Waits until cond(arg) holds, asking every 20 ms; fails the test after limit_ms with `what`. */
void sp_stage_until(bool (*cond)(void *arg), void *arg, int64_t limit_ms, const char *what);
