/* Addresses, errors and credentials of Redis. hiredis 0.14 has neither an options struct nor TLS.
 */
#include "settings/redis.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "settings/redis_tls.h"

static const struct timeval timeout = {.tv_sec = 2}; /* of each call: redis.h */

struct sp_redis {
    char *host, *user, *password;
    char *path; /* of a unix socket; then host is NULL */
    char *name;
    int64_t port, db;
    bool tls;
    redisContext *ctx; /* NULL: not connected */
    uint64_t generation;
};

void sp_redis_free(struct sp_redis *r)
{
    if (!r)
        return;
    sp_redis_disconnect(r);
    if (r->password)
        explicit_bzero(r->password, strlen(r->password));
    free(r->password);
    free(r->user);
    free(r->host);
    free(r->path);
    free(r->name);
    free(r);
}

static enum sp_code bad_url(struct sp_error *err, const char *what)
{
    return sp_error_set(err, SP_E_INVALID,
                        "redis url: %s; expected redis://[user[:password]@]host[:port][/db], "
                        "rediss://... or unix:///path?db=n",
                        what);
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)((at - digits) % 16) : -1;
}

/* Percent-decodes len bytes; out has room for them and the NUL. */
static bool decode_into(const char *text, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++) {
        *out = text[i];
        if (text[i] == '%') {
            int high = i + 2 < len ? hex_digit(text[i + 1]) : -1;
            int low = i + 2 < len ? hex_digit(text[i + 2]) : -1;
            if (high < 0 || low < 0 || high + low == 0)
                return false;
            *out = (char)(high * 16 + low);
            i += 2;
        }
        out++;
    }
    *out = '\0';
    return true;
}

static enum sp_code decode(const char *text, size_t len, char **out, struct sp_error *err)
{
    char *plain = malloc(len + 1);

    if (!plain)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    if (!decode_into(text, len, plain)) {
        free(plain);
        return bad_url(err, "a % must be followed by two hex digits, not 00");
    }
    *out = plain;
    return SP_OK;
}

/* "user", "user:password", ":password" */
static enum sp_code parse_credentials(struct sp_redis *r, const char *text, size_t len,
                                      struct sp_error *err)
{
    const char *colon = memchr(text, ':', len);
    size_t user = colon ? (size_t)(colon - text) : len;
    enum sp_code rc = user ? decode(text, user, &r->user, err) : SP_OK;

    if (!rc && colon)
        rc = decode(colon + 1, len - user - 1, &r->password, err);
    return rc;
}

static bool parse_number(const char *text, size_t len, int64_t min, int64_t *out)
{
    char number[8] = "";

    if (len >= sizeof number)
        return false;
    memcpy(number, text, len);
    return sp_parse_i64(number, min, 65535, out);
}

/* "host", "host:port", "[v6]:port" */
static enum sp_code parse_host(struct sp_redis *r, const char *text, size_t len,
                               struct sp_error *err)
{
    const char *close = len && *text == '[' ? memchr(text, ']', len) : NULL;
    const char *colon = close ? close + 1 : memchr(text, ':', len);
    size_t host = colon ? (size_t)(colon - text) : len;

    if (host == 0 || (close && host == 2) || (!close && *text == '['))
        return bad_url(err, "the host is missing");
    if (host < len && (text[host] != ':' || !parse_number(colon + 1, len - host - 1, 1, &r->port)))
        return bad_url(err, "the port is not a number from 1 to 65535");
    return close ? decode(text + 1, host - 2, &r->host, err) : decode(text, host, &r->host, err);
}

static enum sp_code parse_db(struct sp_redis *r, const char *text, size_t len, struct sp_error *err)
{
    if (len && !parse_number(text, len, 0, &r->db))
        return bad_url(err, "the database is not a number");
    return SP_OK;
}

static enum sp_code parse_query(struct sp_redis *r, const char *query, struct sp_error *err)
{
    if (!*query)
        return SP_OK;
    if (strncmp(query, "?db=", 4) != 0)
        return bad_url(err, "only db may stand behind ?");
    return parse_db(r, query + 4, strlen(query + 4), err);
}

static enum sp_code parse_place(struct sp_redis *r, const char *rest, bool is_unix,
                                struct sp_error *err)
{
    size_t authority = strcspn(rest, "/?"), all = strcspn(rest, "?");
    const char *at = memrchr(rest, '@', authority);
    const char *host = at ? at + 1 : rest;
    size_t host_len = authority - (size_t)(host - rest);
    enum sp_code rc = at ? parse_credentials(r, rest, (size_t)(at - rest), err) : SP_OK;

    if (!rc && is_unix && (host_len || all == authority)) {
        rc = bad_url(err, "the path of the socket must begin with /");
    } else if (!rc && is_unix) {
        rc = decode(rest + authority, all - authority, &r->path, err);
    } else if (!rc) {
        rc = parse_host(r, host, host_len, err);
    }
    if (!rc && !is_unix && all > authority)
        rc = parse_db(r, rest + authority + 1, all - authority - 1, err);
    return rc ? rc : parse_query(r, rest + all, err);
}

