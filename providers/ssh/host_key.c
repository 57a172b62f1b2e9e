#include "providers/ssh/host_key.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "providers/ssh/read_file.h"
#include "providers/ssh/wire.h"

enum {
    FILE_BYTES = 16 << 20,
    PASSWD_BYTES = 4096,
    METHODS_BYTES = 256,
    TYPE_BYTES = 40,
    FINGERPRINT_BYTES = 64
};

/* Methods, best first, and the type of key that each uses. */
static const struct {
    const char *method, *type;
} methods[] = {
    {"ssh-ed25519", "ssh-ed25519"},
    {"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"},
    {"ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"},
    {"ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"},
    {"rsa-sha2-512", "ssh-rsa"},
    {"rsa-sha2-256", "ssh-rsa"},
    {"ssh-rsa", "ssh-rsa"},
};

void sp_host_keys_clear(struct sp_host_keys *keys)
{
    sp_known_hosts_clear(&keys->known);
}

static enum sp_code load_file(struct sp_host_keys *keys, const char *path, bool needed,
                              struct sp_error *err)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(FILE_BYTES);
    int failure = sp_ssh_read_file(path, &text);

    if (!needed && (failure == ENOENT || failure == ENOTDIR))
        return SP_OK;
    if (failure) {
        return sp_error_errno(err, SP_E_INVALID, failure, "%s: known_hosts: %s", keys->name, path);
    }
    if (sp_known_hosts_add(&keys->known, sp_buf_str(&text), text.len, keys->options->host,
                           keys->options->port))
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    return SP_OK;
}

/* That of the worker's account, as ssh has it, not of $HOME. */
static enum sp_code load_users(struct sp_host_keys *keys, struct sp_error *err)
{
    sp_auto(sp_free_str) char *path = NULL;
    char bytes[PASSWD_BYTES];
    struct passwd entry, *found = NULL;

    if (getpwuid_r(geteuid(), &entry, bytes, sizeof bytes, &found) || !found)
        return SP_OK; /* an account without a home has no such file */
    if (asprintf(&path, "%s/.ssh/known_hosts", found->pw_dir) < 0) {
        path = NULL;
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    }
    return load_file(keys, path, false, err);
}

static bool is_set(const char *text)
{
    return text && *text;
}

enum sp_code sp_host_keys_load(const struct sp_ssh_options *options, const char *name,
                               struct sp_host_keys *out, struct sp_error *err)
{
    *out = (struct sp_host_keys){.options = options, .name = name};
    if (is_set(options->host_key_fingerprint))
        return SP_OK;
    enum sp_code rc = load_file(out, "/etc/ssh/ssh_known_hosts", false, err);
    if (!rc)
        rc = load_users(out, err);
    if (!rc && is_set(options->known_hosts))
        rc = load_file(out, options->known_hosts, true, err);
    return rc;
}

/* The first of the methods with this type of key; their number: none is. */
static size_t type_of(const char *type)
{
    size_t i = 0;

    while (i < SP_COUNT(methods) && strcmp(methods[i].type, type) != 0)
        i++;
    return i;
}

static bool is_known_type(const struct sp_host_keys *keys, const char *type)
{
    for (size_t i = 0; i < keys->known.n; i++) {
        struct sp_bytes rest = keys->known.keys[i].blob, name;

        if (!keys->known.keys[i].revoked && sp_ssh_take_string(&rest, &name) &&
            sp_bytes_are(name, type))
            return true;
    }
    return false;
}

/* libssh2 1.10 drops unknown names from a list by copying it onto itself: none may be in it. */
static bool is_supported(const char **names, int n, const char *method)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(names[i], method) == 0)
            return true;
    }
    return false;
}

