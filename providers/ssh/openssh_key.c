#include "providers/ssh/openssh_key.h"

#include <string.h>

#include "base/text.h"
#include "providers/ssh/wire.h"

static const char first_line[] = "-----BEGIN OPENSSH PRIVATE KEY-----";
static const char last_line[] = "-----END OPENSSH PRIVATE KEY-----";
static const char magic[] = "openssh-key-v1"; /* with its NUL */

void sp_openssh_key_clear(struct sp_openssh_key *key)
{
    if (key->bytes.data)
        explicit_bzero(key->bytes.data, key->bytes.cap);
    sp_buf_clear(&key->bytes);
    *key = (struct sp_openssh_key){0};
}

bool sp_openssh_key_is(const char *text)
{
    return strstr(text, first_line) != NULL;
}

/* Base64 with line breaks, into key->bytes. */
static bool decode(const char *text, struct sp_buf *bytes)
{
    const char *start = strstr(text, first_line);
    const char *end = start ? strstr(start, last_line) : NULL;

    if (!end)
        return false;
    start += sizeof first_line - 1;
    size_t len = (size_t)(end - start);
    sp_auto(sp_buf_clear) struct sp_buf plain = SP_BUF_INIT(len);
    if (sp_buf_reserve(&plain, len))
        return false;
    for (; start < end; start++) {
        if (!strchr(" \t\r\n", *start))
            plain.data[plain.len++] = *start;
    }
    *bytes = SP_BUF_INIT(len);
    bool ok = sp_buf_reserve(bytes, len) == SP_OK &&
              sp_base64_decode(plain.data, plain.len, bytes) == SP_OK;
    explicit_bzero(plain.data, plain.cap);
    return ok;
}

/* Behind the check numbers: type, then the numbers of RSA, in its own order. */
static bool read_rsa(struct sp_bytes secret, struct sp_openssh_key *out)
{
    uint32_t check1, check2;
    struct sp_bytes type;

    return sp_ssh_take_u32(&secret, &check1) && sp_ssh_take_u32(&secret, &check2) &&
           check1 == check2 && sp_ssh_take_string(&secret, &type) &&
           sp_bytes_are(type, "ssh-rsa") && sp_ssh_take_string(&secret, &out->n) &&
           sp_ssh_take_string(&secret, &out->e) && sp_ssh_take_string(&secret, &out->d) &&
           out->n.len > 0 && out->e.len > 0 && out->d.len > 0;
}

bool sp_openssh_key_parse(const char *text, struct sp_openssh_key *out)
{
    struct sp_bytes rest, cipher, kdf, kdf_options, public_key, secret, type;
    uint32_t n_keys;

    *out = (struct sp_openssh_key){0};
    if (!decode(text, &out->bytes) || out->bytes.len < sizeof magic ||
        memcmp(out->bytes.data, magic, sizeof magic) != 0)
        return false;
    rest = (struct sp_bytes){out->bytes.data + sizeof magic, out->bytes.len - sizeof magic};
    if (!sp_ssh_take_string(&rest, &cipher) || !sp_ssh_take_string(&rest, &kdf) ||
        !sp_ssh_take_string(&rest, &kdf_options) || !sp_ssh_take_u32(&rest, &n_keys) ||
        n_keys != 1 || !sp_ssh_take_string(&rest, &public_key) ||
        !sp_ssh_take_string(&rest, &secret) || !sp_ssh_take_string(&public_key, &type) ||
        type.len >= sizeof out->type)
        return false;
    memcpy(out->type, type.data, type.len);
    out->encrypted = !sp_bytes_are(cipher, "none");
    return out->encrypted || strcmp(out->type, "ssh-rsa") != 0 || read_rsa(secret, out);
}