static enum sp_code parse_url(struct sp_redis *r, const char *url, struct sp_error *err)
{
    static const struct {
        const char *prefix;
        bool tls, is_unix;
    } schemes[] = {
        {"redis://", false, false}, {"rediss://", true, false}, {"unix://", false, true}};

    for (size_t i = 0; i < SP_COUNT(schemes); i++) {
        size_t len = strlen(schemes[i].prefix);
        if (!strncmp(url, schemes[i].prefix, len)) {
            r->tls = schemes[i].tls;
            return parse_place(r, url + len, schemes[i].is_unix, err);
        }
    }
    return bad_url(err, "unknown scheme");
}

static enum sp_code no_memory(struct sp_error *err)
{
    return sp_error_set(err, SP_E_NOMEM, "out of memory");
}

enum sp_code sp_redis_check_url(const char *url, struct sp_error *err)
{
    struct sp_redis *r = calloc(1, sizeof *r);
    enum sp_code rc = r ? parse_url(r, url, err) : no_memory(err);

    sp_redis_free(r);
    return rc;
}

static enum sp_code take_members(struct sp_redis *r, const struct sp_config *config,
                                 struct sp_error *err)
{
    const char *password = config->redis.password;

    r->port = config->redis.port;
    r->db = config->redis.db;
    r->host = sp_strdup(config->redis.host);
    if (password && *password)
        r->password = sp_strdup(password);
    return r->host && (r->password || !password || !*password) ? SP_OK : no_memory(err);
}

static enum sp_code make_name(struct sp_redis *r, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf name = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    assert(r->path || r->host);
    if (r->path) {
        sp_buf_addf(&name, "%s/%lld", r->path, (long long)r->db);
    } else {
        sp_buf_addf(&name, strchr(r->host, ':') ? "[%s]:%lld/%lld" : "%s:%lld/%lld", r->host,
                    (long long)r->port, (long long)r->db);
    }
    r->name = sp_buf_take(&name, NULL);
    return r->name ? SP_OK : no_memory(err);
}

enum sp_code sp_redis_new(const struct sp_config *config, struct sp_redis **out,
                          struct sp_error *err)
{
    struct sp_redis *r = calloc(1, sizeof *r);
    const char *url = config->redis.url;

    if (!r)
        return no_memory(err);
    r->port = 6379;
    enum sp_code rc = url && *url ? parse_url(r, url, err) : take_members(r, config, err);
    if (!rc && r->tls && !SP_REDIS_HAS_TLS) {
        rc = sp_error_set(err, SP_E_INVALID,
                          "redis url: rediss:// needs hiredis 1.0 or newer with TLS, which this "
                          "build has not");
    }
    if (!rc)
        rc = make_name(r, err);
    if (rc) {
        sp_redis_free(r);
        return rc;
    }
    *out = r;
    return SP_OK;
}

/* What an error answer means for the caller; the first word says it. */
static enum sp_code answer_code(const char *text)
{
    static const struct {
        const char *word;
        enum sp_code code;
    } words[] = {
        {"LOADING", SP_E_UNAVAILABLE},    {"OOM", SP_E_UNAVAILABLE},
        {"BUSY", SP_E_UNAVAILABLE},       {"MASTERDOWN", SP_E_UNAVAILABLE},
        {"READONLY", SP_E_UNAVAILABLE},   {"MISCONF", SP_E_UNAVAILABLE},
        {"NOREPLICAS", SP_E_UNAVAILABLE}, {"ERR max number of clients", SP_E_UNAVAILABLE},
        {"NOSCRIPT", SP_E_UNAVAILABLE}, /* until they are loaded again */
        {"NOAUTH", SP_E_DENIED},          {"NOPERM", SP_E_DENIED},
        {"WRONGPASS", SP_E_DENIED},
    };

    for (size_t i = 0; i < SP_COUNT(words); i++) {
        char inside[32]; /* before Redis 7 a script's error is wrapped in another */
        snprintf(inside, sizeof inside, " -%s ", words[i].word);
        if (!strncmp(text, words[i].word, strlen(words[i].word)) || strstr(text, inside))
            return words[i].code;
    }
    return SP_E_INVALID;
}

/* Redis quotes the arguments of an unknown command: they are cut. */
enum sp_code sp_redis_accept(struct sp_redis *r, redisReply *reply, redisReply **out,
                             struct sp_error *err)
{
    if (!reply) {
        sp_error_set(err, SP_E_UNAVAILABLE, "redis %s: %s", r->name,
                     errno == EAGAIN && r->ctx->err == REDIS_ERR_IO ? "no answer in time"
                                                                    : r->ctx->errstr);
        sp_redis_disconnect(r);
        return SP_E_UNAVAILABLE;
    }
    if (reply->type != REDIS_REPLY_ERROR) {
        *out = reply;
        return SP_OK;
    }
    const char *args = strstr(reply->str, ", with args");
    size_t len = args ? (size_t)(args - reply->str) : reply->len;
    enum sp_code rc = sp_error_set(err, answer_code(reply->str), "redis %s: %.*s", r->name,
                                   (int)(len < 200 ? len : 200), reply->str);
    freeReplyObject(reply);
    return rc;
}

