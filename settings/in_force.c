#include "settings/in_force.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum sp_code sp_in_force_init(struct sp_in_force *f, struct sp_error *err)
{
    *f = (struct sp_in_force){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    pthread_mutex_init(&f->lock, NULL);
    if (f->fd < 0)
        return sp_error_errno(err, SP_E_NOMEM, errno, "no descriptor for the settings thread");
    return SP_OK;
}

void sp_in_force_clear(struct sp_in_force *f)
{
    if (f->current)
        sp_snapshot_unref(&f->current->snapshot);
    sp_document_clear(&f->document);
    if (f->fd >= 0)
        close(f->fd);
    pthread_mutex_destroy(&f->lock);
}

/* ---- the settings thread ---- */

static bool same_status(const struct sp_settings_status *a, const struct sp_settings_status *b)
{
    return a->state == b->state && a->redis_up == b->redis_up && a->provider_up == b->provider_up &&
           a->throttled == b->throttled && a->version == b->version &&
           a->error_version == b->error_version && a->changes == b->changes &&
           a->failures == b->failures && !strcmp(a->provider, b->provider) &&
           !strcmp(a->message, b->message);
}

/* Under the lock. True: it is news. */
static bool take_status(struct sp_in_force *f, const struct sp_settings_status *status)
{
    struct sp_settings_status old = f->status;

    f->status = *status;
    f->status.control_offset = old.control_offset;
    memcpy(f->status.control_message, old.control_message, sizeof old.control_message);
    return !same_status(&old, status);
}

void sp_in_force_show(struct sp_in_force *f, const struct sp_settings_status *status)
{
    pthread_mutex_lock(&f->lock);
    bool news = take_status(f, status);
    pthread_mutex_unlock(&f->lock);
    if (news)
        (void)eventfd_write(f->fd, 1);
}

void sp_in_force_replace(struct sp_in_force *f, struct sp_entry *entry, struct sp_document *doc,
                         const struct sp_settings_status *status)
{
    pthread_mutex_lock(&f->lock);
    struct sp_entry *old = f->current;
    struct sp_document old_doc = f->document;
    f->current = entry;
    f->document = *doc;
    f->doubted = false; /* it was about the old one */
    (void)take_status(f, status);
    pthread_mutex_unlock(&f->lock);

    *doc = (struct sp_document){0};
    if (old)
        sp_snapshot_unref(&old->snapshot);
    sp_document_clear(&old_doc);
    (void)eventfd_write(f->fd, 1);
}

bool sp_in_force_take_doubt(struct sp_in_force *f)
{
    pthread_mutex_lock(&f->lock);
    bool doubted = f->doubted;
    f->doubted = false;
    pthread_mutex_unlock(&f->lock);
    return doubted;
}

/* ---- every thread ---- */

struct sp_snapshot *sp_in_force_get(struct sp_in_force *f)
{
    pthread_mutex_lock(&f->lock);
    struct sp_entry *e = f->current;
    if (e)
        atomic_fetch_add(&e->refs, 1);
    pthread_mutex_unlock(&f->lock);
    return e ? &e->snapshot : NULL;
}

void sp_in_force_status(struct sp_in_force *f, struct sp_settings_status *out)
{
    pthread_mutex_lock(&f->lock);
    *out = f->status;
    pthread_mutex_unlock(&f->lock);
}

bool sp_in_force_document(struct sp_in_force *f, struct sp_document *out)
{
    pthread_mutex_lock(&f->lock);
    bool there = f->document.present && !sp_document_copy(&f->document, out, NULL);
    pthread_mutex_unlock(&f->lock);
    return there;
}

void sp_in_force_control(struct sp_in_force *f, int64_t offset, const char *message)
{
    struct sp_settings_status *status = &f->status;

    pthread_mutex_lock(&f->lock);
    bool news = status->control_offset != offset || strcmp(status->control_message, message) != 0;
    status->control_offset = offset;
    snprintf(status->control_message, sizeof status->control_message, "%s", message);
    pthread_mutex_unlock(&f->lock);
    if (news)
        (void)eventfd_write(f->fd, 1);
}

bool sp_in_force_doubt(struct sp_in_force *f, const struct sp_snapshot *snapshot)
{
    pthread_mutex_lock(&f->lock);
    bool news = f->current && &f->current->snapshot == snapshot && f->status.provider_up;
    f->doubted = f->doubted || news;
    pthread_mutex_unlock(&f->lock);
    return news;
}
