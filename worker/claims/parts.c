/* Parts of a reply that were moved to the result store live on when the reply is repeated
 * (CONTRACT.md 3.3). The reply comes from Redis: outside bytes. */
#include <string.h>

#include "base/json_slice.h"
#include "worker/claims/inside.h"

#define REF "redis:"

/* A part that is gone already, and a Redis that is away, change nothing about the reply. */
static void renew(struct sp_claims *claims, const char *key)
{
    char ttl[SP_MS_SIZE];
    const char *argv[] = {"PEXPIRE", key, ttl};
    const size_t len[] = {7, strlen(key), sp_claims_ms(claims->results_ttl_ms, ttl)};
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    (void)!sp_claims_ask(claims, SP_COUNT(argv), argv, len, &reply);
}

static bool is_blob_key(const struct sp_claims *claims, const char *key)
{
    size_t prefix = strlen(claims->prefix);
    return strncmp(key, claims->prefix, prefix) == 0 && strncmp(key + prefix, ":blob:", 6) == 0;
}

void sp_claims_renew_parts(struct sp_claims *claims, const struct sp_stored_reply *stored)
{
    struct sp_json_value root, list, part, ref;
    struct sp_bytes no_key;
    if (sp_json_scan(stored->bytes, stored->len, &root, NULL) || root.type != SP_JSON_OBJECT ||
        !sp_json_get(&root, "attachments", &list) || list.type != SP_JSON_ARRAY)
        return;
    struct sp_json_iter it = sp_json_iter(&list);
    while (sp_json_iter_next(&it, &no_key, &part)) {
        sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
        if (part.type != SP_JSON_OBJECT || !sp_json_get(&part, "ref", &ref) ||
            ref.type != SP_JSON_STRING || sp_json_unescape(&ref, &text))
            continue;
        const char *key = sp_buf_str(&text);
        if (strncmp(key, REF, strlen(REF)) == 0 && is_blob_key(claims, key + strlen(REF)))
            renew(claims, key + strlen(REF));
    }
}
