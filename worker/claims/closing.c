/*
 * What is written about claims without anybody waiting for it: delivered, released, committed. Many
 * go in one script call. A claim waits in one line at a time:
 *
 *   sp_claims_delivered() ─► delivered ──(a while later)──┐
 *   sp_claims_committed() and its like ───────────────────┴─► closings ─► flying ─► freed
 *                                                                ▲          │
 *                                                                └─ failed ◄┘
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "worker/claims/inside.h"

enum {
    BATCH = 64,         /* claims in one call: a fraction of a millisecond of Redis's time */
    DELIVERED_MS = 250, /* many delivered ones wait for their commit, which makes it needless */
    KEPT_MAX = 100000,
};

void sp_claims_end_suspect(struct sp_claims *claims, const struct sp_claim_entry *entry)
{
    if (claims->suspect == entry)
        claims->suspect = NULL;
}

/* Under the lock. */
static void move_to_closings(struct sp_claims *claims, struct sp_claim_entry *entry)
{
    entry->line = SP_LINE_CLOSINGS;
    TAILQ_INSERT_TAIL(&claims->closings, entry, in_line);
    claims->n_waiting++;
}

/* Under the lock. */
static void take_from_delivered(struct sp_claims *claims, struct sp_claim_entry *entry)
{
    TAILQ_REMOVE(&claims->delivered, entry, in_line);
    claims->n_delivered--;
}

/* Under the lock: whether the thread, which expects nothing for long, must be woken. */
static bool must_wake(struct sp_claims *claims)
{
    bool wake = claims->resting;
    claims->resting = false;
    return wake;
}

/* Under the lock. False: there is no room for it, and nothing is lost but what others might have
 * found out from it. */
static bool add_closing(struct sp_claims *claims, struct sp_claim_entry *entry,
                        enum sp_closing closing)
{
    sp_claims_end_suspect(claims, entry);
    TAILQ_REMOVE(&claims->open, entry, among_open);
    claims->n_open--;
    entry->closing = closing;
    claims->urgent |= closing != SP_CLOSING_COMMITTED;
    if (entry->line == SP_LINE_DELIVERED)
        take_from_delivered(claims, entry);
    if (entry->line == SP_LINE_CLOSINGS || entry->line == SP_LINE_FLYING)
        return true;
    if (claims->n_closings >= KEPT_MAX) {
        claims->totals.dropped++;
        return false;
    }
    claims->n_closings++;
    move_to_closings(claims, entry);
    return true;
}

static void close_claim(struct sp_claims *claims, struct sp_claim *claim, enum sp_closing closing)
{
    struct sp_claim_entry *entry = (struct sp_claim_entry *)claim;
    if (!entry)
        return;
    freeReplyObject(SP_TAKE(entry->kept)); /* closings may wait for long, and be many */
    sp_buf_clear(&entry->expected);
    pthread_mutex_lock(&claims->lock);
    bool kept = add_closing(claims, entry, closing);
    bool wake = must_wake(claims);
    pthread_mutex_unlock(&claims->lock);
    if (wake)
        (void)eventfd_write(claims->wake_fd, 1);
    if (!kept)
        sp_claim_entry_free(entry);
}

void sp_claims_release(struct sp_claims *claims, struct sp_claim *claim)
{
    close_claim(claims, claim, SP_CLOSING_RELEASED);
}

void sp_claims_committed(struct sp_claims *claims, struct sp_claim *claim)
{
    close_claim(claims, claim, SP_CLOSING_COMMITTED);
}

void sp_claims_forgotten(struct sp_claims *claims, struct sp_claim *claim)
{
    close_claim(claims, claim, SP_CLOSING_FORGOTTEN);
}

void sp_claims_delivered(struct sp_claims *claims, struct sp_claim *claim)
{
    struct sp_claim_entry *entry = (struct sp_claim_entry *)claim;
    int64_t due = sp_deadline_in(DELIVERED_MS);
    if (!entry)
        return;
    pthread_mutex_lock(&claims->lock);
    if (entry->line == SP_LINE_NONE) {
        entry->line = SP_LINE_DELIVERED;
        entry->due = due;
        TAILQ_INSERT_TAIL(&claims->delivered, entry, in_line);
        claims->n_delivered++;
    }
    bool wake = must_wake(claims);
    pthread_mutex_unlock(&claims->lock);
    if (wake)
        (void)eventfd_write(claims->wake_fd, 1);
}

/* What could not be written comes first again. */
static void restore(struct sp_claims *claims)
{
    struct sp_claim_entry *entry = NULL;
    claims->urgent |= !TAILQ_EMPTY(&claims->failed);
    for (entry = TAILQ_FIRST(&claims->failed); entry; entry = TAILQ_NEXT(entry, in_line))
        entry->line = SP_LINE_CLOSINGS;
    TAILQ_CONCAT(&claims->failed, &claims->closings, in_line);
    TAILQ_CONCAT(&claims->closings, &claims->failed, in_line);
}

/* A worker that dies now has these replies sent again. So a few are written at once; many only
 * where their commit, which says the same, is long in coming. */
