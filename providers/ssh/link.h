/*
 * SSH for the provider: connections to one account of one machine, shared by the executors. A link
 * is the right to run one command at a time, which OpenSSH counts as a session; many links share a
 * connection. The host key must be known (known_hosts) or pinned, else nothing is sent to it.
 *
 * Messages name user, host, port and the step, never a secret, a command or what a peer sent.
 * Codes: SP_E_UNAVAILABLE: no connection, or it was lost; SP_E_DENIED: credentials refused, or the
 * host key is unknown or another one; SP_E_INVALID: the private key or known_hosts cannot be used,
 * or the server refused a request of ours (SFTP, exec); SP_E_TIMEOUT, SP_E_CANCELLED: the caller's
 * limits; SP_E_LIMIT: a ceiling of the caller's; SP_E_NOMEM.
 */
#pragma once

#include "base/buf.h"
#include "base/clock.h"
#include "base/result.h"

struct sp_ssh_pool;
struct sp_ssh_link;

/* Borrowed as long as the pool lives. Absent texts are NULL or "". */
struct sp_ssh_options {
    const char *host;
    int64_t port;
    const char *username, *password;
    const char *private_key; /* text, or the path of a file */
    const char *passphrase;
    const char *known_hosts;          /* a file read besides the system's and the user's */
    const char *host_key_fingerprint; /* "SHA256:...": then known_hosts files are not asked */
    int64_t max_sessions; /* at once on one connection, at least 2: file transfer takes one */
    int64_t idle_ms;      /* an unused connection is closed after it; 0: a minute */
    int64_t keepalive_ms; /* a silent server is asked after it and has twice that; 0: 10 s */
};

/* How long one call may block. */
struct sp_ssh_wait {
    int64_t deadline; /* monotonic ms; SP_NEVER: none */
    int cancel_fd;    /* readable once it is to end; -1: none */
};

/* No network I/O, no file is read. SP_E_NOMEM; SP_E_UNAVAILABLE: no thread, which closes idle
 * connections. */
SP_MUST_CHECK enum sp_code sp_ssh_pool_new(const struct sp_ssh_options *options,
                                           struct sp_ssh_pool **out, struct sp_error *err);
/* Closes every connection. No link is out any more. NULL is fine. Blocks: up to 100 ms. */
void sp_ssh_pool_free(struct sp_ssh_pool *pool);
SP_AUTO(struct sp_ssh_pool *, sp_ssh_pool_free)

/*
 * A link on a connection that answers: a session channel is open when this returns, so that a
 * connection which died while idle, or a server that takes no more sessions, is dealt with here.
 * Connects if no connection has room; one connection is made at a time, and who waits takes what
 * becomes free meanwhile. Thread: any, several at once; the link then belongs to one thread at a
 * time.
 */
SP_MUST_CHECK enum sp_code sp_ssh_take(struct sp_ssh_pool *pool, const struct sp_ssh_wait *wait,
                                       struct sp_ssh_link **out, struct sp_error *err);
/* Ends what is open on it as sp_ssh_close() does. NULL is fine. Does not block. */
void sp_ssh_give(struct sp_ssh_link *link);
SP_AUTO(struct sp_ssh_link *, sp_ssh_give)
/* The connection is lost: every further call fails with SP_E_UNAVAILABLE; only give it back. */
bool sp_ssh_lost(struct sp_ssh_link *link);

/*
 * Starts a command, which the account's shell interprets. The link's earlier command, if any, is
 * closed first. *started (also on failure): NO where the request was not sent or the server refused
 * it, MAYBE where it was sent and no answer came, YES on SP_OK.
 */
SP_MUST_CHECK enum sp_code sp_ssh_exec(struct sp_ssh_link *link, const char *command,
                                       const struct sp_ssh_wait *wait, enum sp_started *started,
                                       struct sp_error *err);
/* All of data to the command's standard input. Output that comes meanwhile is kept, up to 2 MiB a
 * command; past it the command and this call wait for each other, so read between large parts. */
SP_MUST_CHECK enum sp_code sp_ssh_write(struct sp_ssh_link *link, const void *data, size_t len,
                                        const struct sp_ssh_wait *wait, struct sp_error *err);
/* Ends the standard input. */
SP_MUST_CHECK enum sp_code sp_ssh_write_eof(struct sp_ssh_link *link,
                                            const struct sp_ssh_wait *wait, struct sp_error *err);

enum sp_ssh_stream { SP_SSH_END, SP_SSH_STDOUT, SP_SSH_STDERR };

struct sp_ssh_part {
    enum sp_ssh_stream stream; /* END: both streams ended, len is 0 */
    size_t len;
};

