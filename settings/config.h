/*
 * The process's configuration: conf/sandpiper.conf (INI), then SANDPIPER_<SECTION>_<KEY>, then -X
 * section.key=value. Keys: CONTRACT.md 8. [kafka] passes librdkafka's properties through.
 */
#pragma once

#include "base/limits.h"
#include "settings/fields.h"

struct sp_property {
    char *key, *value;
};

struct sp_config {
    struct {
        struct sp_property *properties; /* as given, and bootstrap.servers (localhost:9092); the
                                           other defaults are queue/kafka.c's */
        size_t n;
    } kafka;
    struct {
        char *request_topics, *reply_topic, *dlq_topic, *control_topic,
            *reply_allow; /* lists: separated by commas */
        int64_t window, window_bytes;
    } queue;
    struct {
        char *url, *host, *password, *prefix, *outage; /* url, where not "", wins over the rest */
        int64_t port, db;
    } redis;
    struct {
        char *id, *order;
        int64_t concurrency, drain, setup_timeout, hold, max_attempts,
            liveness; /* durations in ms */
    } worker;
    struct sp_limits limits;
    struct {
        int64_t ttl;
    } results;
    struct {
        int64_t ttl;
    } cancel;
    struct {
        char *listen; /* "host:port"; "" is off; port 0 is any free one */
    } http;
    struct {
        char *level, *format;
    } log;
};

/* One row per section of the file; [kafka] has fields NULL. The README's table and
 * conf/sandpiper.conf follow it. */
struct sp_config_section {
    const char *name;
    const struct sp_field *fields;
    size_t n_fields;
    size_t
        offset; /* of the section's struct in struct sp_config; the fields' offsets count from it */
    const char *help;
};
extern const struct sp_config_section sp_config_sections[];
extern const size_t sp_config_n_sections;

/*
 * Defaults, then `path` (NULL: $SANDPIPER_CONF, else ./conf/sandpiper.conf and
 * /etc/sandpiper/sandpiper.conf if one exists), then the environment, then the n overrides
 * ("section.key=value"). A wrong key or value is SP_E_INVALID with file, line (or variable, or -X)
 * and reason. sp_config_free() frees.
 *
 * SANDPIPER_<SECTION>_<KEY> is the key in upper case; under SANDPIPER_KAFKA_ a '_' stands for a
 * '.'. An unknown key of a known section is refused, an empty variable is as if not set, and other
 * SANDPIPER_* variables are none of ours. redis.url and redis.password may be references
 * (settings/secret.h) and are resolved here; worker.id has its random default on return.
 * Call before other threads start: inih's options are global.
 */
SP_MUST_CHECK enum sp_code sp_config_load(const char *path, const char *const *overrides, size_t n,
                                          struct sp_config **out, struct sp_error *err);
void sp_config_free(struct sp_config *config);
SP_AUTO(struct sp_config *, sp_config_free)
/* The value of a [kafka] property, NULL when not given. */
const char *sp_config_kafka(const struct sp_config *config, const char *key);
