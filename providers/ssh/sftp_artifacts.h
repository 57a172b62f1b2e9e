/*
 * Artifacts over SFTP. The protocol cannot resolve a path below a folder, nor tell a file with
 * several links: types come from listings, and each file's again right before it is read. By then
 * the run has ended. What a link could lead to is only what the account can read, and so what the
 * program itself could print; the limits hold while reading.
 */
#pragma once

#include "providers/artifacts.h"
#include "providers/ssh/link.h"

struct sp_sftp_artifacts {
    struct sp_artifact_source base;
    struct sp_ssh_link *link;
    const char *folder; /* the path of artifacts/ */
    const struct sp_ssh_wait *wait;
    const struct sp_ssh_listing *known; /* what the folder holds; NULL: not known yet */
    struct sp_buf path;                 /* of the open file */
};

/* All but the pointers given are the source's; clear it when done. */
void sp_sftp_artifacts_init(struct sp_sftp_artifacts *s, struct sp_ssh_link *link,
                            const char *folder, const struct sp_ssh_wait *wait);
void sp_sftp_artifacts_clear(struct sp_sftp_artifacts *s);
SP_AUTO_CLEAR(struct sp_sftp_artifacts, sp_sftp_artifacts_clear)
