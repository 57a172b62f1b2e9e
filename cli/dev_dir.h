/* The folder of a `dev`: locked as long as any process of it lives, emptied at its end. */
#pragma once

#include <stdbool.h>
#include <sys/un.h>

#include "base/error.h"

/* The path of a unix socket in it has to fit into the socket's address. */
#define SP_DEV_DIR_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - sizeof("/redis.sock"))

struct sp_dev_dir {
    char path[SP_DEV_DIR_MAX]; /* "": none */
    bool made;                 /* it is ours to remove, and not only what is in it */
    int lock;                  /* descriptor; -1: none. Children inherit it */
};

/*
 * named: an empty folder, or one to be made; NULL: a temporary one, after what was left by set-ups
 * that were killed has been removed. SP_E_INVALID begins with "--dir: ". Call sp_dev_dir_remove()
 * after a failure, too.
 */
SP_MUST_CHECK enum sp_code sp_dev_dir_make(struct sp_dev_dir *dir, const char *named,
                                           struct sp_error *err);
void sp_dev_dir_remove(struct sp_dev_dir *dir);
