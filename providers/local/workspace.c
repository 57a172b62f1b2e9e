#include "providers/local/workspace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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
};

SP_AUTO(DIR *, closedir)

struct sp_workspace {
    int root;   /* work_dir */
    int folder; /* ours in it; locked */
    char id[UUID_LEN + 1];
    char *path;
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
    enum sp_code rc = make_parents(work_dir, err);
    sp_auto(sp_fd_close) int fd = -1;

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
    char *real = realpath(work_dir, NULL);
    int len = real ? asprintf(&w->path, "%s/%s", real, w->id) : -1;

    free(real);
    if (len >= 0)
        return SP_OK;
    w->path = NULL;
    return failed(err, "cannot resolve its path");
}

enum sp_code sp_workspace_open(const char *work_dir, struct sp_workspace **out,
                               struct sp_error *err)
{
    struct sp_workspace *w = calloc(1, sizeof *w);
    enum sp_code rc;

    if (!w)
        return sp_error_set(err, SP_E_NOMEM, "work_dir: out of memory");
    w->root = w->folder = -1;
    rc = open_root(work_dir, &w->root, err);
    if (!rc)
        rc = claim_folder(w, err);
    if (!rc)
        rc = name_folder(w, work_dir, err);
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

enum sp_code sp_workspace_put(struct sp_workspace *w, const char *name, const void *data,
                              size_t len, struct sp_error *err)
{
    return write_file(w->folder, name, 0400, data, len, err);
}

enum sp_code sp_workspace_make(struct sp_workspace *w, const char *id, int *fd,
                               struct sp_error *err)
{
    sp_auto(sp_fd_close) int folder = -1;
    enum sp_code rc;

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
