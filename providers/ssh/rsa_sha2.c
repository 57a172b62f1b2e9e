#include "providers/ssh/rsa_sha2.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <stdlib.h>

#include "base/text.h"

static const char algorithm[] = "rsa-sha2-256";

SP_AUTO(BIGNUM *, BN_clear_free)
SP_AUTO(OSSL_PARAM_BLD *, OSSL_PARAM_BLD_free)
SP_AUTO(OSSL_PARAM *, OSSL_PARAM_free)
SP_AUTO(EVP_PKEY_CTX *, EVP_PKEY_CTX_free)
SP_AUTO(EVP_MD_CTX *, EVP_MD_CTX_free)

static BIGNUM *number(struct sp_bytes bytes)
{
    return bytes.len <= INT32_MAX
               ? BN_bin2bn((const unsigned char *)bytes.data, (int)bytes.len, NULL)
               : NULL;
}

EVP_PKEY *sp_rsa_sha2_key(struct sp_bytes n, struct sp_bytes e, struct sp_bytes d)
{
    sp_auto(BN_clear_free) BIGNUM *bn_n = number(n);
    sp_auto(BN_clear_free) BIGNUM *bn_e = number(e);
    sp_auto(BN_clear_free) BIGNUM *bn_d = number(d);
    sp_auto(OSSL_PARAM_BLD_free) OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    sp_auto(EVP_PKEY_CTX_free) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    EVP_PKEY *key = NULL;

    if (!bn_n || !bn_e || !bn_d || !build || !ctx ||
        !OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, bn_n) ||
        !OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, bn_e) ||
        !OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_D, bn_d))
        return NULL;
    sp_auto(OSSL_PARAM_free) OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    if (!params || EVP_PKEY_fromdata_init(ctx) <= 0 ||
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params) <= 0)
        return NULL;
    return key;
}

static enum sp_code add_u32(struct sp_buf *out, size_t value)
{
    const unsigned char bytes[] = {(unsigned char)(value >> 24), (unsigned char)(value >> 16),
                                   (unsigned char)(value >> 8), (unsigned char)value};

    return sp_buf_add(out, bytes, sizeof bytes);
}

/* As an mpint: a leading zero where the first bit is set. */
static enum sp_code add_number(struct sp_buf *out, const EVP_PKEY *rsa, const char *name)
{
    sp_auto(BN_clear_free) BIGNUM *bn = NULL;

    if (!EVP_PKEY_get_bn_param(rsa, name, &bn))
        return SP_E_NOMEM;
    size_t len = (size_t)BN_num_bytes(bn);
    size_t zeros = BN_num_bits(bn) % 8 == 0;
    enum sp_code rc = add_u32(out, len + zeros);
    if (!rc && zeros)
        rc = sp_buf_addc(out, '\0');
    if (!rc)
        rc = sp_buf_reserve(out, len);
    if (rc)
        return rc;
    BN_bn2bin(bn, (unsigned char *)out->data + out->len);
    out->len += len;
    return SP_OK;
}

enum sp_code sp_rsa_sha2_public(const EVP_PKEY *rsa, struct sp_buf *out)
{
    enum sp_code rc = add_u32(out, sizeof algorithm - 1);

    if (!rc)
        rc = sp_buf_adds(out, algorithm);
    if (!rc)
        rc = add_number(out, rsa, OSSL_PKEY_PARAM_RSA_E);
    return rc ? rc : add_number(out, rsa, OSSL_PKEY_PARAM_RSA_N);
}

int sp_rsa_sha2_sign(LIBSSH2_SESSION *session, unsigned char **sig, size_t *sig_len,
                     const unsigned char *data, size_t data_len, void **abstract)
{
    sp_auto(EVP_MD_CTX_free) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t len = 0;

    (void)session; /* which frees the signature, by its allocator: malloc's */
    if (!ctx || EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, *abstract) <= 0 ||
        EVP_DigestSign(ctx, NULL, &len, data, data_len) <= 0)
        return -1;
    *sig = malloc(len);
    if (!*sig)
        return -1;
    if (EVP_DigestSign(ctx, *sig, &len, data, data_len) <= 0) {
        free(*sig);
        return -1;
    }
    *sig_len = len;
    return 0;
}
