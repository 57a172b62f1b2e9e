#include "providers/e2b/artifact_source.h"

#include <stdio.h>
#include <string.h>

#include "base/json_slice.h"
#include "base/text.h"
#include "providers/artifact_listing.h"

/* Some 400 bytes tell of one entry; the rules look at 10,000. */
enum { LIST_BYTES = 8 << 20, ENTRY_BYTES = 64 << 10 };

struct source {
    struct sp_artifact_source base;
    const struct sp_envd *envd;
    const struct sp_e2b_limits *limits;
    const char *folder;
    struct sp_kernel_shown *shown;
    struct sp_artifact_listing listing;
    const char *open; /* the path; NULL: none, or one of shown */
    struct sp_kernel_item *open_shown;
};

static void source_clear(struct source *s)
{
    sp_artifact_listing_clear(&s->listing);
}
SP_AUTO_CLEAR(struct source, source_clear)

/* NULL without memory. */
static char *join(const char *folder, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s%s%s", folder, *folder && *name ? "/" : "", name) < 0 ? NULL : path;
}

/* ---- entries ---- */

/* A link has the type of what it leads to. */
static enum sp_artifact_type type_of(const struct sp_json_value *object)
{
    struct sp_json_value link, type;
    bool has_type = sp_json_get(object, "type", &type);

    if (sp_json_get(object, "symlinkTarget", &link) ||
        (has_type && sp_json_text_is(&type, "FILE_TYPE_SYMLINK")))
        return SP_ARTIFACT_LINK;
    if (has_type && sp_json_text_is(&type, "FILE_TYPE_FILE"))
        return SP_ARTIFACT_FILE;
    return has_type && sp_json_text_is(&type, "FILE_TYPE_DIRECTORY") ? SP_ARTIFACT_FOLDER
                                                                     : SP_ARTIFACT_OTHER;
}

static enum sp_code add_entry(struct source *s, const char *folder,
                              const struct sp_json_value *object, size_t max,
                              struct sp_artifact_names *out)
{
    sp_auto(sp_buf_clear) struct sp_buf name = SP_BUF_INIT(ENTRY_BYTES);
    bool usable = false;

    enum sp_code rc = sp_listed_name(object, &name, &usable);
    if (rc || !usable)
        return rc;
    out->more = out->n == max;
    if (out->more)
        return SP_OK;
    enum sp_artifact_type type = type_of(object);
    rc = sp_artifact_names_add(out, sp_buf_str(&name), type);
    if (rc || type != SP_ARTIFACT_FILE)
        return rc;
    return sp_artifact_listing_add(&s->listing, folder, sp_buf_str(&name), sp_listed_size(object));
}

static enum sp_code malformed(const char *what, struct sp_error *err)
{
    return sp_error_set(err, SP_E_INVALID, "%s: the sandbox's answer is not as it should be", what);
}

static enum sp_code read_list(struct source *s, const char *folder, const struct sp_buf *answer,
                              size_t max, struct sp_artifact_names *out, struct sp_error *err)
{
    struct sp_json_value root, list, one;
    struct sp_bytes key;
    enum sp_code rc = SP_OK;

    if (sp_json_scan(sp_buf_str(answer), answer->len, &root, NULL) || root.type != SP_JSON_OBJECT)
        return malformed("ListDir", err);
    if (!sp_json_get(&root, "entries", &list))
        return SP_OK; /* there are none */
    if (list.type != SP_JSON_ARRAY)
        return malformed("ListDir", err);
    struct sp_json_iter it = sp_json_iter(&list);
    while (!rc && !out->more && sp_json_iter_next(&it, &key, &one))
        rc = add_entry(s, folder, &one, max, out);
    return rc ? sp_error_set(err, rc, "out of memory") : SP_OK;
}

/* ---- the source ---- */

/* envd goes through a link that it is given, so the folder itself is looked at first. */
static enum sp_code check_root(struct source *s, bool *missing, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf answer = SP_BUF_INIT(ENTRY_BYTES);
    const struct sp_envd_question question = {
        .method = "Stat", .path = s->folder, .max_body = ENTRY_BYTES, .missing = missing};
    struct sp_json_value root, entry;

    enum sp_code rc = sp_envd_ask(s->envd, &question, s->limits, &answer, err);
    if (rc || *missing)
        return rc;
    if (sp_json_scan(sp_buf_str(&answer), answer.len, &root, NULL) || root.type != SP_JSON_OBJECT ||
        !sp_json_get(&root, "entry", &entry) || entry.type != SP_JSON_OBJECT)
        return malformed("Stat", err);
    if (type_of(&entry) == SP_ARTIFACT_LINK)
        return sp_error_set(err, SP_E_INVALID, "symlinks are not allowed");
    return type_of(&entry) == SP_ARTIFACT_FOLDER ? SP_OK
                                                 : sp_error_set(err, SP_E_INVALID, "not a folder");
}

