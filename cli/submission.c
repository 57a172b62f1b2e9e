/* Writes a request of CONTRACT.md 2. Numbers keep their spelling: nothing here parses them. */
#include "cli/submission.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_out.h"
#include "base/json_slice.h"
#include "base/request.h"
#include "base/text.h"
#include "cli/files.h"

/* Far above what a broker takes; it only keeps a mistaken path from filling the memory. */
#define INPUT_MAX ((size_t)64 << 20)

struct argument {
    const char *name, *value;
    size_t name_len;
    bool raw; /* the value is JSON */
};

static const struct {
    const char *ending;
    enum sp_language language;
} endings[] = {
    {".py", SP_PYTHON},
    {".js", SP_JAVASCRIPT},
    {".mjs", SP_JAVASCRIPT},
    {".cjs", SP_JAVASCRIPT},
};

static enum sp_code choose_language(const struct sp_submission_options *options, const char *path,
                                    enum sp_language *out, struct sp_error *err)
{
    if (options->language) {
        if (sp_language_parse(options->language, out))
            return SP_OK;
        return sp_error_set(err, SP_E_INVALID,
                            "--language: \"%s\" is neither python nor javascript",
                            options->language);
    }
    const char *ending = strrchr(path, '.');
    for (size_t i = 0; ending && i < SP_COUNT(endings); i++) {
        if (strcmp(ending, endings[i].ending) == 0) {
            *out = endings[i].language;
            return SP_OK;
        }
    }
    return sp_error_set(err, SP_E_INVALID,
                        "%s: the name does not tell the language (.py, .js, .mjs, .cjs); add "
                        "--language python or --language javascript",
                        path);
}

static enum sp_code scan_option(const char *option, const char *text, size_t len,
                                struct sp_json_value *out, struct sp_error *err)
{
    enum sp_code rc = sp_json_scan(text, len, out, err);
    return rc ? sp_error_wrap(err, rc, "--%s", option) : SP_OK;
}

/* json: the value may be JSON. */
static enum sp_code split_argument(const char *option, const char *text, bool json,
                                   struct argument *out, struct sp_error *err)
{
    struct sp_json_value value;
    const char *equals = strchr(text, '=');
    if (!equals || equals == text) {
        return sp_error_set(err, SP_E_INVALID, "--%s: expected NAME=VALUE, not \"%s\"", option,
                            text);
    }
    if (!sp_utf8_valid(text, strlen(text)))
        return sp_error_set(err, SP_E_INVALID, "--%s: not UTF-8", option);
    *out = (struct argument){
        .name = text,
        .name_len = (size_t)(equals - text),
        .value = equals + 1,
        .raw = json && !sp_json_scan(equals + 1, strlen(equals + 1), &value, NULL),
    };
    return SP_OK;
}

/* All --arg and --arg-text; the caller frees. */
static enum sp_code collect_arguments(const struct sp_submission_options *options,
                                      struct argument **out, size_t *n, struct sp_error *err)
{
    struct argument *list = calloc(options->arg.n + options->arg_text.n + 1, sizeof(*list));
    if (!list)
        return sp_error_set(err, SP_E_NOMEM, "no memory");
    *out = list;
    enum sp_code rc = SP_OK;
    for (size_t i = 0; !rc && i < options->arg.n; i++)
        rc = split_argument("arg", options->arg.items[i], true, &list[(*n)++], err);
    for (size_t i = 0; !rc && i < options->arg_text.n; i++)
        rc = split_argument("arg-text", options->arg_text.items[i], false, &list[(*n)++], err);
    return rc;
}

static bool same_name(const struct argument *a, const struct argument *b)
{
    return a->name_len == b->name_len && memcmp(a->name, b->name, a->name_len) == 0;
}

