#include "cli/publish.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "worker/control_record.h"
#include "worker/queue_config.h"

enum { KAFKA_MS = 15000, WAIT_MS = 100 };

enum sp_code sp_publisher_open(struct sp_admin *admin, struct sp_publisher *out,
                               struct sp_error *err)
{
    out->admin = admin;
    enum sp_code rc = sp_queue_config_topics(admin->config, &out->topics, err);
    if (rc)
        return rc;
    out->kafka = sp_queue_config_properties(admin->config);
    if (!out->kafka)
        return sp_error_set(err, SP_E_NOMEM, "no memory");
    return sp_control_log_open(out->kafka, admin->config->kafka.n, out->topics.control, &out->log,
                               err);
}

void sp_publisher_clear(struct sp_publisher *p)
{
    sp_control_log_close(p->log);
    sp_topics_clear(&p->topics);
    free(p->kafka);
}

/* ---- from the topic to Redis ---- */

/* One that is not valid is no worker's either. Masks stand for what the record before says, else
 * for what Redis holds. */
static void take(const struct sp_publisher *p, const struct sp_control_record *record,
                 struct sp_control_settings *last)
{
    const struct sp_position position = {record->offset, record->timestamp_ms};
    const struct sp_document *stored = last->doc.present ? &last->doc : &p->admin->doc;
    struct sp_control_settings read = {0};
    struct sp_bytes id;
    if (sp_control_kind(record->key, record->key_len, &id) != SP_CONTROL_SETTINGS ||
        !record->value ||
        sp_control_settings_read(record->value, record->len, &position, stored, &read, NULL))
        return;
    sp_control_settings_clear(last);
    *last = read;
}

static enum sp_code read_topic(const struct sp_publisher *p, struct sp_control_settings *last,
                               struct sp_error *err)
{
    const int64_t deadline = sp_deadline_in(KAFKA_MS);
    const char *problem = "";
    while (sp_deadline_left(deadline) > 0) {
        struct sp_control_record record;
        enum sp_control_event event = sp_control_log_next(p->log, WAIT_MS, &record);
        if (event == SP_CONTROL_END)
            return SP_OK;
        if (event == SP_CONTROL_RECORD)
            take(p, &record, last);
        if (sp_control_log_state(p->log, &problem) == SP_CONTROL_MISSING)
            return sp_error_set(err, SP_E_INVALID, "%s", problem);
    }
    return sp_error_set(err, SP_E_UNAVAILABLE,
                        "Kafka does not answer (kafka.bootstrap.servers): start it, or correct the "
                        "address%s%.120s",
                        *problem ? ": " : "", problem);
}

static enum sp_code apply(const struct sp_publisher *p, const struct sp_control_settings *settings,
                          int64_t *version, enum sp_stored *stored, struct sp_error *err)
{
    struct sp_change change = sp_document_change(&settings->doc);
    change.made_from = settings->has_made_from ? &settings->made_from : NULL;
    return sp_store_change(p->admin->redis, p->admin->config->redis.prefix, &change, version,
                           stored, err);
}

enum sp_code sp_publisher_sync(struct sp_publisher *p, struct sp_error *err)
{
    sp_auto(sp_control_settings_clear) struct sp_control_settings last = {0};
    int64_t version = 0;
    enum sp_stored stored;
    enum sp_code rc = read_topic(p, &last, err);
    if (!rc && last.doc.present)
        rc = apply(p, &last, &version, &stored, err);
    return rc ? rc : sp_admin_read(p->admin, err);
}

/* ---- from a change to the topic and Redis ---- */

/* What is stored now, as objects. New reference. */
static enum sp_code stored_providers(const struct sp_document *doc, json_t **out,
                                     struct sp_error *err)
{
    json_auto_t *providers = json_object();
    const char *name;
    json_t *text;
    json_object_foreach (doc->providers, name, text) {
        json_t *settings = NULL;
        enum sp_code rc = sp_document_provider(doc, name, &settings, err);
        if (rc)
            return rc;
        if (json_object_set_new(providers, name, settings))
            return sp_error_set(err, SP_E_NOMEM, "no memory");
    }
    *out = SP_TAKE(providers);
    return SP_OK;
}

/* The record's value. */
static enum sp_code write_record(const struct sp_publisher *p, const struct sp_change *change,
                                 char **out, struct sp_error *err)
{
    const struct sp_document *doc = &p->admin->doc;
    json_auto_t *providers = change->replace ? json_object() : NULL;
    struct sp_change whole = *change;
    enum sp_code rc = providers ? SP_OK : stored_providers(doc, &providers, err);
    if (rc)
        return rc;
    if (change->providers && json_object_update(providers, change->providers))
        return sp_error_set(err, SP_E_NOMEM, "no memory");
    whole.providers = providers;
    if (!whole.provider_type)
        whole.provider_type = sp_admin_active(p->admin);
    *out = sp_control_settings_write(&whole, doc);
    return *out ? SP_OK : sp_error_set(err, SP_E_NOMEM, "no memory");
}

static enum sp_code make_record(const struct sp_publisher *p, const struct sp_change *change,
                                char **text, struct sp_control_settings *settings,
                                struct sp_error *err)
{
    enum sp_code rc = write_record(p, change, text, err);
    if (!*text)
        return rc;
    return sp_control_settings_read(*text, strlen(*text), NULL, &p->admin->doc, settings, err);
}

/* The time of the record just written, as every reader sees it. */
static enum sp_code read_back(const struct sp_publisher *p, struct sp_position *position,
                              struct sp_error *err)
{
    const int64_t deadline = sp_deadline_in(KAFKA_MS);
    while (sp_deadline_left(deadline) > 0) {
        struct sp_control_record record;
        struct sp_bytes id;
        if (sp_control_log_next(p->log, WAIT_MS, &record) != SP_CONTROL_RECORD ||
            record.offset != position->offset ||
            sp_control_kind(record.key, record.key_len, &id) != SP_CONTROL_SETTINGS)
            continue;
        position->timestamp_ms = record.timestamp_ms;
        return SP_OK;
    }
    return sp_error_set(err, SP_E_UNAVAILABLE,
                        "the record is on topic %s, where workers find it, but Kafka does not give "
                        "it back: see 'sandpiper settings get'",
                        p->topics.control);
}

enum sp_code sp_publisher_send(struct sp_publisher *p, const struct sp_change *change,
                               int64_t *version, enum sp_stored *stored, struct sp_error *err)
{
    sp_auto(sp_free_str) char *text = NULL;
    sp_auto(sp_control_settings_clear) struct sp_control_settings settings = {0};
    struct sp_position *position = &settings.doc.position;
    enum sp_code rc = make_record(p, change, &text, &settings, err);
    if (!rc) {
        rc = sp_control_log_put(p->log, SP_CONTROL_SETTINGS_KEY, text, KAFKA_MS, &position->offset,
                                err);
    }
    if (!rc)
        rc = read_back(p, position, err);
    if (rc)
        return rc;
    if (!sp_control_settings_plain_secret(&settings.doc, p->plain_secret, sizeof(p->plain_secret)))
        p->plain_secret[0] = '\0';
    settings.doc.has_position = true;
    rc = apply(p, &settings, version, stored, err);
    return rc ? sp_error_wrap(err, rc, "the record is on topic %s, and workers apply it",
                              p->topics.control)
              : SP_OK;
}