static void collect_delivered(struct sp_claims *claims, int64_t now)
{
    bool few = claims->n_delivered <= BATCH || claims->stopping;
    struct sp_claim_entry *entry = NULL;
    while ((entry = TAILQ_FIRST(&claims->delivered)) && (few || entry->due <= now)) {
        take_from_delivered(claims, entry);
        entry->closing = SP_CLOSING_DELIVERED;
        claims->n_closings++;
        move_to_closings(claims, entry);
    }
}

void sp_closings_collect(struct sp_claims *claims, int64_t now, struct sp_claim_line *line)
{
    bool due = now >= claims->flushed_at + SP_FLUSH_MS || claims->stopping;
    restore(claims);
    if (due)
        collect_delivered(claims, now);
    if (!due && !claims->urgent && claims->n_waiting < BATCH)
        return;
    struct sp_claim_entry *entry = NULL;
    for (entry = TAILQ_FIRST(&claims->closings); entry; entry = TAILQ_NEXT(entry, in_line)) {
        entry->line = SP_LINE_FLYING;
        entry->writing = entry->closing;
    }
    TAILQ_CONCAT(line, &claims->closings, in_line);
    claims->n_waiting = 0;
    claims->urgent = false;
    claims->flushed_at = now;
}

/* One call of SP_SCRIPT_SETTLE and the claims that it closes. */
struct batch {
    struct sp_pipe_call call; /* first */
    struct sp_claims *claims;
    struct sp_claim_line line;
};

/* Its items, while it is made: each claim, and its blob. Texts are borrowed. */
struct items {
    struct {
        char *key; /* owned if it is a blob's */
        struct sp_bytes stem, arg;
        const char *action;
    } all[2 * BATCH];
    size_t n;
    char claim_ttl[SP_MS_SIZE], results_ttl[SP_MS_SIZE];
};

static void add_item(struct items *items, char *key, const struct sp_buf *stem, const char *action,
                     const char *arg)
{
    size_t n = items->n++;
    items->all[n].key = key;
    items->all[n].stem = stem ? (struct sp_bytes){stem->data, stem->len} : (struct sp_bytes){"", 0};
    items->all[n].action = action;
    items->all[n].arg = (struct sp_bytes){arg, strlen(arg)};
}

/* The released value, "" where nothing has to be remembered. It replaces the line that was expected
 * in Redis, which nobody asks for any more. */
static enum sp_code write_released(struct sp_claim_entry *entry)
{
    static const char nobody[SP_INCARNATION_SIZE] = "0000000000000000";
    int64_t died = entry->seen.died;
    sp_buf_reset(&entry->expected);
    if (died == 0)
        return SP_OK;
    enum sp_code rc = sp_buf_addc(&entry->expected, SP_CLAIM_RELEASED);
    if (!rc)
        rc = sp_claim_stem_add(&entry->expected, died, died, entry->record, entry->digest, nobody);
    return rc ? rc : sp_buf_addc(&entry->expected, '\n');
}

static enum sp_code add_blob(const struct sp_claims *claims, const struct sp_claim_entry *entry,
                             struct items *items, const char *action, const char *arg)
{
    if (!entry->blob[0])
        return SP_OK;
    char *key = sp_claims_key(claims, "blob", entry->blob);
    if (!key)
        return SP_E_NOMEM;
    add_item(items, key, NULL, action, arg);
    return SP_OK;
}

static enum sp_code add_closed(const struct sp_claims *claims, struct sp_claim_entry *entry,
                               struct items *items)
{
    const char *action = "D", *arg = items->claim_ttl;
    enum sp_code rc = SP_OK;
    if (entry->writing == SP_CLOSING_RELEASED) {
        rc = write_released(entry);
        action = "H";
        arg = sp_buf_str(&entry->expected);
    } else if (entry->writing == SP_CLOSING_COMMITTED) {
        action = entry->remembered ? "D" : "U";
        arg = items->results_ttl;
        rc = add_blob(claims, entry, items, entry->remembered ? "E" : "U", arg);
    }
    if (!rc)
        add_item(items, entry->key, &entry->stem, action, arg);
    return rc;
}

static void items_init(const struct sp_claims *claims, struct items *items)
{
    items->n = 0;
    (void)sp_claims_ms(claims->claim_ttl_ms, items->claim_ttl);
    (void)sp_claims_ms(claims->results_ttl_ms, items->results_ttl);
}

static void items_clear(struct items *items)
{
    for (size_t i = 0; i < items->n; i++) {
        if (items->all[i].stem.len == 0)
            free(items->all[i].key);
    }
}

