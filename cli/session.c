#include "cli/session.h"

#include <stdlib.h>
#include <string.h>

#include "worker/queue_config.h"

enum sp_code sp_session_open(const struct sp_call *call, struct sp_session *out,
                             struct sp_error *err)
{
    enum sp_code rc = sp_call_config(call, &out->config, err);
    if (rc)
        return rc;
    rc = sp_queue_config_topics(out->config, &out->topics, err);
    if (rc)
        return rc;
    out->kafka = sp_queue_config_properties(out->config);
    if (!out->kafka)
        return sp_error_set(err, SP_E_NOMEM, "no memory");
    return sp_client_open(out->kafka, out->config->kafka.n, &out->client, err);
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
