/* Making one connection: name, TCP, handshake, host key, credentials, SFTP. */
#pragma once

#include "providers/ssh/conn.h"

/*
 * Codes as link.h has them; SP_E_UNAVAILABLE also where the server takes longer than 20 s for all
 * of it. Blocks: within *wait. Thread: any; user is the caller's.
 */
SP_MUST_CHECK enum sp_code sp_ssh_connect(const struct sp_ssh_options *options, const char *name,
                                          struct sp_ssh_user *user, const struct sp_ssh_wait *wait,
                                          struct sp_ssh_conn **out, struct sp_error *err);
