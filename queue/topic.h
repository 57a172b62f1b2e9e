/* Topics by their use, Kafka's rules for names, and where a reply may go (CONTRACT.md 1 and 4). */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct sp_topics {
    char **requests; /* consumed */
    size_t n_requests;
    char *reply, *control;
    char *dlq;    /* NULL: "<request topic>-dlq" */
    char **allow; /* exact names, or prefixes ending in '*' */
    size_t n_allow;
};

/* As the configuration has them: requests and allow are lists, separated by commas; dlq "" or NULL
 * is the default. */
struct sp_topic_names {
    const char *requests, *reply, *control, *dlq, *allow;
};

/* SP_E_INVALID: an illegal name, no request topic, a DLQ, reply or control topic that is also
 * consumed. */
SP_MUST_CHECK enum sp_code sp_topics_init(struct sp_topics *topics,
                                          const struct sp_topic_names *names, struct sp_error *err);
void sp_topics_clear(struct sp_topics *topics);
SP_AUTO_CLEAR(struct sp_topics, sp_topics_clear)
/* 1 to 249 of letters, digits, '.', '_', '-'; not "." or "..". */
bool sp_topic_name_valid(const char *name, size_t len);
/* SP_E_INVALID: illegal; SP_E_DENIED: forbidden. The text names the topic. */
enum sp_code sp_topic_reply_allowed(const struct sp_topics *topics, const char *name, size_t len,
                                    struct sp_error *err);
/* The DLQ of a request topic; out holds 254 (name and "-dlq"). */
void sp_topic_dlq(const struct sp_topics *topics, const char *request_topic, char *out,
                  size_t size);
