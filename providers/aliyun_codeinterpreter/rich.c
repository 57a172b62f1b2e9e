/* Rich results of a program, as artifacts. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "providers/aliyun_codeinterpreter/items.h"
#include "providers/artifact_intake.h"

enum { NAME_MAX_BYTES = 64 };

/* As Jupyter's kernels send them; other types of the bundle are not files that a reply can carry.
 */
static const struct {
    const char *mime, *extension;
    enum { BASE64, TEXT, RAW } form;
} kinds[] = {
    {"image/png", "png", BASE64},      {"image/jpeg", "jpeg", BASE64},
    {"image/svg+xml", "svg", TEXT},    {"application/pdf", "pdf", BASE64},
    {"text/html", "html", TEXT},       {"text/csv", "csv", TEXT},
    {"application/json", "json", RAW},
};

/* Kernels break the lines of base64. */
static enum sp_code decode_base64(struct sp_buf *text, struct sp_buf *out)
{
    size_t n = 0;
    for (size_t i = 0; i < text->len; i++) {
        if (text->data[i] != '\n' && text->data[i] != '\r')
            text->data[n++] = text->data[i];
    }
    return sp_base64_decode(text->data, n, out);
}

/* SP_E_INVALID: it is not what its type says. */
static enum sp_code read_content(const struct sp_json_value *value, int form, struct sp_buf *out)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    if (form == RAW)
        return sp_buf_add(out, value->raw.data, value->raw.len);
    if (value->type != SP_JSON_STRING)
        return SP_E_INVALID;
    enum sp_code rc = sp_json_unescape(value, form == TEXT ? out : &text);
    return rc || form == TEXT ? rc : decode_base64(&text, out);
}

static bool is_taken(const struct sp_result *result, const char *name)
{
    for (size_t i = 0; i < result->n_artifacts; i++) {
        if (strcmp(result->artifacts[i].name, name) == 0)
            return true;
    }
    return false;
}

static enum sp_code take(struct sp_artifact_intake *in, const char *name, struct sp_buf *content)
{
    char text[SP_ARTIFACT_REASON_MAX];
    int64_t size = (int64_t)content->len;

    const char *reason = is_taken(in->result, name) ? "the program left a file of this name"
                                                    : sp_artifact_reason(in, name, text);
    if (reason)
        return sp_artifact_refuse(in, name, size, reason);
    if (size > sp_artifact_room(in))
        return sp_artifact_refuse_size(in, name, size);
    return sp_artifact_take(in, name, content);
}

/* One result in several forms: each that a reply can carry. */
static enum sp_code take_bundle(struct sp_artifact_intake *in, const struct sp_json_value *bundle,
                                size_t number)
{
    struct sp_json_value value;
    enum sp_code rc = SP_OK;

    for (size_t i = 0; !rc && i < SP_COUNT(kinds); i++) {
        sp_auto(sp_buf_clear) struct sp_buf content = SP_BUF_INIT(SP_BUF_UNBOUNDED);
        char name[NAME_MAX_BYTES];
        if (!sp_json_get(bundle, kinds[i].mime, &value))
            continue;
        snprintf(name, sizeof(name), "result-%zu.%s", number, kinds[i].extension);
        rc = read_content(&value, (int)kinds[i].form, &content);
        if (rc == SP_E_INVALID) {
            rc = sp_artifact_refuse(in, name, (int64_t)value.raw.len,
                                    "the content is not what its type says");
        } else if (!rc) {
            rc = take(in, name, &content);
        }
    }
    return rc;
}

enum sp_code sp_items_take_results(const struct sp_items *items,
                                   const struct sp_artifact_rules *rules, struct sp_result *result)
{
    struct sp_artifact_intake in = {.rules = rules, .result = result};
    struct sp_json_iter it = sp_json_iter(&items->results);
    struct sp_json_value item, bundle;
    struct sp_bytes key;
    enum sp_code rc = SP_OK;
    size_t number = 0;

    for (; (size_t)in.count < result->n_artifacts; in.count++)
        in.total += (int64_t)result->artifacts[in.count].len;
    while (!rc && sp_json_iter_next(&it, &key, &item)) {
        if (!sp_items_is(&item, "result"))
            continue;
        number++;
        if (sp_json_get(&item, "data", &bundle) && bundle.type == SP_JSON_OBJECT)
            rc = take_bundle(&in, &bundle, number);
    }
    sp_artifact_intake_end(&in);
    return rc;
}
