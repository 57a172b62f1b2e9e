#include "worker/claims/scripts.h"

#include <openssl/sha.h>
#include <string.h>

#include "base/text.h"

/* Redis's Lua hashes every byte of every string that it makes, and formats numbers slowly: so there
 * are no more of either than needed. */
static const char *const texts[SP_SCRIPT_COUNT] = {
    [SP_SCRIPT_REPLACE] = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
                          "redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) "
                          "return 1",
    [SP_SCRIPT_STORE] =
        "local now, ours = redis.call('GET', KEYS[1]), ARGV[1] "
        "if now and now ~= ours then "
        "local begin = string.sub(now, 1, #ours) "
        "if begin ~= ours and begin ~= string.sub(ARGV[2], 1, #ours) then return 0 end "
        "end "
        "redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) "
        "if ARGV[4] then redis.call('SET', ARGV[4], ARGV[5], 'PX', ARGV[3]) end "
        "return 1",
    /* pcall: a key of another type must not stop the rest. */
    [SP_SCRIPT_SETTLE] = "local texts = {} "
                         "for i, key in ipairs(KEYS) do "
                         "local stem, action, arg = ARGV[3 * i - 1], ARGV[3 * i], ARGV[3 * i + 1] "
                         "local first, last = '1', texts[#stem] or tostring(#stem) "
                         "texts[#stem] = last "
                         "if action == 'H' then first, stem = '0', 'C' .. stem end "
                         "if redis.pcall('GETRANGE', key, first, last) == stem then "
                         "if action == 'D' then "
                         "redis.call('SETRANGE', key, '0', 'D') redis.call('PEXPIRE', key, arg) "
                         "elseif action == 'E' then redis.call('PEXPIRE', key, arg) "
                         "elseif action == 'U' or arg == '' then redis.call('UNLINK', key) "
                         "else redis.call('SET', key, arg, 'PX', ARGV[1]) "
                         "end end end "
                         "return 1",
};

void sp_scripts_init(struct sp_scripts *scripts)
{
    for (size_t i = 0; i < SP_SCRIPT_COUNT; i++) {
        unsigned char sha[SHA_DIGEST_LENGTH];
        SHA1((const unsigned char *)texts[i], strlen(texts[i]), sha);
        sp_hex(sha, sizeof sha, scripts->sha[i]);
    }
}

enum sp_code sp_scripts_load(struct sp_redis *redis, struct sp_error *err)
{
    for (size_t i = 0; i < SP_SCRIPT_COUNT; i++) {
        redisReply *reply = NULL;
        enum sp_code rc = sp_redis_command(redis, &reply, err, "SCRIPT LOAD %s", texts[i]);
        if (rc)
            return rc;
        freeReplyObject(reply);
    }
    return SP_OK;
}
