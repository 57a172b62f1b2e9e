/* What claims do in Redis beyond native commands: each is atomic and fenced by what it expects. */
#pragma once

#include "settings/redis.h"

enum sp_script {
    /* KEYS: claim. ARGV: value as read, value, ttl. 1: it still had that value, and has the other
       now; else 0. */
    SP_SCRIPT_REPLACE,
    /* KEYS: claim. ARGV: the line that it has if it is ours; line and body of the finished one, as
       one text; ttl; a blob's key and bytes where there is one. 1: stored, also where there was
       nothing, or another reply of the same claim; 0: the claim is somebody else's. */
    SP_SCRIPT_STORE,
    /* KEYS: one for each item. ARGV: claim ttl, then stem, action and its argument for each. A
       claim with another stem is left alone; an empty stem fits all. Actions: D delivered (ttl), U
       unlink, H hand back (the released value; "": unlink), E expire (ttl). */
    SP_SCRIPT_SETTLE,
    SP_SCRIPT_COUNT
};

#define SP_SCRIPT_SHA_SIZE 41

struct sp_scripts {
    char sha[SP_SCRIPT_COUNT][SP_SCRIPT_SHA_SIZE]; /* for EVALSHA */
};

void sp_scripts_init(struct sp_scripts *scripts);
/* Makes Redis know them. As sp_redis_command(). */
SP_MUST_CHECK enum sp_code sp_scripts_load(struct sp_redis *redis, struct sp_error *err);
