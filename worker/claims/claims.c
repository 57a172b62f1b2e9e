/* Start, stop and state of the claims. */
#include "worker/claims/claims.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/text.h"
#include "worker/claims/inside.h"
#include "worker/thread.h"

enum { DAY_MS = 24 * 3600 * 1000 };

static void free_line(struct sp_claim_line *line)
{
    struct sp_claim_entry *entry = NULL;
    while ((entry = TAILQ_FIRST(line))) {
        TAILQ_REMOVE(line, entry, in_line);
        sp_claim_entry_free(entry);
    }
}

static void free_open(struct sp_claims *claims)
{
    struct sp_claim_entry *entry = NULL;
    while ((entry = TAILQ_FIRST(&claims->open))) {
        TAILQ_REMOVE(&claims->open, entry, among_open);
        if (entry->line == SP_LINE_NONE || entry->line == SP_LINE_DELIVERED)
            sp_claim_entry_free(entry); /* else it is in one of the other lines */
    }
}

static void release(struct sp_claims *claims)
{
    free_open(claims);
    free_line(&claims->closings);
    free_line(&claims->failed);
    sp_redis_free(claims->pipe.redis);
    if (claims->wake_fd >= 0)
        close(claims->wake_fd);
    pthread_mutex_destroy(&claims->lock);
    free(claims->prefix);
    free(claims->worker_id);
    free(claims->alive_key);
    free(claims);
}
SP_AUTO(struct sp_claims *, release)

static struct sp_claims *new_claims(const struct sp_claims_options *options)
{
    struct sp_claims *claims = calloc(1, sizeof *claims);
    if (!claims)
        return NULL;
    claims->liveness_ms = options->liveness_ms;
    claims->results_ttl_ms = options->results_ttl_ms;
    claims->claim_ttl_ms = options->claim_ttl_ms ? options->claim_ttl_ms : DAY_MS;
    claims->max_attempts = options->max_attempts;
    claims->pause = options->pause;
    claims->away_since = sp_mono_ms();
    claims->judge_from = SP_NEVER;
    (void)snprintf(claims->reason, sizeof claims->reason, "not connected yet");
    pthread_mutex_init(&claims->lock, NULL);
    sp_pipe_calls_init(&claims->asked);
    sp_pipe_calls_init(&claims->pipe.flying);
    TAILQ_INIT(&claims->open);
    TAILQ_INIT(&claims->delivered);
    TAILQ_INIT(&claims->closings);
    TAILQ_INIT(&claims->failed);
    sp_scripts_init(&claims->scripts);
    sp_random_hex(claims->incarnation, SP_INCARNATION_SIZE / 2);
    claims->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return claims;
}

static enum sp_code copy_names(struct sp_claims *claims, const struct sp_claims_options *options,
                               struct sp_error *err)
{
    const char *id = options->worker_id;
    if (!*id || !sp_utf8_valid(id, strlen(id)) || sp_utf8_has_control(id, strlen(id))) {
        return sp_error_set(err, SP_E_INVALID,
                            "worker.id: must be text without control characters, and not empty");
    }
    claims->worker_id = sp_strdup(id);
    claims->prefix = sp_strdup(options->prefix);
    if (claims->prefix)
        claims->alive_key = sp_claims_key(claims, "alive", claims->incarnation);
    return claims->worker_id && claims->alive_key ? SP_OK
                                                  : sp_error_set(err, SP_E_NOMEM, "out of memory");
}

enum sp_code sp_claims_start(const struct sp_claims_options *options, struct sp_claims **out,
                             struct sp_error *err)
{
    sp_auto(release) struct sp_claims *claims = new_claims(options);
    if (!claims)
        return sp_error_set(err, SP_E_NOMEM, "no memory for claims");
    if (claims->wake_fd < 0)
        return sp_error_set(err, SP_E_INTERNAL, "no descriptor for claims");
    enum sp_code rc = copy_names(claims, options, err);
    if (rc)
        return rc;
    claims->pipe.redis = options->redis;
    rc = sp_thread_start(&claims->thread, "claims", sp_claims_main, claims, err);
    if (rc) {
        claims->pipe.redis = NULL; /* is the caller's still */
        return rc;
    }
    *out = SP_TAKE(claims);
    return SP_OK;
}

void sp_claims_stop(struct sp_claims *claims, int64_t limit_ms)
{
    if (!claims)
        return;
    pthread_mutex_lock(&claims->lock);
    claims->stopping = true;
    claims->stop_at = sp_deadline_in(limit_ms);
    pthread_mutex_unlock(&claims->lock);
    (void)eventfd_write(claims->wake_fd, 1);
    pthread_join(claims->thread, NULL);
    release(claims);
}

/* Under the lock. How long Redis has been away; 0: it is there. */
static int64_t away_ms(const struct sp_claims *claims)
{
    int64_t ms = sp_mono_ms() - claims->away_since;
    return claims->up ? 0 : ms > 0 ? ms : 1;
}

static bool goes_on(const struct sp_claims *claims)
{
    return !claims->pause && away_ms(claims) >= claims->liveness_ms;
}

bool sp_claims_goes_on_without(struct sp_claims *claims, bool at_most_once)
{
    pthread_mutex_lock(&claims->lock);
    bool on = !at_most_once && goes_on(claims);
    pthread_mutex_unlock(&claims->lock);
    return on;
}

void sp_claims_status(struct sp_claims *claims, struct sp_claims_status *out)
{
    pthread_mutex_lock(&claims->lock);
    *out = claims->totals;
    out->up = claims->up;
    out->away_ms = away_ms(claims);
    out->degraded = goes_on(claims);
    memcpy(out->reason, claims->reason, sizeof out->reason);
    out->open = claims->n_open;
    out->pending = claims->n_closings;
    out->suspect = claims->suspect != NULL;
    pthread_mutex_unlock(&claims->lock);
}
