/*
 * What known_hosts files say of one host (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): names, patterns,
 * hashed names, @revoked. Lines of certificate authorities and lines that make no sense say
 * nothing.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct sp_known_key {
    struct sp_bytes blob; /* owned; begins with the name of its type */
    bool revoked;
};

struct sp_known_hosts {
    struct sp_known_key *keys;
    size_t n;
};
void sp_known_hosts_clear(struct sp_known_hosts *known);
SP_AUTO_CLEAR(struct sp_known_hosts, sp_known_hosts_clear)

/* Adds the keys that the text gives for the host; on another port than 22 it is [host]:port there.
 * SP_E_NOMEM. */
SP_MUST_CHECK enum sp_code sp_known_hosts_add(struct sp_known_hosts *known, const char *text,
                                              size_t len, const char *host, int64_t port);

enum sp_known {
    SP_KNOWN_NOT,        /* nothing is known of the host */
    SP_KNOWN_OTHER_TYPE, /* keys of other types are */
    SP_KNOWN_CHANGED,    /* another key of this type is */
    SP_KNOWN_REVOKED,
    SP_KNOWN_YES,
};
/* What is known of a key that the host shows. */
enum sp_known sp_known_hosts_look(const struct sp_known_hosts *known, struct sp_bytes blob);
