#include "providers/local/workspace.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "providers/local/fd.h"
#include "providers/local/tree.h"

#define ARTIFACTS "artifacts"

enum {
    UUID_LEN = 36,
    CLAIM_TRIES = 8,  /* a sweep of another worker may take a folder before it is locked */
    CLOSE_MS = 10000, /* for removing what runs have left */
    OPEN_FOLDER = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
    FILES_MAX = 4,
    PERMISSIONS = 07777,
};

SP_AUTO(DIR *, closedir)

/* A file that every run needs. */
struct file {
    const char *name;
    const void *data;
    size_t len;
    struct stat written;
};

struct sp_workspace {
    int root;   /* work_dir */
    int folder; /* ours in it; locked */
    char id[UUID_LEN + 1];
    char *work_dir, *path;
    mode_t root_mode;
    pthread_mutex_t lock; /* guards files, and mending; held for calls that do not block */
    struct file files[FILES_MAX];
    size_t n_files;
};

static enum sp_code failed(struct sp_error *err, const char *what)
{
    return sp_error_errno(err, sp_fd_code(errno), errno, "work_dir: %s", what);
}

/* Makes the folders above the last one, as `mkdir -p`. */
static enum sp_code make_parents(const char *work_dir, struct sp_error *err)
{
    sp_auto(sp_free_str) char *path = sp_strdup(work_dir);

    if (!path)
        return sp_error_set(err, SP_E_NOMEM, "work_dir: out of memory");
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(path, 0755) && errno != EEXIST)
            return sp_error_errno(err, SP_E_INVALID, errno, "work_dir: cannot make %s", path);
        *slash = '/';
    }
    return SP_OK;
}

/* Whoever can write there could swap folders under a run. */
static enum sp_code check_owner(int fd, const char *work_dir, struct sp_error *err)
{
    struct stat st;

    if (fstat(fd, &st))
        return failed(err, work_dir);
    if (st.st_uid != geteuid()) {
        return sp_error_set(err, SP_E_INVALID,
                            "work_dir: %s belongs to user %u; name a folder that belongs to the "
                            "worker's user %u, or one that does not exist yet",
                            work_dir, st.st_uid, geteuid());
    }
    if (st.st_mode & (S_IWGRP | S_IWOTH) && !(st.st_mode & S_ISVTX)) {
        return sp_error_set(err, SP_E_INVALID,
                            "work_dir: others can write to %s; run chmod 700 on it", work_dir);
    }
    return SP_OK;
}

static enum sp_code open_root(const char *work_dir, int *out, struct sp_error *err)
{
    sp_auto(sp_fd_close) int fd = -1;
    enum sp_code rc;

    if (!*work_dir)
        return sp_error_set(err, SP_E_INVALID, "work_dir: empty; give the path of a folder");
    rc = make_parents(work_dir, err);
    if (rc)
        return rc;
    if (mkdir(work_dir, 0700) && errno != EEXIST)
        return sp_error_errno(err, SP_E_INVALID, errno, "work_dir: cannot make %s", work_dir);
    fd = open(work_dir, OPEN_FOLDER);
    if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
        return sp_error_set(err, SP_E_INVALID, "work_dir: %s is a link or no folder", work_dir);
    if (fd < 0)
        return sp_error_errno(err, SP_E_INVALID, errno, "work_dir: cannot open %s", work_dir);
    rc = check_owner(fd, work_dir, err);
    if (!rc)
        *out = SP_FD_TAKE(fd);
    return rc;
}

/* True when the lock was free and the folder is still there. */
static bool lock_folder(int fd)
{
    struct stat st;

    return !flock(fd, LOCK_EX | LOCK_NB) && !fstat(fd, &st) && st.st_nlink > 0;
}

