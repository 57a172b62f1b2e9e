#include "worker/result_store.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

static enum sp_code set_blob(const struct sp_result_store *store, const char *key, const void *data,
                             size_t len, struct sp_error *err)
{
    char ttl[24];
    snprintf(ttl, sizeof ttl, "%lld", (long long)store->ttl_ms);
    const char *argv[] = {"SET", key, data, "PX", ttl};
    const size_t lens[] = {3, strlen(key), len, 2, strlen(ttl)};
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    return sp_redis_link_argv(store->link, SP_COUNT(argv), argv, lens, &reply, err);
}

static enum sp_code put(void *ctx, const void *data, size_t len, char ref[128],
                        struct sp_error *err)
{
    const struct sp_result_store *store = ctx;
    char id[33], key[128];
    sp_random_hex(id, 16);
    int n = snprintf(key, sizeof key, "%s:blob:%s", store->prefix, id);
    enum sp_code rc = n < 0 || (size_t)n + sizeof "redis:" > 128
                          ? sp_error_set(err, SP_E_INVALID, "redis.prefix is too long")
                          : set_blob(store, key, data, len, err);
    sp_metrics_attachment(store->metrics, rc == SP_OK);
    if (!rc)
        snprintf(ref, 128, "redis:%.121s", key);
    return rc;
}

struct sp_part_store sp_result_store_parts(struct sp_result_store *store)
{
    return (struct sp_part_store){.ctx = store, .put = put};
}
