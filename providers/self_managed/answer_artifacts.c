#include "providers/self_managed/answer_artifacts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum {
    NAME_BYTES_MAX = 1024,
    REFUSED_MAX = 200, /* named in the reply; the rest is counted */
};

struct intake {
    const struct sp_artifact_rules *rules;
    struct sp_result *out;
    int64_t total;
    size_t unnamed; /* refused without a line of its own */
};

struct item {
    struct sp_buf name;
    struct sp_buf data;
    const char *reason; /* against it, known while it is read; NULL: none */
};

static void item_clear(struct item *item)
{
    sp_buf_clear(&item->name);
    sp_buf_clear(&item->data);
}
SP_AUTO_CLEAR(struct item, item_clear)

/* A relative path, no part of which leads elsewhere. */
static bool is_safe_name(const char *name, size_t len)
{
    if (len == 0 || strlen(name) != len || sp_utf8_has_control(name, len) || strchr(name, '\\'))
        return false;
    for (const char *part = name;; part++) {
        size_t part_len = strcspn(part, "/");
        if (part_len == 0 || (part_len == 1 && part[0] == '.') ||
            (part_len == 2 && part[0] == '.' && part[1] == '.'))
            return false;
        part += part_len;
        if (!*part)
            return true;
    }
}

static bool is_known(const struct sp_result *out, const char *name)
{
    for (size_t i = 0; i < out->n_artifacts; i++) {
        if (strcmp(out->artifacts[i].name, name) == 0)
            return true;
    }
    return false;
}

/* Against the name alone; NULL: nothing. */
static const char *reason_against_name(const struct intake *in, const struct sp_buf *name)
{
    const char *text = sp_buf_str(name);

    if (!is_safe_name(text, name->len))
        return "the name is not a relative path without control characters";
    if (!sp_artifact_mime(text))
        return "Unsupported artifact type; allowed are .csv .html .jpeg .jpg .json .pdf .png .svg";
    return is_known(in->out, text) ? "the name comes twice" : NULL;
}

/* Text of a member that is a string; SP_E_INVALID: it is none; SP_E_LIMIT. */
static enum sp_code read_text(const struct sp_json_value *item, const char *key, struct sp_buf *out)
{
    struct sp_json_value value;

    if (!sp_json_get(item, key, &value) || value.type != SP_JSON_STRING)
        return SP_E_INVALID;
    return sp_json_unescape(&value, out);
}

static enum sp_code read_content(const struct sp_json_value *value, struct item *item)
{
    sp_auto(sp_buf_clear) struct sp_buf base64 = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    enum sp_code rc = read_text(value, "content_b64", &base64);
    if (!rc)
        rc = sp_base64_decode(sp_buf_str(&base64), base64.len, &item->data);
    if (rc != SP_E_INVALID)
        return rc;
    item->reason = "the content is not base64";
    return SP_OK;
}

/* What the manager said the size is, against what came. */
static bool is_whole(const struct sp_json_value *value, size_t len)
{
    struct sp_json_value size;
    char expected[24];

    int n = snprintf(expected, sizeof(expected), "%zu", len);
    return !sp_json_get(value, "size", &size) || size.type == SP_JSON_NULL ||
           (size.raw.len == (size_t)n && memcmp(size.raw.data, expected, size.raw.len) == 0);
}

static enum sp_code read_item(const struct intake *in, const struct sp_json_value *value,
                              struct item *item)
{
    enum sp_code rc =
        value->type == SP_JSON_OBJECT ? read_text(value, "name", &item->name) : SP_E_INVALID;
    if (rc == SP_E_INVALID || rc == SP_E_LIMIT) {
        item->reason = "an item without a usable name";
        return SP_OK;
    }
    if (!rc)
        item->reason = reason_against_name(in, &item->name);
    if (rc || item->reason)
        return rc;
    rc = read_content(value, item);
    if (!rc && !item->reason && !is_whole(value, item->data.len))
        item->reason = "the content has another size than announced";
    return rc;
}

/* The limits, in the words of RAGFlow's. */
static bool exceeds(const struct intake *in, size_t len, char *reason, size_t size)
{
    const struct sp_artifact_rules *rules = in->rules;

    reason[0] = '\0';
    if ((int64_t)in->out->n_artifacts >= rules->max_count) {
        snprintf(reason, size, "more than %lld artifacts", (long long)rules->max_count);
    } else if ((int64_t)len > rules->max_bytes) {
        snprintf(reason, size, "exceeds %lld bytes", (long long)rules->max_bytes);
    } else if ((int64_t)len > rules->max_total - in->total) {
        snprintf(reason, size, "exceeds %lld bytes in all artifacts together",
                 (long long)rules->max_total);
    }
    return reason[0] != '\0';
}

static enum sp_code refuse(struct intake *in, const struct item *item, const char *reason)
{
    if (in->out->n_refused >= REFUSED_MAX) {
        in->unnamed++;
        return SP_OK;
    }
    return sp_result_refuse_artifact(in->out, sp_buf_str(&item->name), (int64_t)item->data.len,
                                     reason);
}

static enum sp_code take(struct intake *in, struct item *item)
{
    const char *name = sp_buf_str(&item->name);
    size_t len = 0;
    sp_auto(sp_free_str) char *data = sp_buf_take(&item->data, &len);

    if (!data)
        return SP_E_NOMEM;
    enum sp_code rc = sp_result_add_artifact(in->out, name, sp_artifact_mime(name), data, len);
    if (rc)
        return rc;
    data = NULL; /* the result has it now */
    in->total += (int64_t)len;
    return SP_OK;
}

static enum sp_code take_in(struct intake *in, const struct sp_json_value *value)
{
    sp_auto(item_clear) struct item item = {.name = SP_BUF_INIT(NAME_BYTES_MAX),
                                            .data = SP_BUF_INIT(SP_BUF_UNBOUNDED)};
    char reason[96];

    enum sp_code rc = read_item(in, value, &item);
    if (rc)
        return rc;
    if (item.reason)
        return refuse(in, &item, item.reason);
    if (exceeds(in, item.data.len, reason, sizeof(reason)))
        return refuse(in, &item, reason);
    return take(in, &item);
}

enum sp_code sp_service_answer_artifacts(const struct sp_json_value *array,
                                         const struct sp_artifact_rules *rules,
                                         struct sp_result *out)
{
    struct intake in = {.rules = rules, .out = out};
    struct sp_json_iter it = sp_json_iter(array);
    struct sp_json_value value;
    struct sp_bytes key;
    enum sp_code rc = SP_OK;

    while (!rc && sp_json_iter_next(&it, &key, &value))
        rc = take_in(&in, &value);
    if (in.unnamed > 0)
        sp_result_warn(out, "%zu more artifacts were refused", in.unnamed);
    return rc;
}
