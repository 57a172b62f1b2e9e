/* An address of Redis: whatever it is, it is taken or refused, and a password is never shown. */

#include "base/text.h"
#include "settings/redis.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sp_auto(sp_free_str) char *url = sp_memdup(data, size);
    sp_auto(sp_redis_free) struct sp_redis *redis = NULL;
    struct sp_config config = {.redis = {.url = url}};
    struct sp_error err = {0};

    if (!url || !*url)
        return 0;
    enum sp_code rc = sp_redis_new(&config, &redis, &err);
    CHECK(rc ? !redis && err.msg[0] : *sp_redis_name(redis));
    return 0;
}
