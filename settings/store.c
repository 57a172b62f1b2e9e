/* The settings hash in Redis: reading it whole, and the one script that changes it. */
#include "settings/store.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define FIELD_PREFIX "sandbox."
#define PROVIDER_TYPE FIELD_PREFIX "provider_type"

/*
 * KEYS: the hash. ARGV: the channel, replace, if_absent, a field and the text that it must have
 * ("" twice: none), then fields and values. Answers {applied, version}. A version that is no number
 * to Redis (edited by hand; "007" is none) would fail the increment when the fields are written
 * already, so it is mended first. The message is only a hint: an ACL that forbids the channel does
 * not fail a change that is already made.
 */
static const char change_script[] =
    "local key, channel, replace, if_absent = KEYS[1], ARGV[1], ARGV[2], ARGV[3]\n"
    "if ARGV[4] ~= '' and (redis.call('HGET', key, ARGV[4]) or '') ~= ARGV[5] then\n"
    "  return {0, 0}\n"
    "end\n"
    "local version = redis.call('HGET', key, 'version')\n"
    "local number = version and string.match(version, '^[1-9]%d*$') or version == '0'\n"
    "if version and not (number and #version < 16) then\n"
    "  version = nil\n"
    "  redis.call('HDEL', key, 'version')\n"
    "end\n"
    "for _, field in ipairs(redis.call('HKEYS', key)) do\n"
    "  local ours = string.sub(field, 1, 8) == 'sandbox.'\n"
    "  if ours and if_absent == '1' then return {0, tonumber(version or 0)} end\n"
    "  if replace == '1' and (ours or field == 'author' or field == 'comment') then\n"
    "    redis.call('HDEL', key, field)\n"
    "  end\n"
    "end\n"
    "for i = 6, #ARGV, 2 do redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end\n"
    "version = redis.call('HINCRBY', key, 'version', 1)\n"
    "redis.pcall('PUBLISH', channel, version)\n"
    "return {1, version}\n";

void sp_document_clear(struct sp_document *doc)
{
    free(doc->provider_type);
    free(doc->author);
    free(doc->comment);
    json_decref(doc->providers);
    *doc = (struct sp_document){0};
}

static enum sp_code no_memory(struct sp_error *err)
{
    return sp_error_set(err, SP_E_NOMEM, "out of memory");
}

static char *clean_copy(const redisReply *value)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    if (sp_utf8_clean(value->str, value->len, &text, NULL))
        return NULL;
    return sp_buf_take(&text, NULL);
}

static enum sp_code read_text(const redisReply *value, char **out, struct sp_error *err)
{
    free(*out);
    *out = clean_copy(value);
    return *out ? SP_OK : no_memory(err);
}

static void read_version(struct sp_document *doc, const char *text)
{
    doc->has_version = sp_parse_i64(text, 0, INT64_MAX, &doc->version);
}

/* Bytes that are no text are kept as null, which is no settings object either. */
static enum sp_code read_provider(struct sp_document *doc, const char *name,
                                  const redisReply *value, struct sp_error *err)
{
    bool text = !memchr(value->str, '\0', value->len) && sp_utf8_valid(value->str, value->len);
    json_t *json = text ? json_stringn(value->str, value->len) : json_null();

    return json_object_set_new(doc->providers, name, json) ? no_memory(err) : SP_OK;
}

static enum sp_code read_field(struct sp_document *doc, const redisReply *name,
                               const redisReply *value, struct sp_error *err)
{
    static const size_t prefix = sizeof FIELD_PREFIX - 1;

    if (!strcmp(name->str, "version")) {
        read_version(doc, value->str);
    } else if (!strcmp(name->str, "author")) {
        return read_text(value, &doc->author, err);
    } else if (!strcmp(name->str, "comment")) {
        return read_text(value, &doc->comment, err);
    } else if (!strcmp(name->str, PROVIDER_TYPE)) {
        doc->present = true;
        return read_text(value, &doc->provider_type, err);
    } else if (!strncmp(name->str, FIELD_PREFIX, prefix) &&
               sp_utf8_valid(name->str, strlen(name->str))) {
        doc->present = true;
        return read_provider(doc, name->str + prefix, value, err);
    }
    return SP_OK;
}

/* Positions of the names in HGETALL's answer, in the order of the names. */
static int by_name(const void *a, const void *b, void *elements)
{
    redisReply *const *element = elements;
    size_t i = *(const size_t *)a, j = *(const size_t *)b;

    return strcmp(element[i]->str, element[j]->str);
}

