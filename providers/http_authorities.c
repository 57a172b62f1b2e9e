#include "providers/http_authorities.h"

#include <curl/curl.h>
#include <openssl/x509_vfy.h>
#include <stdlib.h>

X509_STORE *sp_http_authorities_read(void)
{
    const curl_version_info_data *built = curl_version_info(CURLVERSION_NOW);
    const char *file = secure_getenv("SSL_CERT_FILE"), *dir = secure_getenv("SSL_CERT_DIR");

    if (!file && !dir) {
        dir = built->capath; /* of hashed names: only what is asked for is read */
        file = dir ? NULL : built->cainfo;
    }
    X509_STORE *store = X509_STORE_new();
    if (store && (!file || X509_STORE_load_file(store, file)) &&
        (!dir || X509_STORE_load_path(store, dir)))
        return store;
    X509_STORE_free(store);
    return NULL;
}
