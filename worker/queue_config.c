#include "worker/queue_config.h"

#include <stdlib.h>

enum sp_code sp_queue_config_topics(const struct sp_config *config, struct sp_topics *out,
                                    struct sp_error *err)
{
    const struct sp_topic_names names = {
        .requests = config->queue.request_topics,
        .reply = config->queue.reply_topic,
        .control = config->queue.control_topic,
        .dlq = config->queue.dlq_topic,
        .allow = config->queue.reply_allow,
    };
    return sp_topics_init(out, &names, err);
}

struct sp_queue_property *sp_queue_config_properties(const struct sp_config *config)
{
    struct sp_queue_property *list = calloc(config->kafka.n + 1, sizeof *list);
    for (size_t i = 0; list && i < config->kafka.n; i++) {
        const struct sp_property *given = &config->kafka.properties[i];
        list[i] = (struct sp_queue_property){given->key, given->value};
    }
    return list;
}