static enum sp_code format(const struct sp_claims *claims, const struct items *items,
                           struct sp_pipe_call *call)
{
    const char *argv[4 + 4 * SP_COUNT(items->all)];
    size_t len[SP_COUNT(argv)];
    char n_keys[24];
    int n = snprintf(n_keys, sizeof n_keys, "%zu", items->n), argc = 0;
    const char *sha = claims->scripts.sha[SP_SCRIPT_SETTLE];
#define ADD(text, bytes) (argv[argc] = (text), len[argc++] = (bytes))
    ADD("EVALSHA", 7);
    ADD(sha, SP_SCRIPT_SHA_SIZE - 1);
    ADD(n_keys, (size_t)n);
    for (size_t i = 0; i < items->n; i++)
        ADD(items->all[i].key, strlen(items->all[i].key));
    ADD(items->claim_ttl, strlen(items->claim_ttl));
    for (size_t i = 0; i < items->n; i++) {
        ADD(items->all[i].stem.data, items->all[i].stem.len);
        ADD(items->all[i].action, 1);
        ADD(items->all[i].arg.data, items->all[i].arg.len);
    }
#undef ADD
    return sp_pipe_call_format(call, argc, argv, len);
}

/* Under the lock, when its closing is written. True: it is closed for good. */
static bool settle(struct sp_claims *claims, struct sp_claim_entry *entry)
{
    if (entry->closing != entry->writing) { /* closed while its delivery was being written */
        move_to_closings(claims, entry);
        return false;
    }
    claims->n_closings--;
    entry->line = SP_LINE_NONE;
    return entry->closing != SP_CLOSING_DELIVERED;
}

static void batch_answered(struct sp_pipe_call *call)
{
    struct batch *batch = (struct batch *)call;
    struct sp_claims *claims = batch->claims;
    struct sp_claim_line closed = TAILQ_HEAD_INITIALIZER(closed);
    struct sp_claim_entry *entry = NULL;
    pthread_mutex_lock(&claims->lock);
    if (call->rc == SP_E_UNAVAILABLE)
        TAILQ_CONCAT(&claims->failed, &batch->line, in_line);
    while ((entry = TAILQ_FIRST(&batch->line))) {
        TAILQ_REMOVE(&batch->line, entry, in_line);
        if (settle(claims, entry))
            TAILQ_INSERT_TAIL(&closed, entry, in_line);
    }
    pthread_mutex_unlock(&claims->lock);
    while ((entry = TAILQ_FIRST(&closed))) {
        TAILQ_REMOVE(&closed, entry, in_line);
        sp_claim_entry_free(entry);
    }
    sp_pipe_call_clear(call);
    free(batch);
}

static struct batch *batch_new(struct sp_claims *claims)
{
    struct batch *batch = calloc(1, sizeof *batch);
    if (!batch)
        return NULL;
    batch->call.answered = batch_answered;
    batch->claims = claims;
    TAILQ_INIT(&batch->line);
    return batch;
}

/* The next claims of the line, as many as go into one call. Without memory they fail. */
static void call_some(struct sp_claims *claims, struct sp_claim_line *line, struct batch *batch,
                      struct sp_pipe_calls *out)
{
    struct items items;
    enum sp_code rc = SP_OK;
    items_init(claims, &items);
    for (int i = 0; i < BATCH && !TAILQ_EMPTY(line); i++) {
        struct sp_claim_entry *entry = TAILQ_FIRST(line);
        TAILQ_REMOVE(line, entry, in_line);
        TAILQ_INSERT_TAIL(&batch->line, entry, in_line);
        if (!rc)
            rc = add_closed(claims, entry, &items);
    }
    if (!rc)
        rc = format(claims, &items, &batch->call);
    items_clear(&items);
    if (!rc) {
        sp_pipe_calls_add(out, &batch->call);
        return;
    }
    batch->call.rc = SP_E_UNAVAILABLE;
    batch_answered(&batch->call);
}

void sp_closings_call(struct sp_claims *claims, struct sp_claim_line *line,
                      struct sp_pipe_calls *out)
{
    while (!TAILQ_EMPTY(line)) {
        struct batch *batch = batch_new(claims);
        if (!batch)
            break;
        call_some(claims, line, batch, out);
    }
    pthread_mutex_lock(&claims->lock);
    TAILQ_CONCAT(&claims->failed, line, in_line);
    pthread_mutex_unlock(&claims->lock);
}

void sp_closings_renew(struct sp_claims *claims, int64_t now, struct sp_pipe_calls *out)
{
    struct items items;
    struct sp_claim_entry *entry = TAILQ_FIRST(&claims->open);
    struct batch *batch = entry && entry->renew_at <= now ? batch_new(claims) : NULL;
    if (!batch)
        return;
    items_init(claims, &items);
    for (int i = 0; i < BATCH && entry->renew_at <= now; i++) {
        if (!add_blob(claims, entry, &items, "E", items.claim_ttl))
            add_item(&items, entry->key, &entry->stem, "E", items.claim_ttl);
        entry->renew_at = now + claims->claim_ttl_ms / 4;
        TAILQ_REMOVE(&claims->open, entry, among_open);
        TAILQ_INSERT_TAIL(&claims->open, entry, among_open);
        entry = TAILQ_FIRST(&claims->open);
    }
    if (format(claims, &items, &batch->call)) {
        free(batch);
    } else {
        sp_pipe_calls_add(out, &batch->call);
    }
    items_clear(&items);
}