static enum sp_code claim_folder(struct sp_workspace *w, struct sp_error *err)
{
    for (int i = 0; i < CLAIM_TRIES; i++) {
        sp_auto(sp_fd_close) int fd = -1;

        sp_random_uuid(w->id);
        if (mkdirat(w->root, w->id, 0700))
            return failed(err, "cannot make a folder");
        fd = openat(w->root, w->id, OPEN_FOLDER);
        if (fd >= 0 && lock_folder(fd)) {
            w->folder = SP_FD_TAKE(fd);
            return SP_OK;
        }
        if (fd < 0 && errno != ENOENT)
            return failed(err, "cannot open a folder");
    }
    return sp_error_set(err, SP_E_UNAVAILABLE, "work_dir: cannot lock a folder");
}

static enum sp_code name_folder(struct sp_workspace *w, const char *work_dir, struct sp_error *err)
{
    w->work_dir = realpath(work_dir, NULL);
    if (w->work_dir && asprintf(&w->path, "%s/%s", w->work_dir, w->id) >= 0)
        return SP_OK;
    w->path = NULL;
    return failed(err, "cannot resolve its path");
}

static enum sp_code note_mode(struct sp_workspace *w, struct sp_error *err)
{
    struct stat st;

    if (fstat(w->root, &st))
        return failed(err, w->work_dir);
    w->root_mode = st.st_mode & PERMISSIONS;
    return SP_OK;
}

enum sp_code sp_workspace_open(const char *work_dir, struct sp_workspace **out,
                               struct sp_error *err)
{
    struct sp_workspace *w = calloc(1, sizeof *w);
    enum sp_code rc;

    if (!w)
        return sp_error_set(err, SP_E_NOMEM, "work_dir: out of memory");
    w->root = w->folder = -1;
    pthread_mutex_init(&w->lock, NULL);
    rc = open_root(work_dir, &w->root, err);
    if (!rc)
        rc = claim_folder(w, err);
    if (!rc)
        rc = name_folder(w, work_dir, err);
    if (!rc)
        rc = note_mode(w, err);
    if (rc) {
        sp_workspace_close(w);
        return rc;
    }
    *out = w;
    return SP_OK;
}

void sp_workspace_close(struct sp_workspace *w)
{
    struct sp_error err = {0};

    if (!w)
        return;
    if (w->folder >= 0) {
        if (sp_tree_remove(w->root, w->id, sp_deadline_in(CLOSE_MS), &err))
            sp_log(SP_WARN, "workspace_left", sp_s("error", err.msg));
        close(w->folder);
    }
    if (w->root >= 0)
        close(w->root);
    pthread_mutex_destroy(&w->lock);
    free(w->work_dir);
    free(w->path);
    free(w);
}

enum sp_code sp_workspace_check(struct sp_workspace *w, struct sp_error *err)
{
    struct stat st;

    if (fstat(w->folder, &st))
        return failed(err, w->path);
    if (st.st_nlink == 0)
        return sp_error_set(err, SP_E_INVALID, "work_dir: somebody removed %s", w->path);
    if (faccessat(w->folder, ".", W_OK | X_OK, AT_EACCESS))
        return sp_error_errno(err, SP_E_INVALID, errno, "work_dir: cannot write to %s", w->path);
    return SP_OK;
}

static bool is_uuid(const char *name)
{
    for (size_t i = 0; i < UUID_LEN; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash ? name[i] != '-' : !name[i] || !strchr("0123456789abcdef", name[i]))
            return false;
    }
    return name[UUID_LEN] == 0;
}

static void sweep_folder(struct sp_workspace *w, const char *name, int64_t deadline_ms)
{
    struct sp_error err = {0};
    sp_auto(sp_fd_close) int fd = openat(w->root, name, OPEN_FOLDER);

    if (fd < 0 || !lock_folder(fd))
        return;
    if (sp_tree_remove(w->root, name, deadline_ms, &err)) {
        sp_log(SP_WARN, "workspace_left", sp_s("error", err.msg));
    } else {
        sp_log(SP_INFO, "workspace_swept", sp_s("folder", name));
    }
}

void sp_workspace_sweep(struct sp_workspace *w, int64_t deadline_ms)
{
    sp_auto(closedir) DIR *dir = NULL;
    struct dirent *entry;
    int fd = openat(w->root, ".", OPEN_FOLDER);

    if (fd < 0)
        return;
    dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return;
    }
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): a stream of its own */
    while (sp_mono_ms() < deadline_ms && (entry = readdir(dir))) {
        if (is_uuid(entry->d_name) && strcmp(entry->d_name, w->id) != 0)
            sweep_folder(w, entry->d_name, deadline_ms);
    }
}

