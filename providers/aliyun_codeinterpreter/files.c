#include "providers/aliyun_codeinterpreter/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

enum { NAME_BYTES_MAX = 1024, LISTING_BYTES = 8 << 20, PATH_BYTES = 160 };

struct sp_listed_file {
    char *path; /* below the folder */
    int64_t size;
};

void sp_sandbox_files_clear(struct sp_sandbox_files *f)
{
    for (size_t i = 0; i < f->n_files; i++)
        free(f->files[i].path);
    free(f->files);
    sp_buf_clear(&f->open);
}

/* The whole path of something below the folder. */
static enum sp_code join(const struct sp_sandbox_files *f, const char *path, struct sp_buf *out)
{
    return sp_buf_addf(out, "%s%s%s", f->folder, *path ? "/" : "", path);
}

/* GET of one path. What is refused is refused for that path alone. */
static enum sp_code ask(const struct sp_sandbox_files *f, const struct sp_agentrun_call *kind,
                        const char *path, struct sp_agentrun_answer *answer, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf whole = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    char url[PATH_BYTES];

    if (join(f, path, &whole))
        return sp_error_set(err, SP_E_NOMEM, "no memory for a path");
    const struct sp_aliyun_pair query[] = {{"path", sp_buf_str(&whole)}, {"depth", "1"}};
    snprintf(url, sizeof(url), "/sandboxes/%s%s", f->sandbox, kind->path);
    struct sp_agentrun_call call = *kind;
    call.method = "GET";
    call.path = url;
    call.query = query;
    call.time = f->time;
    enum sp_code rc = sp_agentrun_insist(f->service, &call, answer, err);
    return rc == SP_E_DENIED || rc == SP_E_BUSY ? SP_E_INVALID : rc;
}

/* ---- listing ---- */

/* What the service calls the types of entries is not documented. */
static enum sp_artifact_type type_of(const struct sp_json_value *entry)
{
    static const struct {
        const char *part;
        enum sp_artifact_type type;
    } words[] = {
        {"link", SP_ARTIFACT_LINK}, {"dir", SP_ARTIFACT_FOLDER},   {"folder", SP_ARTIFACT_FOLDER},
        {"file", SP_ARTIFACT_FILE}, {"regular", SP_ARTIFACT_FILE},
    };
    char type[32];

    (void)sp_agentrun_text(entry, "type", type, sizeof(type));
    for (size_t i = 0; i < SP_COUNT(words); i++) {
        if (strcasestr(type, words[i].part))
            return words[i].type;
    }
    return SP_ARTIFACT_OTHER;
}

/* A number, or one in a string; 0 where there is none. */
static int64_t size_of(const struct sp_json_value *entry)
{
    struct sp_json_value value;
    char text[24] = "";
    int64_t size = 0;

    if (!sp_json_get(entry, "size", &value))
        return 0;
    if (value.type == SP_JSON_NUMBER && value.raw.len < sizeof(text)) {
        memcpy(text, value.raw.data, value.raw.len);
    } else {
        (void)sp_agentrun_text(entry, "size", text, sizeof(text));
    }
    (void)sp_parse_i64(text, 0, INT64_MAX, &size);
    return size;
}

static enum sp_code remember(struct sp_sandbox_files *f, const char *folder, const char *name,
                             int64_t size)
{
    struct sp_listed_file file = {.size = size};

    if (f->n_files == f->cap) {
        size_t cap = f->cap > 0 ? 2 * f->cap : 16;
        struct sp_listed_file *grown = reallocarray(f->files, cap, sizeof(*grown));
        if (!grown)
            return SP_E_NOMEM;
        f->files = grown;
        f->cap = cap;
    }
    if (asprintf(&file.path, "%s%s%s", folder, *folder ? "/" : "", name) < 0)
        return SP_E_NOMEM;
    f->files[f->n_files++] = file;
    f->sorted = false;
    return SP_OK;
}

/* An entry's own name; false: it has none that can be asked for. The folder itself may be among
 * its entries. */
