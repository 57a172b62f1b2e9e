#include "providers/local/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "providers/local/fd.h"

SP_AUTO(DIR *, closedir)

struct removal {
    int root;         /* of the tree; nested folders are moved up into it */
    unsigned long n;  /* of names given there */
    int64_t deadline; /* monotonic ms */
    bool left;        /* something was found in this round */
};

static int open_folder(int parent, const char *name)
{
    enum { FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK };
    int fd = openat(parent, name, FLAGS);

    if (fd >= 0 || errno != EACCES)
        return fd;
    if (fchmodat(parent, name, 0700, AT_SYMLINK_NOFOLLOW))
        return -1;
    return openat(parent, name, FLAGS);
}

/* Moves a folder that is not empty up to the root, where a later round finds it. */
static int move_up(struct removal *r, int parent, const char *name)
{
    char fresh[32];
    int fd;

    /* Without write permission on the folder itself its ".." cannot be changed. */
    fd = open_folder(parent, name);
    if (fd < 0)
        return -1;
    (void)fchmod(fd, 0700);
    close(fd);
    do {
        snprintf(fresh, sizeof fresh, ".%lu", r->n++);
        if (!renameat(parent, name, r->root, fresh))
            return 0;
    } while (errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR);
    return -1;
}

static int remove_entry(struct removal *r, int parent, const char *name)
{
    if (!unlinkat(parent, name, 0))
        return 0;
    if (errno != EISDIR && errno != EPERM) /* POSIX says EPERM for a folder */
        return -1;
    if (!unlinkat(parent, name, AT_REMOVEDIR))
        return 0;
    if (errno != ENOTEMPTY && errno != EEXIST)
        return -1;
    return move_up(r, parent, name);
}

/* Empties one folder by one look at it. Takes fd. */
static int empty_folder(struct removal *r, int fd,
                        int (*remove)(struct removal *, int, const char *))
{
    sp_auto(closedir) DIR *dir = NULL;
    struct dirent *entry;

    if (fchmod(fd, 0700) || !(dir = fdopendir(fd))) {
        close(fd);
        return -1;
    }
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): a stream of its own */
    while (sp_mono_ms() < r->deadline && (entry = readdir(dir))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        r->left = true;
        if (remove(r, dirfd(dir), entry->d_name))
            return -1;
    }
    return 0;
}

/* An entry of the root: what is in it goes, or moves up; then it goes itself. */
static int remove_from_root(struct removal *r, int root, const char *name)
{
    int fd;

    if (!unlinkat(root, name, 0) || !unlinkat(root, name, AT_REMOVEDIR))
        return 0;
    if (errno != ENOTEMPTY && errno != EEXIST)
        return -1;
    fd = open_folder(root, name);
    if (fd < 0 || empty_folder(r, fd, remove_entry))
        return -1;
    if (!unlinkat(root, name, AT_REMOVEDIR) || errno == ENOTEMPTY) /* the deadline passed */
        return 0;
    return -1;
}

enum sp_code sp_tree_remove(int parent_fd, const char *name, int64_t deadline_ms,
                            struct sp_error *err)
{
    sp_auto(sp_fd_close) int root = -1;
    struct removal r = {.deadline = deadline_ms};

    if (!unlinkat(parent_fd, name, 0) || errno == ENOENT)
        return SP_OK;
    root = open_folder(parent_fd, name);
    if (root < 0)
        return sp_error_errno(err, SP_E_INTERNAL, errno, "%s", name);
    r.root = root;
    do {
        int again = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        r.left = false;
        if (again < 0 || empty_folder(&r, again, remove_from_root))
            return sp_error_errno(err, SP_E_INTERNAL, errno, "%s: cannot be emptied", name);
        if (sp_mono_ms() >= deadline_ms)
            return sp_error_set(err, SP_E_TIMEOUT, "%s: too much to remove", name);
    } while (r.left);
    if (unlinkat(parent_fd, name, AT_REMOVEDIR))
        return sp_error_errno(err, SP_E_INTERNAL, errno, "%s", name);
    return SP_OK;
}
