/*
 * Taking a claim. The common path is one native command; a claim that is there already costs two or
 * three round trips more.
 */
#include <string.h>

#include "base/text.h"
#include "worker/claims/decide.h"
#include "worker/claims/inside.h"

enum { TRIES = 4 }; /* where others change the claim at the same time */

enum sp_code sp_claims_format_set(const struct sp_claims *claims,
                                  const struct sp_claim_entry *entry, struct sp_pipe_call *call)
{
    char ttl[SP_MS_SIZE];
    const char *argv[] = {"SET", entry->key, entry->expected.data, "NX", "GET", "PX", ttl};
    const size_t len[] = {3,
                          strlen(entry->key),
                          entry->expected.len,
                          2,
                          3,
                          2,
                          sp_claims_ms(claims->claim_ttl_ms, ttl)};
    return sp_pipe_call_format(call, SP_COUNT(argv), argv, len);
}

/* Sets our claim if there is none; else *found is the text that is there. */
static enum sp_code set_or_get(struct sp_claims *claims, struct sp_claim_entry *entry,
                               redisReply **found)
{
    struct sp_pipe_call call = {.next = NULL};
    enum sp_code rc = sp_claims_format_set(claims, entry, &call);
    return rc ? rc : sp_claims_wait(claims, &call, &entry->unheard, found);
}

/* Sets our claim if what was found is still there. */
static enum sp_code replace(struct sp_claims *claims, struct sp_claim_entry *entry,
                            const redisReply *found, bool *replaced)
{
    struct sp_pipe_call call = {.next = NULL};
    char ttl[SP_MS_SIZE];
    const char *argv[] = {"EVALSHA",  claims->scripts.sha[SP_SCRIPT_REPLACE],
                          "1",        entry->key,
                          found->str, entry->expected.data,
                          ttl};
    const size_t len[] = {7,
                          SP_SCRIPT_SHA_SIZE - 1,
                          1,
                          strlen(entry->key),
                          found->len,
                          entry->expected.len,
                          sp_claims_ms(claims->claim_ttl_ms, ttl)};
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    enum sp_code rc = sp_pipe_call_format(&call, SP_COUNT(argv), argv, len);
    if (!rc)
        rc = sp_claims_wait(claims, &call, &entry->unheard, &reply);
    *replaced = !rc && reply->integer == 1;
    return rc;
}

/* key NULL: there was no memory for it. */
static enum sp_code key_command(struct sp_claims *claims, const char *command, const char *key,
                                redisReply **out)
{
    if (!key)
        return SP_E_NOMEM;
    const char *argv[] = {command, key};
    const size_t len[] = {strlen(command), strlen(key)};
    return sp_claims_ask(claims, SP_COUNT(argv), argv, len, out);
}

static bool may_judge(struct sp_claims *claims)
{
    pthread_mutex_lock(&claims->lock);
    bool may = sp_mono_ms() >= claims->judge_from;
    pthread_mutex_unlock(&claims->lock);
    return may;
}

/* Another job of this worker holds it: the record came again while it was being run. */
static bool is_open(struct sp_claims *claims, const char *key)
{
    pthread_mutex_lock(&claims->lock);
    const struct sp_claim_entry *entry = TAILQ_FIRST(&claims->open);
    while (entry && strcmp(entry->key, key) != 0)
        entry = TAILQ_NEXT(entry, among_open);
    pthread_mutex_unlock(&claims->lock);
    return entry != NULL;
}

static enum sp_code judge_owner(struct sp_claims *claims, const struct sp_claim_value *found,
                                const char *key, enum sp_claim_owner *out)
{
    bool ours = sp_bytes_are(found->owner, claims->incarnation);
    *out = SP_OWNER_ALIVE;
    if (ours && !is_open(claims, key))
        *out = SP_OWNER_OURS;
    if (ours || !may_judge(claims))
        return SP_OK;
    char owner[SP_INCARNATION_SIZE] = "";
    memcpy(owner, found->owner.data, found->owner.len);
    sp_auto(sp_free_str) char *alive = sp_claims_key(claims, "alive", owner);
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    enum sp_code rc = key_command(claims, "EXISTS", alive, &reply);
    if (!rc && reply->integer == 0)
        *out = SP_OWNER_DEAD;
    return rc;
}

/* One claim being taken. */
struct taking {
    struct sp_claims *claims;
    const struct sp_claim_request *request;
    struct sp_claim_entry *entry;
    bool by_record; /* so what is there is of this record, or none of ours */
    bool nothing_runs;
    struct sp_claim_decision decision;
};

static const struct sp_claim_decision take_anew = {
    .verdict = SP_CLAIM_RUN, .take = true, .attempt = 1};

