#include "settings/document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define FIELD_PREFIX "sandbox."
#define PREFIX_LEN (sizeof(FIELD_PREFIX) - 1)
#define TYPE "provider_type"

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

/* ---- position ---- */

void sp_position_text(const struct sp_position *position, char out[SP_POSITION_SIZE])
{
    (void)snprintf(out, SP_POSITION_SIZE, "%lld:%lld", (long long)position->offset,
                   (long long)position->timestamp_ms);
}

bool sp_position_parse(const char *text, struct sp_position *out)
{
    char copy[SP_POSITION_SIZE];
    const char *colon = strchr(text, ':');
    if (!colon || strlen(text) >= sizeof(copy))
        return false;
    memcpy(copy, text, strlen(text) + 1);
    copy[colon - text] = '\0';
    struct sp_position read;
    if (!sp_parse_i64(copy, 0, INT64_MAX, &read.offset) ||
        !sp_parse_i64(colon + 1, 0, INT64_MAX, &read.timestamp_ms))
        return false;
    *out = read;
    return true;
}

/* ---- digest ---- */

/* One field of the settings, its name without the prefix. Borrowed. */
struct field {
    struct sp_bytes name, value;
};

static int by_name(const void *a, const void *b)
{
    const struct sp_bytes *x = &((const struct field *)a)->name;
    const struct sp_bytes *y = &((const struct field *)b)->name;
    int order = memcmp(x->data, y->data, x->len < y->len ? x->len : y->len);
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

static enum sp_code add_counted(struct sp_buf *bytes, const struct sp_bytes *text)
{
    enum sp_code rc = sp_buf_addf(bytes, "%zu:", text->len);
    return rc ? rc : sp_buf_add(bytes, text->data, text->len);
}

/* Lengths in front, so that no two documents look alike. */
static enum sp_code digest(struct field *fields, size_t n, char *out, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf bytes = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    enum sp_code rc = SP_OK;
    qsort(fields, n, sizeof(*fields), by_name);
    for (size_t i = 0; !rc && i < n; i++) {
        rc = add_counted(&bytes, &fields[i].name);
        if (!rc)
            rc = add_counted(&bytes, &fields[i].value);
    }
    sp_sha256_hex(sp_buf_str(&bytes), bytes.len, out);
    if (bytes.data)
        explicit_bzero(bytes.data, bytes.len);
    return rc ? no_memory(err) : SP_OK;
}

static struct sp_bytes text_bytes(const char *text)
{
    return (struct sp_bytes){text, strlen(text)};
}

enum sp_code sp_document_seal(struct sp_document *doc, struct sp_error *err)
{
    struct field *fields = calloc(json_object_size(doc->providers) + 1, sizeof(*fields));
    const char *name;
    json_t *text;
    size_t n = 0;
    if (!fields)
        return no_memory(err);
    if (doc->provider_type)
        fields[n++] = (struct field){text_bytes(TYPE), text_bytes(doc->provider_type)};
    json_object_foreach (doc->providers, name, text)
        fields[n++] = (struct field){text_bytes(name), text_bytes(json_string_value(text))};
    enum sp_code rc = digest(fields, n, doc->digest, err);
    free(fields);
    return rc;
}

/* Of the bytes as they are stored, which need not be text. */
static enum sp_code digest_reply(const redisReply *reply, char *out, struct sp_error *err)
{
    struct field *fields = calloc(reply->elements + 1, sizeof(*fields));
    size_t n = 0;
    if (!fields)
        return no_memory(err);
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        const redisReply *name = reply->element[i], *value = reply->element[i + 1];
        if (strncmp(name->str, FIELD_PREFIX, PREFIX_LEN) == 0) {
            fields[n++] = (struct field){{name->str + PREFIX_LEN, name->len - PREFIX_LEN},
                                         {value->str, value->len}};
        }
    }
    enum sp_code rc = digest(fields, n, out, err);
    free(fields);
    return rc;
}

/* ---- reading ---- */

static enum sp_code read_text(const redisReply *value, char **out, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    free(*out);
    *out = sp_utf8_clean(value->str, value->len, &text, NULL) ? NULL : sp_buf_take(&text, NULL);
    return *out ? SP_OK : no_memory(err);
}

/* Bytes that are no text are kept as null, which is no settings object either. */
static enum sp_code read_provider(struct sp_document *doc, const char *name,
                                  const redisReply *value, struct sp_error *err)
{
    bool text = !memchr(value->str, '\0', value->len) && sp_utf8_valid(value->str, value->len);
    json_t *json = text ? json_stringn(value->str, value->len) : json_null();
    return json_object_set_new(doc->providers, name, json) ? no_memory(err) : SP_OK;
}

static enum sp_code read_setting(struct sp_document *doc, const char *name, const redisReply *value,
                                 struct sp_error *err)
{
    doc->present = true;
    if (strcmp(name, TYPE) == 0)
        return read_text(value, &doc->provider_type, err);
    return sp_utf8_valid(name, strlen(name)) ? read_provider(doc, name, value, err) : SP_OK;
}

static enum sp_code read_field(struct sp_document *doc, const redisReply *name,
                               const redisReply *value, struct sp_error *err)
{
    if (strncmp(name->str, FIELD_PREFIX, PREFIX_LEN) == 0)
        return read_setting(doc, name->str + PREFIX_LEN, value, err);
    if (strcmp(name->str, "version") == 0) {
        doc->has_version = sp_parse_i64(value->str, 0, INT64_MAX, &doc->version);
    } else if (strcmp(name->str, "control_position") == 0) {
        doc->has_position = sp_position_parse(value->str, &doc->position);
    } else if (strcmp(name->str, "author") == 0) {
        return read_text(value, &doc->author, err);
    } else if (strcmp(name->str, "comment") == 0) {
        return read_text(value, &doc->comment, err);
    }
    return SP_OK;
}

enum sp_code sp_document_read(const redisReply *reply, struct sp_document *out,
                              struct sp_error *err)
{
    sp_auto(sp_document_clear) struct sp_document doc = {.providers = json_object()};
    enum sp_code rc = doc.providers ? digest_reply(reply, doc.digest, err) : no_memory(err);
    for (size_t i = 0; i + 1 < reply->elements && !rc; i += 2)
        rc = read_field(&doc, reply->element[i], reply->element[i + 1], err);
    if (rc)
        return rc;
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

enum sp_code sp_document_copy(const struct sp_document *doc, struct sp_document *out,
                              struct sp_error *err)
{
    struct sp_document copy = *doc;
    copy.provider_type = doc->provider_type ? sp_strdup(doc->provider_type) : NULL;
    copy.author = doc->author ? sp_strdup(doc->author) : NULL;
    copy.comment = doc->comment ? sp_strdup(doc->comment) : NULL;
    copy.providers = json_deep_copy(doc->providers);
    if (!copy.providers || !copy.provider_type != !doc->provider_type ||
        !copy.author != !doc->author || !copy.comment != !doc->comment) {
        sp_document_clear(&copy);
        return no_memory(err);
    }
    *out = copy;
    return SP_OK;
}
