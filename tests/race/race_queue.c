/*
 * What several threads touch of the queue: executors look at records, reply, and ask for the
 * status, while the consumer thread serves, completes and commits; then everything is closed, and
 * every ticket is back. librdkafka is not instrumented, so what passes through it is ordered by
 * atomics of ours.
 */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/queue.h"

#define RECORDS 2000
#define EXECUTORS 4
#define LIMIT_MS 100000

static struct sp_queue *queue;
static atomic_int given, answered;
static int settled; /* tickets: committed or forgotten */
static char tickets[RECORDS];
static atomic_bool stop;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards ready */
static struct sp_record *ready[RECORDS];
static int n_ready;

static struct sp_record *take_job(void)
{
    (void)pthread_mutex_lock(&lock);
    struct sp_record *record = n_ready > 0 ? ready[--n_ready] : NULL;
    (void)pthread_mutex_unlock(&lock);
    return record;
}

static void reply(struct sp_record *record)
{
    struct sp_envelope env = {.reply_topic = (char *)"results", .reply_partition = -1};
    struct sp_send send = {
        .record = record,
        .env = &env,
        .request_id = "r",
        .result_id = "i",
        .status = "ok",
        .attempt = 1,
        .value = record->value,
        .len = record->value_len,
        .ticket = record,
    };
    if (!sp_record_is_ours(record) || sp_queue_reply(queue, &send, NULL))
        abort(); /* nothing moves, and nothing is closed yet */
}

static void *executor(void *unused)
{
    (void)unused;
    while (!atomic_load(&stop)) {
        struct sp_record *record = take_job();
        if (record)
            reply(record);
        struct sp_queue_status status;
        sp_queue_status(queue, &status);
        free(status.partitions);
        sp_queue_wake(queue);
    }
    return NULL;
}

static void fill(const char *brokers)
{
    char reason[200];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(conf, "bootstrap.servers", brokers, reason, sizeof(reason));
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof(reason));
    for (int i = 0; i < RECORDS; i++)
        (void)rd_kafka_producev(rk, RD_KAFKA_V_TOPIC("requests"), RD_KAFKA_V_PARTITION(i % 4),
                                RD_KAFKA_V_VALUE((void *)"value", 5), RD_KAFKA_V_END);
    (void)rd_kafka_flush(rk, LIMIT_MS);
    rd_kafka_destroy(rk);
}

static struct sp_queue *open_queue(const char *brokers)
{
    static char *requests[] = {(char *)"requests"};
    static struct sp_topics topics = {.requests = requests, .n_requests = 1};
    static struct sp_limits limits;
    const struct sp_queue_property kafka[] = {{"bootstrap.servers", brokers},
                                              {"queue.buffering.max.messages", "100"}};
    const struct sp_queue_options options = {
        .kafka = kafka,
        .n_kafka = SP_COUNT(kafka),
        .topics = &topics,
        .limits = &limits,
        .window = 300,
        .window_bytes = 1 << 20,
        .worker_id = "w",
        .version = "0",
    };
    struct sp_queue *q = NULL;
    topics.reply = (char *)"results";
    if (sp_queue_open(&options, &q, NULL))
        abort();
    return q;
}

static void consume(void)
{
    int64_t until = sp_deadline_in(LIMIT_MS);
    while (atomic_load(&answered) < RECORDS && sp_deadline_left(until) > 0) {
        struct sp_record *record = NULL;
        void *ticket = NULL;
        switch (sp_queue_next(queue, true, 100, &record, &ticket)) {
        case SP_QUEUE_RECORD:
            (void)pthread_mutex_lock(&lock);
            ready[n_ready++] = record;
            (void)pthread_mutex_unlock(&lock);
            (void)atomic_fetch_add(&given, 1);
            break;
        case SP_QUEUE_DELIVERED:
            sp_queue_complete(queue, ticket, &tickets[atomic_fetch_add(&answered, 1)]);
            break;
        case SP_QUEUE_COMMITTED:
        case SP_QUEUE_FORGOTTEN:
            settled++;
            break;
        case SP_QUEUE_TOO_LARGE:
        case SP_QUEUE_IDLE:
            break;
        }
    }
}

/* The tickets that were not back before the end. */
static void settle(void)
{
    struct sp_record *record = NULL;
    void *ticket = NULL;
    sp_queue_leave(queue, 1000);
    while (sp_queue_next(queue, false, 0, &record, &ticket) != SP_QUEUE_IDLE)
        settled++;
}

int main(void)
{
    char reason[200];
    pthread_t threads[EXECUTORS];
    sp_log_setup(SP_ERROR, true);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(conf, "log_level", "0", reason, sizeof(reason));
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof(reason));
    rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(rk, 1);
    (void)rd_kafka_mock_topic_create(cluster, "requests", 4, 1);
    (void)rd_kafka_mock_topic_create(cluster, "results", 1, 1);
    fill(rd_kafka_mock_cluster_bootstraps(cluster));
    queue = open_queue(rd_kafka_mock_cluster_bootstraps(cluster));
    for (int i = 0; i < EXECUTORS; i++)
        (void)pthread_create(&threads[i], NULL, executor, NULL);

    consume();

    atomic_store(&stop, true);
    for (int i = 0; i < EXECUTORS; i++)
        (void)pthread_join(threads[i], NULL);
    settle();
    sp_queue_close(queue, 0);
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(rk);
    (void)printf("%d given, %d answered, %d settled\n", atomic_load(&given), atomic_load(&answered),
                 settled);
    return atomic_load(&answered) == RECORDS && settled == RECORDS ? 0 : 1;
}