static enum sp_code decide(struct taking *t, const struct sp_claim_value *found)
{
    struct sp_claim_case c = {
        .found = *found,
        .same_record = sp_bytes_are(found->record, t->entry->record),
        .same_digest = sp_bytes_are(found->digest, *t->request->digest ? t->request->digest : "-"),
        .at_most_once = t->request->at_most_once,
        .replay = t->request->replay,
        .nothing_runs = t->nothing_runs,
        .max_attempts = t->claims->max_attempts,
    };
    if (t->by_record && !c.same_record) {
        t->decision = take_anew;
        return SP_OK;
    }
    enum sp_code rc = judge_owner(t->claims, found, t->entry->key, &c.owner);
    if (!rc)
        t->decision = sp_claim_decide(&c);
    return rc;
}

/* The reply to be sent again, whose bytes are behind the line or in a blob. A blob that is gone
 * makes the claim worthless. */
static enum sp_code keep_reply(struct taking *t, const struct sp_claim_value *found,
                               redisReply **reply)
{
    struct sp_claim_entry *entry = t->entry;
    struct sp_bytes bytes = found->body;
    enum sp_code rc = sp_claim_entry_found(entry, found);
    if (!rc && found->is_blob) {
        sp_auto(sp_free_str) char *key = sp_claims_key(t->claims, "blob", entry->blob);
        rc = key_command(t->claims, "GET", key, &entry->kept);
        if (rc == SP_E_INVALID || (!rc && entry->kept->type != REDIS_REPLY_STRING)) {
            sp_claim_entry_forget(entry);
            t->decision = take_anew;
            return SP_OK;
        }
        if (!rc)
            bytes = (struct sp_bytes){entry->kept->str, entry->kept->len};
    } else if (!rc) {
        entry->kept = SP_TAKE(*reply);
    }
    entry->seen.stored.bytes = bytes.data;
    entry->seen.stored.len = bytes.len;
    return rc;
}

/* False: another suspect runs. */
static bool begin_suspect(struct sp_claims *claims, const struct sp_claim_entry *entry)
{
    pthread_mutex_lock(&claims->lock);
    bool is_free = !claims->suspect;
    if (is_free)
        claims->suspect = entry;
    pthread_mutex_unlock(&claims->lock);
    return is_free;
}

static void end_suspect(struct sp_claims *claims, const struct sp_claim_entry *entry)
{
    pthread_mutex_lock(&claims->lock);
    sp_claims_end_suspect(claims, entry);
    pthread_mutex_unlock(&claims->lock);
}

/* *done stays false when the claim has changed meanwhile. */
static enum sp_code take_over(struct taking *t, const redisReply *found, bool *done)
{
    const struct sp_claim_decision *d = &t->decision;
    bool suspect = d->verdict == SP_CLAIM_RUN && d->died > 0 && !t->nothing_runs;
    if (suspect && !begin_suspect(t->claims, t->entry)) {
        t->decision = (struct sp_claim_decision){.verdict = SP_CLAIM_PARK};
        *done = true;
        return SP_OK;
    }
    enum sp_code rc = sp_claim_entry_own(t->claims, t->entry, d->attempt, d->died);
    if (!rc)
        rc = replace(t->claims, t->entry, found, done);
    if (rc || !*done)
        end_suspect(t->claims, t->entry);
    return rc;
}

static enum sp_code look_at(struct taking *t, redisReply **reply, bool *done)
{
    struct sp_claim_value found;
    enum sp_code rc = SP_OK;
    t->decision = take_anew; /* what is malformed counts as absent */
    if (sp_claim_value_read((*reply)->str, (*reply)->len, &found)) {
        rc = decide(t, &found);
        if (!rc && t->decision.verdict == SP_CLAIM_REPUBLISH)
            rc = keep_reply(t, &found, reply);
        if (!rc && t->decision.verdict == SP_CLAIM_SKIP)
            rc = sp_claim_entry_found(t->entry, &found);
    }
    if (!rc && t->decision.take)
        return take_over(t, *reply, done);
    *done = true;
    return rc;
}

static enum sp_code try_once(struct taking *t, bool *done)
{
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    sp_claim_entry_forget(t->entry);
    enum sp_code rc = sp_claim_entry_own(t->claims, t->entry, 1, 0);
    if (!rc)
        rc = set_or_get(t->claims, t->entry, &reply);
    if (rc == SP_E_INVALID) /* a key of another type is none of ours, and goes */
        return key_command(t->claims, "UNLINK", t->entry->key, &reply);
    if (rc)
        return rc;
    if (reply->type == REDIS_REPLY_STRING)
        return look_at(t, &reply, done);
    t->decision = take_anew;
    *done = true;
    return SP_OK;
}

