/* A private Redis and a mock cluster for the commands of administrators. */
#pragma once

#include <hiredis/hiredis.h>
#include <stdbool.h>

#include "tests/cli/tool.h"
#include "tests/queue/mock.h"
#include "tests/support/redis_server.h"

extern struct sp_redis_server server;
extern redisContext *redis;
extern char url[160], brokers[160]; /* words behind -X */
extern struct mock mock;

/* In an empty folder, with the fake provider registered. */
void open_stage(void);
void close_stage(void);

#define REDIS "-X", url, "-X", brokers
#define CALL(code, ...) expect_code(code, TOOL(__VA_ARGS__))

/* The call's code is as said; its output is the caller's. */
struct tool expect_code(int code, struct tool t);
/* The same, and nobody wants the output. */
void quiet(int code, struct tool t);

/* Whether a field of the hash of settings has this in it. */
bool stored(const char *field, const char *text);
/* SET in Redis. */
void put(const char *key, const char *value);
void write_file(const char *name, const char *text);

/* The record of a worker; version and error are JSON. */
#define WORKER(id, version, error)                                                                 \
    "{\"id\":\"" id "\",\"host\":\"h\",\"pid\":4,\"state\":\"running\",\"provider\":\"local\","    \
    "\"settings_version\":" version ",\"settings_error\":" error ",\"concurrency\":8,"             \
    "\"running\":2,\"partitions\":[\"t-0\",\"t-1\"],\"started\":1}"
