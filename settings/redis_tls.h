/* TLS on a connection to Redis, where hiredis has it. The certificate must be of `host` and signed
 * by an authority that the system trusts. */
#pragma once

#include <hiredis/hiredis.h>

#include "base/error.h"

#ifdef SP_REDIS_TLS
enum { SP_REDIS_HAS_TLS = 1 };

/* SP_E_UNAVAILABLE: the handshake failed. Blocks as the connection's time-out says. */
SP_MUST_CHECK enum sp_code sp_redis_tls_start(redisContext *c, const char *host,
                                              struct sp_error *err);
#else
enum { SP_REDIS_HAS_TLS = 0 };

SP_MUST_CHECK static inline enum sp_code sp_redis_tls_start(redisContext *c __attribute__((unused)),
                                                            const char *host
                                                            __attribute__((unused)),
                                                            struct sp_error *err)
{
    return sp_error_set(err, SP_E_INVALID, "this build has no TLS to Redis");
}
#endif
