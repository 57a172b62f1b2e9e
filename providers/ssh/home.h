/*
 * A run's home on the far machine (providers/supervisor.h): made and filled over SFTP, removed by
 * its supervisor. Its name is random and its folders are the account's alone, so nobody else can
 * put something in the way of a path below it.
 */
#pragma once

#include "base/request.h"
#include "providers/ssh/batch.h"

struct sp_ssh_home {
    const char *work_dir; /* borrowed */
    char *path;
    bool begun;   /* a part of it may be there */
    bool watched; /* its supervisor was started, which removes it when its standard input ends */
    struct sp_ssh_task *tasks; /* that make it; their paths are owned */
    size_t n_tasks;
};

/* SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_ssh_home_init(struct sp_ssh_home *home, const char *work_dir,
                                            const char *id, struct sp_error *err);
/* Frees; what is on the far machine stays. */
void sp_ssh_home_clear(struct sp_ssh_home *home);
SP_AUTO_CLEAR(struct sp_ssh_home, sp_ssh_home_clear)

/*
 * The home with the supervisor and, where there is a request, what its run needs: artifacts/, the
 * wrapper, the program, its arguments and files. Makes work_dir where it is missing. SP_E_INVALID:
 * the server refused, the message begins with "work_dir".
 */
SP_MUST_CHECK enum sp_code sp_ssh_home_make(struct sp_ssh_home *home, struct sp_ssh_link *link,
                                            const struct sp_request *req,
                                            const struct sp_ssh_wait *wait, struct sp_error *err);
/* Removes what sp_ssh_home_make() made; home->begun is false when the home is gone by that, which
 * it is unless the program added something. */
SP_MUST_CHECK enum sp_code sp_ssh_home_unmake(struct sp_ssh_home *home, struct sp_ssh_link *link,
                                              const struct sp_ssh_wait *wait, struct sp_error *err);

/* Appends text as one word of a shell's. */
enum sp_code sp_ssh_quote(struct sp_buf *out, const char *text);
/* Appends the command that calls the home's supervisor: `exec sh '<supervisor>' <verb>`. */
enum sp_code sp_ssh_home_command(const struct sp_ssh_home *home, const char *verb,
                                 struct sp_buf *out);
/* Calls it to its end, whatever is left of the home. out: its output, up to the buffer's ceiling;
 * may be NULL. SP_E_INVALID: it did not end with exit code 0. */
SP_MUST_CHECK enum sp_code sp_ssh_home_call(const struct sp_ssh_home *home,
                                            struct sp_ssh_link *link, const char *verb,
                                            const struct sp_ssh_wait *wait, struct sp_buf *out,
                                            struct sp_error *err);
/* Ends what runs there and removes it, whatever is left of it. */
SP_MUST_CHECK enum sp_code sp_ssh_home_remove(struct sp_ssh_home *home, struct sp_ssh_link *link,
                                              const struct sp_ssh_wait *wait, struct sp_error *err);
