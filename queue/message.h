/*
 * Reads a record as a request: CONTRACT.md 2 and 4. Plain JSON or CloudEvents (binary and
 * structured mode); Spring's request/reply headers; traceparent. Schema: conf/schema/request.json.
 */
#pragma once

#include "base/limits.h"
#include "base/request.h"
#include "base/status.h"
#include "queue/record.h"
#include "queue/topic.h"

/* Text, 1 or more: the record was sent again from a DLQ. */
#define SP_HEADER_REPLAY_COUNT "sandpiper_replay_count"

/* Where the reply goes and what it carries along. Owned by the struct, save what is said to be
 * borrowed. */
struct sp_envelope {
    char *reply_topic;       /* checked against the allow-list; the default topic otherwise */
    int32_t reply_partition; /* -1: by key */
    bool partition_unusable; /* kafka_replyPartition was there and malformed: fallback header, not
                                echoed */
    const struct sp_header *correlation; /* borrowed from the record; NULL: none */
    bool cloud_event;                    /* answered in binary mode */
    char traceparent[56]; /* same trace id, new parent; "" when the request had no valid one */
    const struct sp_header *tracestate; /* borrowed from the record; NULL: none */
};

enum sp_verdict {
    SP_VERDICT_RUN,
    SP_VERDICT_REJECT,      /* answered `rejected` with `sb` and the error's text */
    SP_VERDICT_UNPARSEABLE, /* the same (SB012), and the record goes to the DLQ */
};

void sp_envelope_clear(struct sp_envelope *env);
SP_AUTO_CLEAR(struct sp_envelope, sp_envelope_clear)

/* What a record says. */
struct sp_message {
    struct sp_request req;
    struct sp_envelope env;
    bool own_id; /* req.id is the record's own, not made from its offset */
    bool replay; /* sandpiper_replay_count: a new job, whatever became of earlier ones of its id */
    enum sp_verdict verdict;
    enum sp_sb sb;       /* with another verdict than SP_VERDICT_RUN, and */
    struct sp_error why; /* its reason, which begins with the field's name */
};

/*
 * Fills *out as far as the record allows (id, envelope and metadata also for a bad request).
 * SP_E_NOMEM, else SP_OK. Thread: any.
 */
SP_MUST_CHECK enum sp_code sp_message_read(const struct sp_record *record,
                                           const struct sp_limits *limits,
                                           const struct sp_topics *topics, struct sp_message *out,
                                           struct sp_error *err);
void sp_message_clear(struct sp_message *message);
SP_AUTO_CLEAR(struct sp_message, sp_message_clear)