static enum sp_code refuse_doubles(const struct sp_json_value *base, const struct argument *list,
                                   size_t n, struct sp_error *err)
{
    for (size_t i = 0; i < n; i++) {
        struct sp_json_value found;
        sp_auto(sp_free_str) char *name = sp_memdup(list[i].name, list[i].name_len);
        if (!name)
            return sp_error_set(err, SP_E_NOMEM, "no memory");
        bool twice = base->raw.len && sp_json_get(base, name, &found);
        for (size_t j = 0; j < i; j++)
            twice = twice || same_name(&list[i], &list[j]);
        if (twice)
            return sp_error_set(err, SP_E_INVALID, "argument %s is given twice", name);
    }
    return SP_OK;
}

static enum sp_code write_argument(struct sp_json_out *json, const struct argument *a,
                                   struct sp_error *err)
{
    sp_auto(sp_free_str) char *name = sp_memdup(a->name, a->name_len);
    if (!name)
        return sp_error_set(err, SP_E_NOMEM, "no memory");
    if (a->raw) {
        sp_json_raw(json, name, a->value, strlen(a->value));
    } else {
        sp_json_str(json, name, a->value);
    }
    return SP_OK;
}

/* text is inline JSON, or the path of a file that holds it. */
static enum sp_code read_base(const char *text, struct sp_buf *buf, struct sp_json_value *out,
                              struct sp_error *err)
{
    const char *start = text + strspn(text, " \t\r\n");
    enum sp_code rc = *start == '{' ? sp_buf_adds(buf, start) : sp_file_read(text, buf, err);
    if (!rc)
        rc = scan_option("args-json", buf->data ? buf->data : "", buf->len, out, err);
    if (!rc && out->type != SP_JSON_OBJECT)
        rc = sp_error_set(err, SP_E_INVALID, "--args-json: expected a JSON object");
    return rc;
}

static enum sp_code write_arguments(struct sp_json_out *json, const struct sp_json_value *base,
                                    const struct argument *list, size_t n, struct sp_error *err)
{
    if (n == 0 && base->raw.len == 0)
        return SP_OK;
    enum sp_code rc = refuse_doubles(base, list, n, err);
    if (rc)
        return rc;
    sp_json_object(json, "arguments");
    if (base->raw.len > 2) {
        /* The members: what is between the braces, unless that is blank. */
        const char *members = base->raw.data + 1;
        size_t len = base->raw.len - 2;
        if (strspn(members, " \t\r\n") < len)
            sp_json_members(json, members, len);
    }
    for (size_t i = 0; !rc && i < n; i++)
        rc = write_argument(json, &list[i], err);
    sp_json_object_end(json);
    return rc;
}

static enum sp_code add_arguments(struct sp_json_out *json,
                                  const struct sp_submission_options *options, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(INPUT_MAX);
    struct argument *list = NULL;
    size_t n = 0;
    struct sp_json_value base = {0};
    enum sp_code rc = collect_arguments(options, &list, &n, err);
    if (!rc && options->args_json)
        rc = read_base(options->args_json, &text, &base, err);
    if (!rc)
        rc = write_arguments(json, &base, list, n, err);
    free(list);
    return rc;
}

static enum sp_code add_file(struct sp_json_out *json, const char *text, struct sp_error *err)
{
    const char *equals = strrchr(text, '=');
    sp_auto(sp_free_str) char *path =
        sp_memdup(text, equals ? (size_t)(equals - text) : strlen(text));
    if (!path)
        return sp_error_set(err, SP_E_NOMEM, "no memory");
    const char *slash = strrchr(path, '/');
    const char *name = equals ? equals + 1 : (slash ? slash + 1 : path);
    if (!*name || !sp_utf8_valid(name, strlen(name))) {
        return sp_error_set(err, SP_E_INVALID, "--file: expected PATH or PATH=NAME, not \"%s\"",
                            text);
    }
    sp_auto(sp_buf_clear) struct sp_buf data = SP_BUF_INIT(INPUT_MAX);
    enum sp_code rc = sp_file_read(path, &data, err);
    if (rc)
        return sp_error_wrap(err, rc, "--file");
    sp_json_object(json, NULL);
    sp_json_str(json, "name", name);
    sp_json_base64(json, "content_b64", sp_buf_str(&data), data.len);
    sp_json_object_end(json);
    return SP_OK;
}

