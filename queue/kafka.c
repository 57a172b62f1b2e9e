/* Defaults, pass-through and logs of librdkafka's handles. Why each default is as it is: beside it.
 */
#include "queue/kafka.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#define UNKNOWN_MS 3000
#define RETRY_MS 100

static const struct sp_queue_property common_defaults[] = {
    {"client.software.name", "sandpiper"},
    {"allow.auto.create.topics", "false"}, /* a misspelt reply topic must not come into being */
    {"socket.nagle.disable", "true"},      /* small replies must not wait for an acknowledgement */
    {"socket.keepalive.enable", "true"},
    {"reconnect.backoff.max.ms", "2000"}, /* work goes on soon after an outage */
    {"log.connection.close", "false"},    /* brokers close idle connections; that is no news */
    /* New partitions and missing topics are seen within this. */
    {"topic.metadata.refresh.interval.ms", "10000"},
    {"topic.metadata.propagation.max.ms", "5000"}, /* then an unknown topic is one */
};

static const struct sp_queue_property consumer_defaults[] = {
    {"group.id", "sandpiper"},
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"auto.offset.reset", "earliest"}, /* "latest" would skip requests without a word */
    {"partition.assignment.strategy", "cooperative-sticky"},
    {"session.timeout.ms", "10000"}, /* a dead worker's partitions move after it */
    {"heartbeat.interval.ms", "3000"},
    /*
     * Bounds of memory, of each partition, since each has a queue. One whose queue is over either
     * when librdkafka looks is not fetched for up to a second, so that they bound its rate, too: a
     * partition gives little more than this in a second.
     */
    {"queued.min.messages", "20000"},
    {"queued.max.messages.kbytes", "4096"},
#if RD_KAFKA_VERSION >= 0x02020000
    {"fetch.queue.backoff.ms", "20"}, /* that second */
#endif
    {"fetch.message.max.bytes", "1048576"}, /* a larger record comes alone, whatever its size */
    {"fetch.max.bytes", "8388608"},
    {"fetch.wait.max.ms", "100"},
    {"check.crcs", "true"},
    {"statistics.interval.ms", "2000"}, /* lag, and which brokers are up */
};

static const struct sp_queue_property producer_defaults[] = {
    {"enable.idempotence", "true"},
    {"linger.ms", "2"},
    {"compression.type", "lz4"},
    {"partitioner", "murmur2_random"}, /* a key lands where a Java client would put it */
    {"message.max.bytes", "8388608"},  /* a DLQ copy of the largest request fits; brokers decide */
    {"queue.buffering.max.kbytes", "65536"},
    /*
     * Never by time: a message that timed out may be in the log already, and sending it again
     * would double the reply. librdkafka's own retries under one sequence number cannot.
     */
    {"delivery.timeout.ms", "0"},
};

/* What the promise of delivery rests on. */
static const struct {
    const char *key;
    enum { MUST_BE_FALSE, MUST_BE_TRUE, MUST_BE_ABSENT } rule;
} protected_properties[] = {
    {"enable.auto.commit", MUST_BE_FALSE}, {"enable.auto.offset.store", MUST_BE_FALSE},
    {"enable.idempotence", MUST_BE_TRUE},  {"delivery.report.only.error", MUST_BE_FALSE},
    {"log.queue", MUST_BE_FALSE},          {"transactional.id", MUST_BE_ABSENT},
};

static const char *const secret_words[] = {"password", "secret", ".pem", "oauthbearer.config"};

static bool is_secret(const char *key)
{
    for (size_t i = 0; i < SP_COUNT(secret_words); i++) {
        if (strcasestr(key, secret_words[i]))
            return true;
    }
    return false;
}

enum sp_code sp_kafka_set(rd_kafka_conf_t *conf, const char *key, const char *value,
                          struct sp_error *err)
{
    char reason[200] = "";
    rd_kafka_conf_res_t res = rd_kafka_conf_set(conf, key, value, reason, sizeof(reason));
    if (res == RD_KAFKA_CONF_OK)
        return SP_OK;
    if (res == RD_KAFKA_CONF_UNKNOWN) {
        return sp_error_set(err, SP_E_INVALID, "kafka.%s: librdkafka %s has no such property", key,
                            rd_kafka_version_str());
    }
    if (is_secret(key))
        return sp_error_set(err, SP_E_INVALID, "kafka.%s: librdkafka refuses the value", key);
    return sp_error_set(err, SP_E_INVALID, "kafka.%s: %s", key, reason);
}

enum sp_code sp_kafka_set_all(rd_kafka_conf_t *conf, const struct sp_queue_property *list, size_t n,
                              struct sp_error *err)
{
    enum sp_code rc = SP_OK;
    for (size_t i = 0; !rc && i < n; i++)
        rc = sp_kafka_set(conf, list[i].key, list[i].value, err);
    return rc;
}

static enum sp_code check_protected(const struct sp_queue_property *property, struct sp_error *err)
{
    for (size_t i = 0; i < SP_COUNT(protected_properties); i++) {
        if (strcmp(protected_properties[i].key, property->key) != 0)
            continue;
        if (protected_properties[i].rule == MUST_BE_ABSENT) {
            return sp_error_set(err, SP_E_INVALID, "kafka.%s: cannot be used here; remove it",
                                property->key);
        }
        bool wanted = protected_properties[i].rule == MUST_BE_TRUE, value = !wanted;
        if (!sp_parse_bool(property->value, &value) || value != wanted) {
            return sp_error_set(err, SP_E_INVALID,
                                "kafka.%s: must stay %s, or requests could be lost; remove it",
                                property->key, wanted ? "true" : "false");
        }
    }
    return SP_OK;
}

