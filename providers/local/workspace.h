/*
 * Folders on disk: work_dir/<provider>/<instance>/. Each open provider holds a lock (flock) on its
 * folder; a folder that can be locked belongs to a worker that died. The lock is on the folder, not
 * on a file in it, so a sweep that is cut short leaves something that the next one still knows. A
 * program may have left anything in an instance's folder, so all of this goes through directory
 * descriptors and never follows a link.
 */
#pragma once

#include "base/request.h"

struct sp_workspace; /* of one provider */

/*
 * Makes work_dir where it is not there (0700) and a folder in it. SP_E_INVALID: work_dir is not
 * ours, or open to others; the message begins with "work_dir: ".
 */
SP_MUST_CHECK enum sp_code sp_workspace_open(const char *work_dir, struct sp_workspace **out,
                                             struct sp_error *err);
/* Removes the provider's folder. */
void sp_workspace_close(struct sp_workspace *w);
/* SP_OK while folders can be made in it. */
SP_MUST_CHECK enum sp_code sp_workspace_check(struct sp_workspace *w, struct sp_error *err);
/* Removes the folders of workers that died. Thread: any, also of other workers. */
void sp_workspace_sweep(struct sp_workspace *w, int64_t deadline_ms);

/* The absolute path of the provider's folder. */
const char *sp_workspace_path(const struct sp_workspace *w);
/* Writes a read-only file into the provider's folder, at most four of them; name and data must last
 * as long as w. Before the first sp_workspace_make(). */
SP_MUST_CHECK enum sp_code sp_workspace_put(struct sp_workspace *w, const char *name,
                                            const void *data, size_t len, struct sp_error *err);

/*
 * Makes an instance's folder with artifacts/ in it; *fd is the folder, the caller's to close. What
 * an earlier program removed or changed of the provider's folder and its files is made anew first.
 * Thread: any.
 */
SP_MUST_CHECK enum sp_code sp_workspace_make(struct sp_workspace *w, const char *id, int *fd,
                                             struct sp_error *err);
/* SP_E_TIMEOUT: not all of it was gone at deadline_ms; the rest goes with the provider, or a sweep.
 */
SP_MUST_CHECK enum sp_code sp_workspace_remove(struct sp_workspace *w, const char *id,
                                               int64_t deadline_ms, struct sp_error *err);

/* The same for the folder of an instance. Replaces what is there; makes the folders above it. */
SP_MUST_CHECK enum sp_code sp_folder_put(int fd, const char *name, const void *data, size_t len,
                                         struct sp_error *err);
/* An empty artifacts/, whatever an earlier run of the instance left there. */
SP_MUST_CHECK enum sp_code sp_folder_renew_artifacts(int fd, int64_t deadline_ms,
                                                     struct sp_error *err);