static bool read_name(const struct sp_json_value *entry, struct sp_buf *out)
{
    struct sp_json_value value;

    if (entry->type != SP_JSON_OBJECT || !sp_json_get(entry, "name", &value) ||
        value.type != SP_JSON_STRING || sp_json_unescape(&value, out))
        return false;
    const char *name = sp_buf_str(out);
    return out->len > 0 && strlen(name) == out->len && !strchr(name, '/') &&
           strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static enum sp_code take_entry(struct sp_sandbox_files *f, const char *folder,
                               const struct sp_json_value *entry, struct sp_artifact_names *out)
{
    sp_auto(sp_buf_clear) struct sp_buf name = SP_BUF_INIT(NAME_BYTES_MAX);

    if (!read_name(entry, &name))
        return SP_OK;
    enum sp_artifact_type type = type_of(entry);
    enum sp_code rc = sp_artifact_names_add(out, sp_buf_str(&name), type);
    if (!rc && type == SP_ARTIFACT_FILE)
        rc = remember(f, folder, sp_buf_str(&name), size_of(entry));
    return rc;
}

static enum sp_code take_entries(struct sp_sandbox_files *f, const char *folder, size_t max,
                                 const struct sp_agentrun_answer *answer,
                                 struct sp_artifact_names *out, struct sp_error *err)
{
    struct sp_json_value data, entries, entry;
    struct sp_bytes key;
    enum sp_code rc = SP_OK;

    if (!sp_agentrun_data(answer, &data) || !sp_json_get(&data, "entries", &entries) ||
        entries.type != SP_JSON_ARRAY)
        return sp_error_set(err, SP_E_INVALID, "the service lists no entries");
    struct sp_json_iter it = sp_json_iter(&entries);
    while (!rc && sp_json_iter_next(&it, &key, &entry)) {
        out->more = out->n >= max;
        if (out->more)
            break;
        rc = take_entry(f, folder, &entry, out);
    }
    return rc ? sp_error_set(err, rc, "no memory for a listing") : SP_OK;
}

static enum sp_code list(struct sp_artifact_source *s, const char *folder, size_t max,
                         struct sp_artifact_names *out, struct sp_error *err)
{
    struct sp_sandbox_files *f = (struct sp_sandbox_files *)s;
    sp_auto(sp_agentrun_answer_clear) struct sp_agentrun_answer answer = {0};
    const struct sp_agentrun_call kind = {
        .what = "list artifacts", .path = "/filesystem", .n_query = 2, .max_body = LISTING_BYTES};

    enum sp_code rc = ask(f, &kind, folder, &answer, err);
    if (rc == SP_E_LIMIT)
        return sp_error_set(err, SP_E_INVALID, "the folder's listing is too long");
    if (rc)
        return answer.gone && !*folder ? SP_OK : rc; /* the program removed artifacts/ */
    return take_entries(f, folder, max, &answer, out, err);
}

/* ---- reading ---- */

static int by_path(const void *a, const void *b)
{
    const struct sp_listed_file *left = a, *right = b;
    return strcmp(left->path, right->path);
}

/* All there is to know was in the listing. */
static enum sp_code open_file(struct sp_artifact_source *s, const char *path,
                              struct sp_artifact_facts *out, struct sp_error *err)
{
    struct sp_sandbox_files *f = (struct sp_sandbox_files *)s;
    struct sp_listed_file wanted = {.path = (char *)(uintptr_t)path}; /* only compared */

    if (!f->sorted && f->n_files > 0)
        qsort(f->files, f->n_files, sizeof(*f->files), by_path);
    f->sorted = true;
    const struct sp_listed_file *found =
        f->n_files > 0 ? bsearch(&wanted, f->files, f->n_files, sizeof(wanted), by_path) : NULL;
    sp_buf_reset(&f->open);
    if (sp_buf_adds(&f->open, path))
        return sp_error_set(err, SP_E_NOMEM, "no memory for a path");
    *out = (struct sp_artifact_facts){
        .type = SP_ARTIFACT_FILE, .size = found ? found->size : 0, .links = 1};
    return SP_OK;
}

static enum sp_code read_file(struct sp_artifact_source *s, struct sp_buf *out,
                              struct sp_error *err)
{
    struct sp_sandbox_files *f = (struct sp_sandbox_files *)s;
    sp_auto(sp_agentrun_answer_clear) struct sp_agentrun_answer answer = {0};
    const struct sp_agentrun_call kind = {.what = "fetch an artifact",
                                          .path = "/filesystem/download",
                                          .n_query = 1,
                                          .max_body = out->max > 0 ? out->max : 1,
                                          .is_file = true};

    enum sp_code rc = ask(f, &kind, sp_buf_str(&f->open), &answer, err);
    if (rc || answer.http.body.len == 0)
        return rc;
    return sp_buf_add(out, answer.http.body.data, answer.http.body.len);
}

struct sp_sandbox_files sp_sandbox_files(struct sp_agentrun *service, const char *sandbox,
                                         const char *folder, const struct sp_agentrun_time *time)
{
    return (struct sp_sandbox_files){.base = {list, open_file, read_file},
                                     .service = service,
                                     .sandbox = sandbox,
                                     .folder = folder,
                                     .time = time,
                                     .open = SP_BUF_INIT(SP_BUF_UNBOUNDED)};
}
