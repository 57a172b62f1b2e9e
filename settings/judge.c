#include "settings/judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

/* Tells two states of the hash apart. An empty digest is none. */
struct mark {
    int64_t version;
    char digest[65];
};

struct sp_judge {
    const struct sp_apply_ops *ops;
    void *ctx;
    struct sp_in_force *shown;      /* borrowed */
    bool away, missing;             /* logged already */
    bool has_read;                  /* something from Redis */
    bool proven;                    /* the one in force has passed a check */
    int64_t checked;                /* monotonic ms; when a check last ended */
    struct sp_settings_status view; /* becomes what is shown by publish() */
    struct mark in_force, refused, waiting;
};

static bool same(const struct mark *a, const struct mark *b)
{
    return a->version == b->version && !strcmp(a->digest, b->digest);
}

static bool is_transient(enum sp_code rc)
{
    return rc == SP_E_UNAVAILABLE || rc == SP_E_BUSY || rc == SP_E_TIMEOUT || rc == SP_E_NOMEM;
}

static void publish(struct sp_judge *j)
{
    sp_in_force_show(j->shown, &j->view);
}

/* rc is its last check's. */
static void provider_is(struct sp_judge *j, enum sp_code rc)
{
    j->view.provider_up = !rc;
    j->view.throttled = rc == SP_E_BUSY;
    j->proven = j->proven || !rc;
}

static enum sp_code check(struct sp_judge *j, void *value, struct sp_error *err)
{
    enum sp_code rc = j->ops->check(j->ctx, value, err);

    j->checked = sp_mono_ms();
    return rc;
}

static void say(struct sp_judge *j, int64_t version, const char *message)
{
    j->view.error_version = version;
    snprintf(j->view.message, sizeof j->view.message, "%s", message);
}

static void refuse(struct sp_judge *j, const struct mark *mark, const struct sp_error *err)
{
    j->refused = *mark;
    j->waiting = (struct mark){0};
    j->view.failures++;
    if (!j->shown->current)
        j->view.state = SP_SETTINGS_INVALID;
    say(j, mark->version, err->msg);
    publish(j);
    sp_log(SP_WARN, "settings_refused", sp_i("version", mark->version), sp_s("reason", err->msg),
           sp_i("in_force", j->view.version));
}

/* What is in force stays so; the new settings are tried again. */
static void hold_back(struct sp_judge *j, const struct mark *mark, const struct sp_error *err)
{
    bool again = same(&j->waiting, mark);

    j->waiting = *mark;
    j->refused = (struct mark){0};
    say(j, mark->version, err->msg);
    publish(j);
    if (!again) {
        sp_log(SP_WARN, "settings_waiting", sp_i("version", mark->version),
               sp_s("reason", err->msg), sp_i("in_force", j->view.version));
    }
}

static void put_in_force(struct sp_judge *j, struct sp_entry *e, const struct mark *mark,
                         const struct sp_document *doc)
{
    struct sp_document copy = {0}; /* what an emptied Redis can be filled with */

    if (sp_document_copy(doc, &copy, NULL))
        sp_log(SP_WARN, "settings_not_kept", sp_s("reason", "no memory"));
    j->in_force = *mark;
    j->refused = j->waiting = (struct mark){0};
    j->view.state = SP_SETTINGS_IN_FORCE;
    j->view.version = mark->version;
    snprintf(j->view.provider, sizeof j->view.provider, "%s", e->snapshot.provider);
    j->view.changes++;
    sp_in_force_replace(j->shown, e, &copy, &j->view);
    sp_log(SP_INFO, "settings_applied", sp_i("version", mark->version),
           sp_s("provider", e->snapshot.provider), sp_i("provider_up", j->view.provider_up));
}

/* Opened, and about to be put in force or not. Borrowed. */
struct candidate {
    const struct sp_document *doc;
    const struct mark *mark;
    struct sp_opened *opened;
    struct sp_snapshot snapshot;
};

/* rc and err are the check's. One that never passed its check protects nothing, so it gives way. */
static void conclude(struct sp_judge *j, const struct candidate *c, enum sp_code rc,
                     struct sp_error *err)
{
    bool old_works = j->shown->current && j->proven;
    struct sp_entry *e = NULL;

    if (rc && !is_transient(rc)) {
        refuse(j, c->mark, err);
        return;
    }
    if (!rc || !old_works) {
        e = sp_entry_new(c->opened, &c->snapshot);
        if (!e)
            sp_error_set(err, SP_E_NOMEM, "out of memory");
    }
    if (!e) {
        hold_back(j, c->mark, err);
        return;
    }
    j->proven = false;
    provider_is(j, rc);
    say(j, c->mark->version, rc ? err->msg : "");
    put_in_force(j, e, c->mark, c->doc);
}

static void apply(struct sp_judge *j, const struct sp_document *doc, const struct mark *mark)
{
    struct sp_snapshot snapshot = {.version = doc->version, .defaulted = !doc->provider_type};
    struct sp_error err = {0};
    void *value = NULL;
    enum sp_code rc = j->ops->open(j->ctx, doc, &value, &snapshot.provider, &err);

    if (rc) {
        (is_transient(rc) ? hold_back : refuse)(j, mark, &err);
        return;
    }
    sp_auto(sp_opened_unref) struct sp_opened *o = sp_opened_new(j->ops, j->ctx, value);
    if (!o) {
        j->ops->close(j->ctx, value);
        sp_error_set(&err, SP_E_NOMEM, "out of memory");
        hold_back(j, mark, &err);
        return;
    }
    rc = check(j, value, &err);
    if (rc != SP_E_CANCELLED)
        conclude(j, &(struct candidate){doc, mark, o, snapshot}, rc, &err);
}

