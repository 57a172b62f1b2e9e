#include "worker/digest.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* A chain of hashes: each part enters by its own hash, so that no two lists of parts meet in one
 * text, and nothing has to be copied together. */
static void fold(unsigned char chain[SHA256_DIGEST_LENGTH], const void *data, size_t len)
{
    unsigned char both[2 * SHA256_DIGEST_LENGTH];
    memcpy(both, chain, SHA256_DIGEST_LENGTH);
    SHA256(len ? data : "", len, both + SHA256_DIGEST_LENGTH);
    SHA256(both, sizeof both, chain);
}

/* All that has a small fixed form; options in the order of their names. */
static void fold_head(unsigned char chain[SHA256_DIGEST_LENGTH], const struct sp_request *req)
{
    char head[128];
    int n = snprintf(head, sizeof head,
                     "%s timeout=%lld result_in_stdout=%d strict_result=%d arguments=%d files=%zu",
                     sp_language_name(req->language), (long long)req->timeout_ms,
                     (int)req->result_in_stdout, req->strict_result, req->arguments != NULL,
                     req->n_files);
    fold(chain, head, (size_t)n);
}

void sp_request_digest(const struct sp_request *req, char out[SP_DIGEST_SIZE])
{
    unsigned char chain[SHA256_DIGEST_LENGTH] = {0};
    fold_head(chain, req);
    fold(chain, req->code, req->code_len);
    fold(chain, req->arguments, req->arguments_len);
    for (size_t i = 0; i < req->n_files; i++) {
        fold(chain, req->files[i].name, strlen(req->files[i].name));
        fold(chain, req->files[i].data, req->files[i].len);
    }
    sp_hex(chain, sizeof chain, out);
}