static enum sp_code list_folder(struct source *s, const char *folder, size_t max,
                                struct sp_artifact_names *out, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf answer = SP_BUF_INIT(LIST_BYTES);
    sp_auto(sp_free_str) char *path = join(s->folder, folder);
    bool missing = false;
    const struct sp_envd_question question = {
        .method = "ListDir", .path = path, .max_body = LIST_BYTES, .missing = &missing};

    if (!path)
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    enum sp_code rc = sp_envd_ask(s->envd, &question, s->limits, &answer, err);
    if (rc == SP_E_LIMIT)
        return sp_error_set(err, SP_E_INVALID, "holds too many files");
    return rc || missing ? rc : read_list(s, folder, &answer, max, out, err);
}

/* Whether one of the first n names is this. */
static bool is_taken(const struct sp_artifact_names *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names->names[i].name, name) == 0)
            return true;
    }
    return false;
}

/* result-1.png, result-2.html, ..., beside the files. */
static enum sp_code list_shown(struct source *s, size_t max, struct sp_artifact_names *out,
                               struct sp_error *err)
{
    size_t files = out->n;
    enum sp_code rc = SP_OK;
    int number = 0;

    for (size_t i = 0; s->shown && i < s->shown->n && out->n < max && !rc; i++) {
        struct sp_kernel_item *item = &s->shown->items[i];
        do {
            snprintf(item->name, sizeof(item->name), "result-%d.%s", ++number, item->extension);
        } while (is_taken(out, files, item->name));
        rc = sp_artifact_names_add(out, item->name, SP_ARTIFACT_FILE);
    }
    out->more |= s->shown && (s->shown->more || out->n - files < s->shown->n);
    return rc ? sp_error_set(err, rc, "out of memory") : SP_OK;
}

static enum sp_code source_list(struct sp_artifact_source *base, const char *folder, size_t max,
                                struct sp_artifact_names *out, struct sp_error *err)
{
    struct source *s = (struct source *)base;
    bool missing = false;

    if (*folder)
        return list_folder(s, folder, max, out, err);
    enum sp_code rc = check_root(s, &missing, err);
    if (!rc && !missing)
        rc = list_folder(s, folder, max, out, err);
    return rc ? rc : list_shown(s, max, out, err);
}

static struct sp_kernel_item *find_shown(const struct source *s, const char *path)
{
    for (size_t i = 0; s->shown && i < s->shown->n; i++) {
        if (strcmp(s->shown->items[i].name, path) == 0)
            return &s->shown->items[i];
    }
    return NULL;
}

static enum sp_code source_open(struct sp_artifact_source *base, const char *path,
                                struct sp_artifact_facts *out, struct sp_error *err)
{
    struct source *s = (struct source *)base;
    const struct sp_listed_file *file = sp_artifact_listing_find(&s->listing, path);

    *out = (struct sp_artifact_facts){.type = SP_ARTIFACT_FILE, .links = 1};
    s->open = file ? file->path : NULL;
    s->open_shown = file ? NULL : find_shown(s, path);
    if (!file && !s->open_shown)
        return sp_error_set(err, SP_E_INVALID, "was not listed");
    out->size = file ? file->size : (int64_t)s->open_shown->data.len;
    return SP_OK;
}

static enum sp_code source_read(struct sp_artifact_source *base, struct sp_buf *out,
                                struct sp_error *err)
{
    struct source *s = (struct source *)base;

    if (s->open_shown)
        return sp_buf_add(out, s->open_shown->data.data, s->open_shown->data.len);
    sp_auto(sp_free_str) char *path = join(s->folder, s->open);
    return path ? sp_envd_get(s->envd, path, s->limits, out, NULL, err)
                : sp_error_set(err, SP_E_NOMEM, "out of memory");
}

enum sp_code sp_e2b_artifacts(const struct sp_envd *envd, const char *folder,
                              struct sp_kernel_shown *shown, const struct sp_artifact_rules *rules,
                              const struct sp_e2b_limits *limits, struct sp_result *result)
{
    sp_auto(source_clear) struct source s = {
        .base = {.list = source_list, .open = source_open, .read = source_read},
        .envd = envd,
        .limits = limits,
        .folder = folder,
        .shown = shown};

    return sp_artifacts_collect_from(&s.base, rules, result);
}
