/*
 * One thread: the next record of the topic, and between records what time asks for. A settings
 * record waits until the topic has been read to its end, so that of many only the last one is
 * applied, and until Redis takes it.
 */
#include "worker/control.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "queue/control.h"
#include "worker/control_record.h"
#include "worker/thread.h"

enum {
    WAIT_MS = 100,    /* for a record; a stop is seen within it */
    READY_MS = 30000, /* then jobs are claimed, whatever has not been read */
    REDIS_MS = 4000,  /* between two looks whether Redis still holds the settings */
    REDIS_JITTER_MS = 1000,
    TOMBSTONES_MS = 1000, /* between two looks at cancellations that are over */
};

struct sp_control {
    struct sp_control_options with;
    struct sp_redis *redis;
    struct sp_control_log *log;
    pthread_t thread;
    atomic_bool stop, ready;
    pthread_mutex_t lock; /* guards status */
    struct sp_control_status status;

    /* The thread's own. */
    int64_t give_up_at;                 /* monotonic ms; ready then, whatever happened */
    int64_t redis_at, tombstones_at;    /* monotonic ms; next look */
    struct sp_control_status view;      /* becomes status by publish() */
    struct sp_control_settings pending; /* the last good settings record; waits for Redis */
    struct sp_document standing;        /* of the record that was applied last, by whomever */
    struct sp_position newest;          /* of all records taken */
    bool at_end;
    bool redis_down; /* logged already */
};

static void publish(struct sp_control *c)
{
    c->view.ready = atomic_load(&c->ready);
    pthread_mutex_lock(&c->lock);
    c->status = c->view;
    pthread_mutex_unlock(&c->lock);
}

/* ---- settings ---- */

static void schedule_redis(struct sp_control *c)
{
    c->redis_at = sp_deadline_in(REDIS_MS + (int64_t)arc4random_uniform(REDIS_JITTER_MS));
}

static void redis_answers(struct sp_control *c, enum sp_code rc, const struct sp_error *err)
{
    if (rc && !c->redis_down)
        sp_log(SP_WARN, "control_redis_down", sp_s("reason", err->msg));
    c->redis_down = rc != SP_OK;
}

static void stored(struct sp_control *c, const struct sp_document *doc, int64_t version,
                   const char *from)
{
    c->view.settings_applied++;
    sp_log(SP_INFO, "control_settings_stored", sp_s("from", from), sp_i("version", version),
           sp_i("position", doc->has_position ? doc->position.offset : -1),
           sp_s("author", doc->author), sp_s("comment", doc->comment));
    sp_watcher_poke(c->with.watcher, false);
}

/* True: Redis has answered. */
static bool store(struct sp_control *c, const struct sp_change *change, int64_t *version,
                  enum sp_stored *outcome)
{
    struct sp_error err = {0};
    enum sp_code rc = sp_store_change(c->redis, c->with.prefix, change, version, outcome, &err);
    redis_answers(c, rc, &err);
    return !rc;
}

/* The last record, which the whole fleet and the command that wrote it race to apply. */
static void store_pending(struct sp_control *c)
{
    struct sp_control_settings *p = &c->pending;
    struct sp_change change = sp_document_change(&p->doc);
    enum sp_stored outcome = SP_STORED_NOT;
    int64_t version = 0;
    change.made_from = p->has_made_from ? &p->made_from : NULL;
    if (!store(c, &change, &version, &outcome))
        return;
    if (outcome == SP_STORED)
        stored(c, &p->doc, version, "record");
    sp_document_clear(&c->standing);
    if (outcome == SP_STORED_NOT) {
        sp_log(SP_INFO, "control_settings_superseded", sp_i("position", p->doc.position.offset));
    } else {
        c->standing = p->doc;
        p->doc = (struct sp_document){0};
    }
    sp_control_settings_clear(p);
}

/* Redis has lost its settings, or came back with old ones. */
static void keep_filled(struct sp_control *c)
{
    sp_auto(sp_document_clear) struct sp_document in_force = {0};
    const struct sp_document *doc = &c->standing;
    enum sp_stored outcome = SP_STORED_NOT;
    int64_t version = 0;
    if (!doc->present && sp_watcher_document(c->with.watcher, &in_force))
        doc = &in_force;
    if (!doc->present)
        return;
    struct sp_change change = sp_document_change(doc);
    /* What is in force is no news to a Redis that holds any. */
    change.if_absent = doc == &in_force;
    if (store(c, &change, &version, &outcome) && outcome == SP_STORED)
        stored(c, doc, version, change.if_absent ? "settings in force" : "record");
}

static void tend_redis(struct sp_control *c)
{
    if (c->pending.doc.present) {
        store_pending(c);
    } else {
        keep_filled(c);
    }
    schedule_redis(c);
    publish(c);
}

/* What stands behind a mask: the record before, where Redis does not have that yet, else Redis,
 * else what we know of. False: nothing. */
