/*
 * Collects artifacts: which are taken, and what is said of the others. The folder's content is the
 * program's, so nothing about it is trusted, and every bound holds while reading.
 */
#include "providers/artifacts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "base/text.h"
#include "providers/artifact_intake.h"

enum {
    DEPTH_MAX = 16,      /* folders below artifacts/ */
    ENTRIES_MAX = 10000, /* looked at in all, so that a million files cost bounded time */
    PATH_BYTES_MAX = 1024,
};

struct sp_artifact_rules sp_artifact_rules_of(const struct sp_limits *limits)
{
    return (struct sp_artifact_rules){.max_count = limits->artifacts,
                                      .max_bytes = limits->artifact_bytes,
                                      .max_total = limits->artifacts_total};
}

enum sp_code sp_artifact_names_add(struct sp_artifact_names *names, const char *name,
                                   enum sp_artifact_type type)
{
    sp_auto(sp_free_str) char *copy = sp_strdup(name);
    struct sp_artifact_name *grown = sp_grow(names->names, names->n, sizeof(*grown));

    if (grown)
        names->names = grown;
    if (!grown || !copy)
        return SP_E_NOMEM;
    names->names[names->n++] = (struct sp_artifact_name){.name = SP_TAKE(copy), .type = type};
    return SP_OK;
}

static void names_clear(struct sp_artifact_names *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->names[i].name);
    free(names->names);
}
SP_AUTO_CLEAR(struct sp_artifact_names, names_clear)

struct entry {
    char *path; /* below artifacts/ */
    bool folder;
    int depth;
};

struct walk {
    struct sp_artifact_source *source;
    struct sp_artifact_intake intake;
    struct entry *entries;
    size_t n, looked_at;
    bool many;
    enum sp_code stopped; /* why the source gives no more; SP_OK: it does */
};

static void walk_clear(struct walk *w)
{
    for (size_t i = 0; i < w->n; i++)
        free(w->entries[i].path);
    free(w->entries);
}
SP_AUTO_CLEAR(struct walk, walk_clear)

/* The name as a reply can carry it: valid UTF-8, no control characters. */
static enum sp_code clean_name(const char *path, struct sp_buf *out)
{
    bool replaced = false;
    enum sp_code rc = sp_utf8_clean(path, strlen(path), out, &replaced);
    if (rc || !sp_utf8_has_control(sp_buf_str(out), out->len))
        return rc;
    for (size_t i = 0; i < out->len; i++) {
        unsigned char c = (unsigned char)out->data[i];
        if (c < 0x20 || c == 0x7F) {
            out->data[i] = '?';
        } else if (c == 0xC2 && ((unsigned char)out->data[i + 1] & 0xE0U) == 0x80U) {
            memcpy(out->data + i, "??", 2);
        }
    }
    return SP_OK;
}

static enum sp_code refuse(struct walk *w, const char *path, int64_t size, const char *reason)
{
    sp_auto(sp_buf_clear) struct sp_buf name = SP_BUF_INIT(SP_BUF_UNBOUNDED);

    enum sp_code rc = clean_name(path, &name);
    return rc ? rc : sp_artifact_refuse(&w->intake, sp_buf_str(&name), size, reason);
}

/* What the source could not give: one entry, or all of the rest. */
static enum sp_code refuse_error(struct walk *w, const char *path, enum sp_code rc,
                                 const struct sp_error *why)
{
    if (rc == SP_E_INVALID)
        return refuse(w, *path ? path : "artifacts", 0, why->msg);
    if (rc == SP_E_NOMEM)
        return rc;
    w->stopped = rc;
    return SP_OK;
}

static enum sp_code add_entry(struct walk *w, char *path, bool folder, int depth)
{
    struct entry *grown = sp_grow(w->entries, w->n, sizeof(*grown));

    if (!grown)
        return SP_E_NOMEM;
    w->entries = grown;
    w->entries[w->n++] = (struct entry){.path = path, .folder = folder, .depth = depth};
    return SP_OK;
}

/* Why an entry is out of the question whatever it holds; NULL: it is not. */
static const char *reason_against(const char *path, enum sp_artifact_type type, int depth)
{
    if (type == SP_ARTIFACT_LINK)
        return "symlinks are not allowed";
    if (type == SP_ARTIFACT_OTHER)
        return "not a regular file";
    if (!sp_utf8_valid(path, strlen(path)) || sp_utf8_has_control(path, strlen(path)))
        return "the name is not UTF-8 text without control characters";
    if (strlen(path) > PATH_BYTES_MAX)
        return "the path is longer than 1024 bytes";
    if (type == SP_ARTIFACT_FOLDER && depth > DEPTH_MAX)
        return "nested deeper than 16 folders";
    return NULL;
}

