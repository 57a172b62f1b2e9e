/* Files that commands read and write; names out of replies are not trusted. */
#include "cli/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

#define CHUNK 65536

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define AUTO_FD __attribute__((cleanup(close_fd))) int

static enum sp_code read_all(int fd, const char *path, struct sp_buf *out, struct sp_error *err)
{
    for (;;) {
        char chunk[CHUNK];
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n == 0)
            return SP_OK;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return sp_error_errno(err, SP_E_INVALID, errno, "%s", path);
        enum sp_code rc = sp_buf_add(out, chunk, (size_t)n);
        if (rc)
            return sp_error_set(err, rc, "%s: more than %zu bytes", path, out->max);
    }
}

enum sp_code sp_file_read(const char *path, struct sp_buf *out, struct sp_error *err)
{
    if (strcmp(path, SP_STDIN) == 0)
        return read_all(STDIN_FILENO, "standard input", out, err);
    AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return sp_error_errno(err, SP_E_INVALID, errno, "%s", path);
    return read_all(fd, path, out, err);
}

static enum sp_code write_all(int fd, const char *name, const char *data, size_t len,
                              struct sp_error *err)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return sp_error_errno(err, SP_E_INVALID, errno, "%s", name);
        data += n;
        len -= (size_t)n;
    }
    return SP_OK;
}

static bool part_allowed(const char *part, size_t len)
{
    return len > 0 && len <= NAME_MAX && !(len == 1 && part[0] == '.') &&
           !(len == 2 && part[0] == '.' && part[1] == '.');
}

/* Relative, and every part between slashes is a plain name. */
static bool name_allowed(const char *name)
{
    if (!sp_utf8_valid(name, strlen(name)) || sp_utf8_has_control(name, strlen(name)))
        return false;
    for (const char *part = name;;) {
        size_t len = strcspn(part, "/");
        if (!part_allowed(part, len))
            return false;
        if (part[len] == '\0')
            return true;
        part += len + 1;
    }
}

/* Steps into the folder `part` of *dir, making it if need be; *dir becomes that folder. */
static enum sp_code descend(int *dir, const char *part, struct sp_error *err)
{
    if (mkdirat(*dir, part, 0777) && errno != EEXIST)
        return sp_error_errno(err, SP_E_INVALID, errno, "%s", part);
    int next = openat(*dir, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (next < 0)
        return sp_error_errno(err, SP_E_INVALID, errno, "%s", part);
    close(*dir);
    *dir = next;
    return SP_OK;
}

static enum sp_code write_in(int dir, const char *name, const void *data, size_t len,
                             struct sp_error *err)
{
    /* A new file always: what is there may be a link or a pipe. */
    if (unlinkat(dir, name, 0) && errno != ENOENT)
        return sp_error_errno(err, SP_E_INVALID, errno, "%s", name);
    AUTO_FD fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0)
        return sp_error_errno(err, SP_E_INVALID, errno, "%s", name);
    return write_all(fd, name, data, len, err);
}

enum sp_code sp_file_write_below(int dir_fd, const char *name, const void *data, size_t len,
                                 struct sp_error *err)
{
    if (!name_allowed(name))
        return sp_error_set(err, SP_E_INVALID, "a file name that leaves the folder is refused");
    AUTO_FD dir = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);
    if (dir < 0)
        return sp_error_errno(err, SP_E_INTERNAL, errno, "%s", name);
    for (;;) {
        size_t part_len = strcspn(name, "/");
        if (name[part_len] == '\0')
            return write_in(dir, name, data, len, err);
        char part[NAME_MAX + 1];
        memcpy(part, name, part_len);
        part[part_len] = '\0';
        enum sp_code rc = descend(&dir, part, err);
        if (rc)
            return rc;
        name += part_len + 1;
    }
}

static enum sp_code make_parents(char *path, struct sp_error *err)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int failed = mkdir(path, 0777) && errno != EEXIST;
        if (failed)
            return sp_error_errno(err, SP_E_INVALID, errno, "%s", path);
        *slash = '/';
    }
    return SP_OK;
}

enum sp_code sp_directory_open(const char *path, int *fd, struct sp_error *err)
{
    sp_auto(sp_free_str) char *copy = sp_strdup(path);
    if (!copy)
        return sp_error_set(err, SP_E_NOMEM, "no memory");
    enum sp_code rc = *path ? make_parents(copy, err) : SP_OK;
    if (rc)
        return rc;
    if (mkdir(path, 0777) && errno != EEXIST)
        return sp_error_errno(err, SP_E_INVALID, errno, "%s", path);
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0)
        return sp_error_errno(err, SP_E_INVALID, errno, "%s", path);
    return SP_OK;
}

enum sp_code sp_file_replace(const char *path, const void *data, size_t len, struct sp_error *err)
{
    char draft[PATH_MAX];
    if ((size_t)snprintf(draft, sizeof(draft), "%s.new", path) >= sizeof(draft))
        return sp_error_set(err, SP_E_INVALID, "%s: the path is too long", path);
    AUTO_FD fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return sp_error_errno(err, SP_E_INVALID, errno, "%s", draft);
    enum sp_code rc = write_all(fd, path, data, len, err);
    if (!rc && rename(draft, path))
        rc = sp_error_errno(err, SP_E_INVALID, errno, "%s", path);
    if (rc)
        unlink(draft);
    return rc;
}
