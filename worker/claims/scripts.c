#include "worker/claims/scripts.h"

#include <openssl/sha.h>
#include <string.h>

#include "base/text.h"

static const char *const texts[SP_SCRIPT_COUNT] = {
    [SP_SCRIPT_REPLACE] = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
                          "redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) "
                          "return 1",
    [SP_SCRIPT_STORE] =
        "local ours, head = ARGV[1], ARGV[2] "
        "local now = redis.call('GETRANGE', KEYS[1], 0, math.max(#ours, #head) - 1) "
        "if now ~= '' and string.sub(now, 1, #ours) ~= ours "
        "and string.sub(now, 1, #head) ~= head then return 0 end "
        "redis.call('SET', KEYS[1], head .. ARGV[3], 'PX', ARGV[4]) "
        "if ARGV[5] then redis.call('SET', ARGV[5], ARGV[6], 'PX', ARGV[4]) end "
        "return 1",
    /* pcall: a key of another type must not stop the rest. */
    [SP_SCRIPT_SETTLE] =
        "for i, key in ipairs(KEYS) do "
        "local stem, action, arg = ARGV[3 * i - 1], ARGV[3 * i], ARGV[3 * i + 1] "
        "local now = redis.pcall('GETRANGE', key, 0, #stem) "
        "if type(now) == 'string' and now ~= '' and string.sub(now, 2) == stem then "
        "if action == 'D' then "
        "redis.call('SETRANGE', key, 0, 'D') redis.call('PEXPIRE', key, arg) "
        "elseif action == 'E' then redis.call('PEXPIRE', key, arg) "
        "elseif action == 'U' then redis.call('UNLINK', key) "
        "elseif string.sub(now, 1, 1) == 'C' then "
        "if arg == '' then redis.call('UNLINK', key) "
        "else redis.call('SET', key, arg, 'PX', ARGV[1]) end "
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
