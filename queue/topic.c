/* Topics: lists from the configuration, Kafka's rules for names, the allow-list of replies. */
#include "queue/topic.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define NAME_MAX_LEN 249
#define DLQ_SUFFIX "-dlq"

/* A name that breaks the rules may hold anything; what is not plain ASCII is shown as '?'. */
struct shown {
    char text[80];
};

static struct shown show(const char *name, size_t len)
{
    struct shown shown;
    size_t n = len < sizeof(shown.text) ? len : sizeof(shown.text) - 1;
    for (size_t i = 0; i < n; i++)
        shown.text[i] = isgraph((unsigned char)name[i]) ? name[i] : (char)'?';
    shown.text[n] = '\0';
    return shown;
}

static bool legal_chars(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (name[i] == '\0' || (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i])))
            return false;
    }
    return true;
}

bool sp_topic_name_valid(const char *name, size_t len)
{
    bool dots = (len == 1 && name[0] == '.') || (len == 2 && memcmp(name, "..", 2) == 0);
    return len > 0 && len <= NAME_MAX_LEN && !dots && legal_chars(name, len);
}

static enum sp_code check_name(const char *key, const char *name, struct sp_error *err)
{
    if (sp_topic_name_valid(name, strlen(name)))
        return SP_OK;
    return sp_error_set(
        err, SP_E_INVALID,
        "queue.%s: '%s' is not a topic name (1 to %d letters, digits, '.', '_', '-')", key,
        show(name, strlen(name)).text, NAME_MAX_LEN);
}

/* An exact name, or a prefix and a '*'. */
static enum sp_code check_allow(const char *key, const char *name, struct sp_error *err)
{
    size_t len = strlen(name);
    bool prefix = name[len - 1] == '*';
    if (prefix && len - 1 <= NAME_MAX_LEN && legal_chars(name, len - 1))
        return SP_OK;
    return check_name(key, name, err);
}

typedef enum sp_code (*check_fn)(const char *key, const char *name, struct sp_error *err);

static enum sp_code add_name(const char *key, const char *at, size_t len, check_fn check,
                             char ***list, size_t *n, struct sp_error *err)
{
    sp_auto(sp_free_str) char *name = sp_memdup(at, len);
    char **longer = realloc(*list, (*n + 1) * sizeof(**list));
    if (longer)
        *list = longer;
    if (!name || !longer)
        return sp_error_set(err, SP_E_NOMEM, "queue.%s: out of memory", key);
    enum sp_code rc = check(key, name, err);
    if (rc)
        return rc;
    (*list)[(*n)++] = SP_TAKE(name);
    return SP_OK;
}

/* Splits at commas; blanks around a name and empty pieces do not count. */
static enum sp_code split(const char *key, const char *text, check_fn check, char ***list,
                          size_t *n, struct sp_error *err)
{
    static const char blanks[] = " \t";

    while (*text) {
        text += strspn(text, blanks);
        size_t piece = strcspn(text, ",");
        size_t len = piece;
        while (len > 0 && strchr(blanks, text[len - 1]))
            len--;
        enum sp_code rc = len > 0 ? add_name(key, text, len, check, list, n, err) : SP_OK;
        if (rc)
            return rc;
        text += piece + (text[piece] == ',');
    }
    return SP_OK;
}

static bool is_consumed(const struct sp_topics *topics, const char *name)
{
    for (size_t i = 0; i < topics->n_requests; i++) {
        if (strcmp(topics->requests[i], name) == 0)
            return true;
    }
    return false;
}

static bool is_dlq(const struct sp_topics *topics, const char *name)
{
    char dlq[NAME_MAX_LEN + sizeof(DLQ_SUFFIX)];
    for (size_t i = 0; i < topics->n_requests; i++) {
        sp_topic_dlq(topics, topics->requests[i], dlq, sizeof(dlq));
        if (strcmp(dlq, name) == 0)
            return true;
    }
    return false;
}

/* What else a topic of ours is used for; NULL: nothing. */
static const char *other_use(const struct sp_topics *topics, const char *name)
{
    if (is_consumed(topics, name))
        return "a request topic";
    if (name != topics->dlq && is_dlq(topics, name))
        return "the DLQ";
    if (name != topics->control && strcmp(name, topics->control) == 0)
        return "the control topic";
    return NULL;
}

/* A record of ours must never come back to us as a request, nor hide among records of another use.
 */
static enum sp_code check_apart(const struct sp_topics *topics, struct sp_error *err)
{
    assert(topics->reply && topics->control);
    const struct {
        const char *key, *name;
    } ours[] = {{"reply_topic", topics->reply},
                {"control_topic", topics->control},
                {"dlq_topic", topics->dlq}};
    for (size_t i = 0; i < SP_COUNT(ours); i++) {
        const char *use = ours[i].name ? other_use(topics, ours[i].name) : NULL;
        if (use) {
            return sp_error_set(err, SP_E_INVALID, "queue.%s: '%s' is also %s", ours[i].key,
                                show(ours[i].name, strlen(ours[i].name)).text, use);
        }
    }
    if (strncmp(topics->reply, "__", 2) == 0) {
        return sp_error_set(err, SP_E_INVALID, "queue.reply_topic: '%s' belongs to Kafka",
                            show(topics->reply, strlen(topics->reply)).text);
    }
    return SP_OK;
}

