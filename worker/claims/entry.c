/* The memory of one claim. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "worker/claims/inside.h"

char *sp_claims_key(const struct sp_claims *claims, const char *kind, const char *id)
{
    sp_auto(sp_buf_clear) struct sp_buf key = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    if (sp_buf_addf(&key, "%s:%s:%s", claims->prefix, kind, id))
        return NULL;
    return sp_buf_take(&key, NULL);
}

size_t sp_claims_ms(int64_t ms, char *out)
{
    return (size_t)snprintf(out, SP_MS_SIZE, "%lld", (long long)ms);
}

/* The key, and behind its NUL the record. */
static enum sp_code make_names(const struct sp_claims *claims,
                               const struct sp_claim_request *request, bool by_record,
                               struct sp_claim_entry *entry)
{
    sp_auto(sp_buf_clear) struct sp_buf names = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    enum sp_code rc = by_record ? sp_buf_addf(&names, "%s:record:", claims->prefix)
                                : sp_buf_addf(&names, "%s:job:%s", claims->prefix, request->id);
    if (!rc && !by_record)
        rc = sp_buf_addc(&names, '\0');
    size_t record = names.len;
    if (!rc) {
        rc = sp_buf_addf(&names, "%s:%d:%lld:%lld", request->topic, (int)request->partition,
                         (long long)request->offset, (long long)request->timestamp_ms);
    }
    entry->key = rc ? NULL : sp_buf_take(&names, NULL);
    if (!entry->key)
        return SP_E_NOMEM;
    entry->record = entry->key + record;
    return SP_OK;
}

struct sp_claim_entry *sp_claim_entry_new(const struct sp_claims *claims,
                                          const struct sp_claim_request *request, bool by_record)
{
    struct sp_claim_entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return NULL;
    entry->stem = entry->expected = entry->head = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    entry->at_most_once = request->at_most_once;
    memcpy(entry->digest, request->digest, sizeof entry->digest);
    if (make_names(claims, request, by_record, entry)) {
        sp_claim_entry_free(entry);
        return NULL;
    }
    return entry;
}

void sp_claim_entry_forget(struct sp_claim_entry *entry)
{
    entry->finished = entry->remembered = false;
    entry->blob[0] = '\0';
    entry->seen.stored = (struct sp_stored_reply){0};
    freeReplyObject(SP_TAKE(entry->kept));
    free(SP_TAKE(entry->kept_worker));
}

void sp_claim_entry_free(struct sp_claim_entry *entry)
{
    if (!entry)
        return;
    sp_claim_entry_forget(entry);
    free(entry->key);
    sp_buf_clear(&entry->stem);
    sp_buf_clear(&entry->expected);
    sp_buf_clear(&entry->head);
    free(entry);
}

enum sp_code sp_claim_entry_line(const struct sp_claim_entry *entry, enum sp_claim_state state,
                                 struct sp_buf *out)
{
    enum sp_code rc = sp_buf_addc(out, (char)state);
    return rc ? rc : sp_buf_add(out, entry->stem.data, entry->stem.len);
}

enum sp_code sp_claim_entry_own(const struct sp_claims *claims, struct sp_claim_entry *entry,
                                int64_t attempt, int64_t died)
{
    entry->seen.attempt = attempt;
    entry->seen.died = died;
    sp_buf_reset(&entry->stem);
    sp_buf_reset(&entry->expected);
    enum sp_code rc = sp_claim_stem_add(&entry->stem, attempt, died, entry->record, entry->digest,
                                        claims->incarnation);
    if (!rc)
        rc = sp_claim_entry_line(entry, SP_CLAIM_CLAIMED, &entry->expected);
    return rc ? rc : sp_buf_addc(&entry->expected, '\n');
}

void sp_claim_entry_stored(struct sp_claim_entry *entry, bool remembered)
{
    entry->finished = true;
    entry->remembered = remembered;
    sp_buf_clear(&entry->expected);
    entry->expected = entry->head;
    entry->head = SP_BUF_INIT(SP_BUF_UNBOUNDED);
}

enum sp_code sp_claim_entry_found(struct sp_claim_entry *entry, const struct sp_claim_value *found)
{
    const char *line = found->stem.data - 1; /* with the state */
    sp_buf_reset(&entry->stem);
    sp_buf_reset(&entry->expected);
    enum sp_code rc = sp_buf_add(&entry->stem, found->stem.data, found->stem.len);
    if (!rc)
        rc = sp_buf_add(&entry->expected, line, (size_t)(found->body.data - line));
    entry->seen.attempt = found->attempt;
    entry->seen.died = found->died;
    entry->finished = true;
    entry->remembered = found->result.remembered;
    if (found->is_blob)
        memcpy(entry->blob, found->body.data, found->body.len);
    if (rc || !found->has_result)
        return rc;
    entry->seen.stored = found->result;
    entry->kept_worker = sp_memdup(found->worker.data, found->worker.len);
    entry->seen.stored.worker = entry->kept_worker;
    return entry->kept_worker ? SP_OK : SP_E_NOMEM;
}
