/* A table of the keys at work. The job that may go stands in the table, those that wait hang on it.
 */
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
        sp_jobs_add(&first->followers, job);
        return false;
    }
    job->next_key = *bucket;
    *bucket = job;
    return true;
}

struct sp_job_list sp_order_withdraw(struct sp_order *order, sp_job_wanted_fn wanted, void *ctx)
{
    struct sp_job_list out = {0};
    for (size_t i = 0; order && i < BUCKETS; i++) {
        for (struct sp_job *first = order->buckets[i]; first; first = first->next_key)
            (void)sp_jobs_move(&first->followers, wanted, ctx, &out);
    }
    return out;
}

struct sp_job *sp_order_leave(struct sp_order *order, struct sp_job *job)
{
    if (!order || !job->record->key)
        return NULL;
    struct sp_job **at = &order->buckets[bucket_of(job->record)];
    while (*at && *at != job)
        at = &(*at)->next_key;
    if (!*at) /* withdrawn */
        return NULL;
    *at = job->next_key;
    struct sp_job *heir = sp_jobs_take(&job->followers);
    if (!heir)
        return NULL;
    heir->followers = job->followers;
    heir->next_key = *at;
    *at = heir;
    return heir;
}
