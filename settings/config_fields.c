/* The tables of the configuration file's sections. Keys and defaults: CONTRACT.md 8 and 9. */
#include "settings/config.h"

/* The type of a section's struct, for the row macros. */
#define IN(section) __typeof__(((struct sp_config *)0)->section)
#define SECTION(section, text)                                                                     \
    {                                                                                              \
        .name = #section, .fields = section##_fields, .n_fields = SP_COUNT(section##_fields),      \
        .offset = offsetof(struct sp_config, section), .help = (text)                              \
    }
#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

static const char *const outages[] = {"continue", "pause", NULL};
static const char *const orders[] = {"none", "key", NULL};
static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const formats[] = {"json", "text", NULL};

static const struct sp_field queue_fields[] = {
    SP_ROW_STR(IN(queue), request_topics, .flags = SP_REQUIRED, .def_str = "sandpiper.requests",
               .help = "topics to take requests from, separated by commas"),
    SP_ROW_STR(IN(queue), reply_topic, .flags = SP_REQUIRED, .def_str = "sandpiper.results",
               .help = "topic of replies that have no other address"),
    SP_ROW_STR(IN(queue), dlq_topic,
               .help = "dead letters; empty: <request topic>-dlq of each request topic"),
    SP_ROW_STR(IN(queue), control_topic, .flags = SP_REQUIRED, .def_str = "sandpiper.control",
               .help = "settings documents and cancellations"),
    SP_ROW_STR(IN(queue), reply_allow, .def_str = "sandpiper.reply.*",
               .help = "reply topics that a request may name, separated by commas; exact names, "
                       "or prefixes ending in *"),
    SP_ROW_INT(IN(queue), window, .def_int = 10000, SP_RANGE(1, 1000000),
               .help = "offsets per partition that may be in work before the first of them is "
                       "done"),
    SP_ROW_SIZE(IN(queue), window_bytes, .def_str = "64M", SP_RANGE(MIB, 64 * GIB),
                .help = "bytes of requests that this worker holds at once"),
};

static const struct sp_field redis_fields[] = {
    SP_ROW_STR(IN(redis), url, .flags = SP_SECRET,
               .help = "redis://[user[:password]@]host[:port][/db], rediss:// (TLS) or "
                       "unix:///path?db=n; wins over host, port, password and db"),
    SP_ROW_STR(IN(redis), host, .flags = SP_REQUIRED, .def_str = "127.0.0.1", .help = "host"),
    SP_ROW_INT(IN(redis), port, .def_int = 6379, SP_RANGE(1, 65535), .help = "port"),
    SP_ROW_STR(IN(redis), password, .flags = SP_SECRET,
               .help = "password; env:NAME and file:PATH are understood"),
    SP_ROW_INT(IN(redis), db, .def_int = 0, SP_RANGE(0, 65535), .help = "database number"),
    SP_ROW_STR(IN(redis), prefix, .flags = SP_REQUIRED, .def_str = "sandpiper",
               .help = "first part of every key and channel"),
    SP_ROW_STR(IN(redis), outage, .def_str = "continue", .options = outages,
               .help = "when Redis is away for longer than worker.liveness: continue without "
                       "claims, or pause"),
};

static const struct sp_field worker_fields[] = {
    SP_ROW_STR(IN(worker), id,
               .help = "name of this worker, unique in the fleet; empty: <host>-<random>"),
    SP_ROW_INT(IN(worker), concurrency, .def_int = 16, SP_RANGE(1, 1024),
               .help = "jobs that run at once"),
    SP_ROW_DURATION(IN(worker), drain, .def_str = "30s", SP_RANGE(0, 24 * HOUR),
                    .help = "time that running jobs have to end when the worker is stopped"),
    SP_ROW_DURATION(IN(worker), setup_timeout, .def_str = "60s", SP_RANGE(SECOND, HOUR),
                    .help = "longest time to create an instance and to upload"),
    SP_ROW_DURATION(IN(worker), hold, .def_str = "5m", SP_RANGE(0, 24 * HOUR),
                    .help = "longest wait for an unavailable provider, where the request names no "
                            "limit"),
    SP_ROW_STR(IN(worker), order, .def_str = "none", .options = orders,
               .help = "none, or key: requests of one key run one after the other"),
    SP_ROW_INT(IN(worker), max_attempts, .def_int = 3, SP_RANGE(1, 100),
               .help = "runs that may end in a worker's death before a request goes to the DLQ"),
    SP_ROW_DURATION(IN(worker), liveness, .def_str = "10s", SP_RANGE(SECOND, HOUR),
                    .help = "a worker that is silent for so long counts as dead; jobs wait as long "
                            "for a Redis that is away"),
};

