/*
 * RSA signatures with SHA-2 for libssh2 before 1.11, which signs with SHA-1 only; OpenSSH refuses
 * that since 8.8. libssh2 takes the algorithm's name from the front of the public key that we hand
 * it, so we hand it one that begins with rsa-sha2-256 and sign ourselves. OpenSSH's servers know
 * such a key for what it is; others may not.
 */
#pragma once

#include <libssh2.h>
#include <openssl/evp.h>

#include "base/buf.h"

/* libssh2 signs with SHA-2 itself. */
#define SP_SSH_RSA_BUILT_IN (LIBSSH2_VERSION_NUM >= 0x010b00)

/* A key of these numbers, big-endian; NULL: they make none. */
EVP_PKEY *sp_rsa_sha2_key(struct sp_bytes n, struct sp_bytes e, struct sp_bytes d);
/* The public key as libssh2 is to send it. SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_rsa_sha2_public(const EVP_PKEY *rsa, struct sp_buf *out);
/* For libssh2_userauth_publickey(); *abstract is an EVP_PKEY. */
int sp_rsa_sha2_sign(LIBSSH2_SESSION *session, unsigned char **sig, size_t *sig_len,
                     const unsigned char *data, size_t data_len, void **abstract);
