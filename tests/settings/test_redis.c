#include "settings/redis.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "tests/support.h"
#include "tests/support/redis_server.h"

static struct sp_redis_server server;

static void ignore_pipe(void)
{
    signal(SIGPIPE, SIG_IGN);
}

static void stop_server(void)
{
    sp_redis_server_stop(&server);
}

TestSuite(redis, .init = ignore_pipe, .fini = stop_server);

static enum sp_code new_redis(const char *url, struct sp_redis **out, struct sp_error *err)
{
    char text[160];
    struct sp_config config = {.redis = {.url = text}};

    snprintf(text, sizeof text, "%s", url);
    return sp_redis_new(&config, out, err);
}

static struct sp_redis *must_new(const char *url)
{
    struct sp_redis *redis = NULL;
    struct sp_error err = {0};

    cr_assert(eq(int, new_redis(url, &redis, &err), SP_OK), "%s: %s", url, err.msg);
    return redis;
}

static const struct {
    const char *url, *name;
} good_urls[] = {
    {"redis://127.0.0.1", "127.0.0.1:6379/0"},
    {"redis://127.0.0.1/", "127.0.0.1:6379/0"},
    {"redis://cache.example:7000/3", "cache.example:7000/3"},
    {"redis://user:p%40ss%2Fword@cache/1", "cache:6379/1"},
    {"redis://:pw@cache", "cache:6379/0"},
    {"redis://user:a:b@cache", "cache:6379/0"},
    {"redis://user:a@b@cache", "cache:6379/0"},
    {"redis://[::1]:7000/2", "[::1]:7000/2"},
    {"redis://[::1]", "[::1]:6379/0"},
    {"redis://cache?db=4", "cache:6379/4"},
    {"unix:///run/redis.sock", "/run/redis.sock/0"},
    {"unix:///run/my%20redis.sock?db=5", "/run/my redis.sock/5"},
    {"unix://:pw@/run/redis.sock", "/run/redis.sock/0"},
};

SP_TABLE_TEST(redis, an_url_gives_an_address, good_urls, row)
{
    sp_auto(sp_redis_free) struct sp_redis *redis = must_new(row->url);

    cr_expect(eq(str, (char *)sp_redis_name(redis), (char *)row->name));
}

static const struct {
    const char *url, *message;
} bad_urls[] = {
    {"http://cache", "unknown scheme"},
    {"cache:6379", "unknown scheme"},
    {"redis://", "the host is missing"},
    {"redis://:hush@", "the host is missing"},
    {"redis://:hush@:6379", "the host is missing"},
    {"redis://[]:6379", "the host is missing"},
    {"redis://[::1", "the host is missing"},
    {"redis://:hush@cache:0", "the port is not a number from 1 to 65535"},
    {"redis://:hush@cache:", "the port is not a number from 1 to 65535"},
    {"redis://:hush@cache:123456789", "the port is not a number from 1 to 65535"},
    {"redis://[::1]x", "the port is not a number from 1 to 65535"},
    {"redis://:hush@cache/x", "the database is not a number"},
    {"redis://:hush@cache/1/2", "the database is not a number"},
    {"redis://:hush@cache?db=-1", "the database is not a number"},
    {"redis://:hush@cache?password=hush", "only db may stand behind ?"},
    {"redis://:hush%@cache", "a % must be followed by two hex digits, not 00"},
    {"redis://:hush%4@cache", "a % must be followed by two hex digits, not 00"},
    {"redis://:hush%zz@cache", "a % must be followed by two hex digits, not 00"},
    {"redis://:hush%00@cache", "a % must be followed by two hex digits, not 00"},
    {"unix://run/redis.sock", "the path of the socket must begin with /"},
    {"unix://", "the path of the socket must begin with /"},
};

SP_TABLE_TEST(redis, a_bad_url_is_explained_and_never_shown, bad_urls, row)
{
    struct sp_redis *redis = NULL;
    struct sp_error err = {0};

    cr_assert(eq(int, new_redis(row->url, &redis, &err), SP_E_INVALID), "for %s", row->url);

    cr_expect(ne(ptr, strstr(err.msg, row->message), NULL), "for %s: %s", row->url, err.msg);
    cr_expect(eq(ptr, strstr(err.msg, "hush"), NULL), "for %s: %s", row->url, err.msg);
}

Test(redis, the_members_count_where_there_is_no_url)
{
    char host[] = "cache", empty[] = "";
    struct sp_config config = {.redis = {.url = empty, .host = host, .port = 7000, .db = 2}};
    sp_auto(sp_redis_free) struct sp_redis *redis = NULL;

    cr_assert(eq(int, sp_redis_new(&config, &redis, NULL), SP_OK));

    cr_expect(eq(str, (char *)sp_redis_name(redis), "cache:7000/2"));
}

static redisReply *run(struct sp_redis *redis, const char *command)
{
    redisReply *reply = NULL;
    struct sp_error err = {0};

    cr_assert(eq(int, sp_redis_command(redis, &reply, &err, command), SP_OK), "%s: %s", command,
              err.msg);
    return reply;
}

static enum sp_code fail(struct sp_redis *redis, const char *command, struct sp_error *err)
{
    redisReply *reply = NULL;
    enum sp_code rc = sp_redis_command(redis, &reply, err, command);

    cr_assert(eq(ptr, reply, NULL), "%s gave an answer", command);
    return rc;
}

