/* Which properties pass through, and what is said of the others. */
#include "queue/kafka.h"

#include <string.h>

#include "tests/support.h"

static const struct {
    const char *key, *value, *message;
} refused[] = {
    {"group.name", "x", "kafka.group.name: librdkafka"},
    {"linger.ms", "soon", "kafka.linger.ms: "},
    {"enable.auto.commit", "true", "kafka.enable.auto.commit: must stay false"},
    {"enable.auto.offset.store", "true", "kafka.enable.auto.offset.store: must stay false"},
    {"enable.idempotence", "false", "kafka.enable.idempotence: must stay true"},
    {"delivery.report.only.error", "true", "kafka.delivery.report.only.error: must stay false"},
    {"transactional.id", "t", "kafka.transactional.id: cannot be used here"},
};

SP_TABLE_TEST(kafka, a_refused_property_is_named, refused, row)
{
    struct sp_queue_property property = {row->key, row->value};
    struct sp_error err = {0};
    sp_auto(rd_kafka_conf_destroy) rd_kafka_conf_t *conf = sp_kafka_conf(RD_KAFKA_CONSUMER);

    enum sp_code rc = sp_kafka_pass(conf, &property, 1, &err);

    cr_assert(eq(int, rc, SP_E_INVALID), "for %s", row->key);
    cr_expect(strncmp(err.msg, row->message, strlen(row->message)) == 0, "%s", err.msg);
}

static const struct {
    rd_kafka_type_t type;
    const char *key, *value;
} passed[] = {
    {RD_KAFKA_CONSUMER, "linger.ms", "7"},
    {RD_KAFKA_PRODUCER, "group.id", "g"},
    {RD_KAFKA_CONSUMER, "partition.assignment.strategy", "roundrobin"},
    {RD_KAFKA_PRODUCER, "enable.idempotence", "true"},
    {RD_KAFKA_CONSUMER, "enable.auto.commit", "false"},
    {RD_KAFKA_PRODUCER, "compression.type", "zstd"},
};

SP_TABLE_TEST(kafka, a_property_of_either_kind_passes_on_both, passed, row)
{
    struct sp_queue_property property = {row->key, row->value};
    struct sp_error err = {0};
    char value[100] = "";
    size_t size = sizeof(value);
    sp_auto(rd_kafka_conf_destroy) rd_kafka_conf_t *conf = sp_kafka_conf(row->type);

    enum sp_code rc = sp_kafka_pass(conf, &property, 1, &err);

    cr_assert(eq(int, rc, SP_OK), "%s", err.msg);
    cr_assert(eq(int, rd_kafka_conf_get(conf, row->key, value, &size), RD_KAFKA_CONF_OK));
    cr_expect(eq(str, value, (char *)row->value));
}

static const struct {
    rd_kafka_type_t type;
    const char *key, *value;
} defaults[] = {
    {RD_KAFKA_CONSUMER, "enable.auto.commit", "false"},
    {RD_KAFKA_CONSUMER, "enable.auto.offset.store", "false"},
    {RD_KAFKA_CONSUMER, "auto.offset.reset", "smallest"}, /* librdkafka's word for earliest */
    {RD_KAFKA_CONSUMER, "partition.assignment.strategy", "cooperative-sticky"},
    {RD_KAFKA_CONSUMER, "queued.max.messages.kbytes", "4096"},
    {RD_KAFKA_CONSUMER, "allow.auto.create.topics", "false"},
    {RD_KAFKA_PRODUCER, "allow.auto.create.topics", "false"},
    {RD_KAFKA_PRODUCER, "enable.idempotence", "true"},
    {RD_KAFKA_PRODUCER, "partitioner", "murmur2_random"},
    {RD_KAFKA_PRODUCER, "compression.type", "lz4"},
    {RD_KAFKA_PRODUCER, "client.software.name", "sandpiper"},
};

SP_TABLE_TEST(kafka, our_defaults_are_in_force, defaults, row)
{
    char value[100] = "";
    size_t size = sizeof(value);
    sp_auto(rd_kafka_conf_destroy) rd_kafka_conf_t *conf = sp_kafka_conf(row->type);

    cr_assert(eq(int, rd_kafka_conf_get(conf, row->key, value, &size), RD_KAFKA_CONF_OK));

    cr_expect(eq(str, value, (char *)row->value), "%s", row->key);
}

Test(kafka, the_value_of_a_secret_is_never_quoted)
{
    struct sp_queue_property property = {"sasl.oauthbearer.client.secret.typo", "hunter2"};
    struct sp_error err = {0};
    sp_auto(rd_kafka_conf_destroy) rd_kafka_conf_t *conf = sp_kafka_conf(RD_KAFKA_CONSUMER);

    cr_assert(eq(int, sp_kafka_pass(conf, &property, 1, &err), SP_E_INVALID));
    cr_expect(strstr(err.msg, "hunter2") == NULL, "%s", err.msg);
    cr_expect(strstr(err.msg, "sasl.oauthbearer.client.secret.typo") != NULL, "%s", err.msg);
}

Test(kafka, a_closed_consumer_has_no_protocol)
{
    struct sp_error err = {0};
    rd_kafka_t *rk = NULL;
    rd_kafka_conf_t *conf = sp_kafka_conf(RD_KAFKA_CONSUMER);
    cr_assert(sp_kafka_set(conf, "group.id", "workers", &err) == SP_OK);
    cr_assert(sp_kafka_set(conf, "bootstrap.servers", "127.0.0.1:1", &err) == SP_OK);
    cr_assert(sp_kafka_open(RD_KAFKA_CONSUMER, conf, &rk, &err) == SP_OK);
    cr_expect(sp_kafka_protocol_is(rk, "NONE"));

    cr_assert(rd_kafka_consumer_close(rk) == 0);

    static const char *const names[] = {"NONE", "EAGER", "COOPERATIVE"};
    for (size_t i = 0; i < SP_COUNT(names); i++)
        cr_expect(not(sp_kafka_protocol_is(rk, names[i])), "%s", names[i]);
    sp_kafka_destroy(rk, 10000);
}
