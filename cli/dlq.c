/* `dlq`: what is in the dead letter queues, and sending it again. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/letter.h"
#include "queue/dead_letters.h"

struct dlq_options {
    struct sp_common_options common;
    const char *topic, *id, *reason;
    int64_t since_ms, limit;
    bool value, all, dry_run;
};

/* One look at all dead letter queues. */
struct look {
    const struct sp_call *call;
    const struct dlq_options *options;
    struct sp_session session;
    struct sp_dead_letters *letters; /* of the topic that is being read */
    json_t *list;
    size_t seen, done, failed;
    enum sp_code (*visit)(struct look *look, const struct sp_record *letter, struct sp_error *err);
};

/* ---- which ones ---- */

static bool is_named(const struct sp_call *call, const char *name)
{
    for (size_t i = 0; i < call->n_operands; i++) {
        if (strcmp(call->operands[i], name) == 0)
            return true;
    }
    return call->n_operands == 0;
}

static bool is_wanted(const struct look *look, const struct sp_record *letter)
{
    const struct dlq_options *options = look->options;
    const struct sp_dead_letter_facts facts = sp_dead_letter_read(letter);
    char name[SP_LETTER_NAME];
    sp_letter_name(letter, name);
    if (!is_named(look->call, name))
        return false;
    if (options->since_ms > 0 && letter->timestamp_ms < sp_wall_ms() - options->since_ms)
        return false;
    if (options->reason && (!facts.reason || !strcasestr(facts.reason, options->reason)))
        return false;
    if (!options->id)
        return true;
    sp_auto(sp_free_str) char *id = sp_letter_request_id(&look->session, letter);
    return id && strcmp(id, options->id) == 0;
}

static bool has_enough(const struct look *look)
{
    return look->options->limit > 0 && look->seen >= (size_t)look->options->limit;
}

static enum sp_code read_topic(struct look *look, const char *topic, struct sp_error *err)
{
    const struct sp_session *session = &look->session;
    sp_auto(sp_dead_letters_close) struct sp_dead_letters *letters = NULL;
    enum sp_code rc =
        sp_dead_letters_open(session->kafka, session->config->kafka.n, topic, &letters, err);
    look->letters = letters;
    while (!rc && !has_enough(look)) {
        sp_auto(sp_record_free) struct sp_record *letter = NULL;
        rc = sp_dead_letters_next(letters, SP_CONNECT_MS, &letter, err);
        if (rc || !letter)
            break;
        if (is_wanted(look, letter)) {
            look->seen++;
            rc = look->visit(look, letter, err);
        }
    }
    look->letters = NULL;
    return rc;
}

/* With one DLQ for several request topics it is read once. */
static enum sp_code read_all(struct look *look, struct sp_error *err)
{
    const struct sp_topics *topics = &look->session.topics;
    enum sp_code rc = SP_OK;
    if (look->options->topic)
        return read_topic(look, look->options->topic, err);
    for (size_t i = 0; !rc && i < topics->n_requests; i++) {
        char topic[260];
        sp_topic_dlq(topics, topics->requests[i], topic, sizeof(topic));
        if (i == 0 || !topics->dlq)
            rc = read_topic(look, topic, err);
    }
    return rc;
}

static int run_look(struct look *look)
{
    struct sp_error err = {0};
    look->options = look->call->options;
    look->list = json_array();
    enum sp_code rc = sp_session_open(look->call, &look->session, &err);
    if (!rc)
        rc = read_all(look, &err);
    if (look->options->common.json)
        sp_call_print_json(look->call, look->list);
    sp_session_clear(&look->session);
    json_decref(look->list);
    return rc ? sp_call_fail(look->call, &err) : SP_EXIT_OK;
}

/* ---- list and show ---- */

static const char *word(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "-";
}

