#include "providers/self_managed/answer_quote.h"

#include <string.h>

#include "base/json_slice.h"
#include "base/text.h"

/* A text without memory for it is left out. */
static void add_string(struct sp_buf *out, const char *before, const struct sp_json_value *value)
{
    if (out->len > 0)
        (void)sp_buf_adds(out, before);
    if (value->type == SP_JSON_STRING && sp_json_unescape(value, out))
        sp_buf_reset(out);
}

/* {"detail":[{"loc":["body","language"],"msg":...,"input":...}]}, as FastAPI words it. */
static void quote_field(const struct sp_json_value *root, struct sp_buf *out)
{
    struct sp_json_value detail, first, loc, part, message;
    struct sp_bytes key;

    if (!sp_json_get(root, "detail", &detail) || detail.type != SP_JSON_ARRAY)
        return;
    struct sp_json_iter it = sp_json_iter(&detail);
    if (!sp_json_iter_next(&it, &key, &first) || first.type != SP_JSON_OBJECT)
        return;
    if (sp_json_get(&first, "loc", &loc) && loc.type == SP_JSON_ARRAY) {
        it = sp_json_iter(&loc);
        while (sp_json_iter_next(&it, &key, &part))
            add_string(out, ".", &part);
    }
    if (sp_json_get(&first, "msg", &message))
        add_string(out, ": ", &message);
}

/* Later managers want a token to be set at both ends. */
static void quote_token(const struct sp_json_value *root, struct sp_buf *out)
{
    static const char name[] = "SANDBOX_EXECUTOR_MANAGER_API_TOKEN";
    struct sp_json_value detail;

    if (sp_json_get(root, "detail", &detail) &&
        memmem(detail.raw.data, detail.raw.len, name, sizeof(name) - 1))
        (void)sp_buf_addf(out, "%s is not set at the executor manager, so it runs nothing", name);
}

/* One "Line N: issue" a line. */
static void quote_findings(const struct sp_json_value *root, struct sp_buf *out)
{
    struct sp_json_value findings;

    if (sp_json_get(root, "stderr", &findings))
        add_string(out, "", &findings);
}

static void (*const quotes[])(const struct sp_json_value *root, struct sp_buf *out) = {
    [SP_QUOTE_FIELD] = quote_field,
    [SP_QUOTE_TOKEN] = quote_token,
    [SP_QUOTE_FINDINGS] = quote_findings,
};

/* One line, short. */
static void copy_line(const struct sp_buf *text, char out[SP_QUOTE_MAX])
{
    size_t len = text->len < SP_QUOTE_MAX ? text->len : SP_QUOTE_MAX - 1;

    len = sp_utf8_floor(sp_buf_str(text), len);
    memcpy(out, sp_buf_str(text), len);
    out[len] = '\0';
    for (char *at = out; at < out + len; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7F)
            *at = *at == '\n' ? ';' : ' ';
    }
}

void sp_service_answer_quote(enum sp_quote what, struct sp_bytes body, char out[SP_QUOTE_MAX])
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_value root;

    if (what != SP_QUOTE_NONE && !sp_json_scan(body.data, body.len, &root, NULL) &&
        root.type == SP_JSON_OBJECT)
        quotes[what](&root, &text);
    copy_line(&text, out);
}
