/* Leases. The record and its life are two keys, so that an expired lease can still be read: it says
 * what is to be ended. */
#include "worker/host.h"

#include <stdio.h>
#include <string.h>

struct names {
    char hash[256], alive[512];
};

static enum sp_code name_keys(const struct sp_lease_store *leases, const char *provider,
                              const char *id, struct names *out, struct sp_error *err)
{
    int n = snprintf(out->hash, sizeof out->hash, "%s:lease:%s", leases->prefix, provider);
    int m = snprintf(out->alive, sizeof out->alive, "%s:%s", out->hash, id);
    if (n < 0 || m < 0 || (size_t)n >= sizeof out->hash || (size_t)m >= sizeof out->alive)
        return sp_error_set(err, SP_E_INVALID, "a lease id or redis.prefix is too long");
    return SP_OK;
}

static enum sp_code run(const struct sp_lease_store *leases, const char **argv, int argc,
                        struct sp_error *err)
{
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    return sp_redis_link_argv(leases->link, argc, argv, NULL, &reply, err);
}

/* The life goes first, so that nobody ever sees a fresh record without one and ends what it names.
 */
static enum sp_code lease_put(void *ctx, const char *provider, const char *lease_id,
                              const char *json, int64_t ttl_ms, struct sp_error *err)
{
    struct names names = {0};
    char ttl[24];
    snprintf(ttl, sizeof ttl, "%lld", (long long)ttl_ms);
    enum sp_code rc = name_keys(ctx, provider, lease_id, &names, err);
    const char *set_life[] = {"SET", names.alive, "1", "PX", ttl};
    const char *set_record[] = {"HSET", names.hash, lease_id, json};
    if (!rc)
        rc = run(ctx, set_life, SP_COUNT(set_life), err);
    return rc ? rc : run(ctx, set_record, SP_COUNT(set_record), err);
}

static enum sp_code lease_renew(void *ctx, const char *provider, const char *lease_id,
                                int64_t ttl_ms, struct sp_error *err)
{
    struct names names = {0};
    char ttl[24];
    snprintf(ttl, sizeof ttl, "%lld", (long long)ttl_ms);
    enum sp_code rc = name_keys(ctx, provider, lease_id, &names, err);
    if (rc)
        return rc;
    const struct sp_lease_store *leases = ctx;
    const char *argv[] = {"PEXPIRE", names.alive, ttl};
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    rc = sp_redis_link_argv(leases->link, SP_COUNT(argv), argv, NULL, &reply, err);
    if (!rc && reply->integer == 0)
        return sp_error_set(err, SP_E_INVALID, "lease %s has expired", lease_id);
    return rc;
}

static enum sp_code lease_drop(void *ctx, const char *provider, const char *lease_id,
                               struct sp_error *err)
{
    struct names names = {0};
    enum sp_code rc = name_keys(ctx, provider, lease_id, &names, err);
    const char *drop_record[] = {"HDEL", names.hash, lease_id};
    const char *drop_life[] = {"DEL", names.alive};
    if (!rc)
        rc = run(ctx, drop_record, SP_COUNT(drop_record), err);
    return rc ? rc : run(ctx, drop_life, SP_COUNT(drop_life), err);
}

static enum sp_code lease_expired(const struct sp_lease_store *leases, const char *provider,
                                  const char *id, bool *expired, struct sp_error *err)
{
    struct names names = {0};
    enum sp_code rc = name_keys(leases, provider, id, &names, err);
    if (rc)
        return rc;
    const char *argv[] = {"EXISTS", names.alive};
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    rc = sp_redis_link_argv(leases->link, SP_COUNT(argv), argv, NULL, &reply, err);
    if (!rc)
        *expired = reply->integer == 0;
    return rc;
}

static enum sp_code read_hash(const struct sp_lease_store *leases, const char *provider,
                              redisReply **out, struct sp_error *err)
{
    struct names names = {0};
    enum sp_code rc = name_keys(leases, provider, "", &names, err);
    if (rc)
        return rc;
    const char *argv[] = {"HGETALL", names.hash};
    rc = sp_redis_link_argv(leases->link, SP_COUNT(argv), argv, NULL, out, err);
    if (!rc && (*out)->type != REDIS_REPLY_ARRAY)
        return sp_error_set(err, SP_E_INVALID, "%s is no hash", names.hash);
    return rc;
}

static enum sp_code lease_list(void *ctx, const char *provider, json_t **out, struct sp_error *err)
{
    sp_auto(freeReplyObject) redisReply *hash = NULL;
    json_auto_t *list = json_array();
    enum sp_code rc = read_hash(ctx, provider, &hash, err);
    for (size_t i = 0; !rc && i + 1 < hash->elements; i += 2) {
        const char *id = hash->element[i]->str, *data = hash->element[i + 1]->str;
        bool expired = false;
        rc = lease_expired(ctx, provider, id, &expired, err);
        if (!rc && json_array_append_new(list, json_pack("{s:s, s:s, s:b}", "id", id, "data", data,
                                                         "expired", (int)expired)))
            rc = sp_error_set(err, SP_E_INVALID, "lease %s cannot be read", id);
    }
    if (!rc)
        *out = SP_TAKE(list);
    return rc;
}

struct sp_host sp_host_make(struct sp_lease_store *leases, const char *worker_id,
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
