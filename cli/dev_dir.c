#include "cli/dev_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

/* Of the folders that are made where none is named. */
#define TEMPORARY "sandpiper-dev-"
#define STALE_S 60

static bool is_empty(const char *path)
{
    DIR *dir = opendir(path);
    size_t n = 0;
    while (dir && n < 3 && readdir(dir)) /* NOLINT(concurrency-mt-unsafe): a stream of its own */
        n++;
    if (dir)
        closedir(dir);
    return n == 2; /* "." and ".." */
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    if (ftw->level > 0)
        (void)remove(path);
    return 0;
}

static void empty_dir(const char *path)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): this process has one thread */
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The descriptor that holds the lock; -1: it cannot be opened, or another has it (EWOULDBLOCK). */
static int lock_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    int reason = errno;
    close(fd);
    errno = reason;
    return -1;
}

static enum sp_code use_dir(struct sp_dev_dir *dir, const char *path, struct sp_error *err)
{
    sp_auto(sp_free_str) char *whole = NULL;
    dir->made = mkdir(path, 0700) == 0;
    if (!dir->made && errno != EEXIST)
        return sp_error_errno(err, SP_E_INVALID, errno, "--dir: %s", path);
    whole = realpath(path, NULL);
    if (!whole)
        return sp_error_errno(err, SP_E_INVALID, errno, "--dir: %s", path);
    if (strlen(whole) >= sizeof(dir->path))
        return sp_error_set(err, SP_E_INVALID, "--dir: %s is too long for a socket's path", path);
    dir->lock = lock_dir(whole);
    if (dir->lock < 0 && errno == EWOULDBLOCK)
        return sp_error_set(err, SP_E_INVALID, "--dir: another 'sandpiper dev' uses %s", path);
    if (dir->lock < 0)
        return sp_error_errno(err, SP_E_INVALID, errno, "--dir: %s", path);
    if (!is_empty(path)) {
        return sp_error_set(err, SP_E_INVALID,
                            "--dir: %s is no empty folder; name another, or remove what is in it",
                            path);
    }
    memcpy(dir->path, whole, strlen(whole) + 1);
    return SP_OK;
}

/* Left by one that was killed: ours, not just made, and nobody holds its lock. */
static void sweep_one(const char *path)
{
    struct stat st;
    if (lstat(path, &st) || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
        st.st_mtime > sp_wall_ms() / 1000 - STALE_S)
        return;
    int lock = lock_dir(path);
    if (lock < 0)
        return;
    empty_dir(path);
    (void)rmdir(path);
    close(lock);
}

static void sweep(const char *base)
{
    char path[PATH_MAX];
    const struct dirent *entry = NULL;
    DIR *dir = opendir(base);
    while (dir && (entry = readdir(dir))) { /* NOLINT(concurrency-mt-unsafe): as above */
        if (strncmp(entry->d_name, TEMPORARY, sizeof(TEMPORARY) - 1) == 0 &&
            (size_t)snprintf(path, sizeof(path), "%s/%s", base, entry->d_name) < sizeof(path))
            sweep_one(path);
    }
    if (dir)
        closedir(dir);
}

enum sp_code sp_dev_dir_make(struct sp_dev_dir *dir, const char *named, struct sp_error *err)
{
    *dir = (struct sp_dev_dir){.lock = -1};
    if (named)
        return use_dir(dir, named, err);
    const char *base = secure_getenv("XDG_RUNTIME_DIR");
    char path[SP_DEV_DIR_MAX];
    if (!base || !*base || strlen(base) > sizeof(path) / 2)
        base = "/tmp";
    sweep(base);
    (void)snprintf(path, sizeof(path), "%s/" TEMPORARY "XXXXXX", base);
    if (!mkdtemp(path))
        return sp_error_errno(err, SP_E_UNAVAILABLE, errno, "%s", path);
    dir->made = true;
    dir->lock = lock_dir(path);
    memcpy(dir->path, path, sizeof(path));
    return SP_OK;
}

void sp_dev_dir_remove(struct sp_dev_dir *dir)
{
    if (dir->path[0])
        empty_dir(dir->path);
    if (dir->path[0] && dir->made)
        (void)rmdir(dir->path);
    if (dir->lock >= 0)
        close(dir->lock);
    dir->lock = -1;
}
