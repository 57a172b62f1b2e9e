/*
 * OpenSSH's private key format (PROTOCOL.key of its sources): what kind of key it is and, where it
 * is not encrypted, its RSA numbers. Read with bounds; nothing is believed.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"

struct sp_openssh_key {
    bool encrypted;
    char type[40];           /* "ssh-rsa", "ssh-ed25519", ... */
    struct sp_bytes n, e, d; /* big-endian, inside `bytes`; RSA that is not encrypted only */
    struct sp_buf bytes;     /* wiped when cleared */
};
void sp_openssh_key_clear(struct sp_openssh_key *key);
SP_AUTO_CLEAR(struct sp_openssh_key, sp_openssh_key_clear)

/* Whether the text is in this format at all; then whether it makes sense. *out is to be cleared in
 * any case. */
bool sp_openssh_key_is(const char *text);
bool sp_openssh_key_parse(const char *text, struct sp_openssh_key *out);