/* Without a name of its own each request topic has its DLQ, which must be legal and not consumed.
 */
static enum sp_code check_derived_dlqs(const struct sp_topics *topics, struct sp_error *err)
{
    char dlq[NAME_MAX_LEN + sizeof(DLQ_SUFFIX)];
    for (size_t i = 0; i < topics->n_requests; i++) {
        sp_topic_dlq(topics, topics->requests[i], dlq, sizeof(dlq));
        if (strlen(dlq) > NAME_MAX_LEN) {
            return sp_error_set(err, SP_E_INVALID,
                                "queue.request_topics: '%s' leaves no room for its DLQ's name; "
                                "set queue.dlq_topic",
                                show(topics->requests[i], strlen(topics->requests[i])).text);
        }
        if (is_consumed(topics, dlq)) {
            return sp_error_set(err, SP_E_INVALID,
                                "queue.request_topics: '%s' is the DLQ of '%s'; set "
                                "queue.dlq_topic or consume only one of them",
                                dlq, topics->requests[i]);
        }
    }
    return SP_OK;
}

static enum sp_code copy_name(const char *key, const char *name, char **out, struct sp_error *err)
{
    enum sp_code rc = check_name(key, name, err);
    if (rc)
        return rc;
    *out = sp_strdup(name);
    if (*out)
        return SP_OK;
    sp_error_set(err, SP_E_NOMEM, "queue.%s: out of memory", key);
    return SP_E_NOMEM;
}

static void free_list(char **list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(list[i]);
    free(list);
}

void sp_topics_clear(struct sp_topics *topics)
{
    free_list(topics->requests, topics->n_requests);
    free_list(topics->allow, topics->n_allow);
    free(topics->reply);
    free(topics->control);
    free(topics->dlq);
    *topics = (struct sp_topics){0};
}

static enum sp_code fill(struct sp_topics *t, const struct sp_topic_names *names,
                         struct sp_error *err)
{
    enum sp_code rc =
        split("request_topics", names->requests, check_name, &t->requests, &t->n_requests, err);
    if (!rc && t->n_requests == 0)
        rc = sp_error_set(err, SP_E_INVALID, "queue.request_topics: name at least one topic");
    if (!rc)
        rc = copy_name("reply_topic", names->reply, &t->reply, err);
    if (!rc)
        rc = copy_name("control_topic", names->control, &t->control, err);
    if (!rc && names->dlq && names->dlq[0])
        rc = copy_name("dlq_topic", names->dlq, &t->dlq, err);
    return rc ? rc : split("reply_allow", names->allow, check_allow, &t->allow, &t->n_allow, err);
}

enum sp_code sp_topics_init(struct sp_topics *topics, const struct sp_topic_names *names,
                            struct sp_error *err)
{
    struct sp_topics t = {0};

    enum sp_code rc = fill(&t, names, err);
    if (!rc)
        rc = check_apart(&t, err);
    if (!rc && !t.dlq)
        rc = check_derived_dlqs(&t, err);
    if (rc) {
        sp_topics_clear(&t);
    } else {
        *topics = t;
    }
    return rc;
}

static bool is_listed(const struct sp_topics *topics, const char *name)
{
    for (size_t i = 0; i < topics->n_allow; i++) {
        const char *entry = topics->allow[i];
        size_t len = strlen(entry);
        bool prefix = entry[len - 1] == '*';
        if (prefix ? strncmp(entry, name, len - 1) == 0 : strcmp(entry, name) == 0)
            return true;
    }
    return false;
}

enum sp_code sp_topic_reply_allowed(const struct sp_topics *topics, const char *name, size_t len,
                                    struct sp_error *err)
{
    if (!sp_topic_name_valid(name, len))
        return sp_error_set(err, SP_E_INVALID, "'%s' is not a topic name", show(name, len).text);

    char topic[NAME_MAX_LEN + 1] = "";
    memcpy(topic, name, len);
    if (strcmp(topic, topics->reply) == 0)
        return SP_OK;
    const char *why = NULL;
    if (strncmp(topic, "__", 2) == 0) {
        why = "belongs to Kafka";
    } else if (is_consumed(topics, topic)) {
        why = "is a request topic";
    } else if (is_dlq(topics, topic)) {
        why = "is a DLQ";
    } else if (strcmp(topic, topics->control) == 0) {
        why = "is the control topic";
    } else if (!is_listed(topics, topic)) {
        why = "is not in queue.reply_allow";
    }
    if (!why)
        return SP_OK;
    return sp_error_set(err, SP_E_DENIED, "replies to '%s' are not allowed: it %s",
                        show(topic, len).text, why);
}

void sp_topic_dlq(const struct sp_topics *topics, const char *request_topic, char *out, size_t size)
{
    if (topics->dlq) {
        snprintf(out, size, "%s", topics->dlq);
    } else {
        snprintf(out, size, "%s" DLQ_SUFFIX, request_topic);
    }
}
