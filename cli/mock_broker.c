/* The one user of rdkafka_mock.h. */
#include "cli/mock_broker.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdlib.h>

struct sp_mock_broker {
    rd_kafka_t *rk; /* the cluster lives in a client's handle */
    rd_kafka_mock_cluster_t *cluster;
};

static enum sp_code fill(struct sp_mock_broker *broker, const struct sp_mock_topic *topics,
                         size_t n, struct sp_error *err)
{
    char reason[200];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, NULL);
    broker->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof(reason));
    if (!broker->rk) {
        rd_kafka_conf_destroy(conf);
        return sp_error_set(err, SP_E_INTERNAL, "mock broker: %s", reason);
    }
    broker->cluster = rd_kafka_mock_cluster_new(broker->rk, 1);
    if (!broker->cluster)
        return sp_error_set(err, SP_E_UNAVAILABLE, "mock broker: no loopback port could be had");
    for (size_t i = 0; i < n; i++) {
        rd_kafka_resp_err_t failed =
            rd_kafka_mock_topic_create(broker->cluster, topics[i].name, topics[i].partitions, 1);
        if (failed) {
            return sp_error_set(err, SP_E_INVALID, "mock broker: topic %s: %s", topics[i].name,
                                rd_kafka_err2str(failed));
        }
    }
    return SP_OK;
}

enum sp_code sp_mock_broker_open(const struct sp_mock_topic *topics, size_t n,
                                 struct sp_mock_broker **out, struct sp_error *err)
{
    struct sp_mock_broker *broker = calloc(1, sizeof(*broker));
    if (!broker)
        return sp_error_set(err, SP_E_NOMEM, "no memory");
    enum sp_code rc = fill(broker, topics, n, err);
    if (rc) {
        sp_mock_broker_close(broker);
        return rc;
    }
    *out = broker;
    return rc;
}

const char *sp_mock_broker_address(const struct sp_mock_broker *broker)
{
    return rd_kafka_mock_cluster_bootstraps(broker->cluster);
}

void sp_mock_broker_close(struct sp_mock_broker *broker)
{
    if (!broker)
        return;
    if (broker->cluster)
        rd_kafka_mock_cluster_destroy(broker->cluster);
    if (broker->rk)
        rd_kafka_destroy(broker->rk);
    free(broker);
}
