#include "providers/ssh/key.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "providers/ssh/openssh_key.h"
#include "providers/ssh/read_file.h"
#include "providers/ssh/rsa_sha2.h"

enum { KEY_BYTES = 64 << 10 };

SP_AUTO(BIO *, BIO_free_all)
SP_AUTO(EVP_PKEY *, EVP_PKEY_free)

void sp_ssh_key_clear(struct sp_ssh_key *key)
{
    if (key->text)
        explicit_bzero(key->text, key->len);
    free(key->text);
    EVP_PKEY_free(key->rsa);
    *key = (struct sp_ssh_key){0};
}

static enum sp_code bad(const char *name, const char *why, struct sp_error *err)
{
    return sp_error_set(err, SP_E_INVALID, "%s: private_key: %s", name, why);
}

/* Line ends of Windows, and of browsers, become those of Unix. An empty line would end PEM's head.
 */
static void end_lines(struct sp_buf *text)
{
    char *to = text->data;

    for (const char *from = text->data; *from; from++) {
        if (*from != '\r') {
            *to++ = *from;
        } else if (from[1] != '\n') {
            *to++ = '\n';
        }
    }
    *to = '\0';
    text->len = (size_t)(to - text->data);
}

/* Part of a key may have been taken for a path, and is not told. */
static enum sp_code unreadable(const char *setting, const char *name, int failure,
                               struct sp_error *err)
{
    if (*setting == '/')
        return sp_error_errno(err, SP_E_INVALID, failure, "%s: private_key: %s", name, setting);
    return sp_error_errno(err, SP_E_INVALID, failure,
                          "%s: private_key: neither a key's whole text nor the path of a file that "
                          "can be read",
                          name);
}

/* Text of more than a line, or with a key's first line, is a key; else it is a path. */
static enum sp_code load_text(const char *setting, const char *name, struct sp_buf *text,
                              struct sp_error *err)
{
    enum sp_code rc = SP_OK;

    if (!strchr(setting, '\n') && !strstr(setting, "-----BEGIN")) {
        int failure = sp_ssh_read_file(setting, text);
        if (failure)
            return unreadable(setting, name, failure, err);
    } else {
        rc = sp_buf_adds(text, setting);
    }
    if (!rc)
        rc = sp_buf_addc(text, '\n'); /* which a pasted key may lack */
    if (!rc)
        end_lines(text);
    return rc ? sp_error_set(err, SP_E_INVALID, "%s: private_key: too long", name) : SP_OK;
}

/* OpenSSL would ask the terminal otherwise. */
static int give_passphrase(char *buf, int size, int writing, void *ctx)
{
    int len = snprintf(buf, (size_t)size, "%s", *(const char **)ctx);

    (void)writing;
    return len < size ? len : -1;
}

static enum sp_code check_openssh(struct sp_ssh_key *key, const char *passphrase, const char *name,
                                  struct sp_error *err)
{
    sp_auto(sp_openssh_key_clear) struct sp_openssh_key parsed = {0};

    if (!sp_openssh_key_parse(key->text, &parsed))
        return bad(name, "damaged, or not in OpenSSH's format after all", err);
    if (parsed.encrypted && !*passphrase)
        return bad(name, "it is encrypted; set its passphrase", err);
    if (SP_SSH_RSA_BUILT_IN || strcmp(parsed.type, "ssh-rsa") != 0)
        return SP_OK;
    if (parsed.encrypted) {
        return bad(name,
                   "an encrypted RSA key in OpenSSH's format needs libssh2 1.11; convert it by "
                   "ssh-keygen -p -m PEM -f FILE, or use an ed25519 key",
                   err);
    }
    key->rsa = sp_rsa_sha2_key(parsed.n, parsed.e, parsed.d);
    return key->rsa ? SP_OK : bad(name, "damaged", err);
}

static enum sp_code check_pem(struct sp_ssh_key *key, const char *passphrase, const char *name,
                              struct sp_error *err)
{
    sp_auto(BIO_free_all) BIO *bio = BIO_new_mem_buf(key->text, (int)key->len);
    bool encrypted = strstr(key->text, "ENCRYPTED");

    if (encrypted && !*passphrase)
        return bad(name, "it is encrypted; set its passphrase", err);
    sp_auto(EVP_PKEY_free) EVP_PKEY *pkey =
        bio ? PEM_read_bio_PrivateKey(bio, NULL, give_passphrase, &passphrase) : NULL;
    ERR_clear_error();
    if (!pkey) {
        return bad(name,
                   encrypted
                       ? "the passphrase is wrong, or the key is damaged"
                       : "not a private key; a path, PEM text or OpenSSH's format is expected",
                   err);
    }
    if (!SP_SSH_RSA_BUILT_IN && EVP_PKEY_get_base_id(pkey) == EVP_PKEY_RSA)
        key->rsa = SP_TAKE(pkey);
    return SP_OK;
}

enum sp_code sp_ssh_key_load(const struct sp_ssh_options *options, const char *name,
                             struct sp_ssh_key *out, struct sp_error *err)
{
    struct sp_buf text = SP_BUF_INIT(KEY_BYTES);
    struct sp_ssh_key key = {0};
    const char *passphrase = options->passphrase ?: "";
    enum sp_code rc = load_text(options->private_key, name, &text, err);

    key.text = sp_buf_take(&text, &key.len);
    if (!key.text)
        return rc ? rc : sp_error_set(err, SP_E_NOMEM, "out of memory");
    if (!rc) {
        rc = sp_openssh_key_is(key.text) ? check_openssh(&key, passphrase, name, err)
                                         : check_pem(&key, passphrase, name, err);
    }
    if (rc) {
        sp_ssh_key_clear(&key);
        return rc;
    }
    *out = key;
    return SP_OK;
}