static enum sp_code log_in(struct sp_redis *r, struct sp_error *err)
{
    const char *argv[3] = {"AUTH"};
    int argc = 1;
    redisReply *reply = NULL;

    if (!r->user && !r->password)
        return SP_OK;
    if (r->user)
        argv[argc++] = r->user;
    argv[argc++] = r->password ? r->password : "";
    enum sp_code rc = sp_redis_accept(r, redisCommandArgv(r->ctx, argc, argv, NULL), &reply, err);
    freeReplyObject(reply);
    if (rc == SP_E_INVALID) /* "called without any password configured" */
        return sp_error_set(err, SP_E_DENIED, "%s", err ? err->msg : "");
    return rc;
}

static enum sp_code select_db(struct sp_redis *r, struct sp_error *err)
{
    redisReply *reply = NULL;

    if (!r->db)
        return SP_OK;
    enum sp_code rc =
        sp_redis_accept(r, redisCommand(r->ctx, "SELECT %lld", (long long)r->db), &reply, err);
    freeReplyObject(reply);
    return rc;
}

static enum sp_code dial(struct sp_redis *r, struct sp_error *err)
{
    r->ctx = r->path ? redisConnectUnixWithTimeout(r->path, timeout)
                     : redisConnectWithTimeout(r->host, (int)r->port, timeout);
    if (!r->ctx)
        return no_memory(err);
    if (r->ctx->err)
        return sp_error_set(err, SP_E_UNAVAILABLE, "redis %s: %s", r->name, r->ctx->errstr);
    (void)fcntl(r->ctx->fd, F_SETFD, FD_CLOEXEC);
    redisSetTimeout(r->ctx, timeout);
    if (!r->path)
        redisEnableKeepAlive(r->ctx);
    enum sp_code rc = r->tls ? sp_redis_tls_start(r->ctx, r->host, err) : SP_OK;
    return rc ? sp_error_wrap(err, rc, "redis %s", r->name) : SP_OK;
}

enum sp_code sp_redis_connect(struct sp_redis *r, redisContext **out, struct sp_error *err)
{
    if (!r->ctx) {
        enum sp_code rc = dial(r, err);
        if (!rc)
            rc = log_in(r, err);
        if (!rc)
            rc = select_db(r, err);
        if (rc) {
            sp_redis_disconnect(r);
            return rc;
        }
        r->generation++;
    }
    *out = r->ctx;
    return SP_OK;
}

enum sp_code sp_redis_command(struct sp_redis *r, redisReply **out, struct sp_error *err,
                              const char *fmt, ...)
{
    redisContext *ctx = NULL;
    va_list args;
    enum sp_code rc = sp_redis_connect(r, &ctx, err);

    if (rc)
        return rc;
    va_start(args, fmt);
    redisReply *reply = redisvCommand(ctx, fmt, args);
    va_end(args);
    return sp_redis_accept(r, reply, out, err);
}

enum sp_code sp_redis_argv(struct sp_redis *r, int argc, const char **argv, const size_t *len,
                           redisReply **out, struct sp_error *err)
{
    redisContext *ctx = NULL;
    enum sp_code rc = sp_redis_connect(r, &ctx, err);

    return rc ? rc : sp_redis_accept(r, redisCommandArgv(ctx, argc, argv, len), out, err);
}

/* One that broke takes the answers of all that were sent on it along. */
static enum sp_code take_answer(struct sp_redis *r, struct sp_redis_call *call)
{
    void *reply = NULL;

    if (!r->ctx)
        return sp_error_set(&call->err, SP_E_UNAVAILABLE, "redis %s: it broke", r->name);
    if (redisGetReply(r->ctx, &reply) != REDIS_OK)
        reply = NULL;
    return sp_redis_accept(r, reply, &call->reply, &call->err);
}

void sp_redis_calls(struct sp_redis *r, struct sp_redis_call *first)
{
    redisContext *ctx = NULL;
    struct sp_error err = {0};
    enum sp_code rc = sp_redis_connect(r, &ctx, &err);

    for (struct sp_redis_call *call = first; call; call = call->next) {
        call->rc = rc;
        call->err = err;
        if (!rc && redisAppendCommandArgv(ctx, call->argc, call->argv, call->len) != REDIS_OK)
            call->rc = no_memory(&call->err);
    }
    for (struct sp_redis_call *call = first; call; call = call->next) {
        if (!call->rc)
            call->rc = take_answer(r, call);
    }
}

void sp_redis_disconnect(struct sp_redis *r)
{
    if (r->ctx)
        redisFree(r->ctx);
    r->ctx = NULL;
}

const char *sp_redis_name(const struct sp_redis *r)
{
    return r->name;
}

uint64_t sp_redis_generation(const struct sp_redis *r)
{
    return r->generation;
}
