/* Who we are: the private key, then the password, as far as they are set. */
#pragma once

#include "providers/ssh/conn.h"
#include "providers/ssh/key.h"

/*
 * key may be empty. SP_E_DENIED: refused, the message says what was tried and what to do;
 * SP_E_INVALID: the key cannot be used; else as sp_ssh_run().
 */
SP_MUST_CHECK enum sp_code sp_ssh_authenticate(struct sp_ssh_conn *conn, struct sp_ssh_user *user,
                                               const struct sp_ssh_options *options,
                                               const struct sp_ssh_key *key,
                                               const struct sp_ssh_wait *wait,
                                               struct sp_error *err);
