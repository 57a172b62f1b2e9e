/* A tree by id (tsearch) and a list in the order of coming, under one mutex. */
#include "worker/cancels.h"

#include <pthread.h>
#include <search.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/log.h"

enum { TOMBSTONE_SPREAD_MS = 60000, TOMBSTONE_AGAIN_MS = 60000 };

struct cancellation {
    const char *id; /* first: the tree compares by it; points behind the struct */
    TAILQ_ENTRY(cancellation) by_age;
    int64_t until, tombstone_due; /* wall ms */
};

struct sp_cancels {
    size_t max;
    atomic_size_t n;      /* changed under the lock, read without */
    pthread_mutex_t lock; /* guards the rest */
    void *by_id;
    TAILQ_HEAD(cancellation_list, cancellation) by_age;
    bool overflow_logged;
};

static int by_id(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

struct sp_cancels *sp_cancels_new(size_t max)
{
    struct sp_cancels *cancels = calloc(1, sizeof(*cancels));
    if (!cancels)
        return NULL;
    cancels->max = max;
    TAILQ_INIT(&cancels->by_age);
    pthread_mutex_init(&cancels->lock, NULL);
    return cancels;
}

static struct cancellation *find(struct sp_cancels *cancels, const char *id)
{
    struct cancellation *const *found = tfind(&id, &cancels->by_id, by_id);
    return found ? *found : NULL;
}

static void drop(struct sp_cancels *cancels, struct cancellation *e)
{
    (void)tdelete(e, &cancels->by_id, by_id);
    TAILQ_REMOVE(&cancels->by_age, e, by_age);
    free(e);
    atomic_fetch_sub(&cancels->n, 1);
}

void sp_cancels_free(struct sp_cancels *cancels)
{
    if (!cancels)
        return;
    while (!TAILQ_EMPTY(&cancels->by_age))
        drop(cancels, TAILQ_FIRST(&cancels->by_age));
    pthread_mutex_destroy(&cancels->lock);
    free(cancels);
}

bool sp_cancels_has(struct sp_cancels *cancels, const char *id)
{
    if (atomic_load(&cancels->n) == 0)
        return false;
    pthread_mutex_lock(&cancels->lock);
    const struct cancellation *e = find(cancels, id);
    bool in_force = e && sp_wall_ms() < e->until;
    pthread_mutex_unlock(&cancels->lock);
    return in_force;
}

static int64_t random_ms(int64_t below)
{
    return (int64_t)arc4random_uniform((uint32_t)below);
}

/* Room for one more. */
static void make_room(struct sp_cancels *cancels)
{
    if (atomic_load(&cancels->n) < cancels->max)
        return;
    if (!cancels->overflow_logged) {
        sp_log(SP_WARN, "cancellations_overflow", sp_i("held", (int64_t)cancels->max),
               sp_s("effect", "the oldest ones are forgotten"));
    }
    cancels->overflow_logged = true;
    drop(cancels, TAILQ_FIRST(&cancels->by_age));
}

static struct cancellation *add(struct sp_cancels *cancels, const char *id)
{
    size_t size = strlen(id) + 1;
    struct cancellation *e = calloc(1, sizeof(*e) + size);
    if (!e)
        return NULL;
    e->id = memcpy(e + 1, id, size);
    make_room(cancels);
    if (!tsearch(e, &cancels->by_id, by_id)) {
        free(e);
        return NULL;
    }
    TAILQ_INSERT_TAIL(&cancels->by_age, e, by_age);
    atomic_fetch_add(&cancels->n, 1);
    return e;
}

enum sp_code sp_cancels_put(struct sp_cancels *cancels, const char *id, int64_t until,
                            struct sp_error *err)
{
    if (strlen(id) >= SP_CANCEL_ID_SIZE)
        return SP_OK;
    pthread_mutex_lock(&cancels->lock);
    struct cancellation *e = find(cancels, id);
    if (!e)
        e = add(cancels, id);
    if (e && e->until != until) {
        e->until = until;
        e->tombstone_due =
            sp_deadline_min(until, SP_NEVER - TOMBSTONE_SPREAD_MS) + random_ms(TOMBSTONE_SPREAD_MS);
    }
    pthread_mutex_unlock(&cancels->lock);
    return e ? SP_OK : sp_error_set(err, SP_E_NOMEM, "no memory for a cancellation");
}

void sp_cancels_remove(struct sp_cancels *cancels, const char *id)
{
    pthread_mutex_lock(&cancels->lock);
    struct cancellation *e = find(cancels, id);
    if (e)
        drop(cancels, e);
    pthread_mutex_unlock(&cancels->lock);
}

bool sp_cancels_expire(struct sp_cancels *cancels, char *out)
{
    int64_t now = sp_wall_ms();
    struct cancellation *e = NULL;
    pthread_mutex_lock(&cancels->lock);
    TAILQ_FOREACH(e, &cancels->by_age, by_age)
    {
        if (e->tombstone_due <= now)
            break;
    }
    if (e) {
        memcpy(out, e->id, strlen(e->id) + 1);
        e->tombstone_due = now + TOMBSTONE_AGAIN_MS + random_ms(TOMBSTONE_SPREAD_MS);
    }
    pthread_mutex_unlock(&cancels->lock);
    return e != NULL;
}

size_t sp_cancels_count(struct sp_cancels *cancels)
{
    return atomic_load(&cancels->n);
}