static bool find_stored(struct sp_control *c, struct sp_document *out)
{
    struct sp_error err = {0};
    if (c->pending.doc.present)
        return !sp_document_copy(&c->pending.doc, out, NULL);
    enum sp_code rc = sp_store_read(c->redis, c->with.prefix, out, &err);
    redis_answers(c, rc, &err);
    if (!rc && out->present)
        return true;
    sp_document_clear(out);
    if (c->standing.present)
        return !sp_document_copy(&c->standing, out, NULL);
    return sp_watcher_document(c->with.watcher, out);
}

static void invalid(struct sp_control *c, int64_t offset, const struct sp_error *err)
{
    c->view.invalid_records++;
    c->view.invalid_position = offset;
    (void)snprintf(c->view.invalid, sizeof(c->view.invalid), "%s", err->msg);
    sp_log(SP_WARN, "control_record_invalid", sp_s("topic", c->with.topic),
           sp_i("position", offset), sp_s("reason", err->msg));
}

static void warn_of_secret(const struct sp_document *doc)
{
    char secret[96];
    if (sp_control_settings_plain_secret(doc, secret, sizeof(secret))) {
        sp_log(SP_WARN, "control_secret_in_clear", sp_i("position", doc->position.offset),
               sp_s("field", secret), sp_s("advice", "use a reference, env:NAME or file:PATH"));
    }
}

/* For a watcher that cannot read Redis. */
static void offer(struct sp_control *c, const struct sp_document *doc)
{
    struct sp_document copy = {0};
    if (!sp_document_copy(doc, &copy, NULL))
        sp_watcher_offer(c->with.watcher, &copy);
}

static void take_settings(struct sp_control *c, const struct sp_control_record *record)
{
    sp_auto(sp_document_clear) struct sp_document behind = {0};
    struct sp_position position = {record->offset, record->timestamp_ms};
    struct sp_control_settings read = {0};
    struct sp_error err = {0};
    bool masked = sp_control_settings_masked(record->value, record->len);
    c->view.settings_records++;
    c->view.position = record->offset;
    const struct sp_document *known = masked && find_stored(c, &behind) ? &behind : NULL;
    if (sp_control_settings_read(record->value, record->len, &position, known, &read, &err)) {
        invalid(c, record->offset, &err);
        sp_watcher_control(c->with.watcher, record->offset, err.msg);
        return;
    }
    c->view.invalid_position = -1;
    c->view.invalid[0] = '\0';
    sp_watcher_control(c->with.watcher, -1, "");
    warn_of_secret(&read.doc);
    sp_control_settings_clear(&c->pending);
    c->pending = read;
}

/* ---- cancellations ---- */

static void cancel(struct sp_control *c, const struct sp_control_record *record, const char *id)
{
    struct sp_error err = {0};
    int64_t ttl = c->with.cancel_ttl_ms; /* who writes the record says its timestamp */
    int64_t until = sp_deadline_min(record->timestamp_ms, SP_NEVER - ttl) + ttl;
    if (sp_control_cancel_check(record->value, record->len, &err)) {
        (void)sp_error_wrap(&err, err.code, SP_CONTROL_CANCEL_KEY "%.60s", id);
        invalid(c, record->offset, &err);
        return;
    }
    if (sp_cancels_put(c->with.cancels, id, until, &err)) {
        sp_log(SP_ERROR, "cancellation_lost", sp_s("task_id", id), sp_s("reason", err.msg));
        return;
    }
    if (sp_wall_ms() >= until)
        return;
    if (c->view.complete)
        sp_log(SP_INFO, "cancellation", sp_s("task_id", id), sp_i("position", record->offset));
    if (c->with.on_cancel)
        c->with.on_cancel(c->with.ctx, id);
}

static void take_cancel(struct sp_control *c, const struct sp_control_record *record,
                        const struct sp_bytes *key_rest)
{
    char id[SP_CANCEL_ID_SIZE];
    c->view.cancel_records++;
    if (key_rest->len >= sizeof(id) || memchr(key_rest->data, '\0', key_rest->len))
        return; /* no job has such an id */
    memcpy(id, key_rest->data, key_rest->len);
    id[key_rest->len] = '\0';
    if (record->value) {
        cancel(c, record, id);
    } else {
        sp_cancels_remove(c->with.cancels, id);
    }
}

static void bury(struct sp_control *c)
{
    char id[SP_CANCEL_ID_SIZE];
    char key[sizeof(SP_CONTROL_CANCEL_KEY) + SP_CANCEL_ID_SIZE];
    c->tombstones_at = sp_deadline_in(TOMBSTONES_MS);
    while (c->at_end && sp_cancels_expire(c->with.cancels, id)) {
        (void)snprintf(key, sizeof(key), SP_CONTROL_CANCEL_KEY "%s", id);
        sp_control_log_bury(c->log, key);
        c->view.tombstones++;
    }
}

/* ---- the thread ---- */