/* The same settings under another version: the provider stays open. */
static void renumber(struct sp_judge *j, const struct mark *mark, const struct sp_document *doc)
{
    struct sp_snapshot snapshot = j->shown->current->snapshot;

    snapshot.version = mark->version;
    struct sp_entry *e = sp_entry_new(j->shown->current->opened, &snapshot);
    if (!e)
        return; /* the next round tries again */
    if (j->view.provider_up)
        say(j, 0, "");
    put_in_force(j, e, mark, doc);
}

static void missing(struct sp_judge *j)
{
    j->refused = j->waiting = (struct mark){0};
    if (!j->shown->current) {
        j->view.state = SP_SETTINGS_ABSENT;
        say(j, 0, "");
    } else {
        char text[96];
        snprintf(text, sizeof text, "Redis holds no settings; version %lld stays in force",
                 (long long)j->view.version);
        say(j, 0, text);
    }
    publish(j);
    if (!j->missing)
        sp_log(SP_WARN, "settings_missing", sp_i("in_force", j->view.version));
    j->missing = true;
}

static void nothing_new(struct sp_judge *j)
{
    j->refused = j->waiting = (struct mark){0};
    if (j->view.provider_up)
        say(j, 0, "");
    publish(j);
}

void sp_judge_compare(struct sp_judge *j, const struct sp_document *doc, bool due, bool resolve)
{
    struct mark mark = {.version = doc->version};
    bool known = j->shown->current && !strcmp(j->in_force.digest, doc->digest);

    memcpy(mark.digest, doc->digest, sizeof mark.digest);
    if (!doc->present) {
        missing(j);
        return;
    }
    j->missing = false;
    bool failed = same(&mark, &j->refused) || same(&mark, &j->waiting);
    bool again = resolve || (due && same(&mark, &j->waiting));
    if (failed && !again)
        return;
    if (again || !known) {
        apply(j, doc, &mark);
    } else if (same(&mark, &j->in_force)) {
        nothing_new(j);
    } else {
        renumber(j, &mark, doc);
    }
}

static void withdraw(struct sp_judge *j, const struct sp_error *err)
{
    struct mark mark = j->in_force;

    j->in_force = (struct mark){0};
    j->view.version = 0;
    j->view.provider[0] = '\0';
    sp_in_force_replace(j->shown, NULL, &(struct sp_document){0}, &j->view);
    refuse(j, &mark, err);
}

/*
 * The one in force has not passed its check yet, or a job found it away. As long as it has never
 * passed one it may turn out to be a failed configuration; later its peer is there when it refuses,
 * and each job gets its own answer from it.
 */
void sp_judge_check_again(struct sp_judge *j)
{
    struct sp_error err = {0};
    enum sp_code rc = check(j, j->shown->current->snapshot.value, &err);
    /* Then the message is about that one. */
    bool other = j->refused.digest[0] || j->waiting.digest[0];

    if (rc == SP_E_CANCELLED)
        return;
    if (rc && !is_transient(rc) && j->proven)
        rc = SP_OK;
    if (rc && !is_transient(rc)) {
        withdraw(j, &err);
        return;
    }
    provider_is(j, rc);
    if (!other)
        say(j, j->in_force.version, rc ? err.msg : "");
    publish(j);
    if (!rc)
        sp_log(SP_INFO, "provider_up", sp_s("provider", j->shown->current->snapshot.provider));
}

void sp_judge_no_hash(struct sp_judge *j, const struct sp_error *err)
{
    struct mark mark = {.digest = "-"}; /* all such states look alike */

    j->has_read = true;
    if (!same(&mark, &j->refused))
        refuse(j, &mark, err);
}

void sp_judge_redis_away(struct sp_judge *j, const struct sp_error *err)
{
    j->view.redis_up = false;
    if (j->view.state == SP_SETTINGS_UNREAD)
        say(j, 0, err->msg);
    publish(j);
    if (!j->away)
        sp_log(SP_WARN, "settings_redis_down", sp_s("reason", err->msg));
    j->away = true;
}

void sp_judge_redis_back(struct sp_judge *j, const char *name)
{
    if (j->away)
        sp_log(SP_INFO, "settings_redis_up", sp_s("redis", name));
    j->away = false;
    j->view.redis_up = true;
    j->has_read = true;
}

bool sp_judge_has_read(const struct sp_judge *j)
{
    return j->has_read;
}

bool sp_judge_is_down(const struct sp_judge *j)
{
    return j->shown->current && !j->view.provider_up;
}

bool sp_judge_waits(const struct sp_judge *j)
{
    return j->waiting.digest[0] != '\0';
}

int64_t sp_judge_take_doubt(struct sp_judge *j)
{
    if (!sp_in_force_take_doubt(j->shown) || !j->view.provider_up)
        return SP_NEVER;
    j->view.provider_up = false;
    if (!j->view.message[0])
        say(j, j->in_force.version, "a job found it unavailable");
    publish(j);
    sp_log(SP_WARN, "provider_down", sp_s("provider", j->shown->current->snapshot.provider));
    return j->checked;
}

enum sp_code sp_judge_new(const struct sp_apply_ops *ops, void *ctx, struct sp_in_force *shown,
                          struct sp_judge **out, struct sp_error *err)
{
    struct sp_judge *j = calloc(1, sizeof *j);

    if (!j)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    *j = (struct sp_judge){.ops = ops, .ctx = ctx, .shown = shown};
    *out = j;
    return SP_OK;
}

void sp_judge_free(struct sp_judge *j)
{
    free(j);
}
