/* The leases of a worker. One script for each step, so that a record and its time are never apart,
 * and the time is Redis's, since the clocks of workers differ. */
#include "worker/leases.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define LIST_MAX "200" /* more than a sweep gets done */

/* One that this process holds. */
struct lease {
    struct lease *next;
    char *provider, *id, *data;
    int64_t until;  /* monotonic: what its provider asked for */
    uint64_t round; /* of keep(), the last that it was in */
};

struct sp_leases {
    struct sp_redis_link *link;
    const char *prefix;
    struct sp_lease_times times;
    pthread_mutex_t lock; /* guards what is below */
    struct lease *held;
    uint64_t round;
    int64_t settled_at; /* monotonic */
};

/* ---- what is held ---- */

static void lease_free(struct lease *lease)
{
    if (!lease)
        return;
    free(lease->provider);
    free(lease->id);
    free(lease->data);
    free(lease);
}

/* NULL without memory. */
static struct lease *lease_new(const char *provider, const char *id, const char *data)
{
    struct lease *lease = calloc(1, sizeof *lease);

    if (!lease)
        return NULL;
    lease->provider = sp_strdup(provider);
    lease->id = sp_strdup(id);
    lease->data = sp_strdup(data);
    if (lease->provider && lease->id && lease->data)
        return lease;
    lease_free(lease);
    return NULL;
}

/* Under the lock: the link to it, or the last one, which is NULL. */
static struct lease **find(struct sp_leases *leases, const char *provider, const char *id)
{
    struct lease **at = &leases->held;

    while (*at && (strcmp((*at)->id, id) != 0 || strcmp((*at)->provider, provider) != 0))
        at = &(*at)->next;
    return at;
}

static struct lease *take_out(struct lease **at)
{
    struct lease *lease = *at;

    if (lease)
        *at = lease->next;
    return lease;
}

/* In place of the one of the same name. */
static void hold(struct sp_leases *leases, struct lease *lease)
{
    pthread_mutex_lock(&leases->lock);
    struct lease *old = take_out(find(leases, lease->provider, lease->id));
    lease->round = leases->round;
    lease->next = leases->held;
    leases->held = lease;
    pthread_mutex_unlock(&leases->lock);
    lease_free(old);
}

static void let_go(struct sp_leases *leases, const char *provider, const char *id)
{
    pthread_mutex_lock(&leases->lock);
    struct lease *lease = take_out(find(leases, provider, id));
    pthread_mutex_unlock(&leases->lock);
    lease_free(lease);
}

static bool is_held(struct sp_leases *leases, const struct lease *lease)
{
    pthread_mutex_lock(&leases->lock);
    bool held = *find(leases, lease->provider, lease->id) != NULL;
    pthread_mutex_unlock(&leases->lock);
    return held;
}

/* ---- Redis ---- */

#define NOW                                                                                        \
    "local t = redis.call('TIME')\n"                                                               \
    "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"

/* KEYS: hash, sorted set. ARGV: id, ms, data. */
static const char put_script[] = NOW "redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[1])\n"
                                     "redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])\n"
                                     "return 1\n";
/* Answers 0 where there is none. */
static const char renew_script[] =
    NOW "if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end\n"
        "redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[1])\n"
        "return 1\n";
static const char drop_script[] = "redis.call('ZREM', KEYS[2], ARGV[1])\n"
                                  "return redis.call('HDEL', KEYS[1], ARGV[1])\n";
/* Answers ids and data in turn, what ran out last first. What has run out a day ago is struck out:
 * nobody has that service any more, and sandboxes end by themselves much sooner. */
static const char list_script[] = NOW
    "local old = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - 86400000, 'LIMIT', 0, " LIST_MAX
    ")\n"
    "for _, id in ipairs(old) do\n"
    "  redis.call('ZREM', KEYS[2], id)\n"
    "  redis.call('HDEL', KEYS[1], id)\n"
    "end\n"
    "local out = {}\n"
    "local ids = redis.call('ZREVRANGEBYSCORE', KEYS[2], now, '-inf', 'LIMIT', 0, " LIST_MAX ")\n"
    "for _, id in ipairs(ids) do\n"
    "  out[#out + 1] = id\n"
    "  out[#out + 1] = redis.call('HGET', KEYS[1], id) or ''\n"
    "end\n"
    "return out\n";

