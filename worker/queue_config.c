#include "worker/queue_config.h"

#include <stdlib.h>

enum sp_code sp_queue_config_topics(const struct sp_config *config, struct sp_topics *out,
                                    struct sp_error *err)
{
    return sp_topics_init(out, config->queue.request_topics, config->queue.reply_topic,
                          config->queue.control_topic, config->queue.dlq_topic,
                          config->queue.reply_allow, err);
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