static enum sp_code add_files(struct sp_json_out *json, const struct sp_list *files,
                              struct sp_error *err)
{
    enum sp_code rc = SP_OK;
    if (files->n == 0)
        return SP_OK;
    sp_json_array(json, "files");
    for (size_t i = 0; !rc && i < files->n; i++)
        rc = add_file(json, files->items[i], err);
    sp_json_array_end(json);
    return rc;
}

static enum sp_code add_code(struct sp_json_out *json, const char *path, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf code = SP_BUF_INIT(INPUT_MAX);
    enum sp_code rc = sp_file_read(path, &code, err);
    if (rc)
        return rc;
    if (code.len == 0)
        return sp_error_set(err, SP_E_INVALID, "%s: the program is empty", path);
    if (sp_utf8_valid(code.data, code.len)) {
        sp_json_text(json, "code", code.data, code.len);
    } else {
        sp_json_base64(json, "code_b64", code.data, code.len);
    }
    return SP_OK;
}

static void add_times(struct sp_json_out *json, const struct sp_submission_options *options)
{
    if (options->timeout)
        sp_json_seconds(json, "timeout", options->timeout * 1000);
    if (options->deadline)
        sp_json_int(json, "deadline_ms", sp_wall_ms() + options->deadline);
    if (options->queue_ttl)
        sp_json_seconds(json, "queue_ttl", options->queue_ttl * 1000);
}

static void add_switches(struct sp_json_out *json, const struct sp_submission_options *options)
{
    if (!options->result_in_stdout && !options->strict_result)
        return;
    sp_json_object(json, "options");
    if (options->result_in_stdout)
        sp_json_bool(json, "result_in_stdout", true);
    if (options->strict_result)
        sp_json_bool(json, "strict_result", true);
    sp_json_object_end(json);
}

static enum sp_code add_metadata(struct sp_json_out *json, const char *text, struct sp_error *err)
{
    struct sp_json_value value;
    enum sp_code rc = text ? scan_option("metadata", text, strlen(text), &value, err) : SP_OK;
    if (!rc && text)
        sp_json_raw(json, "metadata", value.raw.data, value.raw.len);
    return rc;
}

static enum sp_code check_text(const char *option, const char *text, struct sp_error *err)
{
    if (!text || (sp_utf8_valid(text, strlen(text)) && *text))
        return SP_OK;
    return sp_error_set(err, SP_E_INVALID, "--%s: expected UTF-8 text", option);
}

enum sp_code sp_submission_write(const struct sp_submission_options *options, const char *path,
                                 const char *id, struct sp_buf *out, struct sp_error *err)
{
    enum sp_language language = SP_PYTHON;
    enum sp_code rc = choose_language(options, path, &language, err);
    if (!rc)
        rc = check_text("id", id, err);
    if (!rc)
        rc = check_text("reply-to", options->reply_to, err);
    if (rc)
        return rc;
    struct sp_json_out json = SP_JSON_OUT(out);
    sp_json_object(&json, NULL);
    sp_json_str(&json, "request_id", id);
    sp_json_str(&json, "language", sp_language_name(language));
    rc = add_code(&json, path, err);
    if (!rc)
        rc = add_arguments(&json, options, err);
    if (!rc)
        rc = add_files(&json, &options->file, err);
    if (!rc)
        rc = add_metadata(&json, options->metadata, err);
    add_times(&json, options);
    add_switches(&json, options);
    if (options->reply_to)
        sp_json_str(&json, "reply_to", options->reply_to);
    sp_json_object_end(&json);
    return rc || !json.rc ? rc : sp_error_set(err, json.rc, "the request is too large");
}
