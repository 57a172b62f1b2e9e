#include "worker/health.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "tests/support.h"

static const struct sp_queue_status queue_up = {.kafka_up = true};
static const struct sp_settings_status in_force = {.state = SP_SETTINGS_IN_FORCE,
                                                   .redis_up = true,
                                                   .provider_up = true,
                                                   .version = 3,
                                                   .provider = "local"};

static const struct {
    const char *what;
    bool claims_away, degraded;
    bool kafka_away, refused, redis_away, redis_required, provider_down, stopping;
    enum sp_settings_state state;
    const char *message, *policy, *record, *topic;
    bool unread, incomplete;
    bool ready;
    const char *shown;
} cases[] = {
    {.what = "all is well",
     .state = SP_SETTINGS_IN_FORCE,
     .ready = true,
     .shown = "\"reasons\":[],\"warnings\":[]"},
    {.what = "Kafka away",
     .kafka_away = true,
     .state = SP_SETTINGS_IN_FORCE,
     .shown = "\"reasons\":[\"Kafka is away\"]"},
    {.what = "topic refused",
     .refused = true,
     .state = SP_SETTINGS_IN_FORCE,
     .shown = "\"reasons\":[\"topic refused: results: not authorised\"]"},
    {.what = "settings unread", .state = SP_SETTINGS_UNREAD, .shown = "no provider in force"},
    {.what = "settings absent", .state = SP_SETTINGS_ABSENT, .shown = "Redis holds no settings"},
    {.what = "settings invalid",
     .state = SP_SETTINGS_INVALID,
     .message = "timeout: too long",
     .shown = "settings version 9: timeout: too long"},
    {.what = "a later change is bad",
     .state = SP_SETTINGS_IN_FORCE,
     .message = "timeout: too long",
     .ready = true,
     .shown = "\"warnings\":[\"settings version 9 not applied: timeout: too long\"]"},
    {.what = "Redis away",
     .redis_away = true,
     .state = SP_SETTINGS_IN_FORCE,
     .ready = true,
     .shown = "\"warnings\":[\"Redis is away\"]"},
    {.what = "Redis away under pause",
     .redis_away = true,
     .redis_required = true,
     .state = SP_SETTINGS_IN_FORCE,
     .shown = "\"reasons\":[\"Redis is away\"]"},
    {.what = "provider down",
     .provider_down = true,
     .state = SP_SETTINGS_IN_FORCE,
     .ready = true,
     .shown = "provider local is unavailable"},
    {.what = "Redis evicts",
     .policy = "evicts",
     .state = SP_SETTINGS_IN_FORCE,
     .ready = true,
     .shown = "\"warnings\":[\"evicts\"]"},
    {.what = "the control topic is not read yet",
     .unread = true,
     .state = SP_SETTINGS_IN_FORCE,
     .shown = "\"reasons\":[\"the control topic has not been read yet\"]"},
    {.what = "no control topic",
     .incomplete = true,
     .topic = "there is none",
     .state = SP_SETTINGS_IN_FORCE,
     .ready = true,
     .shown = "\"warnings\":[\"without the control topic: there is none\"]"},
    {.what = "the control topic has a problem",
     .topic = "3 partitions",
     .state = SP_SETTINGS_IN_FORCE,
     .ready = true,
     .shown = "\"warnings\":[\"control topic: 3 partitions\"]"},
    {.what = "a record is bad",
     .record = "author: expected text",
     .state = SP_SETTINGS_IN_FORCE,
     .ready = true,
     .shown = "settings record at offset 12 of the control topic not applied: author: expected"},
    {.what = "Redis away for the claims",
     .claims_away = true,
     .state = SP_SETTINGS_IN_FORCE,
     .ready = true,
     .shown = "\"warnings\":[\"Redis is away\"]"},
    {.what = "degraded",
     .degraded = true,
     .state = SP_SETTINGS_IN_FORCE,
     .ready = true,
     .shown = "jobs go on without claims"},
    {.what = "stopping",
     .stopping = true,
     .state = SP_SETTINGS_IN_FORCE,
     .ready = true,
     .shown = "\"warnings\":[\"the worker is stopping\"]"},
};

SP_TABLE_TEST(health, the_contract_says_what_is_a_reason_and_what_a_warning, cases, row)
{
    struct sp_queue_status queue = queue_up;
    struct sp_settings_status settings = in_force;
    queue.kafka_up = !row->kafka_away;
    queue.reply_topic_refused = row->refused;
    strcpy(queue.refused, "results: not authorised");
    settings.state = row->state;
    settings.redis_up = !row->redis_away;
    settings.provider_up = !row->provider_down;
    settings.error_version = 9;
    snprintf(settings.message, sizeof settings.message, "%s", row->message ? row->message : "");
    settings.control_offset = 12;
    snprintf(settings.control_message, sizeof settings.control_message, "%s",
             row->record ? row->record : "");
    struct sp_control_status control = {.ready = !row->unread,
                                        .complete = !row->unread && !row->incomplete};
    snprintf(control.problem, sizeof control.problem, "%s", row->topic ? row->topic : "");
    const struct sp_claims_status claims = {.up = !row->claims_away, .degraded = row->degraded};
    const struct sp_health health = {.worker_id = "w1",
                                     .claims = &claims,
                                     .control = &control,
                                     .queue = &queue,
                                     .settings = &settings,
                                     .redis_required = row->redis_required,
                                     .policy_warning = row->policy ? row->policy : "",
                                     .stopping = row->stopping};
    struct sp_buf out = SP_BUF_INIT(65536);
    bool ready = !row->ready;

    cr_assert(not(sp_health_write(&health, &out, &ready)));

    cr_expect(eq(int, ready, row->ready), "%s", row->what);
    cr_expect(strstr(out.data, row->shown) != NULL, "%s: %s", row->what, out.data);
    sp_buf_clear(&out);
}
