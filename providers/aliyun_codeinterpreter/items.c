#include "providers/aliyun_codeinterpreter/items.h"

#include <string.h>

void sp_items_clear(struct sp_items *items)
{
    sp_buf_clear(&items->out);
    sp_buf_clear(&items->err);
}

struct reading {
    struct sp_items *items;
    bool keeps_ends; /* the service leaves the newline at the end of a text */
};

/* False: the member is absent, null or no string. */
static bool get_string(const struct sp_json_value *item, const char *name,
                       struct sp_json_value *out)
{
    return sp_json_get(item, name, out) && out->type == SP_JSON_STRING;
}

/* Whether the raw text ends with the escape of a newline. */
static bool ends_in_newline(const struct sp_json_value *string)
{
    const char *first = string->raw.data + 1, *last = string->raw.data + string->raw.len - 2;
    size_t backslashes = 0;

    if (last <= first || *last != 'n')
        return false;
    while (last - 1 - backslashes >= first && last[-1 - (ptrdiff_t)backslashes] == '\\')
        backslashes++;
    return backslashes % 2 == 1;
}

static enum sp_code end_line(struct sp_buf *out)
{
    return out->len > 0 && out->data[out->len - 1] != '\n' ? sp_buf_addc(out, '\n') : SP_OK;
}

/* A service that takes the last newline of each text away gets it back between two of them. */
static enum sp_code add_text(const struct reading *r, struct sp_buf *out,
                             const struct sp_json_value *item)
{
    struct sp_json_value text;
    enum sp_code rc = SP_OK;

    if (!get_string(item, "text", &text))
        return SP_OK;
    if (!r->keeps_ends)
        rc = end_line(out);
    return rc ? rc : sp_json_unescape(&text, out);
}

static enum sp_code read_stdout(struct reading *r, const struct sp_json_value *item)
{
    return add_text(r, &r->items->out, item);
}

static enum sp_code read_stderr(struct reading *r, const struct sp_json_value *item)
{
    return add_text(r, &r->items->err, item);
}

/* Lines, or one text of several. */
static enum sp_code add_traceback(const struct sp_json_value *traceback, struct sp_buf *out)
{
    struct sp_json_iter it;
    struct sp_json_value line;
    struct sp_bytes key;
    enum sp_code rc = SP_OK;

    if (traceback->type == SP_JSON_STRING)
        return sp_json_unescape(traceback, out);
    if (traceback->type != SP_JSON_ARRAY)
        return SP_OK;
    it = sp_json_iter(traceback);
    while (!rc && sp_json_iter_next(&it, &key, &line)) {
        rc = end_line(out);
        if (!rc && line.type == SP_JSON_STRING)
            rc = sp_json_unescape(&line, out);
    }
    return rc;
}

static enum sp_code add_name_and_value(const struct sp_json_value *item, struct sp_buf *out)
{
    struct sp_json_value name, value;
    bool has_name = get_string(item, "name", &name), has_value = get_string(item, "value", &value);
    enum sp_code rc = has_name ? sp_json_unescape(&name, out) : SP_OK;

    if (!rc && has_name && has_value)
        rc = sp_buf_adds(out, ": ");
    return rc || !has_value ? rc : sp_json_unescape(&value, out);
}

static enum sp_code write_error(const struct sp_json_value *item, struct sp_buf *out)
{
    struct sp_json_value member;
    enum sp_code rc = SP_OK;

    if (get_string(item, "text", &member))
        rc = sp_json_unescape(&member, out);
    if (rc || out->len > 0)
        return rc;
    rc = add_name_and_value(item, out);
    if (!rc && out->len == 0 && sp_json_get(item, "traceback", &member))
        rc = add_traceback(&member, out);
    return rc;
}

