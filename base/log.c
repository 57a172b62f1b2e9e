#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json_out.h"
#include "base/text.h"

/* One value is cut here. A line then seldom passes PIPE_BUF, up to which a write to a pipe is never
 * mixed with another process's. */
#define VALUE_MAX 1024
#define TIME_SIZE 25

static const struct {
    const char *name, *shown;
} levels[] = {
    [SP_DEBUG] = {"debug", "DEBUG"},
    [SP_INFO] = {"info", "INFO"},
    [SP_WARN] = {"warn", "WARN"},
    [SP_ERROR] = {"error", "ERROR"},
};

static enum sp_level threshold = SP_INFO;
static bool as_json = true;

void sp_log_setup(enum sp_level level, bool json)
{
    threshold = level;
    as_json = json;
}

bool sp_log_level_parse(const char *text, enum sp_level *out)
{
    for (size_t i = 0; i < SP_COUNT(levels); i++) {
        if (strcasecmp(text, levels[i].name) == 0) {
            *out = (enum sp_level)i;
            return true;
        }
    }
    return false;
}

bool sp_log_enabled(enum sp_level level)
{
    return level >= threshold;
}

/* The value as valid UTF-8 of bounded length; *room holds what had to be made anew. */
static struct sp_bytes shown_value(const char *value, struct sp_buf *room)
{
    size_t len = strnlen(value, VALUE_MAX + 1);
    bool cut = len > VALUE_MAX;

    if (cut)
        len = sp_utf8_floor(value, VALUE_MAX);
    if (!cut && sp_utf8_valid(value, len))
        return (struct sp_bytes){value, len};
    if (sp_utf8_clean(value, len, room, NULL) || (cut && sp_buf_adds(room, "...")))
        return (struct sp_bytes){"", 0};
    return (struct sp_bytes){room->data, room->len};
}

static void add_json_pair(struct sp_json_out *j, const struct sp_kv *kv)
{
    sp_auto(sp_buf_clear) struct sp_buf room = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    if (kv->type == SP_KV_INT) {
        sp_json_int(j, kv->key, kv->i);
    } else if (!kv->s) {
        sp_json_null(j, kv->key);
    } else {
        struct sp_bytes value = shown_value(kv->s, &room);

        sp_json_text(j, kv->key, value.data, value.len);
    }
}

static enum sp_code make_json(struct sp_buf *line, const char *now, enum sp_level level,
                              const char *event, const struct sp_kv *kv)
{
    struct sp_json_out j = SP_JSON_OUT(line);

    sp_json_object(&j, NULL);
    sp_json_str(&j, "ts", now);
    sp_json_str(&j, "level", levels[level].name);
    sp_json_str(&j, "event", event);
    for (; kv->type != SP_KV_END; kv++)
        add_json_pair(&j, kv);
    sp_json_object_end(&j);
    return j.rc;
}

/* Whether a value reads well without quotes. */
static bool is_plain(struct sp_bytes value)
{
    for (size_t i = 0; i < value.len; i++) {
        if ((unsigned char)value.data[i] <= ' ' || strchr("\"=\\\x7F", value.data[i]))
            return false;
    }
    return value.len > 0;
}

static enum sp_code add_text_pair(struct sp_buf *line, const struct sp_kv *kv)
{
    sp_auto(sp_buf_clear) struct sp_buf room = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    if (kv->type == SP_KV_INT)
        return sp_buf_addf(line, " %s=%" PRId64, kv->key, kv->i);
    if (!kv->s)
        return sp_buf_addf(line, " %s=null", kv->key);

    struct sp_bytes value = shown_value(kv->s, &room);
    struct sp_json_out j = SP_JSON_OUT(line);
    enum sp_code rc = sp_buf_addf(line, " %s=", kv->key);

    if (rc)
        return rc;
    if (is_plain(value))
        return sp_buf_add(line, value.data, value.len);
    sp_json_text(&j, NULL, value.data, value.len);
    return j.rc;
}

static enum sp_code make_text(struct sp_buf *line, const char *now, enum sp_level level,
                              const char *event, const struct sp_kv *kv)
{
    enum sp_code rc = sp_buf_addf(line, "%s %s %s", now, levels[level].shown, event);

    for (; !rc && kv->type != SP_KV_END; kv++)
        rc = add_text_pair(line, kv);
    return rc;
}

void sp_log_event(enum sp_level level, const char *event, const struct sp_kv *kv)
{
    sp_auto(sp_buf_clear) struct sp_buf line = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    int saved_errno = errno; /* callers log between a failure and their look at errno */
    char now[TIME_SIZE];

    sp_wall_iso8601(sp_wall_ms(), now);

    enum sp_code rc =
        as_json ? make_json(&line, now, level, event, kv) : make_text(&line, now, level, event, kv);

    if (!rc && !sp_buf_addc(&line, '\n')) {
        while (write(STDERR_FILENO, line.data, line.len) < 0 && errno == EINTR)
            ;
    }
    errno = saved_errno;
}
