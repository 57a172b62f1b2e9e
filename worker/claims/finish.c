/* Storing the reply under its claim. */
#include <string.h>

#include "base/text.h"
#include "worker/claims/inside.h"

enum { INLINE_MAX = 256 * 1024 }; /* a larger reply becomes a blob */

/* The line of the finished claim. */
static enum sp_code write_head(const struct sp_claim_entry *entry,
                               const struct sp_stored_reply *stored, bool is_blob,
                               struct sp_buf *head)
{
    enum sp_code rc = sp_claim_entry_line(entry, SP_CLAIM_FINISHED, head);
    return rc ? rc : sp_claim_result_add(head, stored, is_blob);
}

static enum sp_code format(struct sp_claims *claims, const struct sp_claim_entry *entry,
                           const struct sp_buf *value, const char *blob_key,
                           const struct sp_stored_reply *stored, struct sp_pipe_call *call)
{
    char ttl[SP_MS_SIZE];
    const char *sha = claims->scripts.sha[SP_SCRIPT_STORE];
    const char *argv[] = {"EVALSHA",   sha, "1",      entry->key,   entry->expected.data,
                          value->data, ttl, blob_key, stored->bytes};
    const size_t len[] = {7,
                          SP_SCRIPT_SHA_SIZE - 1,
                          1,
                          strlen(entry->key),
                          entry->expected.len,
                          value->len,
                          sp_claims_ms(claims->claim_ttl_ms, ttl),
                          blob_key ? strlen(blob_key) : 0,
                          stored->len};
    return sp_pipe_call_format(call, (int)SP_COUNT(argv) - (blob_key ? 0 : 2), argv, len);
}

/* Under the lock, since the claims thread may be renewing the claim. */
static void name_blob(struct sp_claims *claims, struct sp_claim_entry *entry)
{
    pthread_mutex_lock(&claims->lock);
    if (!entry->blob[0])
        sp_random_hex(entry->blob, SP_BLOB_ID_SIZE / 2);
    pthread_mutex_unlock(&claims->lock);
}

enum sp_code sp_claims_format_store(struct sp_claims *claims, struct sp_claim_entry *entry,
                                    const struct sp_stored_reply *stored, struct sp_pipe_call *call)
{
    sp_auto(sp_free_str) char *blob_key = NULL;
    sp_auto(sp_buf_clear) struct sp_buf value = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    bool is_blob = stored->len > INLINE_MAX;
    if (is_blob) {
        name_blob(claims, entry);
        blob_key = sp_claims_key(claims, "blob", entry->blob);
    }
    sp_buf_reset(&entry->head);
    if ((is_blob && !blob_key) || write_head(entry, stored, is_blob, &entry->head) ||
        sp_buf_reserve(&value, entry->head.len + (is_blob ? SP_BLOB_ID_SIZE : stored->len)) ||
        sp_buf_add(&value, entry->head.data, entry->head.len) ||
        (is_blob ? sp_buf_adds(&value, entry->blob)
                 : sp_buf_add(&value, stored->bytes, stored->len)))
        return SP_E_NOMEM;
    return format(claims, entry, &value, blob_key, stored, call);
}

/* *ours: it is stored. */
static enum sp_code try_to_store(struct sp_claims *claims, struct sp_claim_entry *entry,
                                 const struct sp_stored_reply *stored, bool *ours)
{
    struct sp_pipe_call call = {.next = NULL};
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    enum sp_code rc = sp_claims_format_store(claims, entry, stored, &call);
    if (!rc)
        rc = sp_claims_wait(claims, &call, NULL, &reply);
    *ours = !rc && reply->integer == 1;
    if (*ours)
        sp_claim_entry_stored(entry, stored->remembered);
    return rc;
}

static void count(struct sp_claims *claims, int64_t *counter)
{
    pthread_mutex_lock(&claims->lock);
    (*counter)++;
    pthread_mutex_unlock(&claims->lock);
}

void sp_claims_end_run(struct sp_claims *claims, const struct sp_claim_entry *entry)
{
    if (entry->seen.died == 0)
        return; /* no suspect */
    pthread_mutex_lock(&claims->lock);
    sp_claims_end_suspect(claims, entry);
    pthread_mutex_unlock(&claims->lock);
}

/* Redis is away: the reply goes out unrecorded, or waits. */
static enum sp_code finish_without(struct sp_claims *claims, struct sp_claim_entry *entry,
                                   struct sp_error *err)
{
    if (!sp_claims_goes_on_without(claims, entry->at_most_once))
        return sp_error_set(err, SP_E_UNAVAILABLE, "the reply cannot be stored: Redis is away");
    if (!entry->seen.degraded)
        count(claims, &claims->totals.degraded_total);
    entry->seen.degraded = true;
    entry->remembered = false;
    return SP_OK;
}

enum sp_code sp_claims_finish(struct sp_claims *claims, struct sp_claim *claim,
                              const struct sp_stored_reply *stored, struct sp_error *err)
{
    struct sp_claim_entry *entry = (struct sp_claim_entry *)claim;
    bool ours = false;
    sp_claims_end_run(claims, entry);
    if (entry->finished && stored->bytes == claim->stored.bytes)
        return SP_OK; /* it is there already: REPUBLISH to the same record */
    enum sp_code rc = try_to_store(claims, entry, stored, &ours);
    if (rc == SP_E_NOMEM)
        return sp_error_set(err, rc, "no memory to store a reply");
    if (rc == SP_E_UNAVAILABLE)
        return finish_without(claims, entry, err);
    if (ours)
        return SP_OK;
    count(claims, &claims->totals.lost);
    return sp_error_set(err, SP_E_CANCELLED, "the claim belongs to another worker by now");
}