/* The verdict of one key; HOLD where it cannot be had. */
static enum sp_claim_verdict take_key(struct taking *t)
{
    bool done = false;
    for (int i = 0; i < TRIES && !done; i++) {
        if (try_once(t, &done))
            return SP_CLAIM_HOLD;
    }
    return done ? t->decision.verdict : SP_CLAIM_PARK;
}

/*
 * The id belongs to another record, and the answer to this one is known. It goes under the record's
 * own key, so that a repeat of this record is told apart from a third one. *entry is then that
 * claim, with the first one's reply if that is the answer.
 */
static enum sp_claim_verdict answer_under_record(struct sp_claims *claims,
                                                 const struct sp_claim_request *request,
                                                 enum sp_claim_verdict answer,
                                                 struct sp_claim_entry **entry)
{
    sp_auto(sp_claim_entry_free) struct sp_claim_entry *own =
        sp_claim_entry_new(claims, request, true);
    struct taking t = {claims, request, own, .by_record = true, .nothing_runs = true};
    enum sp_claim_verdict verdict = own ? take_key(&t) : SP_CLAIM_HOLD;
    if (verdict == SP_CLAIM_RUN) {
        verdict = answer;
        own->seen.stored = (*entry)->seen.stored;
        own->kept = SP_TAKE((*entry)->kept);
        own->kept_worker = SP_TAKE((*entry)->kept_worker);
    }
    sp_claim_entry_free(*entry);
    *entry = SP_TAKE(own);
    return verdict;
}

/* Redis is away for so long that the job goes on without it. */
static bool take_without(struct sp_claims *claims, struct sp_claim_entry *entry)
{
    sp_claim_entry_forget(entry);
    if (!sp_claims_goes_on_without(claims, entry->at_most_once) ||
        sp_claim_entry_own(claims, entry, 1, 0))
        return false;
    entry->seen.degraded = true;
    return true;
}

/* Under the lock. */
static void add_open(struct sp_claims *claims, struct sp_claim_entry *entry)
{
    entry->renew_at = sp_deadline_in(claims->claim_ttl_ms / 4);
    TAILQ_INSERT_TAIL(&claims->open, entry, among_open);
    claims->n_open++;
}

void sp_claims_give_back(struct sp_claims *claims, struct sp_claim_entry *entry)
{
    pthread_mutex_lock(&claims->lock);
    add_open(claims, entry);
    pthread_mutex_unlock(&claims->lock);
    sp_claims_release(claims, &entry->seen);
}

void sp_claims_note(struct sp_claims *claims, enum sp_claim_verdict verdict,
                    struct sp_claim_entry *entry)
{
    struct sp_claims_status *totals = &claims->totals;
    int64_t *const counters[] = {
        [SP_CLAIM_RUN] = &totals->taken,          [SP_CLAIM_REPUBLISH] = &totals->republished,
        [SP_CLAIM_SKIP] = &totals->skipped,       [SP_CLAIM_PARK] = &totals->parked,
        [SP_CLAIM_WAIT] = &totals->parked,        [SP_CLAIM_DIED] = &totals->died,
        [SP_CLAIM_CONFLICT] = &totals->conflicts, [SP_CLAIM_HOLD] = &totals->held,
    };
    pthread_mutex_lock(&claims->lock);
    (*counters[verdict])++;
    if (entry) {
        totals->degraded_total += entry->seen.degraded;
        add_open(claims, entry);
    }
    pthread_mutex_unlock(&claims->lock);
}

enum sp_claim_verdict sp_claims_take(struct sp_claims *claims,
                                     const struct sp_claim_request *request, struct sp_claim **out)
{
    sp_auto(sp_claim_entry_free) struct sp_claim_entry *entry =
        sp_claim_entry_new(claims, request, !request->id);
    struct taking t = {claims, request, entry, .by_record = !request->id,
                       .nothing_runs = request->nothing_runs};
    enum sp_claim_verdict verdict = entry ? take_key(&t) : SP_CLAIM_HOLD;
    if (verdict == SP_CLAIM_HOLD && entry && take_without(claims, entry)) {
        verdict = SP_CLAIM_RUN;
    } else if (verdict != SP_CLAIM_HOLD && t.decision.under_record) {
        verdict = answer_under_record(claims, request, verdict, &entry);
    }
    if (verdict == SP_CLAIM_REPUBLISH)
        sp_claims_renew_parts(claims, &entry->seen.stored);
    bool held = verdict != SP_CLAIM_HOLD && verdict != SP_CLAIM_PARK && verdict != SP_CLAIM_WAIT;
    sp_claims_note(claims, verdict, held ? entry : NULL);
    *out = NULL;
    if (held) {
        *out = &SP_TAKE(entry)->seen;
    } else if (entry && entry->unheard) {
        sp_claims_give_back(claims, SP_TAKE(entry));
    }
    return verdict;
}