bool sp_host_keys_prefer(const struct sp_host_keys *keys, LIBSSH2_SESSION *session)
{
    const char **names = NULL;
    int n = libssh2_session_supported_algs(session, LIBSSH2_METHOD_HOSTKEY, &names);
    char list[METHODS_BYTES] = "";
    size_t len = 0;

    for (int known = 1; known >= 0; known--) { /* the known ones first */
        for (size_t i = 0; i < SP_COUNT(methods); i++) {
            if ((keys->refused & 1U << type_of(methods[i].type)) ||
                is_known_type(keys, methods[i].type) != (known == 1) ||
                !is_supported(names, n, methods[i].method))
                continue;
            len += (size_t)snprintf(list + len, sizeof list - len, "%s%s", len ? "," : "",
                                    methods[i].method);
        }
    }
    if (n > 0)
        libssh2_free(session, names);
    return len > 0 && libssh2_session_method_pref(session, LIBSSH2_METHOD_HOSTKEY, list) == 0;
}

/* As ssh-keygen -l shows it. */
static enum sp_code fingerprint(struct sp_bytes blob, char *out)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(FINGERPRINT_BYTES);
    unsigned char hash[SHA256_DIGEST_LENGTH];

    SHA256((const unsigned char *)blob.data, blob.len, hash);
    if (sp_base64_encode(hash, sizeof hash, &text))
        return SP_E_NOMEM;
    snprintf(out, FINGERPRINT_BYTES, "SHA256:%.43s", sp_buf_str(&text));
    return SP_OK;
}

static size_t type_in(struct sp_bytes blob)
{
    char name[TYPE_BYTES] = "";
    struct sp_bytes type;

    if (sp_ssh_take_string(&blob, &type) && type.len < sizeof name)
        memcpy(name, type.data, type.len);
    return type_of(name);
}

static enum sp_code check_known(struct sp_host_keys *keys, struct sp_bytes blob, const char *shown,
                                struct sp_error *err)
{
    static const char add[] = "If that is its key, put it into known_hosts or host_key_fingerprint";
    static const struct {
        const char *what, *remedy;
    } texts[] = {
        [SP_KNOWN_NOT] = {"unknown host", add},
        [SP_KNOWN_OTHER_TYPE] = {"known by keys of other types only", add},
        [SP_KNOWN_CHANGED] = {"CHANGED, someone may be in between",
                              "If the host has a new key, replace the old one in known_hosts"},
        [SP_KNOWN_REVOKED] = {"revoked in known_hosts", "The host needs a new key"},
    };
    enum sp_known found = sp_known_hosts_look(&keys->known, blob);

    if (found == SP_KNOWN_YES)
        return SP_OK;
    return sp_error_set(err, SP_E_DENIED, "%s: host key: %s; it showed %s. %s", keys->name,
                        texts[found].what, shown, texts[found].remedy);
}

enum sp_code sp_host_keys_check(struct sp_host_keys *keys, LIBSSH2_SESSION *session, bool *again,
                                struct sp_error *err)
{
    const char *pinned = keys->options->host_key_fingerprint;
    char print[FINGERPRINT_BYTES], shown[FINGERPRINT_BYTES * 2];
    struct sp_bytes blob = {0};
    int ignored;

    *again = false;
    blob.data = libssh2_session_hostkey(session, &blob.len, &ignored);
    if (!blob.data || fingerprint(blob, print))
        return sp_error_set(err, SP_E_UNAVAILABLE, "%s: host key: the server has none", keys->name);
    size_t type = type_in(blob);
    snprintf(shown, sizeof shown, "%s (%s)", print,
             type < SP_COUNT(methods) ? methods[type].type : "of an unknown type");
    if (!is_set(pinned))
        return check_known(keys, blob, shown, err);
    if (strcmp(pinned, print) == 0)
        return SP_OK;
    *again = type < SP_COUNT(methods) && !(keys->refused & 1U << type);
    keys->refused |= type < SP_COUNT(methods) ? 1U << type : 0;
    return sp_error_set(err, SP_E_DENIED,
                        "%s: host key: not the one of host_key_fingerprint; it showed %s. If that "
                        "is its key, set host_key_fingerprint to it",
                        keys->name, shown);
}
