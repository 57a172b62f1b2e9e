/* A table of the keys at work. The job that may go stands in the table, those that wait hang on it;
 * `next` links them, since they are in no other list meanwhile. */
#include "worker/order.h"

#include <stdlib.h>
#include <string.h>

#include "worker/job.h"

enum { BUCKETS = 4096 };

struct sp_order {
    struct sp_job *buckets[BUCKETS]; /* linked by next_key */
};

struct sp_order *sp_order_new(void)
{
    return calloc(1, sizeof(struct sp_order));
}

void sp_order_free(struct sp_order *order)
{
    free(order);
}

/* FNV-1a. */
static size_t bucket_of(const struct sp_record *record)
{
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < record->key_len; i++)
        hash = (hash ^ (unsigned char)record->key[i]) * 16777619U;
    return hash % BUCKETS;
}

static bool same_key(const struct sp_record *a, const struct sp_record *b)
{
    return a->key_len == b->key_len && memcmp(a->key, b->key, a->key_len) == 0 &&
           strcmp(a->topic, b->topic) == 0;
}

bool sp_order_enter(struct sp_order *order, struct sp_job *job)
{
    if (!order || !job->record->key)
        return true;
    struct sp_job **bucket = &order->buckets[bucket_of(job->record)];
    for (struct sp_job *first = *bucket; first; first = first->next_key) {
        if (!same_key(first->record, job->record))
            continue;
        *(first->followers ? &first->last_follower->next : &first->followers) = job;
        first->last_follower = job;
        return false;
    }
    job->next_key = *bucket;
    *bucket = job;
    return true;
}

/* Of those behind one that may go. */
static struct sp_job *withdraw(struct sp_job *first, struct sp_job *out,
                               bool (*wanted)(void *ctx, const struct sp_job *job), void *ctx)
{
    struct sp_job **at = &first->followers;
    first->last_follower = NULL;
    while (*at) {
        struct sp_job *job = *at;
        if (wanted(ctx, job)) {
            *at = job->next;
            job->next = out;
            out = job;
        } else {
            first->last_follower = job;
            at = &job->next;
        }
    }
    return out;
}

struct sp_job *sp_order_withdraw(struct sp_order *order,
                                 bool (*wanted)(void *ctx, const struct sp_job *job), void *ctx)
{
    struct sp_job *out = NULL;
    for (size_t i = 0; order && i < BUCKETS; i++) {
        for (struct sp_job *first = order->buckets[i]; first; first = first->next_key)
            out = withdraw(first, out, wanted, ctx);
    }
    return out;
}

struct sp_job *sp_order_leave(struct sp_order *order, struct sp_job *job)
{
    if (!order || !job->record->key)
        return NULL;
    struct sp_job **at = &order->buckets[bucket_of(job->record)], *heir = job->followers;
    while (*at && *at != job)
        at = &(*at)->next_key;
    if (!*at) /* withdrawn */
        return NULL;
    *at = job->next_key;
    if (!heir)
        return NULL;
    heir->followers = heir->next;
    heir->last_follower = job->last_follower;
    heir->next = NULL;
    heir->next_key = *at;
    *at = heir;
    return heir;
}
