/*
 * The private key of the settings: PEM (PKCS#1, PKCS#8, SEC 1) or OpenSSH's own format, as text or
 * in a file of the worker's machine.
 */
#pragma once

#include <openssl/evp.h>

#include "providers/ssh/link.h"

struct sp_ssh_key {
    char *text; /* wiped when freed */
    size_t len;
    EVP_PKEY *rsa; /* only where libssh2 cannot sign with it itself: see rsa_sha2.h */
};
void sp_ssh_key_clear(struct sp_ssh_key *key);
SP_AUTO_CLEAR(struct sp_ssh_key, sp_ssh_key_clear)

/* SP_E_INVALID: the message says what is wrong with the key or its passphrase; SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_ssh_key_load(const struct sp_ssh_options *options, const char *name,
                                           struct sp_ssh_key *out, struct sp_error *err);