static const struct sp_field limits_fields[] = {
    SP_ROW_SIZE(struct sp_limits, code_bytes, .def_str = "1M", SP_RANGE(1, GIB),
                .help = "a request's code, decoded"),
    SP_ROW_SIZE(struct sp_limits, files_bytes, .def_str = "1M", SP_RANGE(0, GIB),
                .help = "all input files of a request, decoded"),
    SP_ROW_SIZE(struct sp_limits, reply_bytes, .def_str = "900000", SP_RANGE(16 * KIB, GIB),
                .help = "a reply; what is over it becomes attachments"),
    SP_ROW_SIZE(struct sp_limits, output_bytes, .def_str = "1M", SP_RANGE(KIB, GIB),
                .help = "each of stdout and stderr, where the provider has no limit of its own"),
    SP_ROW_SIZE(struct sp_limits, response_bytes, .def_str = "64M", SP_RANGE(KIB, 4 * GIB),
                .help = "one response of a remote service that holds all output"),
    SP_ROW_INT(struct sp_limits, artifacts, .def_int = 20, SP_RANGE(0, 1000),
               .help = "number of artifacts, where the provider has no limit of its own"),
    SP_ROW_SIZE(struct sp_limits, artifact_bytes, .def_str = "10M", SP_RANGE(KIB, GIB),
                .help = "one artifact, where the provider has no limit of its own"),
    SP_ROW_SIZE(struct sp_limits, artifacts_total, .def_str = "50M", SP_RANGE(KIB, 4 * GIB),
                .help = "all artifacts of one run"),
    /* Not by the macro: the key is without the member's unit. */
    {.key = "timeout",
     .type = SP_FIELD_DURATION,
     .offset = SP_OFFSET_OF(struct sp_limits, timeout_ms, int64_t),
     .def_str = "600s",
     SP_RANGE(SECOND, 24 * HOUR),
     .help = "longest run of a program, whatever a request asks for"},
};

static const struct sp_field results_fields[] = {
    SP_ROW_DURATION(IN(results), ttl, .def_str = "1h", SP_RANGE(SECOND, 8760 * HOUR),
                    .help = "time for which Redis keeps results, with which repeated requests are "
                            "answered, and attachments"),
};

static const struct sp_field cancel_fields[] = {
    SP_ROW_DURATION(IN(cancel), ttl, .def_str = "24h", SP_RANGE(SECOND, 8760 * HOUR),
                    .help =
                        "time for which a cancellation is in force, from when it was published"),
};

static const struct sp_field http_fields[] = {
    SP_ROW_STR(IN(http), listen, .def_str = "127.0.0.1:9464",
               .help = "host:port of /healthz, /readyz and /metrics; port 0 is any free one, empty "
                       "is off"),
};

static const struct sp_field log_fields[] = {
    SP_ROW_STR(IN(log), level, .def_str = "info", .options = levels, .help = "least level shown"),
    SP_ROW_STR(IN(log), format, .def_str = "json", .options = formats,
               .help = "json lines, or text for people"),
};

const struct sp_config_section sp_config_sections[] = {
    {.name = "kafka",
     .offset = offsetof(struct sp_config, kafka),
     .help = "librdkafka's properties, passed through"},
    SECTION(queue, "topics, and how much is taken from them at once"),
    SECTION(redis, "where settings, claims and attachments are"),
    SECTION(worker, "this process"),
    SECTION(limits, "what one request may use"),
    SECTION(results, "stored results"),
    SECTION(cancel, "cancellations"),
    SECTION(http, "health and metrics"),
    SECTION(log, "logs, on stderr"),
};
const size_t sp_config_n_sections = SP_COUNT(sp_config_sections);