static enum sp_code digest_fields(const redisReply *reply, const size_t *order, size_t n, char *out,
                                  struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf bytes = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    enum sp_code rc = SP_OK;

    /* Lengths in front, so that no two hashes look alike. */
    for (size_t i = 0; i < n && !rc; i++) {
        for (size_t j = order[i]; j <= order[i] + 1 && !rc; j++) {
            rc = sp_buf_addf(&bytes, "%zu:", reply->element[j]->len);
            if (!rc)
                rc = sp_buf_add(&bytes, reply->element[j]->str, reply->element[j]->len);
        }
    }
    sp_sha256_hex(sp_buf_str(&bytes), bytes.len, out);
    if (bytes.data)
        explicit_bzero(bytes.data, bytes.len);
    return rc ? no_memory(err) : SP_OK;
}

static enum sp_code make_digest(const redisReply *reply, char *out, struct sp_error *err)
{
    size_t *order = calloc(reply->elements + 1, sizeof *order), n = 0;

    if (!order)
        return no_memory(err);
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        if (!strncmp(reply->element[i]->str, FIELD_PREFIX, sizeof FIELD_PREFIX - 1))
            order[n++] = i;
    }
    qsort_r(order, n, sizeof *order, by_name, reply->element);
    enum sp_code rc = digest_fields(reply, order, n, out, err);
    free(order);
    return rc;
}

static enum sp_code read_answer(const redisReply *reply, struct sp_document *doc,
                                struct sp_error *err)
{
    enum sp_code rc = make_digest(reply, doc->digest, err);

    doc->providers = json_object();
    if (!doc->providers)
        return no_memory(err);
    for (size_t i = 0; i + 1 < reply->elements && !rc; i += 2)
        rc = read_field(doc, reply->element[i], reply->element[i + 1], err);
    return rc;
}

enum sp_code sp_store_read(struct sp_redis *redis, const char *prefix, struct sp_document *out,
                           struct sp_error *err)
{
    sp_auto(freeReplyObject) redisReply *reply = NULL;
    sp_auto(sp_document_clear) struct sp_document doc = {0};
    enum sp_code rc = sp_redis_command(redis, &reply, err, "HGETALL %s:settings", prefix);

    if (!rc)
        rc = read_answer(reply, &doc, err);
    if (rc)
        return sp_error_wrap(err, rc, "%s:settings", prefix);
    *out = doc;
    doc = (struct sp_document){0};
    return SP_OK;
}

enum sp_code sp_document_provider(const struct sp_document *doc, const char *name, json_t **out,
                                  struct sp_error *err)
{
    json_t *stored = json_object_get(doc->providers, name);
    json_error_t where;

    if (!stored) {
        *out = json_object();
        return *out ? SP_OK : no_memory(err);
    }
    if (!json_is_string(stored))
        return sp_error_set(err, SP_E_INVALID, FIELD_PREFIX "%s: is not UTF-8 text", name);
    json_auto_t *json = json_loads(json_string_value(stored), JSON_REJECT_DUPLICATES, &where);
    if (!json) { /* jansson's own text quotes what it found, which may be a secret */
        return sp_error_set(err, SP_E_INVALID,
                            FIELD_PREFIX "%s: is not valid JSON at line %d, column %d", name,
                            where.line, where.column);
    }
    if (!json_is_object(json))
        return sp_error_set(err, SP_E_INVALID, FIELD_PREFIX "%s: expected an object", name);
    *out = SP_TAKE(json);
    return SP_OK;
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
    add_pair(a, PROVIDER_TYPE, change->provider_type);
    add_pair(a, "author", change->author);
    add_pair(a, "comment", change->comment);
    json_object_foreach (change->providers, name, settings) {
        add_joined(a, FIELD_PREFIX, name);
        add_owned(a, json_dumps(settings, JSON_COMPACT));
    }
}

static enum sp_code run_change(struct sp_redis *redis, const struct arguments *a, int64_t *version,
                               bool *applied, struct sp_error *err)
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
    *applied = reply->element[0]->integer == 1;
    *version = reply->element[1]->integer;
    return SP_OK;
}

enum sp_code sp_store_change(struct sp_redis *redis, const char *prefix,
                             const struct sp_change *change, int64_t *version, bool *applied,
                             struct sp_error *err)
{
    struct arguments a = {.cap = 15 + 2 * json_object_size(change->providers)};
    enum sp_code rc;

    a.items = calloc(a.cap, sizeof *a.items);
    a.failed = !a.items;
    if (a.items)
        add_change(&a, prefix, change);
    rc = a.failed ? no_memory(err) : run_change(redis, &a, version, applied, err);
    clear_arguments(&a);
    return rc;
}
