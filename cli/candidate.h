/* Settings on their way in: stored ones, changed by assignments or replaced by a file, unmasked and
 * checked before anybody sees them. */
#pragma once

#include "cli/admin.h"

/* Where a provider's new settings come from. */
struct sp_candidate {
    json_t *whole;                  /* borrowed; stands in for the stored object; NULL: does not */
    const char *const *assignments; /* "key=value" */
    size_t n_assignments;
    const struct sp_list *unset; /* keys to remove; NULL: none */
};

/*
 * The settings of a provider that `candidate` describes, masks replaced by what is stored, and
 * checked by sp_provider_validate(). *out is a new reference; SP_E_INVALID names the key.
 */
SP_MUST_CHECK enum sp_code sp_candidate_make(const struct sp_admin *admin,
                                             const struct sp_provider_ops *ops,
                                             const struct sp_candidate *candidate, json_t **out,
                                             struct sp_error *err);

/* One JSON object out of a file ("-": standard input). New reference. */
SP_MUST_CHECK enum sp_code sp_candidate_read(const char *path, json_t **out, struct sp_error *err);

/*
 * The change that a file of settings asks for: {"sandbox.provider_type": "local", "sandbox.local":
 * {...}, ...}, the names of the hash in Redis. The active provider's settings must be valid;
 * another's may also be {}. change->providers is the caller's empty object and is filled;
 * change->provider_type is borrowed from `file`.
 */
SP_MUST_CHECK enum sp_code sp_candidate_import(const struct sp_admin *admin, json_t *file,
                                               struct sp_change *change, struct sp_error *err);