static enum sp_code read_error(struct reading *r, const struct sp_json_value *item)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_buf *err = &r->items->err;

    r->items->failed = true;
    enum sp_code rc = write_error(item, &text);
    if (rc)
        return rc;
    if (strcasestr(sp_buf_str(&text), "timeout") || strcasestr(sp_buf_str(&text), "timed out"))
        r->items->timed_out = true;
    rc = end_line(err);
    if (!rc && text.len > 0)
        rc = sp_buf_add(err, text.data, text.len);
    return rc ? rc : end_line(err);
}

static enum sp_code read_end(struct reading *r, const struct sp_json_value *item)
{
    struct sp_json_value status;

    if (!get_string(item, "status", &status))
        return SP_OK;
    r->items->failed |= !sp_json_text_is(&status, "ok");
    r->items->timed_out |= sp_json_text_is(&status, "timeout");
    return SP_OK;
}

static enum sp_code read_timeout(struct reading *r, const struct sp_json_value *item)
{
    r->items->timed_out = true;
    return add_text(r, &r->items->err, item);
}

/* Taken later: sp_items_take_results(). */
static enum sp_code read_result(struct reading *r, const struct sp_json_value *item)
{
    (void)r, (void)item;
    return SP_OK;
}

bool sp_items_is(const struct sp_json_value *item, const char *type)
{
    struct sp_json_value value;
    return item->type == SP_JSON_OBJECT && sp_json_get(item, "type", &value) &&
           sp_json_text_is(&value, type);
}

static const struct {
    const char *type;
    enum sp_code (*read)(struct reading *r, const struct sp_json_value *item);
} types[] = {
    {"stdout", read_stdout}, {"stderr", read_stderr},      {"error", read_error},
    {"result", read_result}, {"endOfExecution", read_end}, {"timeout", read_timeout},
};

static enum sp_code read_item(struct reading *r, const struct sp_json_value *item)
{
    for (size_t i = 0; i < SP_COUNT(types); i++) {
        if (sp_items_is(item, types[i].type))
            return types[i].read(r, item);
    }
    r->items->unknown++;
    return SP_OK;
}

/* One text that ends with a newline shows that the service leaves them where they are. */
static bool keeps_ends(const struct sp_json_value *results)
{
    struct sp_json_iter it = sp_json_iter(results);
    struct sp_json_value item, text;
    struct sp_bytes key;

    while (sp_json_iter_next(&it, &key, &item)) {
        if ((sp_items_is(&item, "stdout") || sp_items_is(&item, "stderr")) &&
            get_string(&item, "text", &text) && ends_in_newline(&text))
            return true;
    }
    return false;
}

static enum sp_code read_all(struct sp_items *items)
{
    struct reading r = {.items = items, .keeps_ends = keeps_ends(&items->results)};
    struct sp_json_iter it = sp_json_iter(&items->results);
    struct sp_json_value item;
    struct sp_bytes key;
    enum sp_code rc = SP_OK;

    items->out.max = items->err.max = SP_BUF_UNBOUNDED;
    while (!rc && sp_json_iter_next(&it, &key, &item))
        rc = read_item(&r, &item);
    return rc;
}

/* With or without an envelope. */
static bool find_results(const char *body, size_t len, struct sp_items *out)
{
    struct sp_json_value root, data;

    if (sp_json_scan(body, len, &root, NULL) || root.type != SP_JSON_OBJECT)
        return false;
    if (sp_json_get(&root, "data", &data) && data.type == SP_JSON_OBJECT)
        root = data;
    return sp_json_get(&root, "results", &out->results) && out->results.type == SP_JSON_ARRAY;
}

enum sp_code sp_items_read(const char *body, size_t len, struct sp_items *out, struct sp_error *err)
{
    if (!find_results(body, len, out))
        return sp_error_set(err, SP_E_INVALID, "AgentRun's answer to execute holds no results");
    enum sp_code rc = read_all(out);
    return rc ? sp_error_set(err, rc, "no memory for the program's output") : SP_OK;
}