static enum sp_code list_one(struct look *look, const struct sp_record *letter,
                             struct sp_error *err)
{
    (void)err;
    char when[25];
    json_t *facts = sp_letter_facts(&look->session, letter);
    (void)json_array_append_new(look->list, facts);
    if (look->options->common.json)
        return SP_OK;
    sp_wall_iso8601(letter->timestamp_ms, when);
    fprintf(look->call->out, "%s  %s  %s\n    attempts %lld, sent again %lld; %s\n", when,
            word(facts, "position"), word(facts, "request_id"),
            (long long)json_integer_value(json_object_get(facts, "attempts")),
            (long long)json_integer_value(json_object_get(facts, "replays")),
            word(facts, "reason"));
    return SP_OK;
}

static int run_list(const struct sp_call *call)
{
    struct look look = {.call = call, .visit = list_one};
    int code = run_look(&look);
    if (code == SP_EXIT_OK && look.seen == 0 && !look.options->common.json)
        fputs("No dead letter.\n", call->out);
    return code;
}

static enum sp_code show_one(struct look *look, const struct sp_record *letter,
                             struct sp_error *err)
{
    json_t *facts = sp_letter_facts(&look->session, letter);
    (void)err;
    sp_letter_add_content(facts, letter, look->options->value);
    (void)json_array_append_new(look->list, facts);
    if (!look->options->common.json)
        sp_call_print_json(look->call, facts);
    return SP_OK;
}

static int not_found(const struct look *look)
{
    fprintf(look->call->err, "%s: there is no such dead letter; 'sandpiper dlq list' shows them\n",
            look->call->path);
    return SP_EXIT_FAILURE;
}

static int run_show(const struct sp_call *call)
{
    struct look look = {.call = call, .visit = show_one};
    int code = run_look(&look);
    return code == SP_EXIT_OK && look.seen < call->n_operands ? not_found(&look) : code;
}

/* ---- replay ---- */

static bool is_consumed(const struct sp_topics *topics, const char *topic)
{
    for (size_t i = 0; topic && i < topics->n_requests; i++) {
        if (strcmp(topics->requests[i], topic) == 0)
            return true;
    }
    return false;
}

static enum sp_code replay(struct look *look, const struct sp_record *letter, const char *topic,
                           struct sp_error *err)
{
    int64_t offset = -1;
    if (!is_consumed(&look->session.topics, topic)) {
        return sp_error_set(err, SP_E_INVALID,
                            "it came from topic %s, which queue.request_topics does not name",
                            topic ? topic : "(none)");
    }
    if (look->options->dry_run)
        return SP_OK;
    return sp_dead_letter_replay(look->letters, letter, topic, SP_CONNECT_MS, &offset, err);
}

/* One that cannot be sent does not stop the others, unless Kafka is away. */
static enum sp_code replay_one(struct look *look, const struct sp_record *letter,
                               struct sp_error *err)
{
    struct sp_error why = {0};
    char name[SP_LETTER_NAME];
    json_t *facts = sp_letter_facts(&look->session, letter);
    (void)json_array_append_new(look->list, facts);
    sp_letter_name(letter, name);
    enum sp_code rc = replay(look, letter, sp_dead_letter_read(letter).topic, &why);
    (void)json_object_set_new(facts, "replayed", json_boolean(!rc && !look->options->dry_run));
    if (rc)
        (void)json_object_set_new(facts, "error", json_string(why.msg));
    *(rc ? &look->failed : &look->done) += 1;
    if (rc) {
        fprintf(look->call->err, "%s: %s: %s\n", look->call->path, name, why.msg);
    } else if (!look->options->common.json) {
        fprintf(look->call->out, "%s  %s  %s\n",
                look->options->dry_run ? "would send again" : "sent again", name,
                word(facts, "request_id"));
    }
    return rc == SP_E_UNAVAILABLE ? sp_error_wrap(err, rc, "%s", why.msg) : SP_OK;
}

