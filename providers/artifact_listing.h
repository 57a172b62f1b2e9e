/* What sandboxes' services say of the entries of a folder, and the files among them, remembered
 * until they are fetched: for the sources of providers/artifacts.h that read listings in JSON. */
#pragma once

#include "base/json_slice.h"

/* The name of an entry. *usable: it has one, and that leads nowhere else. SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_listed_name(const struct sp_json_value *entry, struct sp_buf *out,
                                          bool *usable);
/* Its size: a number, or one in a string; 0 where there is none. */
int64_t sp_listed_size(const struct sp_json_value *entry);

struct sp_listed_file {
    char *path; /* below the folder that was listed first */
    int64_t size;
};
/* Zeroed before the first use. */
struct sp_artifact_listing {
    struct sp_listed_file *files;
    size_t n;
    bool sorted;
};
/* folder: "" or a path, without a slash at its end. SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_artifact_listing_add(struct sp_artifact_listing *listing,
                                                   const char *folder, const char *name,
                                                   int64_t size);
/* NULL: it was not listed. Borrowed until the next one is added. */
const struct sp_listed_file *sp_artifact_listing_find(struct sp_artifact_listing *listing,
                                                      const char *path);
void sp_artifact_listing_clear(struct sp_artifact_listing *listing);
