/* Which host key a server must show: the pinned one, else one of known_hosts. */
#pragma once

#include <libssh2.h>

#include "providers/ssh/known_hosts.h"
#include "providers/ssh/link.h"

struct sp_host_keys {
    const struct sp_ssh_options *options;
    const char *name; /* user@host:port */
    struct sp_known_hosts known;
    unsigned refused; /* types that the pinned key is not of; a bit each */
};
void sp_host_keys_clear(struct sp_host_keys *keys);
SP_AUTO_CLEAR(struct sp_host_keys, sp_host_keys_clear)

/* Reads the files, unless a fingerprint is set. A missing file of the system or the user is empty.
 * SP_E_INVALID: a file cannot be read; SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_host_keys_load(const struct sp_ssh_options *options, const char *name,
                                             struct sp_host_keys *out, struct sp_error *err);
/* Before the handshake: the server is asked for a key of a type that is known. False: none is left
 * to ask for. */
bool sp_host_keys_prefer(const struct sp_host_keys *keys, LIBSSH2_SESSION *session);
/* After it: SP_OK, or SP_E_DENIED. *again: the server may have the pinned key under another type.
 */
SP_MUST_CHECK enum sp_code sp_host_keys_check(struct sp_host_keys *keys, LIBSSH2_SESSION *session,
                                              bool *again, struct sp_error *err);
