/* Artifacts in a folder of this machine: every open is resolved by the kernel below the folder and
 * through no link (reference isolation.md 7, row 21). */
#include "providers/artifacts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

enum { READ_SIZE = 65536 };

SP_AUTO(DIR *, closedir)

struct folder_source {
    struct sp_artifact_source base;
    int workspace; /* borrowed */
    int root;      /* artifacts/; -1: not open */
    int file;      /* the file that is read; -1: none */
    int64_t deadline_ms;
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}
#define AUTO_FD __attribute__((cleanup(close_fd))) int

static void source_clear(struct folder_source *s)
{
    close_fd(&s->file);
    close_fd(&s->root);
}
SP_AUTO_CLEAR(struct folder_source, source_clear)

/* Where openat2 is missing or forbidden (an old kernel, a container's filter): one step at a time,
 * through no link. */
static int open_by_steps(int root, const char *path, int flags)
{
    AUTO_FD at = fcntl(root, F_DUPFD_CLOEXEC, 0);
    char step[NAME_MAX + 1];

    for (const char *slash; at >= 0 && (slash = strchr(path, '/')) != NULL; path = slash + 1) {
        if (slash - path > NAME_MAX) {
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(step, path, (size_t)(slash - path));
        step[slash - path] = '\0';
        int next = openat(at, step, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        close_fd(&at);
        at = next;
    }
    return at < 0 ? -1 : openat(at, path, flags);
}

static int open_below(int root, const char *path, int flags)
{
    flags |= O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY;
    struct open_how how = {.flags = (unsigned)flags,
                           .resolve =
                               RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        return open_by_steps(root, path, flags);
    return (int)fd;
}

static enum sp_code refused(struct sp_error *err, int errno_value)
{
    if (errno_value == ELOOP)
        return sp_error_set(err, SP_E_INVALID, "symlinks are not allowed");
    return sp_error_errno(err, SP_E_INVALID, errno_value, "cannot be read");
}

static enum sp_code late(struct sp_error *err)
{
    return sp_error_set(err, SP_E_TIMEOUT, "too late");
}

static enum sp_artifact_type type_of_mode(mode_t mode)
{
    if (S_ISREG(mode))
        return SP_ARTIFACT_FILE;
    if (S_ISDIR(mode))
        return SP_ARTIFACT_FOLDER;
    return S_ISLNK(mode) ? SP_ARTIFACT_LINK : SP_ARTIFACT_OTHER;
}

static enum sp_artifact_type type_of(int folder_fd, const struct dirent *d)
{
    struct stat st;
    if (d->d_type != DT_UNKNOWN)
        return type_of_mode((mode_t)DTTOIF(d->d_type));
    if (fstatat(folder_fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return SP_ARTIFACT_OTHER;
    return type_of_mode(st.st_mode);
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* A folder that is not there is no artifacts. */
static enum sp_code open_root(struct folder_source *s, struct sp_error *err)
{
    struct stat st;

    s->root = open_below(s->workspace, "artifacts", O_DIRECTORY);
    if (s->root >= 0 || errno == ENOENT)
        return SP_OK;
    int reason = errno;
    /* A link that is asked to be a folder is "not a directory" to the kernel. */
    if (fstatat(s->workspace, "artifacts", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
        reason = ELOOP;
    return refused(err, reason);
}

static enum sp_code list_names(const struct folder_source *s, DIR *dir, size_t max,
                               struct sp_artifact_names *out, struct sp_error *err)
{
    const struct dirent *d;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): our own DIR */
    while ((d = readdir(dir)) != NULL) {
        if (is_dots(d->d_name))
            continue;
        out->more = out->n == max;
        if (out->more)
            return SP_OK;
        if (sp_deadline_left(s->deadline_ms) == 0)
            return late(err);
        if (sp_artifact_names_add(out, d->d_name, type_of(dirfd(dir), d)))
            return sp_error_set(err, SP_E_NOMEM, "out of memory");
    }
    return SP_OK;
}

static enum sp_code folder_list(struct sp_artifact_source *source, const char *folder, size_t max,
                                struct sp_artifact_names *out, struct sp_error *err)
{
    struct folder_source *s = (struct folder_source *)source;
    sp_auto(closedir) DIR *dir = NULL;

    if (!*folder) {
        enum sp_code rc = open_root(s, err);
        if (rc || s->root < 0)
            return rc;
    }
    int fd =
        *folder ? open_below(s->root, folder, O_DIRECTORY) : fcntl(s->root, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return refused(err, errno);
    dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    }
    return list_names(s, dir, max, out, err);
}

static enum sp_code folder_open(struct sp_artifact_source *source, const char *path,
                                struct sp_artifact_facts *out, struct sp_error *err)
{
    struct folder_source *s = (struct folder_source *)source;
    struct stat st;

    close_fd(&s->file);
    if (sp_deadline_left(s->deadline_ms) == 0)
        return late(err);
    s->file = open_below(s->root, path, 0);
    if (s->file < 0 || fstat(s->file, &st) != 0)
        return refused(err, errno);
    *out = (struct sp_artifact_facts){
        .type = type_of_mode(st.st_mode), .size = st.st_size, .links = (int64_t)st.st_nlink};
    return SP_OK;
}

static enum sp_code folder_read(struct sp_artifact_source *source, struct sp_buf *out,
                                struct sp_error *err)
{
    struct folder_source *s = (struct folder_source *)source;

    for (;;) {
        char piece[READ_SIZE];
        ssize_t n = read(s->file, piece, sizeof(piece));
        if (n < 0)
            return refused(err, errno);
        if (n == 0)
            return SP_OK;
        if (sp_deadline_left(s->deadline_ms) == 0)
            return late(err);
        enum sp_code rc = sp_buf_add(out, piece, (size_t)n);
        if (rc)
            return sp_error_set(err, rc, "too long");
    }
}

enum sp_code sp_artifacts_collect(int workspace_fd, const struct sp_artifact_rules *rules,
                                  int64_t deadline_ms, struct sp_result *result)
{
    sp_auto(source_clear) struct folder_source s = {
        .base = {.list = folder_list, .open = folder_open, .read = folder_read},
        .workspace = workspace_fd,
        .root = -1,
        .file = -1,
        .deadline_ms = deadline_ms,
    };
    return sp_artifacts_collect_from(&s.base, rules, result);
}
