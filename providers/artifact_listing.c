#include "providers/artifact_listing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "base/text.h"

enum sp_code sp_listed_name(const struct sp_json_value *entry, struct sp_buf *out, bool *usable)
{
    struct sp_json_value name;

    *usable = entry->type == SP_JSON_OBJECT && sp_json_get(entry, "name", &name) &&
              name.type == SP_JSON_STRING;
    if (!*usable)
        return SP_OK;
    enum sp_code rc = sp_json_unescape(&name, out);
    const char *text = sp_buf_str(out);
    *usable = !rc && *text && !strchr(text, '/') && strlen(text) == out->len &&
              strcmp(text, ".") != 0 && strcmp(text, "..") != 0;
    return rc == SP_E_LIMIT ? SP_OK : rc;
}

int64_t sp_listed_size(const struct sp_json_value *entry)
{
    struct sp_json_value value;
    char text[24];
    int64_t size = 0;

    if (!sp_json_get(entry, "size", &value))
        return 0;
    bool quoted = value.type == SP_JSON_STRING;
    size_t len = value.raw.len - (quoted ? 2 : 0);
    if (len >= sizeof(text))
        return 0;
    memcpy(text, value.raw.data + quoted, len);
    text[len] = '\0';
    return sp_parse_i64(text, 0, INT64_MAX, &size) ? size : 0;
}

enum sp_code sp_artifact_listing_add(struct sp_artifact_listing *listing, const char *folder,
                                     const char *name, int64_t size)
{
    struct sp_listed_file file = {.size = size};
    struct sp_listed_file *grown = sp_grow(listing->files, listing->n, sizeof(*grown));

    if (!grown)
        return SP_E_NOMEM;
    listing->files = grown;
    if (asprintf(&file.path, "%s%s%s", folder, *folder ? "/" : "", name) < 0)
        return SP_E_NOMEM;
    listing->files[listing->n++] = file;
    listing->sorted = false;
    return SP_OK;
}

static int by_path(const void *a, const void *b)
{
    const struct sp_listed_file *left = a, *right = b;
    return strcmp(left->path, right->path);
}

const struct sp_listed_file *sp_artifact_listing_find(struct sp_artifact_listing *listing,
                                                      const char *path)
{
    const struct sp_listed_file key = {.path = (char *)(uintptr_t)path}; /* only compared */

    if (listing->n == 0)
        return NULL;
    if (!listing->sorted)
        qsort(listing->files, listing->n, sizeof(key), by_path);
    listing->sorted = true;
    return bsearch(&key, listing->files, listing->n, sizeof(key), by_path);
}

void sp_artifact_listing_clear(struct sp_artifact_listing *listing)
{
    for (size_t i = 0; i < listing->n; i++)
        free(listing->files[i].path);
    free(listing->files);
}