const char *sp_workspace_path(const struct sp_workspace *w)
{
    return w->path;
}

static enum sp_code write_all(int fd, const char *data, size_t len, struct sp_error *err)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed(err, "cannot write a file");
        data += n;
        len -= (size_t)n;
    }
    return SP_OK;
}

static enum sp_code write_file(int folder, const char *name, mode_t mode, const void *data,
                               size_t len, struct sp_error *err)
{
    sp_auto(sp_fd_close) int fd =
        openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);

    return fd < 0 ? failed(err, "cannot make a file") : write_all(fd, data, len, err);
}

static enum sp_code write_needed(struct sp_workspace *w, struct file *file, struct sp_error *err)
{
    enum sp_code rc;

    if (unlinkat(w->folder, file->name, 0) && errno != ENOENT)
        return failed(err, "cannot replace a file");
    rc = write_file(w->folder, file->name, 0400, file->data, file->len, err);
    if (!rc && fstatat(w->folder, file->name, &file->written, AT_SYMLINK_NOFOLLOW))
        return failed(err, "cannot look at a file");
    return rc;
}

enum sp_code sp_workspace_put(struct sp_workspace *w, const char *name, const void *data,
                              size_t len, struct sp_error *err)
{
    struct file *file = &w->files[w->n_files];
    enum sp_code rc;

    assert(w->n_files < FILES_MAX);
    *file = (struct file){.name = name, .data = data, .len = len};
    rc = write_needed(w, file, err);
    w->n_files += rc == SP_OK;
    return rc;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Every change of a file, also of its name, moves its ctime. */
static bool is_untouched(const struct sp_workspace *w, const struct file *file)
{
    const struct timespec *then = &file->written.st_ctim;
    struct stat st;

    return !fstatat(w->folder, file->name, &st, AT_SYMLINK_NOFOLLOW) &&
           is_same(&st, &file->written) && st.st_ctim.tv_sec == then->tv_sec &&
           st.st_ctim.tv_nsec == then->tv_nsec;
}

/* Whether our folder, open and by its path, is as we made it. */
static bool is_intact(const struct sp_workspace *w)
{
    struct stat open, named;

    if (fstat(w->folder, &open) || (open.st_mode & PERMISSIONS) != 0700 || lstat(w->path, &named) ||
        !is_same(&open, &named))
        return false;
    for (size_t i = 0; i < w->n_files; i++) {
        if (!is_untouched(w, &w->files[i]))
            return false;
    }
    return true;
}

/* Puts fd in the place of *at, for all threads at once. Takes fd. */
static enum sp_code put_in_place(int fd, int at, struct sp_error *err)
{
    int rc = dup3(fd, at, O_CLOEXEC);

    close(fd);
    return rc < 0 ? failed(err, "descriptor") : SP_OK;
}

static enum sp_code mend_root(struct sp_workspace *w, struct sp_error *err)
{
    int fd = -1;
    enum sp_code rc;

    (void)fchmod(w->root, w->root_mode);
    rc = open_root(w->work_dir, &fd, err);
    return rc ? rc : put_in_place(fd, w->root, err);
}

static enum sp_code mend_folder(struct sp_workspace *w, struct sp_error *err)
{
    struct stat open, named;
    int fd;

    (void)fchmod(w->folder, 0700);
    (void)unlinkat(w->root, w->id, 0); /* where something else has its name */
    if (mkdirat(w->root, w->id, 0700) && errno != EEXIST)
        return failed(err, "cannot make a folder");
    if (fstat(w->folder, &open) || fstatat(w->root, w->id, &named, AT_SYMLINK_NOFOLLOW))
        return failed(err, "cannot look at a folder");
    if (is_same(&open, &named))
        return SP_OK;
    fd = openat(w->root, w->id, OPEN_FOLDER);
    if (fd < 0)
        return failed(err, "cannot open a folder");
    if (lock_folder(fd))
        return put_in_place(fd, w->folder, err);
    close(fd);
    return sp_error_set(err, SP_E_UNAVAILABLE, "work_dir: cannot lock a folder");
}

/*
 * Programs run as our user: one may have removed, moved or closed the folders that all runs share,
 * or changed the files in them. Later runs, of others, must not suffer from it.
 */
static enum sp_code mend(struct sp_workspace *w, struct sp_error *err)
{
    enum sp_code rc = mend_root(w, err);

    if (!rc)
        rc = mend_folder(w, err);
    for (size_t i = 0; i < w->n_files && !rc; i++)
        rc = write_needed(w, &w->files[i], err);
    sp_log(SP_WARN, "workspace_mended", sp_s("path", w->path),
           sp_s("error", rc && err ? err->msg : NULL),
           sp_s("hint", "a program removed or changed what all runs share"));
    return rc;
}

static enum sp_code make_sound(struct sp_workspace *w, struct sp_error *err)
{
    enum sp_code rc = SP_OK;

    pthread_mutex_lock(&w->lock);
    if (!is_intact(w))
        rc = mend(w, err);
    pthread_mutex_unlock(&w->lock);
    return rc;
}

enum sp_code sp_workspace_make(struct sp_workspace *w, const char *id, int *fd,
                               struct sp_error *err)
{
    sp_auto(sp_fd_close) int folder = -1;
    enum sp_code rc = make_sound(w, err);

    if (rc)
        return rc;
    if (mkdirat(w->folder, id, 0700))
        return failed(err, "cannot make a folder");
    folder = openat(w->folder, id, OPEN_FOLDER);
    if (folder >= 0 && !mkdirat(folder, ARTIFACTS, 0700)) {
        *fd = SP_FD_TAKE(folder);
        return SP_OK;
    }
    rc = failed(err, "cannot make a folder");
    unlinkat(w->folder, id, AT_REMOVEDIR);
    return rc;
}

enum sp_code sp_workspace_remove(struct sp_workspace *w, const char *id, int64_t deadline_ms,
                                 struct sp_error *err)
{
    return sp_tree_remove(w->folder, id, deadline_ms, err);
}

/* Steps into the folder `name` below *fd, making it. Closes the old *fd unless it is `top`. */
static enum sp_code step_into(int top, int *fd, const char *name, struct sp_error *err)
{
    int next;

    if (mkdirat(*fd, name, 0700) && errno != EEXIST)
        return failed(err, "cannot make a folder");
    next = openat(*fd, name, OPEN_FOLDER);
    if (next < 0)
        return failed(err, "cannot open a folder");
    if (*fd != top)
        close(*fd);
    *fd = next;
    return SP_OK;
}

static enum sp_code put_file(int folder, const char *name, const void *data, size_t len,
                             struct sp_error *err)
{
    if (unlinkat(folder, name, 0) && errno != ENOENT)
        return failed(err, "cannot replace a file");
    return write_file(folder, name, 0600, data, len, err);
}

enum sp_code sp_folder_put(int fd, const char *name, const void *data, size_t len,
                           struct sp_error *err)
{
    sp_auto(sp_free_str) char *path = sp_strdup(name);
    enum sp_code rc = SP_OK;
    char *part = path, *slash;
    int folder = fd;

    if (!path)
        return sp_error_set(err, SP_E_NOMEM, "work_dir: out of memory");
    while (!rc && (slash = strchr(part, '/'))) {
        *slash = 0;
        rc = step_into(fd, &folder, part, err);
        part = slash + 1;
    }
    if (!rc)
        rc = put_file(folder, part, data, len, err);
    if (folder != fd)
        close(folder);
    return rc;
}

enum sp_code sp_folder_renew_artifacts(int fd, int64_t deadline_ms, struct sp_error *err)
{
    enum sp_code rc = sp_tree_remove(fd, ARTIFACTS, deadline_ms, err);

    if (!rc && mkdirat(fd, ARTIFACTS, 0700))
        return failed(err, "cannot make a folder");
    return rc;
}
