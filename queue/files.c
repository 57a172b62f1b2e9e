/* Names are checked here, once and for every provider: whoever writes the files can join them to a
 * folder as they are. */
#include "queue/files.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "queue/json_read.h"

enum { NAME_BYTES = 1024, PART_BYTES = 255, PARTS = 32 };

/* First parts that belong to the run: its programs, its wrappers, its output folder. */
static const char *const reserved[] = {
    "main.py", "main.js", "sandpiper_run.py", "sandpiper_run.cjs", "artifacts",
};

static const char *part_fault(const char *part, size_t len)
{
    if (len == 0)
        return "expected a relative path without empty parts";
    if ((len == 1 && part[0] == '.') || (len == 2 && memcmp(part, "..", 2) == 0))
        return "'.' and '..' are not allowed";
    return len > PART_BYTES ? "a part is longer than 255 bytes" : NULL;
}

static bool is_reserved(const char *part, size_t len)
{
    for (size_t i = 0; i < SP_COUNT(reserved); i++) {
        if (strlen(reserved[i]) == len && memcmp(reserved[i], part, len) == 0)
            return true;
    }
    return false;
}

/* What is wrong with a name; NULL: nothing. */
static const char *name_fault(const struct sp_buf *name)
{
    if (sp_utf8_has_control(name->data, name->len))
        return "control characters are not allowed";
    if (is_reserved(name->data, strcspn(name->data, "/")))
        return "the run itself needs this name";

    const char *at = name->data;
    for (size_t parts = 1; parts <= PARTS; parts++) {
        size_t len = strcspn(at, "/");
        const char *fault = part_fault(at, len);
        if (fault || at[len] == '\0')
            return fault;
        at += len + 1;
    }
    return "deeper than 32 folders";
}

static enum sp_code read_name(const char *field, const struct sp_json_value *file, char **out,
                              struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf name = {0};
    struct sp_json_value value = {0};

    sp_json_get(file, "name", &value);
    enum sp_code rc = sp_json_read_text(field, &value, NAME_BYTES, &name, err);
    if (rc)
        return rc;
    const char *fault = name_fault(&name);
    if (fault)
        return sp_error_set(err, SP_E_INVALID, "%s: %s", field, fault);
    *out = sp_buf_take(&name, NULL);
    return *out ? SP_OK : sp_error_set(err, SP_E_NOMEM, "%s: out of memory", field);
}

static enum sp_code read_content(const char *field, const struct sp_json_value *file, size_t max,
                                 struct sp_file *out, struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf content = {0};
    struct sp_json_value value = {0};

    sp_json_get(file, "content_b64", &value);
    enum sp_code rc = sp_json_read_base64(field, &value, max, &content, err);
    if (rc)
        return rc;
    out->data = sp_buf_take(&content, &out->len);
    return out->data ? SP_OK : sp_error_set(err, SP_E_NOMEM, "%s: out of memory", field);
}

static enum sp_code read_file(size_t index, const struct sp_json_value *value, size_t max,
                              struct sp_file *out, struct sp_error *err)
{
    char field[48];
    if (value->type != SP_JSON_OBJECT)
        return sp_error_set(err, SP_E_INVALID, "files[%zu]: expected an object", index);
    snprintf(field, sizeof(field), "files[%zu].name", index);
    enum sp_code rc = read_name(field, value, &out->name, err);
    if (rc)
        return rc;
    snprintf(field, sizeof(field), "files[%zu].content_b64", index);
    return read_content(field, value, max, out, err);
}

/* The same name, or a file where the other one needs a folder. */
static bool clash(const char *a, const char *b)
{
    size_t len_a = strlen(a), len_b = strlen(b);
    const char *longer = len_a > len_b ? a : b;
    size_t shorter = len_a > len_b ? len_b : len_a;

    return memcmp(a, b, shorter) == 0 && (longer[shorter] == '\0' || longer[shorter] == '/');
}

static enum sp_code check_clashes(const struct sp_file *files, size_t n, struct sp_error *err)
{
    for (size_t j = 1; j < n; j++) {
        for (size_t i = 0; i < j; i++) {
            assert(files[i].name && files[j].name);
            if (clash(files[i].name, files[j].name)) {
                return sp_error_set(err, SP_E_INVALID, "files[%zu].name: clashes with files[%zu]",
                                    j, i);
            }
        }
    }
    return SP_OK;
}

enum sp_code sp_files_read(const struct sp_json_value *array, int64_t max_bytes,
                           struct sp_request *req, struct sp_error *err)
{
    if (array->type != SP_JSON_ARRAY)
        return sp_error_set(err, SP_E_INVALID, "files: expected an array");
    req->files = calloc(SP_FILES_MAX, sizeof(*req->files));
    if (!req->files)
        return sp_error_set(err, SP_E_NOMEM, "files: out of memory");

    size_t left = (size_t)max_bytes;
    struct sp_json_iter it = sp_json_iter(array);
    struct sp_json_value value;
    struct sp_bytes key;
    while (sp_json_iter_next(&it, &key, &value)) {
        if (req->n_files == SP_FILES_MAX)
            return sp_error_set(err, SP_E_INVALID, "files: more than %d", SP_FILES_MAX);
        struct sp_file *file = &req->files[req->n_files++];
        enum sp_code rc = read_file(req->n_files - 1, &value, left, file, err);
        if (rc == SP_E_LIMIT && file->name) {
            return sp_error_set(err, SP_E_INVALID,
                                "files: more than limits.files_bytes (%" PRId64 " bytes) in all",
                                max_bytes);
        }
        if (rc)
            return rc == SP_E_NOMEM ? rc : SP_E_INVALID;
        left -= file->len;
    }
    return check_clashes(req->files, req->n_files, err);
}
