/* The settings hash in Redis: reading it whole, and the one script that changes it. */
#include "settings/store.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define FIELD_PREFIX "sandbox."

/*
 * KEYS: the hash. ARGV: the channel, replace, if_absent, a field and the text that it must have
 * ("" twice: none), position and made_from ("": none), then fields and values. Answers {outcome,
 * version}, the outcome as enum sp_stored. A version that is no number to Redis (edited by hand;
 * "007" is none) would fail the increment when the fields are written already, so it is mended
 * first. The message is only a hint: an ACL that forbids the channel does not fail a change that is
 * already made.
 */
static const char change_script[] =
    "local key, channel, replace, if_absent = KEYS[1], ARGV[1], ARGV[2], ARGV[3]\n"
    "local position, made_from = ARGV[6], ARGV[7]\n"
    "local version = redis.call('HGET', key, 'version')\n"
    "local number = version and string.match(version, '^[1-9]%d*$') or version == '0'\n"
    "local current = number and #version < 16 and tonumber(version) or 0\n"
    "local function newer(a, b)\n"
    "  local offset_a, time_a = string.match(a, '^(-?%d+):(-?%d+)$')\n"
    "  local offset_b, time_b = string.match(b, '^(-?%d+):(-?%d+)$')\n"
    "  if not offset_a or not offset_b then return offset_a ~= nil end\n"
    "  return tonumber(offset_a) > tonumber(offset_b) or tonumber(time_a) > tonumber(time_b)\n"
    "end\n"
    "local held = redis.call('HGET', key, 'control_position')\n"
    "if position ~= '' and version and held then\n"
    "  if held == position then return {1, current} end\n"
    "  if not newer(position, held) then return {2, current} end\n"
    "  if made_from ~= '' and newer(held, made_from) then return {2, current} end\n"
    "end\n"
    "if ARGV[4] ~= '' and (redis.call('HGET', key, ARGV[4]) or '') ~= ARGV[5] then\n"
    "  return {2, current}\n"
    "end\n"
    "if version and not (number and #version < 16) then redis.call('HDEL', key, 'version') end\n"
    "for _, field in ipairs(redis.call('HKEYS', key)) do\n"
    "  local ours = string.sub(field, 1, 8) == 'sandbox.'\n"
    "  if ours and if_absent == '1' then return {2, current} end\n"
    "  if replace == '1' and (ours or field == 'author' or field == 'comment') then\n"
    "    redis.call('HDEL', key, field)\n"
    "  end\n"
    "end\n"
    "for i = 8, #ARGV, 2 do redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end\n"
    "if position ~= '' then redis.call('HSET', key, 'control_position', position) end\n"
    "version = redis.call('HINCRBY', key, 'version', 1)\n"
    "redis.pcall('PUBLISH', channel, version)\n"
    "return {0, version}\n";

static enum sp_code no_memory(struct sp_error *err)
{
    return sp_error_set(err, SP_E_NOMEM, "out of memory");
}

enum sp_code sp_store_read(struct sp_redis *redis, const char *prefix, struct sp_document *out,
                           struct sp_error *err)
{
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    enum sp_code rc = sp_redis_command(redis, &reply, err, "HGETALL %s:settings", prefix);

    if (!rc)
        rc = sp_document_read(reply, out, err);
    return rc ? sp_error_wrap(err, rc, "%s:settings", prefix) : SP_OK;
}

/* The arguments of EVAL; each is owned. */
struct arguments {
    char **items;
    size_t n, cap;
    bool failed; /* without memory */
};

static void add_owned(struct arguments *a, char *item)
{
    if (item && a->n < a->cap) {
        a->items[a->n++] = item;
    } else {
        free(item);
        a->failed = true;
    }
}

static void add(struct arguments *a, const char *text)
{
    add_owned(a, sp_strdup(text));
}

static void add_joined(struct arguments *a, const char *head, const char *tail)
{
    struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    sp_buf_adds(&text, head);
    sp_buf_adds(&text, tail);
    add_owned(a, sp_buf_take(&text, NULL));
}

static void add_pair(struct arguments *a, const char *name, const char *value)
{
    if (value) {
        add(a, name);
        add(a, value);
    }
}

static void clear_arguments(struct arguments *a)
{
    for (size_t i = 0; i < a->n; i++) {
        explicit_bzero(a->items[i], strlen(a->items[i]));
        free(a->items[i]);
    }
    free(a->items);
}

