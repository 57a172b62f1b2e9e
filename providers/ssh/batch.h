/*
 * Several operations on files over SFTP that travel together: two trips for all of them, where one
 * by one each takes up to three. On a busy machine the trips are what takes the time. The server
 * has to take requests in their order, as OpenSSH's does.
 */
#pragma once

#include "providers/ssh/link.h"

enum sp_ssh_verb {
    SP_SSH_MAKE_FOLDER, /* mode 0700 */
    SP_SSH_PUT,         /* mode 0600; makes or replaces */
    SP_SSH_GET,         /* a small regular file; nothing else is opened, also through no link */
    SP_SSH_LIST,        /* a small folder; likewise */
    SP_SSH_REMOVE,
    SP_SSH_REMOVE_FOLDER,
};

struct sp_ssh_task {
    enum sp_ssh_verb verb;
    const char *path;                    /* borrowed */
    struct sp_bytes data;                /* to put; borrowed */
    struct sp_buf *out;                  /* what was got is added */
    struct sp_ssh_listing *listing;      /* empty before */
    struct sp_ssh_attributes attributes; /* of what was to be read */
    /*
     * The answer. SP_E_INVALID: the server refused, or it is something else. SP_E_LIMIT: there is
     * more than fits into one answer, or into out; what came is of no use, take sp_ssh_get() or
     * sp_ssh_list().
     */
    enum sp_code rc;
    bool no_such_file;
};

/* One after the other, whatever becomes of each. SP_OK: every task has its answer. Codes as in
 * link.h, where none has. */
SP_MUST_CHECK enum sp_code sp_ssh_batch(struct sp_ssh_link *link, struct sp_ssh_task *tasks,
                                        size_t n, const struct sp_ssh_wait *wait,
                                        struct sp_error *err);
/* SP_OK, or SP_E_INVALID with what the server refused first. */
SP_MUST_CHECK enum sp_code sp_ssh_batch_check(struct sp_ssh_link *link,
                                              const struct sp_ssh_task *tasks, size_t n,
                                              struct sp_error *err);
