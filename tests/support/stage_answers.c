/* See stage.h: the reader assigns partitions itself and keeps every record that it saw. */
#include "tests/support/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "tests/support.h"

static void keep(struct sp_stage *s, const rd_kafka_message_t *m)
{
    struct sp_stage_answer *a = calloc(1, sizeof(*a));
    struct sp_stage_answer **more = realloc(s->answers, (s->n_answers + 1) * sizeof(*more));
    cr_assert(a != NULL && more != NULL);
    s->answers = more;
    snprintf(a->topic, sizeof(a->topic), "%s", rd_kafka_topic_name(m->rkt));
    a->partition = m->partition;
    a->offset = m->offset;
    if (m->key)
        a->key = sp_memdup(m->key, m->key_len);
    a->key_len = m->key_len;
    if (m->payload)
        a->value = sp_memdup(m->payload, m->len);
    a->value_len = m->len;
    const char *text = a->value ? a->value : "";
    a->json = json_loadb(text, m->len, JSON_ALLOW_NUL, NULL);
    if (!a->json) /* an integer beyond 64 bits; tests of such look at the text */
        a->json = json_loadb(text, m->len, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
    rd_kafka_headers_t *headers;
    if (rd_kafka_message_headers(m, &headers) == 0)
        a->headers = rd_kafka_headers_copy(headers);
    s->answers[s->n_answers++] = a;
}

/* Reads what comes within limit_ms; false when nothing came. */
static bool read_some(struct sp_stage *s, int limit_ms)
{
    rd_kafka_poll(s->producer, 0);
    rd_kafka_message_t *m = rd_kafka_consumer_poll(s->reader, limit_ms);
    if (!m)
        return false;
    if (m->err == 0)
        keep(s, m);
    rd_kafka_message_destroy(m);
    return true;
}

bool sp_stage_wait(struct sp_stage *s, size_t n, int64_t limit_ms)
{
    int64_t end = sp_deadline_in(limit_ms);
    while (s->n_answers < n && sp_deadline_left(end) > 0)
        read_some(s, 50);
    return s->n_answers >= n;
}

static struct sp_stage_answer *find(struct sp_stage *s, const char *id, size_t from)
{
    for (size_t i = from; i < s->n_answers; i++)
        if (strcmp(s->answers[i]->topic, s->dlq) != 0 &&
            strcmp(sp_stage_answer_text(s->answers[i], "request_id"), id) == 0)
            return s->answers[i];
    return NULL;
}

struct sp_stage_answer *sp_stage_reply(struct sp_stage *s, const char *id, int64_t limit_ms)
{
    int64_t end = sp_deadline_in(limit_ms);
    size_t seen = 0;
    struct sp_stage_answer *a = find(s, id, 0);
    while (!a && sp_deadline_left(end) > 0) {
        seen = s->n_answers;
        read_some(s, 50);
        a = find(s, id, seen);
    }
    if (!a)
        sp_stage_show_logs(s);
    cr_assert(a != NULL, "no reply to %s", id);
    return a;
}

struct sp_stage_answer *sp_stage_find(const struct sp_stage *s, const char *topic, const char *key)
{
    for (size_t i = 0; i < s->n_answers; i++) {
        struct sp_stage_answer *a = s->answers[i];
        if (strcmp(a->topic, topic) == 0 && a->key && strcmp(a->key, key) == 0)
            return a;
    }
    return NULL;
}

struct sp_stage_answer *sp_stage_record(struct sp_stage *s, const char *topic, const char *key,
                                        int64_t limit_ms)
{
    int64_t end = sp_deadline_in(limit_ms);
    struct sp_stage_answer *a = NULL;
    while (!(a = sp_stage_find(s, topic, key)) && sp_deadline_left(end) > 0)
        read_some(s, 50);
    cr_assert(a != NULL, "no record %s of %s", key, topic);
    return a;
}

size_t sp_stage_count(struct sp_stage *s, const char *id)
{
    while (read_some(s, 100))
        ;
    size_t n = 0;
    for (size_t i = 0; i < s->n_answers; i++)
        n += strcmp(s->answers[i]->topic, s->dlq) != 0 &&
             strcmp(sp_stage_answer_text(s->answers[i], "request_id"), id) == 0;
    return n;
}

const char *sp_stage_answer_header(const struct sp_stage_answer *a, const char *name, size_t *len)
{
    const void *value = NULL;
    size_t size = 0;
    if (!a->headers || rd_kafka_header_get_last(a->headers, name, &value, &size) != 0)
        return NULL;
    if (len)
        *len = size;
    return value;
}

json_t *sp_stage_answer_get(const struct sp_stage_answer *a, const char *path)
{
    json_t *at = a->json;
    char name[64];
    while (at && *path) {
        size_t n = strcspn(path, ".");
        snprintf(name, sizeof(name), "%.*s", (int)n, path);
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(name)) : json_object_get(at, name);
        path += n + (path[n] == '.');
    }
    return at;
}

const char *sp_stage_answer_text(const struct sp_stage_answer *a, const char *path)
{
    json_t *at = sp_stage_answer_get(a, path);
    return json_is_string(at) ? json_string_value(at) : "";
}

bool sp_stage_answer_is(const struct sp_stage_answer *a, const char *path, const char *json)
{
    json_t *at = sp_stage_answer_get(a, path);
    char *text = at ? json_dumps(at, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    bool same = text && strcmp(text, json) == 0;
    free(text);
    return same;
}

struct sp_stage_answer *sp_stage_expect(struct sp_stage *s, const struct sp_stage_case *c,
                                        int64_t limit_ms)
{
    struct sp_stage_answer *a = sp_stage_reply(s, c->id, limit_ms);

    for (size_t i = 0; i < SP_COUNT(c->expected) && c->expected[i].path; i++) {
        cr_expect(sp_stage_answer_is(a, c->expected[i].path, c->expected[i].json),
                  "%s is not %s: %s", c->expected[i].path, c->expected[i].json, a->value);
    }
    cr_expect(c->text == NULL || strstr(a->value, c->text), "no %s: %s", c->text, a->value);
    return a;
}

void sp_stage_expect_each_once(struct sp_stage *s, const char *prefix, int n)
{
    size_t len = strlen(prefix);
    char *seen = calloc((size_t)n, 1);
    cr_assert(seen != NULL);
    for (size_t i = 0; i < s->n_answers; i++) {
        const struct sp_stage_answer *a = s->answers[i];
        const char *id = sp_stage_answer_text(a, "request_id");
        int64_t number = -1;
        cr_assert(strncmp(id, prefix, len) == 0 && sp_parse_i64(id + len, 0, n - 1, &number), "%s",
                  a->value);
        cr_assert(seen[number]++ == 0, "%s is answered twice", id);
        cr_assert(eq(str, (char *)sp_stage_answer_text(a, "status"), "ok"), "%s", a->value);
    }
    free(seen);
    cr_assert(eq(sz, s->n_answers, (size_t)n));
}
