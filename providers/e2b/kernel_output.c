#include "providers/e2b/kernel_output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "base/json_slice.h"
#include "base/text.h"

void sp_kernel_output_init(struct sp_kernel_output *o, size_t max_out, int64_t max_err)
{
    *o = (struct sp_kernel_output){.out = SP_BUF_INIT(max_out),
                                   .error_text = SP_BUF_INIT(max_out),
                                   .line = SP_BUF_INIT(max_out)};
    sp_output_init(&o->err, max_err);
}

void sp_kernel_output_clear(struct sp_kernel_output *o)
{
    sp_buf_clear(&o->out);
    sp_buf_clear(&o->line);
    sp_buf_clear(&o->error_text);
    sp_output_clear(&o->err);
    for (size_t i = 0; i < o->shown.n; i++)
        sp_buf_clear(&o->shown.items[i].data);
    free(o->shown.items);
    o->shown = (struct sp_kernel_shown){.items = NULL};
}

/* Appends a string member, if there is one. */
static enum sp_code add_text(const struct sp_json_value *object, const char *key,
                             struct sp_buf *out)
{
    struct sp_json_value value;

    if (!sp_json_get(object, key, &value) || value.type != SP_JSON_STRING)
        return SP_OK;
    return sp_json_unescape(&value, out);
}

static enum sp_code take_stdout(struct sp_kernel_output *o, const struct sp_json_value *line)
{
    return add_text(line, "text", &o->out);
}

static enum sp_code take_stderr(struct sp_kernel_output *o, const struct sp_json_value *line)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    enum sp_code rc = add_text(line, "text", &text);

    return rc ? rc : sp_output_add(&o->err, sp_buf_str(&text), text.len);
}

static enum sp_code take_end(struct sp_kernel_output *o, const struct sp_json_value *line)
{
    (void)line;
    o->ended = true;
    return SP_OK;
}

/* ---- errors ---- */

static int exit_of(const char *name, const char *value)
{
    int64_t code = 1;

    if (strcmp(name, "SystemExit") != 0)
        return 1;
    if (!*value || strcmp(value, "None") == 0)
        return 0;
    return sp_parse_i64(value, INT32_MIN, INT32_MAX, &code) ? (int)(code & 0xFF) : 1;
}

static enum sp_code take_error(struct sp_kernel_output *o, const struct sp_json_value *line)
{
    sp_auto(sp_buf_clear) struct sp_buf name = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_buf_clear) struct sp_buf value = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    sp_buf_reset(&o->error_text);
    enum sp_code rc = add_text(line, "name", &name);
    if (!rc)
        rc = add_text(line, "value", &value);
    if (!rc)
        rc = add_text(line, "traceback", &o->error_text);
    if (!rc && o->error_text.len == 0)
        rc = sp_buf_addf(&o->error_text, "%s: %s", sp_buf_str(&name), sp_buf_str(&value));
    if (!rc)
        rc = sp_buf_addc(&o->error_text, '\n');
    snprintf(o->error_name, sizeof(o->error_name), "%s", name.len > 0 ? sp_buf_str(&name) : "?");
    o->error_exit = exit_of(o->error_name, sp_buf_str(&value));
    return rc;
}

/* ---- what is shown ---- */

static const struct {
    const char *key, *extension;
    bool base64;
} forms[] = {
    {"png", "png", true},  {"jpeg", "jpeg", true},  {"pdf", "pdf", true},
    {"svg", "svg", false}, {"html", "html", false},
};

/* Kernels break the lines of base64. What is none is left out: it is the program's picture. */
static enum sp_code decode(struct sp_buf *text, struct sp_buf *out)
{
    size_t n = 0;

    for (size_t i = 0; i < text->len; i++) {
        if (!strchr("\r\n ", text->data[i]) || !text->data[i])
            text->data[n++] = text->data[i];
    }
    text->len = n;
    enum sp_code rc = sp_base64_decode(sp_buf_str(text), text->len, out);
    return rc == SP_E_INVALID ? SP_OK : rc;
}

static enum sp_code keep_form(struct sp_kernel_output *o, size_t form, struct sp_buf *text)
{
    struct sp_kernel_shown *shown = &o->shown;
    struct sp_kernel_item item = {.extension = forms[form].extension,
                                  .data = SP_BUF_INIT(SP_BUF_UNBOUNDED)};

    shown->more |= shown->n == SP_KERNEL_SHOWN_MAX;
    if (shown->more)
        return SP_OK;
    struct sp_kernel_item *grown = sp_grow(shown->items, shown->n, sizeof(*grown));
    if (!grown)
        return SP_E_NOMEM;
    shown->items = grown;
    enum sp_code rc = forms[form].base64 ? decode(text, &item.data)
                                         : sp_buf_add(&item.data, text->data, text->len);
    if (rc || item.data.len == 0) {
        sp_buf_clear(&item.data);
        return rc;
    }
    shown->items[shown->n++] = item;
    return SP_OK;
}

static enum sp_code take_result(struct sp_kernel_output *o, const struct sp_json_value *line)
{
    enum sp_code rc = SP_OK;

    for (size_t i = 0; i < SP_COUNT(forms) && !rc; i++) {
        sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
        rc = add_text(line, forms[i].key, &text);
        if (!rc && text.len > 0)
            rc = keep_form(o, i, &text);
    }
    return rc;
}

/* ---- lines ---- */

static const struct {
    const char *type;
    enum sp_code (*take)(struct sp_kernel_output *o, const struct sp_json_value *line);
} kinds[] = {
    {"stdout", take_stdout}, {"stderr", take_stderr},        {"result", take_result},
    {"error", take_error},   {"end_of_execution", take_end},
};

static enum sp_code take_line(struct sp_kernel_output *o, struct sp_error *err)
{
    struct sp_json_value line, type;
    enum sp_code rc = SP_OK;

    if (sp_json_scan(sp_buf_str(&o->line), o->line.len, &line, NULL) ||
        line.type != SP_JSON_OBJECT || !sp_json_get(&line, "type", &type) ||
        type.type != SP_JSON_STRING)
        return sp_error_set(err, SP_E_INVALID, "a line of the kernel's is not as it should be");
    o->began = true;
    for (size_t i = 0; i < SP_COUNT(kinds) && !rc; i++) {
        if (sp_json_text_is(&type, kinds[i].type))
            rc = kinds[i].take(o, &line);
    }
    if (rc == SP_E_LIMIT)
        return sp_error_set(err, rc, "the kernel's output is longer than %zu bytes", o->out.max);
    return rc ? sp_error_set(err, rc, "no memory for the program's output") : SP_OK;
}

enum sp_code sp_kernel_output_feed(struct sp_kernel_output *o, const char *data, size_t len,
                                   struct sp_error *err)
{
    while (len > 0) {
        const char *end = memchr(data, '\n', len);
        size_t part = end ? (size_t)(end - data) : len;
        enum sp_code rc = sp_buf_add(&o->line, data, part);

        if (rc)
            return sp_error_set(err, rc, "a line of the kernel's is too long");
        if (end) {
            rc = o->line.len > 0 ? take_line(o, err) : SP_OK;
            sp_buf_reset(&o->line);
        }
        if (rc)
            return rc;
        part += end != NULL;
        data += part;
        len -= part;
    }
    return SP_OK;
}