static enum sp_code look_at(struct walk *w, const struct entry *folder,
                            const struct sp_artifact_name *found)
{
    sp_auto(sp_free_str) char *path = NULL;
    int depth = folder->depth + 1;

    if (asprintf(&path, "%s%s%s", folder->path, *folder->path ? "/" : "", found->name) < 0) {
        path = NULL;
        return SP_E_NOMEM;
    }
    const char *reason = reason_against(path, found->type, depth);
    if (reason)
        return refuse(w, path, 0, reason);
    enum sp_code rc = add_entry(w, path, found->type == SP_ARTIFACT_FOLDER, depth);
    if (!rc)
        path = NULL; /* the walk has it now */
    return rc;
}

/* `folder` is a copy: the array may move while its entries are added. */
static enum sp_code list_folder(struct walk *w, struct entry folder)
{
    sp_auto(names_clear) struct sp_artifact_names found = {0};
    struct sp_error err = {0};

    enum sp_code rc =
        w->source->list(w->source, folder.path, ENTRIES_MAX - w->looked_at, &found, &err);
    if (rc)
        rc = refuse_error(w, folder.path, rc, &err);
    w->looked_at += found.n;
    w->many |= found.more;
    for (size_t i = 0; i < found.n && !rc; i++)
        rc = look_at(w, &folder, &found.names[i]);
    return rc;
}

/* Folder by folder: each appends its entries behind those that are known. */
static enum sp_code list_all(struct walk *w)
{
    enum sp_code rc = list_folder(w, (struct entry){.path = (char[]){""}, .folder = true});
    for (size_t i = 0; i < w->n && !rc && !w->many && !w->stopped; i++) {
        if (w->entries[i].folder)
            rc = list_folder(w, w->entries[i]);
    }
    return rc;
}

static int by_path(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    return strcmp(left->path, right->path);
}

/* The checks that need no content. The text lives in text or is static. */
static const char *refusal(const struct walk *w, const char *path,
                           const struct sp_artifact_facts *facts, char text[SP_ARTIFACT_REASON_MAX])
{
    if (facts->type == SP_ARTIFACT_LINK)
        return "symlinks are not allowed";
    if (facts->type != SP_ARTIFACT_FILE)
        return "not a regular file";
    if (facts->links != 1)
        return "hard links are not allowed";
    return sp_artifact_reason(&w->intake, path, text);
}

/* The size is checked first and, because a survivor of the program may still write, while reading.
 */
static enum sp_code take_content(struct walk *w, const char *path, int64_t size)
{
    int64_t max = sp_artifact_room(&w->intake);
    sp_auto(sp_buf_clear) struct sp_buf data = SP_BUF_INIT((size_t)max);
    struct sp_error err = {0};

    if (size > max)
        return sp_artifact_refuse_size(&w->intake, path, size);
    if (sp_buf_reserve(&data, (size_t)size))
        return SP_E_NOMEM;
    enum sp_code rc = w->source->read(w->source, &data, &err);
    if (rc == SP_E_LIMIT)
        return sp_artifact_refuse_size(&w->intake, path, max + 1);
    return rc ? refuse_error(w, path, rc, &err) : sp_artifact_take(&w->intake, path, &data);
}

static enum sp_code take_file(struct walk *w, const char *path)
{
    struct sp_artifact_facts facts;
    struct sp_error err = {0};
    char text[SP_ARTIFACT_REASON_MAX];

    enum sp_code rc = w->source->open(w->source, path, &facts, &err);
    if (rc)
        return refuse_error(w, path, rc, &err);
    const char *reason = refusal(w, path, &facts, text);
    return reason ? refuse(w, path, facts.size, reason) : take_content(w, path, facts.size);
}

static enum sp_code take_all(struct walk *w)
{
    enum sp_code rc = SP_OK;
    if (w->n > 0)
        qsort(w->entries, w->n, sizeof(*w->entries), by_path);
    for (size_t i = 0; i < w->n && !rc && !w->stopped; i++) {
        if (!w->entries[i].folder)
            rc = take_file(w, w->entries[i].path);
    }
    return rc;
}

static void warn_of_the_rest(const struct walk *w)
{
    struct sp_result *result = w->intake.result;

    if (w->stopped == SP_E_UNAVAILABLE) {
        sp_result_warn(result, "the connection was lost while artifacts were collected, the rest "
                               "is missing");
    } else if (w->stopped) {
        sp_result_warn(result, "collecting artifacts took too long, the rest is missing");
    }
    if (w->many) {
        sp_result_warn(result, "artifacts/ holds more than %d entries, the rest was not read",
                       ENTRIES_MAX);
    }
    sp_artifact_intake_end(&w->intake);
}

enum sp_code sp_artifacts_collect_from(struct sp_artifact_source *source,
                                       const struct sp_artifact_rules *rules,
                                       struct sp_result *result)
{
    sp_auto(walk_clear) struct walk w = {.source = source,
                                         .intake = {.rules = rules, .result = result}};

    enum sp_code rc = list_all(&w);
    if (!rc)
        rc = take_all(&w);
    if (!rc)
        warn_of_the_rest(&w);
    return rc;
}
