/* A record, what it is read with, and what came out. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "queue/message.h"
#include "tests/support.h"

#define HEADER(header, text)                                                                       \
    {                                                                                              \
        .name = (header), .value = (text), .len = sizeof(text) - 1                                 \
    }

struct given {
    struct sp_topics topics;
    struct sp_limits limits;
    struct sp_message out;
};

static inline void given_init(struct given *g)
{
    *g = (struct given){.limits = {.code_bytes = 1 << 20, .files_bytes = 1 << 20}};
    cr_assert(
        eq(int,
           sp_topics_init(&g->topics,
                          &(struct sp_topic_names){"sandpiper.requests", "sandpiper.results",
                                                   "sandpiper.control", "", "sandpiper.reply.*"},
                          NULL),
           SP_OK));
}

static inline void given_clear(struct given *g)
{
    sp_message_clear(&g->out);
    sp_topics_clear(&g->topics);
}
SP_AUTO_CLEAR(struct given, given_clear)

/* The value is copied to the heap without a NUL, so that a sanitizer sees reading past its end. */
static inline void given_read(struct given *g, const char *value, size_t len,
                              struct sp_header *headers, size_t n_headers)
{
    char *copy = value ? malloc(len) : NULL;
    if (copy)
        memcpy(copy, value, len);
    const struct sp_record record = {
        .topic = "sandpiper.requests",
        .partition = 3,
        .offset = 42,
        .timestamp_ms = 1700000000000,
        .value = copy,
        .value_len = len,
        .headers = headers,
        .n_headers = n_headers,
    };
    sp_message_clear(&g->out);

    enum sp_code rc = sp_message_read(&record, &g->limits, &g->topics, &g->out, NULL);

    free(copy);
    cr_assert(eq(int, rc, SP_OK));
}

static inline void given_json(struct given *g, const char *json)
{
    given_read(g, json, strlen(json), NULL, 0);
}
