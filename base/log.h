/* One event, one JSON line (or plain text line) on stderr. Values are escaped here, so callers pass
 * them raw; invalid UTF-8 is replaced, and a value of more than 1024 bytes is cut. errno stays. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum sp_level { SP_DEBUG, SP_INFO, SP_WARN, SP_ERROR };

struct sp_kv {
    const char *key;
    enum { SP_KV_END, SP_KV_STR, SP_KV_INT } type;
    union {
        const char *s; /* NULL is written as null */
        int64_t i;
    };
};

static inline struct sp_kv sp_s(const char *key, const char *value)
{
    return (struct sp_kv){.key = key, .type = SP_KV_STR, .s = value};
}

static inline struct sp_kv sp_i(const char *key, int64_t value)
{
    return (struct sp_kv){.key = key, .type = SP_KV_INT, .i = value};
}

/* Levels below are dropped; JSON lines, or text for people. Defaults: SP_INFO, JSON. Call before
 * threads start. */
void sp_log_setup(enum sp_level level, bool json);
bool sp_log_level_parse(const char *text,
                        enum sp_level *out); /* "debug", "info", "warn", "error" */
bool sp_log_enabled(enum sp_level level);

/* sp_log(SP_INFO, "execution_done", sp_s("task_id", id), sp_i("took_ms", ms)); Thread: any. One
 * write(2) a line. */
#define sp_log(level, event, ...)                                                                  \
    do {                                                                                           \
        if (sp_log_enabled(level))                                                                 \
            sp_log_event((level), (event), (const struct sp_kv[]){{0}, ##__VA_ARGS__, {0}} + 1);   \
    } while (0)

/* kv ends with a zeroed entry. */
void sp_log_event(enum sp_level level, const char *event, const struct sp_kv *kv);
