/* Workers' claims on a Redis of the test's own. */
#pragma once

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/support.h"
#include "tests/support/redis_server.h"
#include "tests/support/until.h"
#include "worker/claims/claims.h"

enum { LIVENESS_MS = 400, LONG_MS = 60000, PATIENCE_MS = 60000, STOP_MS = 5000 };

#define DIGEST_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define DIGEST_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static struct sp_redis_server server;
static struct sp_redis *direct; /* the test's own connection */

static inline struct sp_redis *new_redis(void)
{
    struct sp_config config = {.redis = {.url = server.url}};
    struct sp_redis *redis = NULL;
    struct sp_error err = {0};
    cr_assert(eq(int, sp_redis_new(&config, &redis, &err), SP_OK), "%s", err.msg);
    return redis;
}

static inline void open_rig(void)
{
    signal(SIGPIPE, SIG_IGN);
    cr_assert(sp_redis_server_start(&server, NULL));
    direct = new_redis();
}

static inline void close_rig(void)
{
    sp_redis_free(direct);
    sp_redis_server_stop(&server);
}

static inline struct sp_claims_status status_of(struct sp_claims *claims)
{
    struct sp_claims_status status;
    sp_claims_status(claims, &status);
    return status;
}

static inline struct sp_claims *start_with(const char *worker_id, struct sp_claims_options options)
{
    struct sp_claims *claims = NULL;
    struct sp_error err = {0};
    options.redis = new_redis();
    options.prefix = "sp";
    options.worker_id = worker_id;
    if (!options.results_ttl_ms)
        options.results_ttl_ms = 50000;
    if (!options.max_attempts)
        options.max_attempts = 3;
    if (!options.liveness_ms)
        options.liveness_ms = LIVENESS_MS;
    cr_assert(eq(int, sp_claims_start(&options, &claims, &err), SP_OK), "%s", err.msg);
    return claims;
}

static inline bool is_up(struct sp_claims *claims)
{
    return status_of(claims).up;
}

static inline struct sp_claims *start_up(const char *worker_id, int64_t liveness_ms)
{
    struct sp_claims_options options = {.liveness_ms = liveness_ms};
    struct sp_claims *claims = start_with(worker_id, options);
    cr_assert(SP_UNTIL(PATIENCE_MS, is_up(claims)), "%s", status_of(claims).reason);
    return claims;
}

/* One that lives on however busy the machine is, and finds nobody dead. */
static inline struct sp_claims *start(const char *worker_id)
{
    return start_up(worker_id, LONG_MS);
}

/* One that finds others dead soon. */
static inline struct sp_claims *start_judge(const char *worker_id)
{
    return start_up(worker_id, LIVENESS_MS);
}

static inline void stop(struct sp_claims *claims)
{
    sp_claims_stop(claims, STOP_MS);
}

/* One that ends without giving back what it holds. */
static inline void die(struct sp_claims *claims)
{
    sp_claims_stop(claims, 0);
}

static inline struct sp_claim_request request_of(const char *id, int64_t offset)
{
    return (struct sp_claim_request){.id = id,
                                     .topic = "requests",
                                     .partition = 2,
                                     .offset = offset,
                                     .timestamp_ms = 1000 + offset,
                                     .digest = DIGEST_A};
}

/* The verdict once it is no longer PARK or HOLD. */
static inline enum sp_claim_verdict
settle(struct sp_claims *claims, const struct sp_claim_request *request, struct sp_claim **claim)
{
    enum sp_claim_verdict verdict = SP_CLAIM_PARK;
    (void)SP_UNTIL(PATIENCE_MS,
                   (verdict = sp_claims_take(claims, request, claim)) != SP_CLAIM_PARK &&
                       verdict != SP_CLAIM_HOLD);
    return verdict;
}

static inline struct sp_claim *must_run(struct sp_claims *claims,
                                        const struct sp_claim_request *request)
{
    struct sp_claim *claim = NULL;
    cr_assert(eq(int, settle(claims, request, &claim), SP_CLAIM_RUN));
    return claim;
}

static inline struct sp_stored_reply reply_of(const char *bytes, enum sp_status status)
{
    return (struct sp_stored_reply){.bytes = bytes,
                                    .len = strlen(bytes),
                                    .status = status,
                                    .result_id = "0123456789abcdef0123456789abcdef",
                                    .worker = "the worker",
                                    .attempt = 1,
                                    .remembered = status == SP_STATUS_OK};
}

static inline enum sp_code finish_with(struct sp_claims *claims, struct sp_claim *claim,
                                       const char *bytes, enum sp_status status)
{
    struct sp_stored_reply stored = reply_of(bytes, status);
    return sp_claims_finish(claims, claim, &stored, NULL);
}

static inline redisReply *ask(const char *fmt, ...)
{
    char text[512];
    redisReply *reply = NULL;
    struct sp_error err = {0};
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    cr_assert(eq(int, sp_redis_command(direct, &reply, &err, text), SP_OK), "%s: %s", text,
              err.msg);
    return reply;
}

/* The state of a claim: its first character, '-' where there is none. */
static inline char state_of(const char *key)
{
    sp_auto(freeReplyObject) redisReply *reply = ask("GET %s", key);
    return reply->type == REDIS_REPLY_STRING && reply->len > 0 ? reply->str[0] : '-';
}

static inline int64_t number_of(const char *command, const char *key)
{
    sp_auto(freeReplyObject) redisReply *reply = ask("%s %s", command, key);
    return reply->integer;
}

static inline bool all_written(struct sp_claims *claims)
{
    return status_of(claims).pending == 0;
}
