#include "tests/cli/stage.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/files.h"
#include "providers/registry.h"
#include "tests/support.h"
#include "tests/support/fake_provider.h"
#include "tests/support/until.h"

struct sp_redis_server server;
redisContext *redis;
char url[160], brokers[160];
struct mock mock;
static char root[] = "/tmp/sandpiper-settings-XXXXXX";

void open_stage(void)
{
    cr_assert(ne(ptr, mkdtemp(root), NULL));
    cr_assert(eq(int, chdir(root), 0));
    cr_assert(sp_redis_server_start(&server, NULL));
    redis = redisConnectUnix(server.socket);
    mock_start(&mock, 1);
    rd_kafka_mock_topic_create(mock.cluster, "sandpiper.control", 1, 1);
    snprintf(url, sizeof(url), "redis.url=%s", server.url);
    snprintf(brokers, sizeof(brokers), "kafka.bootstrap.servers=%s", mock_brokers(&mock));
    sp_registry_add(&fake_provider);
}

void close_stage(void)
{
    redisFree(redis);
    sp_redis_server_stop(&server);
    mock_stop(&mock);
    sp_remove_tree(root);
}

struct tool expect_code(int code, struct tool t)
{
    cr_assert(eq(int, t.code, code), "%s%s", t.out, t.err);
    return t;
}

void quiet(int code, struct tool t)
{
    expect_code(code, t);
    tool_clear(&t);
}

bool stored(const char *field, const char *text)
{
    redisReply *reply = redisCommand(redis, "HGET sandpiper:settings %s", field);
    bool found = reply && reply->type == REDIS_REPLY_STRING && strstr(reply->str, text);
    freeReplyObject(reply);
    return found;
}

void put(const char *key, const char *value)
{
    freeReplyObject(redisCommand(redis, "SET %s %s", key, value));
}

void write_file(const char *name, const char *text)
{
    cr_assert(eq(int, sp_file_replace(name, text, strlen(text), NULL), SP_OK));
}