static void note_failure(struct sp_leases *leases)
{
    pthread_mutex_lock(&leases->lock);
    leases->settled_at = sp_deadline_in(leases->times.settle_ms);
    pthread_mutex_unlock(&leases->lock);
}

/* id, ms and data: NULL for none. */
static enum sp_code run_script(struct sp_leases *leases, const char *script, const char *provider,
                               const char *const args[3], redisReply **out, struct sp_error *err)
{
    char hash[256], until[264];
    const char *argv[] = {"EVAL", script, "2", hash, until, args[0], args[1], args[2]};
    int argc = 5;
    int n = snprintf(hash, sizeof hash, "%s:lease:%s", leases->prefix, provider);

    if (n < 0 || (size_t)n >= sizeof hash) {
        sp_error_set(err, SP_E_INVALID, "redis.prefix is too long");
        return SP_E_INVALID;
    }
    (void)snprintf(until, sizeof until, "%s:until", hash);
    for (int i = 0; i < 3 && args[i]; i++)
        argc++;
    enum sp_code rc = sp_redis_link_argv(leases->link, argc, argv, NULL, out, err);
    if (rc)
        note_failure(leases);
    return rc;
}

/* How long its record may live without being kept again. */
static void write_life(const struct sp_leases *leases, int64_t ms, char out[24])
{
    (void)snprintf(out, 24, "%lld",
                   (long long)(ms < leases->times.life_ms ? ms : leases->times.life_ms));
}

static enum sp_code write_record(struct sp_leases *leases, const char *provider, const char *id,
                                 const char *data, int64_t ms, struct sp_error *err)
{
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    char life[24];

    write_life(leases, ms, life);
    return run_script(leases, put_script, provider, (const char *const[]){id, life, data}, &reply,
                      err);
}

/* *there: whether there is such a record. */
static enum sp_code write_time(struct sp_leases *leases, const char *provider, const char *id,
                               int64_t ms, bool *there, struct sp_error *err)
{
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    char life[24];

    write_life(leases, ms, life);
    enum sp_code rc = run_script(leases, renew_script, provider,
                                 (const char *const[]){id, life, NULL}, &reply, err);
    if (!rc)
        *there = reply->integer != 0;
    return rc;
}

/* ---- the host table ---- */

static enum sp_code lease_put(void *ctx, const char *provider, const char *lease_id,
                              const char *json, int64_t ttl_ms, struct sp_error *err)
{
    struct sp_leases *leases = ctx;
    struct lease *lease = lease_new(provider, lease_id, json);

    if (!lease)
        return sp_error_set(err, SP_E_NOMEM, "no memory for a lease");
    lease->until = sp_deadline_in(ttl_ms);
    hold(leases, lease);
    return write_record(leases, provider, lease_id, json, ttl_ms, err);
}

static enum sp_code lease_renew(void *ctx, const char *provider, const char *lease_id,
                                int64_t ttl_ms, struct sp_error *err)
{
    struct sp_leases *leases = ctx;
    bool there = false;

    pthread_mutex_lock(&leases->lock);
    struct lease *lease = *find(leases, provider, lease_id);
    if (lease)
        lease->until = sp_deadline_in(ttl_ms);
    pthread_mutex_unlock(&leases->lock);
    enum sp_code rc = write_time(leases, provider, lease_id, ttl_ms, &there, err);
    return !rc && !there ? sp_error_set(err, SP_E_INVALID, "there is no lease %s", lease_id) : rc;
}

/* A record that stays because Redis is away runs out soon, and then there is nothing to end. */
static enum sp_code lease_drop(void *ctx, const char *provider, const char *lease_id,
                               struct sp_error *err)
{
    sp_auto(freeReplyObject) redisReply *reply = NULL;

    let_go(ctx, provider, lease_id);
    return run_script(ctx, drop_script, provider, (const char *const[]){lease_id, NULL, NULL},
                      &reply, err);
}

/* Whether Redis has answered for long enough that what has run out is nobody's. */
static bool is_settled(struct sp_leases *leases)
{
    pthread_mutex_lock(&leases->lock);
    bool settled = sp_mono_ms() >= leases->settled_at;
    pthread_mutex_unlock(&leases->lock);
    return settled;
}

static enum sp_code lease_list(void *ctx, const char *provider, json_t **out, struct sp_error *err)
{
    sp_auto(freeReplyObject) redisReply *found = NULL;
    json_auto_t *list = json_array();
    enum sp_code rc = SP_OK;

