#include "providers/aliyun_codeinterpreter/files.h"

#include <stdio.h>
#include <string.h>

enum { NAME_BYTES_MAX = 1024, LISTING_BYTES = 8 << 20, PATH_BYTES = 160 };

void sp_sandbox_files_clear(struct sp_sandbox_files *f)
{
    sp_artifact_listing_clear(&f->listing);
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

static enum sp_code take_entry(struct sp_sandbox_files *f, const char *folder,
                               const struct sp_json_value *entry, struct sp_artifact_names *out)
{
    sp_auto(sp_buf_clear) struct sp_buf name = SP_BUF_INIT(NAME_BYTES_MAX);
    bool usable = false;

    enum sp_code rc = sp_listed_name(entry, &name, &usable);
    if (rc || !usable)
        return rc;
    enum sp_artifact_type type = type_of(entry);
    rc = sp_artifact_names_add(out, sp_buf_str(&name), type);
    if (rc || type != SP_ARTIFACT_FILE)
        return rc;
    return sp_artifact_listing_add(&f->listing, folder, sp_buf_str(&name), sp_listed_size(entry));
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

/* All there is to know was in the listing. */
static enum sp_code open_file(struct sp_artifact_source *s, const char *path,
                              struct sp_artifact_facts *out, struct sp_error *err)
{
    struct sp_sandbox_files *f = (struct sp_sandbox_files *)s;
    const struct sp_listed_file *found = sp_artifact_listing_find(&f->listing, path);

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
