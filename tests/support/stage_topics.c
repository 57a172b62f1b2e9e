/* See stage.h: topics, what is sent to them, and what the group has committed. */
#include "tests/support/stage.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/support.h"

#define TOPIC_LIMIT_MS 120000
#define ANSWER_LIMIT_MS 60000

rd_kafka_t *sp_stage_client(const struct sp_stage *s, rd_kafka_type_t type,
                            const char *const *options)
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

/* Partitions of a topic, waiting until the broker tells of it. */
static int partitions_of(struct sp_stage *s, const char *name)
{
    int64_t end = sp_deadline_in(TOPIC_LIMIT_MS);
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

/* False: the broker cannot do it yet, as one that was held up for its session time, or does not
 * answer. One that did it without our having heard of it says that the topic is there. */
static bool create_topic(struct sp_stage *s, rd_kafka_NewTopic_t *topic, char problem[256])
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(s->producer);
    rd_kafka_CreateTopics(s->producer, &topic, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, ANSWER_LIMIT_MS);
    const rd_kafka_CreateTopics_result_t *answer =
        event && !rd_kafka_event_error(event) ? rd_kafka_event_CreateTopics_result(event) : NULL;
    rd_kafka_resp_err_t rc = RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (answer) {
        size_t n;
        rc = rd_kafka_topic_result_error(rd_kafka_CreateTopics_result_topics(answer, &n)[0]);
    }
    snprintf(problem, 256, "%s", rd_kafka_err2str(rc));
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    return rc == 0 || rc == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS;
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

void sp_stage_delete_topic(struct sp_stage *s, const char *name)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(s->producer);
    rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(name);
    rd_kafka_DeleteTopics(s->producer, &topic, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, ANSWER_LIMIT_MS);
    cr_assert(event != NULL && !rd_kafka_event_error(event), "deleting %s", name);
    rd_kafka_event_destroy(event);
    rd_kafka_DeleteTopic_destroy(topic);
    rd_kafka_queue_destroy(queue);
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

void sp_stage_submit_to(struct sp_stage *s, int32_t partition, const char *id, const char *language,
                        const char *code, const char *members)
{
    json_t *text = json_string(code);
    char *quoted = json_dumps(text, JSON_ENCODE_ANY);
    size_t size = strlen(quoted) + strlen(members) + strlen(id) + 128;
    char *value = malloc(size);
    snprintf(value, size, "{\"request_id\":\"%s\",\"language\":\"%s\",\"code\":%s%s%s}", id,
             language, quoted, *members ? "," : "", members);
    sp_stage_send(s, partition, NULL, value, NULL, 0);
    free(value);
    free(quoted);
    json_decref(text);
}

void sp_stage_submit(struct sp_stage *s, const char *id, const char *language, const char *code,
                     const char *members)
{
    sp_stage_submit_to(s, RD_KAFKA_PARTITION_UA, id, language, code, members);
}

void sp_stage_flush(struct sp_stage *s)
{
    cr_assert(rd_kafka_flush(s->producer, TOPIC_LIMIT_MS) == 0, "flush");
}

void sp_stage_control(struct sp_stage *s, const char *key, const char *value)
{
    rd_kafka_resp_err_t rc = rd_kafka_producev(
        s->producer, RD_KAFKA_V_TOPIC(s->control), RD_KAFKA_V_KEY(key, strlen(key)),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)value, value ? strlen(value) : 0),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    cr_assert(rc == 0, "control topic: %s", rd_kafka_err2str(rc));
    sp_stage_flush(s);
}

/* Offsets */

int64_t sp_stage_committed(struct sp_stage *s)
{
    char group[96];
    snprintf(group, sizeof(group), "%s.workers", s->prefix);
    rd_kafka_t *rk =
        sp_stage_client(s, RD_KAFKA_CONSUMER, (const char *const[]){"group.id", group, NULL});
    int n = partitions_of(s, s->requests);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(n);
    rd_kafka_topic_partition_list_add_range(list, s->requests, 0, n - 1);
    cr_assert(rd_kafka_committed(rk, list, ANSWER_LIMIT_MS) == 0);
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
        cr_assert(rd_kafka_query_watermark_offsets(s->producer, s->requests, p, &low, &high,
                                                   ANSWER_LIMIT_MS) == 0);
        sum += high;
    }
    return sum;
}

static bool has_committed_all(void *stage)
{
    return sp_stage_committed(stage) == sp_stage_end_offsets(stage);
}

void sp_stage_until_committed(struct sp_stage *s, int64_t limit_ms)
{
    sp_stage_until(has_committed_all, s, limit_ms, "the watermark reaches the end of the topic");
}