static int run_replay(const struct sp_call *call)
{
    struct look look = {.call = call, .visit = replay_one};
    const struct dlq_options *options = call->options;
    struct sp_error err = {0};
    bool filtered = options->id || options->reason || options->since_ms > 0;
    if (call->n_operands == 0 && !options->all && !filtered) {
        (void)sp_error_set(&err, SP_E_INVALID,
                           "name what to send again: positions, --id, --reason, --since, or --all");
        return sp_call_misuse(call, &err);
    }
    int code = run_look(&look);
    if (code != SP_EXIT_OK)
        return code;
    if (look.seen < call->n_operands)
        return not_found(&look);
    if (!options->common.json) {
        fprintf(call->out, "%zu %s, %zu failed\n", look.done,
                options->dry_run ? "would be sent again" : "sent again", look.failed);
    }
    return look.failed ? SP_EXIT_FAILURE : SP_EXIT_OK;
}

/* ---- the commands ---- */

#define FILTER_OPTIONS                                                                             \
    SP_TEXT_OPTION(struct dlq_options, topic, "topic", .value = "TOPIC",                           \
                   .help = "this DLQ only (else those of queue.request_topics)"),                  \
        SP_TEXT_OPTION(struct dlq_options, id, "id", .value = "REQUEST_ID",                        \
                       .help = "only those of this request"),                                      \
        SP_TEXT_OPTION(struct dlq_options, reason, "reason", .value = "TEXT",                      \
                       .help = "only those with this in their reason"),                            \
        SP_DURATION_OPTION(struct dlq_options, since_ms, "since", .value = "TIME",                 \
                           .help = "only those that came within this time: 90m, 24h"),             \
        SP_INT_OPTION(struct dlq_options, limit, "limit", .value = "N",                            \
                      .help = "stop after so many; 0: all")

static const struct sp_option list_options[] = {
    FILTER_OPTIONS,
    SP_CONFIG_OPTIONS(struct dlq_options),
    SP_JSON_OPTION(struct dlq_options),
};

static const struct sp_option show_options[] = {
    FILTER_OPTIONS,
    SP_FLAG_OPTION(struct dlq_options, value, "value",
                   .help = "also the value: the program, as it was sent"),
    SP_CONFIG_OPTIONS(struct dlq_options),
    SP_JSON_OPTION(struct dlq_options),
};

static const struct sp_option replay_options[] = {
    FILTER_OPTIONS,
    SP_FLAG_OPTION(struct dlq_options, all, "all", .help = "everything in the DLQ"),
    SP_FLAG_OPTION(struct dlq_options, dry_run, "dry-run", .help = "say what would be sent again"),
    SP_CONFIG_OPTIONS(struct dlq_options),
    SP_JSON_OPTION(struct dlq_options),
};

static const struct sp_command command_list = {
    .name = "list",
    .operands = "",
    .summary = "List dead letters: records that were not JSON, and jobs that workers died of.",
    .options = list_options,
    .n_options = SP_COUNT(list_options),
    .options_size = sizeof(struct dlq_options),
    .run = run_list,
};

static const struct sp_command command_show = {
    .name = "show",
    .operands = "POSITION...",
    .summary = "Show dead letters whole, with their headers.",
    .details = "POSITION is TOPIC/PARTITION/OFFSET, as 'dlq list' prints it.",
    .min_operands = 1,
    .max_operands = SIZE_MAX,
    .options = show_options,
    .n_options = SP_COUNT(show_options),
    .options_size = sizeof(struct dlq_options),
    .run = run_show,
};

static const struct sp_command command_replay = {
    .name = "replay",
    .operands = "[POSITION...]",
    .summary = "Send dead letters again to the topic they came from, as new jobs.",
    .details = "The reply is addressed and correlated as the first one was. What was sent again "
               "stays in the\nDLQ until Kafka's retention takes it, and can be sent once more.",
    .max_operands = SIZE_MAX,
    .options = replay_options,
    .n_options = SP_COUNT(replay_options),
    .options_size = sizeof(struct dlq_options),
    .run = run_replay,
};

static const struct sp_command *const commands[] = {
    &command_list,
    &command_show,
    &command_replay,
    NULL,
};

const struct sp_command sp_command_dlq = {
    .name = "dlq",
    .summary = "Look after the dead letter queues.",
    .commands = commands,
};
