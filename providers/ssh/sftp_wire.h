/*
 * SFTP packets, version 3 (draft-ietf-secsh-filexfer-02), for several operations in one go, which
 * libssh2 cannot do: building requests, reading answers. Answers are bytes from outside.
 */
#pragma once

#include "base/buf.h"
#include "providers/ssh/link.h"

/* The types of requests; what each is given beside the path or handle stands behind. */
enum sp_sftp_type {
    SP_SFTP_OPEN = 3, /* flags; permissions of a new file */
    SP_SFTP_CLOSE = 4,
    SP_SFTP_READ = 5, /* SP_SFTP_READ_BYTES from the start */
    SP_SFTP_LSTAT = 7,
    SP_SFTP_OPENDIR = 11,
    SP_SFTP_READDIR = 12,
    SP_SFTP_REMOVE = 13,
    SP_SFTP_MKDIR = 14, /* permissions */
    SP_SFTP_RMDIR = 15,
};

enum { SP_SFTP_FOR_READING = 0x01, SP_SFTP_TO_BE_REPLACED = 0x02 | 0x08 | 0x10 };
enum { SP_SFTP_READ_BYTES = 32768, SP_SFTP_WRITE_BYTES = 32768, SP_SFTP_ANSWER_MAX = 256 << 10 };
enum { SP_SFTP_HANDLE_MAX = 256 }; /* by the protocol */

/* One request; `on` is its path or handle. flags: of OPEN, else 0; mode: of OPEN and MKDIR. */
SP_MUST_CHECK enum sp_code sp_sftp_add(struct sp_buf *out, enum sp_sftp_type type, uint32_t id,
                                       struct sp_bytes on, uint32_t flags, uint32_t mode);
SP_MUST_CHECK enum sp_code sp_sftp_add_write(struct sp_buf *out, uint32_t id,
                                             struct sp_bytes handle, uint64_t offset,
                                             struct sp_bytes data);

struct sp_sftp_answer {
    uint32_t id;
    enum { SP_SFTP_STATUS, SP_SFTP_HANDLE, SP_SFTP_DATA, SP_SFTP_NAMES, SP_SFTP_ATTRIBUTES } kind;
    uint32_t status;       /* of SP_SFTP_STATUS: 0 for success */
    struct sp_bytes bytes; /* the handle, the data, or the names in their raw form */
    uint32_t n_names;
    struct sp_ssh_attributes attributes;
};

/* The first whole packet of `in`. Its length in *used; 0: it is not whole yet. SP_E_INVALID: no
 * packet of SFTP, or one that is too long. What it points to is in `in`. */
SP_MUST_CHECK enum sp_code sp_sftp_read(struct sp_bytes in, struct sp_sftp_answer *out,
                                        size_t *used);
/* The next name of `names`, which moves on. False: the bytes are not what they should be. */
bool sp_sftp_next_name(struct sp_bytes *names, struct sp_bytes *name,
                       struct sp_ssh_attributes *attributes);
/* A name that leads nowhere but into its folder: a server must not lead us out of it. */
bool sp_sftp_is_entry(struct sp_bytes name);