    if (is_settled(ctx)) {
        rc = run_script(ctx, list_script, provider, (const char *const[]){NULL, NULL, NULL}, &found,
                        err);
    }
    for (size_t i = 0; !rc && found && i + 1 < found->elements; i += 2) {
        const char *id = found->element[i]->str;
        if (json_array_append_new(
                list, json_pack("{s:s, s:s}", "id", id, "data", found->element[i + 1]->str)))
            rc = sp_error_set(err, SP_E_INVALID, "lease %s cannot be read", id);
    }
    if (!rc)
        *out = SP_TAKE(list);
    return rc;
}

bool sp_leases_have_expired(struct sp_leases *leases, const char *provider)
{
    json_auto_t *list = NULL;

    return lease_list(leases, provider, &list, NULL) == SP_OK && json_array_size(list) > 0;
}

/* ---- keeping ---- */

/* A copy of one that this round has not been at; those whose time is up are left to the sweep.
 * NULL: all are done, or without memory. */
static struct lease *next_due(struct sp_leases *leases)
{
    struct lease *copy = NULL, **at = &leases->held;
    int64_t now = sp_mono_ms();

    pthread_mutex_lock(&leases->lock);
    while (*at && !copy) {
        if ((*at)->until <= now) {
            lease_free(take_out(at));
            continue;
        }
        if ((*at)->round != leases->round) {
            (*at)->round = leases->round;
            copy = lease_new((*at)->provider, (*at)->id, (*at)->data);
            if (copy)
                copy->until = (*at)->until;
        }
        at = &(*at)->next;
    }
    pthread_mutex_unlock(&leases->lock);
    return copy;
}

static enum sp_code keep_one(struct sp_leases *leases, const struct lease *lease,
                             struct sp_error *err)
{
    int64_t ms = lease->until - sp_mono_ms();
    bool there = false;

    enum sp_code rc = write_time(leases, lease->provider, lease->id, ms, &there, err);
    if (rc || there || !is_held(leases, lease))
        return rc;
    return write_record(leases, lease->provider, lease->id, lease->data, ms, err);
}

/* So that an outage is seen where nothing is held, too. */
static enum sp_code look_for_redis(struct sp_leases *leases, struct sp_error *err)
{
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    const char *argv[] = {"PING"};

    enum sp_code rc = sp_redis_link_argv(leases->link, 1, argv, NULL, &reply, err);
    if (rc)
        note_failure(leases);
    return rc;
}

enum sp_code sp_leases_keep(struct sp_leases *leases, struct sp_error *err)
{
    struct lease *lease = NULL;

    enum sp_code rc = look_for_redis(leases, err);
    pthread_mutex_lock(&leases->lock);
    leases->round++;
    pthread_mutex_unlock(&leases->lock);
    while (!rc && (lease = next_due(leases)) != NULL) {
        rc = keep_one(leases, lease, err);
        lease_free(lease);
    }
    return rc;
}

enum sp_code sp_leases_new(struct sp_redis_link *link, const char *prefix,
                           const struct sp_lease_times *times, struct sp_leases **out,
                           struct sp_error *err)
{
    struct sp_leases *leases = calloc(1, sizeof *leases);

    if (!leases)
        return sp_error_set(err, SP_E_NOMEM, "no memory for leases");
    pthread_mutex_init(&leases->lock, NULL);
    leases->link = link;
    leases->prefix = prefix;
    leases->times = *times;
    leases->settled_at = sp_deadline_in(leases->times.settle_ms);
    *out = leases;
    return SP_OK;
}

void sp_leases_free(struct sp_leases *leases)
{
    struct lease *lease = NULL;

    if (!leases)
        return;
    while ((lease = take_out(&leases->held)) != NULL)
        lease_free(lease);
    pthread_mutex_destroy(&leases->lock);
    free(leases);
}

struct sp_host sp_leases_host(struct sp_leases *leases, const char *worker_id,
                              const struct sp_limits *limits)
{
    return (struct sp_host){
        .worker_id = worker_id,
        .limits = limits,
        .ctx = leases,
        .lease_put = lease_put,
        .lease_renew = lease_renew,
        .lease_drop = lease_drop,
        .lease_list = lease_list,
    };
}
