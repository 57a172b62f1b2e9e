/* Base64 (RFC 4648, section 4) and SHA-256 on libcrypto; the strictness that it lacks is here. */
#include "base/text.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>

/* libcrypto counts in int; whole groups of 3 and 4, so that pieces join without padding. */
#define GROUPS_AT_ONCE ((size_t)1 << 24)

enum sp_code sp_base64_encode(const void *data, size_t len, struct sp_buf *out)
{
    if (len == 0)
        return SP_OK;
    if (len > SIZE_MAX / 2)
        return SP_E_LIMIT;

    enum sp_code rc = sp_buf_reserve(out, (len + 2) / 3 * 4);

    if (rc)
        return rc;
    for (const unsigned char *at = data; len > 0;) {
        size_t piece = len < 3 * GROUPS_AT_ONCE ? len : 3 * GROUPS_AT_ONCE;
        unsigned char *to = (unsigned char *)out->data + out->len;

        out->len += (size_t)EVP_EncodeBlock(to, at, (int)piece);
        at += piece;
        len -= piece;
    }
    return SP_OK;
}

static bool in_alphabet(const char *text, size_t len)
{
    static const bool alphabet[256] = {
        ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['0' ... '9'] = true,
        ['+'] = true,         ['/'] = true,
    };

    for (size_t i = 0; i < len; i++) {
        if (!alphabet[(unsigned char)text[i]])
            return false;
    }
    return true;
}

enum sp_code sp_base64_decode(const char *text, size_t len, struct sp_buf *out)
{
    if (len == 0)
        return SP_OK;
    if (len % 4 != 0)
        return SP_E_INVALID;

    size_t padding = text[len - 1] != '=' ? 0 : text[len - 2] != '=' ? 1 : 2;

    if (!in_alphabet(text, len - padding))
        return SP_E_INVALID;

    /* libcrypto writes three bytes for a padded group too, so the last one goes another way. */
    size_t head = len - 4, bytes = head / 4 * 3;
    unsigned char last[3];
    enum sp_code rc = sp_buf_reserve(out, bytes + 3 - padding);

    if (rc)
        return rc;
    for (size_t at = 0; at < head; at += 4 * GROUPS_AT_ONCE) {
        size_t piece = head - at < 4 * GROUPS_AT_ONCE ? head - at : 4 * GROUPS_AT_ONCE;
        unsigned char *to = (unsigned char *)out->data + out->len + at / 4 * 3;

        EVP_DecodeBlock(to, (const unsigned char *)text + at, (int)piece);
    }
    EVP_DecodeBlock(last, (const unsigned char *)text + head, 4);
    memcpy(out->data + out->len + bytes, last, 3 - padding);
    out->len += bytes + 3 - padding;
    out->data[out->len] = '\0';
    return SP_OK;
}

void sp_sha256_hex(const void *data, size_t len, char *out)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    static const char hex[] = "0123456789abcdef";

    SHA256(data, len, digest);
    for (size_t i = 0; i < sizeof(digest); i++) {
        out[2 * i] = hex[digest[i] >> 4];
        out[2 * i + 1] = hex[digest[i] & 15];
    }
    out[2 * sizeof(digest)] = '\0';
}