/*
 * False: it has been taken before, since the topic is read anew now and then. A lower offset with a
 * later time is the beginning of a topic that was made anew.
 */
static bool is_news(struct sp_control *c, const struct sp_control_record *record)
{
    struct sp_position *newest = &c->newest;
    bool later = record->timestamp_ms > newest->timestamp_ms;
    if (record->offset <= newest->offset && !later)
        return false;
    if (later)
        newest->timestamp_ms = record->timestamp_ms;
    newest->offset = record->offset;
    return true;
}

static void take(struct sp_control *c, const struct sp_control_record *record)
{
    struct sp_bytes id = {0};
    if (!is_news(c, record))
        return;
    switch (sp_control_kind(record->key, record->key_len, &id)) {
    case SP_CONTROL_SETTINGS:
        if (record->value)
            take_settings(c, record);
        break;
    case SP_CONTROL_CANCEL:
        take_cancel(c, record, &id);
        break;
    case SP_CONTROL_OTHER:
        sp_log(SP_DEBUG, "control_record_ignored", sp_i("position", record->offset));
        break;
    }
}

/* All there is has been read: the last settings record counts. */
static void conclude(struct sp_control *c)
{
    c->at_end = c->view.complete = true;
    if (!c->pending.doc.present)
        return;
    offer(c, &c->pending.doc);
    c->redis_at = 0;
}

static void be_ready(struct sp_control *c, enum sp_control_state state)
{
    bool missing = state == SP_CONTROL_MISSING;
    bool late = sp_deadline_left(c->give_up_at) == 0;
    if (atomic_load(&c->ready) || (!c->view.complete && !missing && !late))
        return;
    if (!c->view.complete) {
        sp_log(SP_WARN, "control_topic_not_read", sp_s("topic", c->with.topic),
               sp_s("reason", c->view.problem[0] ? c->view.problem : "Kafka does not answer"),
               sp_s("effect", "cancellations and settings in it are not known here"));
    }
    atomic_store(&c->ready, true);
}

static void look_at_topic(struct sp_control *c)
{
    const char *problem = "";
    enum sp_control_state state = sp_control_log_state(c->log, &problem);
    if (strcmp(problem, c->view.problem) != 0 && problem[0])
        sp_log(SP_WARN, "control_topic", sp_s("problem", problem));
    (void)snprintf(c->view.problem, sizeof(c->view.problem), "%s", problem);
    c->view.missing = state == SP_CONTROL_MISSING;
    be_ready(c, state);
}

static void step(struct sp_control *c)
{
    struct sp_control_record record;
    switch (sp_control_log_next(c->log, WAIT_MS, &record)) {
    case SP_CONTROL_RECORD:
        c->at_end = false;
        take(c, &record);
        break;
    case SP_CONTROL_END:
        conclude(c);
        break;
    case SP_CONTROL_IDLE:
        break;
    }
    look_at_topic(c);
    if (sp_deadline_left(c->redis_at) == 0 && (c->at_end || !c->pending.doc.present))
        tend_redis(c);
    if (sp_deadline_left(c->tombstones_at) == 0)
        bury(c);
    publish(c);
}

static void *control_main(void *arg)
{
    struct sp_control *c = arg;
    while (!atomic_load(&c->stop))
        step(c);
    return NULL;
}

static void release(struct sp_control *c)
{
    sp_control_log_close(c->log);
    sp_control_settings_clear(&c->pending);
    sp_document_clear(&c->standing);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

enum sp_code sp_control_start(const struct sp_control_options *options, struct sp_redis *redis,
                              struct sp_control **out, struct sp_error *err)
{
    struct sp_control *c = calloc(1, sizeof(*c));
    if (!c)
        return sp_error_set(err, SP_E_NOMEM, "no memory for the control thread");
    c->with = *options;
    c->redis = redis;
    c->view.position = c->view.invalid_position = -1;
    c->newest = SP_NO_POSITION;
    c->give_up_at = sp_deadline_in(READY_MS);
    schedule_redis(c);
    pthread_mutex_init(&c->lock, NULL);
    publish(c);
    enum sp_code rc =
        sp_control_log_open(options->kafka, options->n_kafka, options->topic, &c->log, err);
    if (!rc)
        rc = sp_thread_start(&c->thread, "control", control_main, c, err);
    if (rc) {
        release(c);
        return rc;
    }
    *out = c;
    return SP_OK;
}

void sp_control_stop(struct sp_control *control)
{
    if (!control)
        return;
    atomic_store(&control->stop, true);
    pthread_join(control->thread, NULL);
    sp_redis_free(control->redis);
    release(control);
}

bool sp_control_ready(const struct sp_control *control)
{
    return atomic_load(&control->ready);
}

void sp_control_status(struct sp_control *control, struct sp_control_status *out)
{
    pthread_mutex_lock(&control->lock);
    *out = control->status;
    pthread_mutex_unlock(&control->lock);
}
