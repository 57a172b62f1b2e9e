#include "worker/digest.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

SP_AUTO(EVP_MD_CTX *, EVP_MD_CTX_free)

/* Looking it up costs more than a small request's digest. */
static EVP_MD *sha256;

static void fetch(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

/* With its length in front, so that no two lists of parts are one text. */
static bool add(EVP_MD_CTX *ctx, const void *data, size_t len)
{
    unsigned char length[8];
    for (size_t i = 0; i < sizeof length; i++)
        length[i] = (unsigned char)((uint64_t)len >> (8 * (sizeof length - 1 - i)));
    return EVP_DigestUpdate(ctx, length, sizeof length) && EVP_DigestUpdate(ctx, data, len);
}

/* All that has a small fixed form; options in the order of their names. */
static bool add_head(EVP_MD_CTX *ctx, const struct sp_request *req)
{
    char head[128];
    int n = snprintf(head, sizeof head,
                     "%s timeout=%lld result_in_stdout=%d strict_result=%d arguments=%d files=%zu",
                     sp_language_name(req->language), (long long)req->timeout_ms,
                     (int)req->result_in_stdout, req->strict_result, req->arguments != NULL,
                     req->n_files);
    return add(ctx, head, (size_t)n);
}

static bool add_files(EVP_MD_CTX *ctx, const struct sp_request *req)
{
    bool ok = true;
    for (size_t i = 0; i < req->n_files && ok; i++) {
        const struct sp_file *file = &req->files[i];
        ok = add(ctx, file->name, strlen(file->name)) && add(ctx, file->data, file->len);
    }
    return ok;
}

enum sp_code sp_request_digest(const struct sp_request *req, char out[SP_DIGEST_SIZE])
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    unsigned char digest[(SP_DIGEST_SIZE - 1) / 2];
    sp_auto(EVP_MD_CTX_free) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    pthread_once(&once, fetch);
    bool ok = ctx && sha256 && EVP_DigestInit_ex(ctx, sha256, NULL) && add_head(ctx, req) &&
              add(ctx, req->code, req->code_len) && add(ctx, req->arguments, req->arguments_len) &&
              add_files(ctx, req) && EVP_DigestFinal_ex(ctx, digest, NULL);
    if (!ok)
        return SP_E_NOMEM;
    sp_hex(digest, sizeof digest, out);
    return SP_OK;
}