static void add_position(struct arguments *a, const struct sp_position *position)
{
    char text[SP_POSITION_SIZE] = "";

    if (position)
        sp_position_text(position, text);
    add(a, text);
}

/* As the hash holds it. */
static char *settings_text(const json_t *settings)
{
    const char *text = json_string_value(settings);

    return text ? sp_strdup(text) : json_dumps(settings, JSON_COMPACT);
}

static void add_change(struct arguments *a, const char *prefix, const struct sp_change *change)
{
    const char *name;
    json_t *settings;

    add(a, "EVAL");
    add(a, change_script);
    add(a, "1");
    add_joined(a, prefix, ":settings");
    add_joined(a, prefix, ":settings:changed");
    add(a, change->replace ? "1" : "0");
    add(a, change->if_absent ? "1" : "0");
    if (change->base) {
        add_joined(a, FIELD_PREFIX, change->base);
    } else {
        add(a, "");
    }
    add(a, change->base_text ? change->base_text : "");
    add_position(a, change->position);
    add_position(a, change->made_from);
    add_pair(a, FIELD_PREFIX "provider_type", change->provider_type);
    add_pair(a, "author", change->author);
    add_pair(a, "comment", change->comment);
    json_object_foreach (change->providers, name, settings) {
        if (json_is_null(settings)) /* bytes that were no text: sp_document.providers */
            continue;
        add_joined(a, FIELD_PREFIX, name);
        add_owned(a, settings_text(settings));
    }
}

static enum sp_code run_change(struct sp_redis *redis, const struct arguments *a, int64_t *version,
                               enum sp_stored *stored, struct sp_error *err)
{
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    const char **argv = (void *)a->items; /* hiredis only reads them */
    enum sp_code rc = sp_redis_argv(redis, (int)a->n, argv, NULL, &reply, err);

    if (rc)
        return rc;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
        return sp_error_set(err, SP_E_INTERNAL, "redis %s: unexpected answer",
                            sp_redis_name(redis));
    }
    *stored = (enum sp_stored)reply->element[0]->integer;
    *version = reply->element[1]->integer;
    return SP_OK;
}

enum sp_code sp_store_change(struct sp_redis *redis, const char *prefix,
                             const struct sp_change *change, int64_t *version,
                             enum sp_stored *stored, struct sp_error *err)
{
    struct arguments a = {.cap = 17 + 2 * json_object_size(change->providers)};
    enum sp_code rc;

    a.items = calloc(a.cap, sizeof *a.items);
    a.failed = !a.items;
    if (a.items)
        add_change(&a, prefix, change);
    rc = a.failed ? no_memory(err) : run_change(redis, &a, version, stored, err);
    clear_arguments(&a);
    return rc;
}

static enum sp_code preview(const struct sp_change *change, struct sp_document *doc)
{
    const char *name;
    json_t *settings;

    doc->present = true;
    doc->providers = json_object();
    doc->provider_type = sp_strdup(change->provider_type);
    doc->author = change->author ? sp_strdup(change->author) : NULL;
    doc->comment = change->comment ? sp_strdup(change->comment) : NULL;
    json_object_foreach (change->providers, name, settings) {
        sp_auto(sp_free_str) char *text = settings_text(settings);
        if (json_object_set_new(doc->providers, name, json_string(text ? text : "")) || !text)
            return SP_E_NOMEM;
    }
    return doc->provider_type ? SP_OK : SP_E_NOMEM;
}

enum sp_code sp_store_preview(const struct sp_change *change, struct sp_document *out,
                              struct sp_error *err)
{
    sp_auto(sp_document_clear) struct sp_document doc = {.has_position = change->position};

    if (change->position)
        doc.position = *change->position;
    if (preview(change, &doc))
        return no_memory(err);
    enum sp_code rc = sp_document_seal(&doc, err);
    if (rc)
        return rc;
    *out = doc;
    doc = (struct sp_document){0};
    return SP_OK;
}

struct sp_change sp_document_change(const struct sp_document *doc)
{
    return (struct sp_change){
        .provider_type = doc->provider_type,
        .providers = doc->providers,
        .replace = true,
        .author = doc->author,
        .comment = doc->comment,
        .position = doc->has_position ? &doc->position : NULL,
    };
}
