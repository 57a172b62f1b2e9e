#include "providers/self_managed/answer_artifacts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "providers/artifact_intake.h"

enum { NAME_BYTES_MAX = 1024 };

struct item {
    struct sp_buf name;
    struct sp_buf data;
    const char *reason; /* against it; NULL: none */
    char text[SP_ARTIFACT_REASON_MAX];
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
static const char *reason_against_name(const struct sp_artifact_intake *in, struct item *item)
{
    const char *name = sp_buf_str(&item->name);

    if (!is_safe_name(name, item->name.len))
        return "the name is not a relative path without control characters";
    if (is_known(in->result, name))
        return "the name comes twice";
    return sp_artifact_reason(in, name, item->text);
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

static enum sp_code read_item(const struct sp_artifact_intake *in,
                              const struct sp_json_value *value, struct item *item)
{
    enum sp_code rc =
        value->type == SP_JSON_OBJECT ? read_text(value, "name", &item->name) : SP_E_INVALID;
    if (rc == SP_E_INVALID || rc == SP_E_LIMIT) {
        item->reason = "an item without a usable name";
        return SP_OK;
    }
    if (!rc)
        item->reason = reason_against_name(in, item);
    if (rc || item->reason)
        return rc;
    rc = read_content(value, item);
    if (!rc && !item->reason && !is_whole(value, item->data.len))
        item->reason = "the content has another size than announced";
    return rc;
}

static enum sp_code take_in(struct sp_artifact_intake *in, const struct sp_json_value *value)
{
    sp_auto(item_clear) struct item item = {.name = SP_BUF_INIT(NAME_BYTES_MAX),
                                            .data = SP_BUF_INIT(SP_BUF_UNBOUNDED)};

    enum sp_code rc = read_item(in, value, &item);
    if (rc)
        return rc;
    const char *name = sp_buf_str(&item.name);
    int64_t size = (int64_t)item.data.len;
    if (item.reason)
        return sp_artifact_refuse(in, name, size, item.reason);
    if (size > sp_artifact_room(in))
        return sp_artifact_refuse_size(in, name, size);
    return sp_artifact_take(in, name, &item.data);
}

enum sp_code sp_service_answer_artifacts(const struct sp_json_value *array,
                                         const struct sp_artifact_rules *rules,
                                         struct sp_result *out)
{
    struct sp_artifact_intake in = {.rules = rules, .result = out};
    struct sp_json_iter it = sp_json_iter(array);
    struct sp_json_value value;
    struct sp_bytes key;
    enum sp_code rc = SP_OK;

    while (!rc && sp_json_iter_next(&it, &key, &value))
        rc = take_in(&in, &value);
    sp_artifact_intake_end(&in);
    return rc;
}