/*
 * Waits for output of either stream and puts at most `size` bytes of it into buf. After
 * SP_E_TIMEOUT and SP_E_CANCELLED nothing is lost: it may be called again with other limits.
 */
SP_MUST_CHECK enum sp_code sp_ssh_read(struct sp_ssh_link *link, void *buf, size_t size,
                                       const struct sp_ssh_wait *wait, struct sp_ssh_part *part,
                                       struct sp_error *err);

struct sp_ssh_exit {
    int status;      /* 0 to 255; -1 where a signal ended it */
    char signal[24]; /* "KILL", "TERM", ...; "" for none */
};

/* How the command ended; call it after SP_SSH_END. Output that was not read is dropped. */
SP_MUST_CHECK enum sp_code sp_ssh_wait_exit(struct sp_ssh_link *link,
                                            const struct sp_ssh_wait *wait, struct sp_ssh_exit *out,
                                            struct sp_error *err);
/* Ends the channel of the link's command, which sees its standard input end and its output refused;
 * a program that minds neither goes on. Does not block. */
void sp_ssh_close(struct sp_ssh_link *link);

/*
 * Files (SFTP, one subsystem a connection, one operation at a time on it). Paths are as the server
 * takes them; relative ones are below the account's home. Where the server refuses: SP_E_INVALID,
 * and sp_ssh_no_such_file() tells that case from the others.
 */
enum sp_ssh_file_type { SP_SSH_FILE, SP_SSH_FOLDER, SP_SSH_SYMLINK, SP_SSH_OTHER };

struct sp_ssh_attributes {
    enum sp_ssh_file_type type;
    int64_t size, mtime; /* bytes; seconds since the epoch */
    unsigned mode;       /* permission bits */
};

struct sp_ssh_entry {
    char *name; /* bytes as the server has them; never ".", ".." nor with a slash */
    struct sp_ssh_attributes attributes; /* of the name itself: links are not followed */
};

struct sp_ssh_listing {
    struct sp_ssh_entry *entries;
    size_t n;
    bool more; /* there were more than asked for */
};
/* Copies the name. SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_ssh_listing_add(struct sp_ssh_listing *listing, struct sp_bytes name,
                                              const struct sp_ssh_attributes *attributes);
void sp_ssh_listing_clear(struct sp_ssh_listing *listing);
SP_AUTO_CLEAR(struct sp_ssh_listing, sp_ssh_listing_clear)

/* Whether the link's last file operation failed because there is no such file or folder. */
bool sp_ssh_no_such_file(const struct sp_ssh_link *link);

/* Makes a file with these permission bits, less the umask at the server, or replaces the bytes of
 * one. A failure may leave a part of it. */
SP_MUST_CHECK enum sp_code sp_ssh_put(struct sp_ssh_link *link, const char *path, const void *data,
                                      size_t len, unsigned mode, const struct sp_ssh_wait *wait,
                                      struct sp_error *err);
/* Adds the file to out. SP_E_LIMIT: it is longer than out->max allows, however long it says it is.
 * What was added before a failure stays. */
SP_MUST_CHECK enum sp_code sp_ssh_get(struct sp_ssh_link *link, const char *path,
                                      struct sp_buf *out, const struct sp_ssh_wait *wait,
                                      struct sp_error *err);
/* Of the name itself: links are not followed. */
SP_MUST_CHECK enum sp_code sp_ssh_lstat(struct sp_ssh_link *link, const char *path,
                                        const struct sp_ssh_wait *wait,
                                        struct sp_ssh_attributes *out, struct sp_error *err);
SP_MUST_CHECK enum sp_code sp_ssh_mkdir(struct sp_ssh_link *link, const char *path, unsigned mode,
                                        const struct sp_ssh_wait *wait, struct sp_error *err);
/* A file or a symbolic link. */
SP_MUST_CHECK enum sp_code sp_ssh_remove(struct sp_ssh_link *link, const char *path,
                                         const struct sp_ssh_wait *wait, struct sp_error *err);
/* An empty folder. */
SP_MUST_CHECK enum sp_code sp_ssh_rmdir(struct sp_ssh_link *link, const char *path,
                                        const struct sp_ssh_wait *wait, struct sp_error *err);
/* At most max_entries, in the server's order. *out is empty before and filled on SP_OK. */
SP_MUST_CHECK enum sp_code sp_ssh_list(struct sp_ssh_link *link, const char *path,
                                       size_t max_entries, const struct sp_ssh_wait *wait,
                                       struct sp_ssh_listing *out, struct sp_error *err);
