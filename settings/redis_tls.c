#include "settings/redis_tls.h"

#include <arpa/inet.h>
#include <hiredis/hiredis_ssl.h>
#include <openssl/ssl.h>
#include <stdbool.h>

SP_AUTO(SSL_CTX *, SSL_CTX_free)
SP_AUTO(SSL *, SSL_free)

/* hiredis checks the chain at most; the name is checked because SSL_set1_host() is called here. */
static SSL *new_session(const char *host)
{
    sp_auto(SSL_CTX_free) SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    unsigned char address[sizeof(struct in6_addr)];
    bool is_address =
        inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;

    if (!ctx || !SSL_CTX_set_default_verify_paths(ctx) ||
        !SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION))
        return NULL;
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    sp_auto(SSL_free) SSL *ssl = SSL_new(ctx);
    if (!ssl)
        return NULL;
    if (is_address)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) ? SP_TAKE(ssl) : NULL;
    if (!SSL_set1_host(ssl, host) || !SSL_set_tlsext_host_name(ssl, host))
        return NULL;
    return SP_TAKE(ssl);
}

enum sp_code sp_redis_tls_start(redisContext *c, const char *host, struct sp_error *err)
{
    SSL *ssl = new_session(host);

    if (!ssl)
        return sp_error_set(err, SP_E_INTERNAL, "cannot set up TLS");
    if (redisInitiateSSL(c, ssl) == REDIS_OK) /* takes the session, on success only */
        return SP_OK;
    SSL_free(ssl);
    return sp_error_set(err, SP_E_UNAVAILABLE, "TLS: %s", c->errstr);
}
