/* Rich results of a program, as artifacts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "providers/aliyun_codeinterpreter/items.h"

enum {
    NAME_MAX_BYTES = 64,
    REFUSED_MAX = 200, /* named in the reply; the rest is counted */
};

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

struct intake {
    const struct sp_artifact_rules *rules;
    struct sp_result *result;
    size_t unnamed; /* refused without a line of its own */
};

static enum sp_code refuse(struct intake *in, const char *name, size_t size, const char *reason)
{
    if (in->result->n_refused >= REFUSED_MAX) {
        in->unnamed++;
        return SP_OK;
    }
    return sp_result_refuse_artifact(in->result, name, (int64_t)size, reason);
}

/* The limits, in the words of artifacts.c. buf holds the text; NULL: none is exceeded. */
static const char *reason_against(const struct intake *in, const char *name, size_t len, char *buf,
                                  size_t size)
{
    const struct sp_artifact_rules *rules = in->rules;
    const struct sp_result *result = in->result;
    int64_t total = (int64_t)len;

    for (size_t i = 0; i < result->n_artifacts; i++) {
        if (strcmp(result->artifacts[i].name, name) == 0)
            return "the program left a file of this name";
        total += (int64_t)result->artifacts[i].len;
    }
    if ((int64_t)result->n_artifacts >= rules->max_count) {
        snprintf(buf, size, "more than %lld artifacts", (long long)rules->max_count);
    } else if ((int64_t)len > rules->max_bytes) {
        snprintf(buf, size, "exceeds %lld bytes", (long long)rules->max_bytes);
    } else if (total > rules->max_total) {
        snprintf(buf, size, "exceeds %lld bytes in all artifacts together",
                 (long long)rules->max_total);
    } else {
        return NULL;
    }
    return buf;
}

static enum sp_code take(struct intake *in, const char *name, struct sp_buf *content)
{
    char buf[96];
    size_t len = content->len;

    const char *reason = reason_against(in, name, len, buf, sizeof(buf));
    if (reason)
        return refuse(in, name, len, reason);
    sp_auto(sp_free_str) char *data = sp_buf_take(content, &len);
    if (!data)
        return SP_E_NOMEM;
    enum sp_code rc = sp_result_add_artifact(in->result, name, sp_artifact_mime(name), data, len);
    if (!rc)
        data = NULL; /* the result has it now */
    return rc;
}

/* One result in several forms: each that a reply can carry. */
static enum sp_code take_bundle(struct intake *in, const struct sp_json_value *bundle,
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
            rc = refuse(in, name, value.raw.len, "the content is not what its type says");
        } else if (!rc) {
            rc = take(in, name, &content);
        }
    }
    return rc;
}

enum sp_code sp_items_take_results(const struct sp_items *items,
                                   const struct sp_artifact_rules *rules, struct sp_result *result)
{
    struct intake in = {.rules = rules, .result = result};
    struct sp_json_iter it = sp_json_iter(&items->results);
    struct sp_json_value item, bundle;
    struct sp_bytes key;
    enum sp_code rc = SP_OK;
    size_t number = 0;

    while (!rc && sp_json_iter_next(&it, &key, &item)) {
        if (!sp_items_is(&item, "result"))
            continue;
        number++;
        if (sp_json_get(&item, "data", &bundle) && bundle.type == SP_JSON_OBJECT)
            rc = take_bundle(&in, &bundle, number);
    }
    if (in.unnamed > 0)
        sp_result_warn(result, "%zu more results were refused", in.unnamed);
    return rc;
}
