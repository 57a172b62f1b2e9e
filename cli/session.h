/* What the commands that talk to Kafka only have open: the configuration, its topics, a client. */
#pragma once

#include "cli/command.h"
#include "queue/client.h"

#define SP_CONNECT_MS 15000 /* how long Kafka may take to answer */

struct sp_session {
    struct sp_config *config;
    struct sp_topics topics;
    struct sp_queue_property *kafka; /* borrows from config */
    struct sp_client *client;
};

/* Does no I/O beyond the configuration. The caller clears *out also on failure. */
SP_MUST_CHECK enum sp_code sp_session_open(const struct sp_call *call, struct sp_session *out,
                                           struct sp_error *err);
void sp_session_clear(struct sp_session *session);
SP_AUTO_CLEAR(struct sp_session, sp_session_clear)

/* Reads the topic that was asked for (NULL: none was) and the default one, where the refusal of
 * that topic would come. since_ms: as for sp_client_listen(). */
SP_MUST_CHECK enum sp_code sp_session_listen(struct sp_session *session, const char *reply_to,
                                             int64_t since_ms, struct sp_error *err);
