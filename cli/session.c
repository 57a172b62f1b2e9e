#include "cli/session.h"

#include <stdlib.h>
#include <string.h>

static enum sp_code copy_properties(const struct sp_config *config, struct sp_session *out,
                                    struct sp_error *err)
{
    out->kafka = calloc(config->kafka.n + 1, sizeof(*out->kafka));
    if (!out->kafka)
        return sp_error_set(err, SP_E_NOMEM, "no memory");
    for (size_t i = 0; i < config->kafka.n; i++) {
        out->kafka[i] = (struct sp_queue_property){config->kafka.properties[i].key,
                                                   config->kafka.properties[i].value};
    }
    return SP_OK;
}

enum sp_code sp_session_open(const struct sp_call *call, struct sp_session *out,
                             struct sp_error *err)
{
    enum sp_code rc = sp_call_config(call, &out->config, err);
    if (rc)
        return rc;
    const struct sp_config *config = out->config;
    rc = sp_topics_init(&out->topics, config->queue.request_topics, config->queue.reply_topic,
                        config->queue.control_topic, config->queue.dlq_topic,
                        config->queue.reply_allow, err);
    if (!rc)
        rc = copy_properties(config, out, err);
    return rc ? rc : sp_client_open(out->kafka, config->kafka.n, &out->client, err);
}

void sp_session_clear(struct sp_session *session)
{
    sp_client_close(session->client);
    free(session->kafka);
    sp_topics_clear(&session->topics);
    sp_config_free(session->config);
}

enum sp_code sp_session_listen(struct sp_session *session, const char *reply_to, int64_t since_ms,
                               struct sp_error *err)
{
    enum sp_code rc =
        sp_client_listen(session->client, session->topics.reply, since_ms, SP_CONNECT_MS, err);
    if (!rc && reply_to && strcmp(reply_to, session->topics.reply) != 0)
        rc = sp_client_listen(session->client, reply_to, since_ms, SP_CONNECT_MS, err);
    return rc;
}