Test(redis, commands_run_over_the_socket_and_over_tcp)
{
    char url[64];

    cr_assert(sp_redis_server_start(&server, NULL));
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/3", server.port);
    sp_auto(sp_redis_free) struct sp_redis *a = must_new(server.url), *b = must_new(url);
    char select_3[160];
    snprintf(select_3, sizeof select_3, "%s?db=3", server.url);
    sp_auto(sp_redis_free) struct sp_redis *c = must_new(select_3);

    sp_auto(freeReplyObject) redisReply *set = run(b, "SET key value");
    sp_auto(freeReplyObject) redisReply *elsewhere = run(a, "GET key");
    sp_auto(freeReplyObject) redisReply *got = run(c, "GET key");

    cr_expect(eq(int, elsewhere->type, REDIS_REPLY_NIL));
    cr_expect(eq(str, got->str, "value"));
    cr_expect(eq(u64, sp_redis_generation(a), 1));
}

Test(redis, a_password_is_needed_where_the_server_wants_one)
{
    char *args[] = {"--requirepass", "p@ss/word", NULL};
    char url[160];
    struct sp_error err = {0};

    cr_assert(sp_redis_server_start(&server, args));
    snprintf(url, sizeof url, "unix://:p%%40ss%%2Fword@%s", server.socket);
    sp_auto(sp_redis_free) struct sp_redis *good = must_new(url), *none = must_new(server.url);
    snprintf(url, sizeof url, "unix://default:hush@%s", server.socket);
    sp_auto(sp_redis_free) struct sp_redis *bad = must_new(url);

    sp_auto(freeReplyObject) redisReply *pong = run(good, "PING");
    cr_expect(eq(int, fail(none, "PING", &err), SP_E_DENIED));
    cr_expect(eq(int, fail(bad, "PING", &err), SP_E_DENIED));
    cr_expect(eq(ptr, strstr(err.msg, "hush"), NULL), "%s", err.msg);
}

Test(redis, a_password_that_the_server_does_not_want_is_refused)
{
    char url[160];
    struct sp_error err = {0};

    cr_assert(sp_redis_server_start(&server, NULL));
    snprintf(url, sizeof url, "unix://:hush@%s", server.socket);
    sp_auto(sp_redis_free) struct sp_redis *redis = must_new(url);

    cr_expect(eq(int, fail(redis, "PING", &err), SP_E_DENIED));
    cr_expect(eq(ptr, strstr(err.msg, "hush"), NULL), "%s", err.msg);
}

static const struct {
    const char *prepare, *command;
    enum sp_code code;
} answers[] = {
    {"PING", "GET", SP_E_INVALID},
    {"SET key text", "HGETALL key", SP_E_INVALID},
    {"CONFIG SET maxmemory 1", "SET key value", SP_E_UNAVAILABLE},
    {"REPLICAOF 127.0.0.1 1", "SET key value", SP_E_UNAVAILABLE},
    {"ACL SETUSER default -get", "GET key", SP_E_DENIED},
};

SP_TABLE_TEST(redis, an_error_answer_says_what_to_do, answers, row)
{
    struct sp_error err = {0};

    cr_assert(sp_redis_server_start(&server, NULL));
    sp_auto(sp_redis_free) struct sp_redis *redis = must_new(server.url);
    sp_auto(freeReplyObject) redisReply *prepared = run(redis, row->prepare);

    cr_expect(eq(int, fail(redis, row->command, &err), row->code), "%s: %s", row->command, err.msg);
    cr_expect(eq(u64, sp_redis_generation(redis), 1), "the connection is still good");
}

Test(redis, an_unknown_command_is_not_quoted_with_its_arguments)
{
    struct sp_error err = {0};

    cr_assert(sp_redis_server_start(&server, NULL));
    sp_auto(sp_redis_free) struct sp_redis *redis = must_new(server.url);

    cr_expect(eq(int, fail(redis, "NOSUCH hush", &err), SP_E_INVALID));
    cr_expect(eq(ptr, strstr(err.msg, "hush"), NULL), "%s", err.msg);
}

Test(redis, a_server_that_is_not_there_is_unavailable)
{
    struct sp_error err = {0};
    sp_auto(sp_redis_free) struct sp_redis *redis = must_new("unix:///nowhere/redis.sock");

    cr_expect(eq(int, fail(redis, "PING", &err), SP_E_UNAVAILABLE));
    cr_expect(eq(str, err.msg, "redis /nowhere/redis.sock/0: No such file or directory"));
}

Test(redis, after_a_broken_connection_the_next_call_connects_anew)
{
    struct sp_error err = {0};

    cr_assert(sp_redis_server_start(&server, NULL));
    sp_auto(sp_redis_free) struct sp_redis *redis = must_new(server.url);
    sp_auto(freeReplyObject) redisReply *first = run(redis, "PING");

    sp_redis_server_kill(&server);
    cr_assert(eq(int, fail(redis, "PING", &err), SP_E_UNAVAILABLE));
    cr_assert(eq(int, fail(redis, "PING", &err), SP_E_UNAVAILABLE));
    cr_assert(sp_redis_server_start(&server, NULL));
    sp_auto(freeReplyObject) redisReply *second = run(redis, "PING");

    cr_expect(eq(u64, sp_redis_generation(redis), 2));
}

Test(redis, a_server_that_hangs_costs_the_time_out_only)
{
    struct sp_error err = {0};

    cr_assert(sp_redis_server_start(&server, NULL));
    sp_auto(sp_redis_free) struct sp_redis *redis = must_new(server.url);
    sp_auto(freeReplyObject) redisReply *first = run(redis, "PING");
    kill(server.pid, SIGSTOP);
    int64_t start = sp_mono_ms();

    cr_expect(eq(int, fail(redis, "PING", &err), SP_E_UNAVAILABLE));
    cr_expect(lt(i64, sp_mono_ms() - start, 15000));
    cr_expect(ne(ptr, strstr(err.msg, "no answer in time"), NULL), "%s", err.msg);
}