enum sp_code sp_kafka_pass(rd_kafka_conf_t *conf, const struct sp_queue_property *properties,
                           size_t n, struct sp_error *err)
{
    for (size_t i = 0; i < n; i++) {
        enum sp_code rc = check_protected(&properties[i], err);
        if (rc)
            return rc;
        rc = sp_kafka_set(conf, properties[i].key, properties[i].value, err);
        if (rc)
            return rc;
    }
    return SP_OK;
}

/* Said for every property that is the other handle's, and at every look at a broker's topics. */
static bool is_noise(const char *facility, const char *text)
{
    return strcmp(facility, "AUTOCREATE") == 0 ||
           (strcmp(facility, "CONFWARN") == 0 && strstr(text, "and will be ignored by this"));
}

/* Runs on librdkafka's threads. Lost connections are its "error", and for us something handled. */
static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    enum sp_level ours = SP_DEBUG;
    if (is_noise(facility, text))
        return;
    if (level <= LOG_CRIT) {
        ours = SP_ERROR;
    } else if (level <= LOG_WARNING) {
        ours = SP_WARN;
    } else if (level <= LOG_INFO) {
        ours = SP_INFO;
    }
    sp_log(ours, "kafka_log", sp_s("client", rk ? rd_kafka_name(rk) : NULL),
           sp_s("facility", facility), sp_s("message", text));
}

static void set_defaults(rd_kafka_conf_t *conf, const struct sp_queue_property *defaults, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct sp_error err = {0};
        if (sp_kafka_set(conf, defaults[i].key, defaults[i].value, &err))
            sp_log(SP_WARN, "kafka_default_refused", sp_s("error", err.msg));
    }
}

rd_kafka_conf_t *sp_kafka_conf(rd_kafka_type_t type)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, on_log);
    set_defaults(conf, common_defaults, SP_COUNT(common_defaults));
    if (type == RD_KAFKA_CONSUMER) {
        set_defaults(conf, consumer_defaults, SP_COUNT(consumer_defaults));
    } else {
        set_defaults(conf, producer_defaults, SP_COUNT(producer_defaults));
    }
    return conf;
}

enum sp_code sp_kafka_open(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **out,
                           struct sp_error *err)
{
    char reason[200] = "";
    rd_kafka_t *rk = rd_kafka_new(type, conf, reason, sizeof(reason));
    if (!rk)
        return sp_error_set(err, SP_E_INVALID, "kafka: %s", reason);
    *out = rk;
    return SP_OK;
}

rd_kafka_resp_err_t sp_kafka_partitions(rd_kafka_t *rk, rd_kafka_topic_t *topic, int64_t timeout_ms,
                                        int32_t *n)
{
    const struct rd_kafka_metadata *all = NULL;
    rd_kafka_resp_err_t error = rd_kafka_metadata(rk, 0, topic, &all, (int)timeout_ms);
    if (error)
        return error;
    error = all->topic_cnt == 1 ? all->topics[0].err : RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
    int32_t count = error ? 0 : all->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(all);
    if (error || count == 0)
        return error ? error : RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
    *n = count;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static bool is_final(rd_kafka_resp_err_t error)
{
    return !error || error == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
           error == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION;
}

rd_kafka_resp_err_t sp_kafka_await_partitions(rd_kafka_t *rk, rd_kafka_topic_t *topic,
                                              int64_t deadline, int32_t *n)
{
    int64_t known_until = sp_deadline_min(sp_deadline_in(UNKNOWN_MS), deadline);
    rd_kafka_resp_err_t said = RD_KAFKA_RESP_ERR_NO_ERROR;
    for (;;) {
        rd_kafka_resp_err_t error = sp_kafka_partitions(rk, topic, sp_deadline_left(deadline), n);
        bool unknown = error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        if (error >= 0 || said <= 0) /* that the time is over says less than an answer before it */
            said = error;
        if (is_final(error) || sp_deadline_left(unknown ? known_until : deadline) == 0)
            return said;
        (void)rd_kafka_poll(rk, RETRY_MS);
    }
}

bool sp_kafka_protocol_is(rd_kafka_t *rk, const char *name)
{
    const char *protocol = rd_kafka_rebalance_protocol(rk);
    return protocol && strcmp(protocol, name) == 0;
}

static void *destroy(void *rk)
{
    rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    return NULL;
}

void sp_kafka_destroy(rd_kafka_t *rk, int64_t limit_ms)
{
    if (!rk)
        return;
    pthread_t thread;
    if (pthread_create(&thread, NULL, destroy, rk) != 0) {
        (void)destroy(rk);
        return;
    }
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(limit_ms / 1000);
    until.tv_nsec += (long)(limit_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    if (pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &until) != 0) {
        (void)pthread_detach(thread);
        sp_log(SP_ERROR, "kafka_destroy_hangs", sp_i("waited_ms", limit_ms));
    }
}

void *sp_kafka_must(void *memory)
{
    if (!memory) {
        sp_log(SP_ERROR, "out_of_memory");
        abort();
    }
    return memory;
}
