#include "worker/health.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/json_out.h"

enum { NOTES_MAX = 8, NOTE_SIZE = 400 };

struct notes {
    char text[NOTES_MAX][NOTE_SIZE];
    size_t n;
};

static void SP_PRINTF(2, 3) note(struct notes *notes, const char *fmt, ...)
{
    va_list args;
    if (notes->n == NOTES_MAX)
        return;
    va_start(args, fmt);
    vsnprintf(notes->text[notes->n++], NOTE_SIZE, fmt, args);
    va_end(args);
}

static void look_at_settings(const struct sp_settings_status *s, struct notes *reasons,
                             struct notes *warnings)
{
    switch (s->state) {
    case SP_SETTINGS_UNREAD:
        note(reasons, "no provider in force: the settings have not been read from Redis yet");
        break;
    case SP_SETTINGS_ABSENT:
        note(reasons, "no provider in force: Redis holds no settings");
        break;
    case SP_SETTINGS_INVALID:
        note(reasons, "no provider in force: settings version %lld: %s",
             (long long)s->error_version, s->message);
        break;
    case SP_SETTINGS_IN_FORCE:
        if (s->message[0]) {
            note(warnings, "settings version %lld not applied: %s", (long long)s->error_version,
                 s->message);
        }
        if (!s->provider_up)
            note(warnings, "provider %s is unavailable; jobs are held", s->provider);
        break;
    }
}

static void look_at_control(const struct sp_health *h, struct notes *reasons,
                            struct notes *warnings)
{
    const struct sp_control_status *c = h->control;
    const struct sp_settings_status *s = h->settings;
    if (!c->ready) {
        note(reasons, "the control topic has not been read yet");
    } else if (!c->complete) {
        note(warnings, "without the control topic: %s",
             c->problem[0] ? c->problem : "it could not be read yet");
    } else if (c->problem[0]) {
        note(warnings, "control topic: %s", c->problem);
    }
    if (s->control_message[0]) {
        note(warnings, "settings record at offset %lld of the control topic not applied: %s",
             (long long)s->control_offset, s->control_message);
    }
}

static void look_at(const struct sp_health *h, struct notes *reasons, struct notes *warnings)
{
    if (!h->queue->kafka_up)
        note(reasons, "Kafka is away");
    if (h->queue->reply_topic_refused)
        note(reasons, "topic refused: %s", h->queue->refused);
    look_at_settings(h->settings, reasons, warnings);
    look_at_control(h, reasons, warnings);
    if (!h->settings->redis_up || !h->claims->up)
        note(h->redis_required ? reasons : warnings, "Redis is away");
    if (h->claims->degraded)
        note(warnings, "jobs go on without claims: a repeat of one is not noticed");
    if (h->policy_warning[0])
        note(warnings, "%s", h->policy_warning);
    if (h->stopping)
        note(warnings, "the worker is stopping");
}

static void write_notes(struct sp_json_out *j, const char *key, const struct notes *notes)
{
    sp_json_array(j, key);
    for (size_t i = 0; i < notes->n; i++)
        sp_json_str(j, NULL, notes->text[i]);
    sp_json_array_end(j);
}

enum sp_code sp_health_write(const struct sp_health *health, struct sp_buf *out, bool *ready)
{
    struct notes reasons = {.n = 0}, warnings = {.n = 0};
    struct sp_json_out j = SP_JSON_OUT(out);
    look_at(health, &reasons, &warnings);

    sp_json_object(&j, NULL);
    sp_json_bool(&j, "ready", reasons.n == 0);
    write_notes(&j, "reasons", &reasons);
    write_notes(&j, "warnings", &warnings);
    sp_json_str(&j, "worker", health->worker_id);
    if (health->settings->provider[0]) {
        sp_json_str(&j, "provider", health->settings->provider);
    } else {
        sp_json_null(&j, "provider");
    }
    if (health->settings->version > 0) {
        sp_json_int(&j, "settings_version", health->settings->version);
    } else {
        sp_json_null(&j, "settings_version");
    }
    sp_json_object_end(&j);
    *ready = reasons.n == 0;
    return j.rc;
}
