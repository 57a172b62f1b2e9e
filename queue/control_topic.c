#include "queue/control_topic.h"

#include "base/clock.h"

enum { METADATA_MS = 2000, CREATE_MS = 3000 };

SP_AUTO(rd_kafka_queue_t *, rd_kafka_queue_destroy)
SP_AUTO(rd_kafka_event_t *, rd_kafka_event_destroy)
SP_AUTO(rd_kafka_NewTopic_t *, rd_kafka_NewTopic_destroy)
SP_AUTO(rd_kafka_AdminOptions_t *, rd_kafka_AdminOptions_destroy)

static enum sp_code not_made(struct sp_error *err, const char *topic, const char *reason)
{
    return sp_error_set(err, SP_E_INVALID,
                        "there is no topic %.80s, and it could not be made (%.60s): create it with "
                        "1 partition and cleanup.policy=compact",
                        topic, reason);
}

/* *request is sent; its answer comes to `answers`. */
static enum sp_code ask(rd_kafka_t *rk, rd_kafka_NewTopic_t *request, rd_kafka_queue_t *answers,
                        const char *topic, struct sp_error *err)
{
    char reason[128] = "";
    sp_auto(rd_kafka_AdminOptions_destroy) rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    bool ready =
        !rd_kafka_NewTopic_set_config(request, "cleanup.policy", "compact") &&
        !rd_kafka_NewTopic_set_config(request, "message.timestamp.type", "LogAppendTime") &&
        !rd_kafka_AdminOptions_set_request_timeout(options, CREATE_MS, reason, sizeof(reason));
    if (!ready)
        return not_made(err, topic, reason);
    rd_kafka_CreateTopics(rk, &request, 1, options, answers);
    return SP_OK;
}

static enum sp_code read_answer(rd_kafka_event_t *event, const char *topic, struct sp_error *err)
{
    size_t n = 0;
    if (!event)
        return not_made(err, topic, "no answer");
    if (rd_kafka_event_error(event))
        return not_made(err, topic, rd_kafka_event_error_string(event));
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
    rd_kafka_resp_err_t failed =
        n == 1 ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR_UNKNOWN;
    if (failed && failed != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
        return not_made(err, topic, rd_kafka_err2str(failed));
    return sp_error_set(err, SP_E_UNAVAILABLE, "topic %s has just been made", topic);
}

static enum sp_code make(rd_kafka_t *rk, const char *topic, struct sp_error *err)
{
    char reason[128] = "";
    sp_auto(rd_kafka_queue_destroy) rd_kafka_queue_t *answers = rd_kafka_queue_new(rk);
    sp_auto(rd_kafka_NewTopic_destroy) rd_kafka_NewTopic_t *request =
        rd_kafka_NewTopic_new(topic, 1, -1, reason, sizeof(reason));
    if (!request)
        return not_made(err, topic, reason);
    enum sp_code rc = ask(rk, request, answers, topic, err);
    if (rc)
        return rc;
    /* What it asked of the controller has a limit of its own, and its end is always told. */
    sp_auto(rd_kafka_event_destroy) rd_kafka_event_t *event =
        rd_kafka_queue_poll(answers, 2 * CREATE_MS);
    return read_answer(event, topic, err);
}

enum sp_code sp_control_topic_find(rd_kafka_t *rk, rd_kafka_topic_t *handle, int32_t *n_partitions,
                                   struct sp_error *err)
{
    const char *topic = rd_kafka_topic_name(handle);
    rd_kafka_resp_err_t failed = sp_kafka_partitions(rk, handle, METADATA_MS, n_partitions);
    if (failed == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        return make(rk, topic, err);
    if (failed == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        return sp_error_set(err, SP_E_DENIED, "topic %s: Kafka does not allow us to use it", topic);
    if (failed) {
        return sp_error_set(err, SP_E_UNAVAILABLE, "topic %.100s: %.100s", topic,
                            rd_kafka_err2str(failed));
    }
    return SP_OK;
}
