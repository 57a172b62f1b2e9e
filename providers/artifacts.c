/*
 * Collects artifacts. The folder's content is the program's, so nothing about it is trusted: every
 * open is resolved by the kernel below the folder and through no link, and every bound holds while
 * reading (reference isolation.md 7, row 21).
 */
#include "providers/artifacts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

enum {
    DEPTH_MAX = 16,      /* folders below artifacts/ */
    ENTRIES_MAX = 10000, /* looked at in all, so that a million files cost bounded time */
    PATH_BYTES_MAX = 1024,
    REFUSED_MAX = 200, /* named in the reply; the rest is counted */
    READ_SIZE = 65536,
};

static const struct {
    const char *extension, *mime;
} allowed[] = {
    {".csv", "text/csv"},   {".html", "text/html"},        {".jpeg", "image/jpeg"},
    {".jpg", "image/jpeg"}, {".json", "application/json"}, {".pdf", "application/pdf"},
    {".png", "image/png"},  {".svg", "image/svg+xml"},
};

const char *sp_artifact_mime(const char *name)
{
    const char *slash = strrchr(name, '/');
    const char *base = slash ? slash + 1 : name;
    const char *extension = strrchr(base, '.');
    if (!extension || extension == base) /* ".png" is a name without extension */
        return NULL;
    for (size_t i = 0; i < SP_COUNT(allowed); i++) {
        if (strcasecmp(extension, allowed[i].extension) == 0)
            return allowed[i].mime;
    }
    return NULL;
}

struct entry {
    char *path; /* below artifacts/ */
    bool folder;
    int depth;
};

struct walk {
    int root;
    const struct sp_artifact_rules *rules;
    int64_t deadline_ms;
    struct sp_result *result;
    struct entry *entries;
    size_t n, cap;
    size_t looked_at, unnamed; /* unnamed: refused without a line of its own */
    int64_t count, total;
    bool late, many;
};

static void walk_clear(struct walk *w)
{
    for (size_t i = 0; i < w->n; i++)
        free(w->entries[i].path);
    free(w->entries);
    if (w->root >= 0)
        close(w->root);
}
SP_AUTO_CLEAR(struct walk, walk_clear)

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define AUTO_FD __attribute__((cleanup(close_fd))) int

static bool is_late(struct walk *w)
{
    if (!w->late && sp_deadline_left(w->deadline_ms) == 0)
        w->late = true;
    return w->late;
}

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

/* The name as a reply can carry it: valid UTF-8, no control characters. */
static enum sp_code clean_name(const char *path, struct sp_buf *out)
{
    bool replaced = false;
    enum sp_code rc = sp_utf8_clean(path, strlen(path), out, &replaced);
    if (rc || !sp_utf8_has_control(sp_buf_str(out), out->len))
        return rc;
    for (size_t i = 0; i < out->len; i++) {
        unsigned char c = (unsigned char)out->data[i];
        if (c < 0x20 || c == 0x7F) {
            out->data[i] = '?';
        } else if (c == 0xC2 && ((unsigned char)out->data[i + 1] & 0xE0U) == 0x80U) {
            memcpy(out->data + i, "??", 2);
        }
    }
    return SP_OK;
}

static enum sp_code refuse(struct walk *w, const char *path, int64_t size, const char *reason)
{
    sp_auto(sp_buf_clear) struct sp_buf name = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    if (w->result->n_refused >= REFUSED_MAX) {
        w->unnamed++;
        return SP_OK;
    }
    enum sp_code rc = clean_name(path, &name);
    return rc ? rc : sp_result_refuse_artifact(w->result, sp_buf_str(&name), size, reason);
}

static enum sp_code refuse_errno(struct walk *w, const char *path, int errno_value)
{
    struct sp_error text = {0};
    if (errno_value == ELOOP)
        return refuse(w, path, 0, "symlinks are not allowed");
    (void)sp_error_errno(&text, SP_E_INVALID, errno_value, "cannot be read");
    return refuse(w, path, 0, text.msg);
}

static enum sp_code add_entry(struct walk *w, char *path, bool folder, int depth)
{
    if (w->n == w->cap) {
        size_t cap = w->cap > 0 ? 2 * w->cap : 16;
        struct entry *grown = reallocarray(w->entries, cap, sizeof(*grown));
        if (!grown)
            return SP_E_NOMEM;
        w->entries = grown;
        w->cap = cap;
    }
    w->entries[w->n++] = (struct entry){.path = path, .folder = folder, .depth = depth};
    return SP_OK;
}

static unsigned char type_of(int folder_fd, const struct dirent *d)
{
    struct stat st;
    if (d->d_type != DT_UNKNOWN)
        return d->d_type;
    if (fstatat(folder_fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return DT_UNKNOWN;
    return (unsigned char)IFTODT(st.st_mode);
}

/* Why an entry is out of the question whatever it holds; NULL: it is not. */
static const char *reason_against(const char *path, unsigned char type, int depth)
{
    if (type == DT_LNK)
        return "symlinks are not allowed";
    if (type != DT_REG && type != DT_DIR)
        return "not a regular file";
    if (!sp_utf8_valid(path, strlen(path)) || sp_utf8_has_control(path, strlen(path)))
        return "the name is not UTF-8 text without control characters";
    if (strlen(path) > PATH_BYTES_MAX)
        return "the path is longer than 1024 bytes";
    if (type == DT_DIR && depth > DEPTH_MAX)
        return "nested deeper than 16 folders";
    return NULL;
}

static enum sp_code look_at(struct walk *w, const struct entry *folder, int folder_fd,
                            const struct dirent *d)
{
    sp_auto(sp_free_str) char *path = NULL;
    unsigned char type = type_of(folder_fd, d);
    int depth = folder->depth + 1;

    if (asprintf(&path, "%s%s%s", folder->path, *folder->path ? "/" : "", d->d_name) < 0) {
        path = NULL;
        return SP_E_NOMEM;
    }
    const char *reason = reason_against(path, type, depth);
    if (reason)
        return refuse(w, path, 0, reason);
    enum sp_code rc = add_entry(w, path, type == DT_DIR, depth);
    if (!rc)
        path = NULL; /* the walk has it now */
    return rc;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static enum sp_code list_open_folder(struct walk *w, const struct entry *folder, DIR *dir)
{
    enum sp_code rc = SP_OK;
    while (!rc && !w->many && !is_late(w)) {
        const struct dirent *d = readdir(dir); /* NOLINT(concurrency-mt-unsafe): our own DIR */
        if (!d)
            break;
        if (is_dots(d->d_name))
            continue;
        w->many = ++w->looked_at > ENTRIES_MAX;
        if (!w->many)
            rc = look_at(w, folder, dirfd(dir), d);
    }
    return rc;
}

/* `folder` is a copy: the array may move while its entries are added. */
static enum sp_code list_folder(struct walk *w, struct entry folder)
{
    int fd = *folder.path ? open_below(w->root, folder.path, O_DIRECTORY)
                          : fcntl(w->root, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return refuse_errno(w, folder.path, errno);
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return SP_E_NOMEM;
    }
    enum sp_code rc = list_open_folder(w, &folder, dir);
    closedir(dir);
    return rc;
}

/* Folder by folder: each appends its entries behind those that are known. */
static enum sp_code list_all(struct walk *w)
{
    enum sp_code rc = list_folder(w, (struct entry){.path = (char[]){""}, .folder = true});
    for (size_t i = 0; i < w->n && !rc; i++) {
        if (w->entries[i].folder)
            rc = list_folder(w, w->entries[i]);
    }
    return rc;
}

static int by_path(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    return strcmp(left->path, right->path);
}

/* SP_E_LIMIT past the buffer's ceiling; SP_E_UNAVAILABLE with errno when reading fails. */
static enum sp_code read_all(struct walk *w, int fd, struct sp_buf *out)
{
    for (;;) {
        char piece[READ_SIZE];
        ssize_t n = read(fd, piece, sizeof(piece));
        if (n < 0)
            return SP_E_UNAVAILABLE;
        if (n == 0 || is_late(w))
            return SP_OK;
        enum sp_code rc = sp_buf_add(out, piece, (size_t)n);
        if (rc)
            return rc;
    }
}

static enum sp_code refuse_size(struct walk *w, const char *path, int64_t size)
{
    char reason[96];
    if (size > w->rules->max_bytes) {
        snprintf(reason, sizeof(reason), "exceeds %lld bytes", (long long)w->rules->max_bytes);
    } else {
        snprintf(reason, sizeof(reason), "exceeds %lld bytes in all artifacts together",
                 (long long)w->rules->max_total);
    }
    return refuse(w, path, size, reason);
}

/* The checks that need no content. *reason: text that lives in buf or is static. */
static const char *refusal(const struct walk *w, const char *path, const struct stat *st, char *buf,
                           size_t size)
{
    if (!S_ISREG(st->st_mode))
        return "not a regular file";
    if (st->st_nlink != 1)
        return "hard links are not allowed";
    if (!sp_artifact_mime(path))
        return "Unsupported artifact type; allowed are .csv .html .jpeg .jpg .json .pdf .png .svg";
    if (w->count >= w->rules->max_count) {
        snprintf(buf, size, "more than %lld artifacts", (long long)w->rules->max_count);
        return buf;
    }
    return NULL;
}

/* The size is checked first and, because a survivor of the program may still write, while reading.
 */
static enum sp_code take_content(struct walk *w, const char *path, int fd, int64_t size)
{
    int64_t left = w->rules->max_total - w->total;
    int64_t max = w->rules->max_bytes < left ? w->rules->max_bytes : left;
    sp_auto(sp_buf_clear) struct sp_buf data = SP_BUF_INIT((size_t)max);
    size_t len = 0;

    if (size > max)
        return refuse_size(w, path, size);
    enum sp_code rc = sp_buf_reserve(&data, (size_t)size);
    if (!rc)
        rc = read_all(w, fd, &data);
    if (rc == SP_E_LIMIT)
        return refuse_size(w, path, max + 1);
    if (rc == SP_E_UNAVAILABLE)
        return refuse_errno(w, path, errno);
    if (rc || w->late)
        return rc;
    sp_auto(sp_free_str) char *bytes = sp_buf_take(&data, &len);
    if (!bytes)
        return SP_E_NOMEM;
    rc = sp_result_add_artifact(w->result, path, sp_artifact_mime(path), bytes, len);
    if (rc)
        return rc;
    bytes = NULL; /* the result has it now */
    w->count++;
    w->total += (int64_t)len;
    return SP_OK;
}

static enum sp_code take_file(struct walk *w, const char *path)
{
    struct stat st;
    char text[64];
    AUTO_FD fd = open_below(w->root, path, 0);

    if (fd < 0 || fstat(fd, &st) != 0)
        return refuse_errno(w, path, errno);
    const char *reason = refusal(w, path, &st, text, sizeof(text));
    return reason ? refuse(w, path, st.st_size, reason) : take_content(w, path, fd, st.st_size);
}

static enum sp_code take_all(struct walk *w)
{
    enum sp_code rc = SP_OK;
    if (w->n > 0)
        qsort(w->entries, w->n, sizeof(*w->entries), by_path);
    for (size_t i = 0; i < w->n && !rc && !is_late(w); i++) {
        if (!w->entries[i].folder)
            rc = take_file(w, w->entries[i].path);
    }
    return rc;
}

static void warn_of_the_rest(const struct walk *w)
{
    if (w->late)
        sp_result_warn(w->result, "collecting artifacts took too long, the rest is missing");
    if (w->many) {
        sp_result_warn(w->result, "artifacts/ holds more than %d entries, the rest was not read",
                       ENTRIES_MAX);
    }
    if (w->unnamed > 0)
        sp_result_warn(w->result, "%zu more artifacts were refused", w->unnamed);
}

static enum sp_code refuse_folder(struct walk *w, int workspace_fd, int errno_value)
{
    struct stat st;
    if (errno_value == ENOENT)
        return SP_OK;
    /* A link that is asked to be a folder is "not a directory" to the kernel. */
    if (fstatat(workspace_fd, "artifacts", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
        errno_value = ELOOP;
    return refuse_errno(w, "artifacts", errno_value);
}

enum sp_code sp_artifacts_collect(int workspace_fd, const struct sp_artifact_rules *rules,
                                  int64_t deadline_ms, struct sp_result *result)
{
    sp_auto(walk_clear) struct walk w = {
        .rules = rules, .deadline_ms = deadline_ms, .result = result, .root = -1};

    w.root = open_below(workspace_fd, "artifacts", O_DIRECTORY);
    if (w.root < 0)
        return refuse_folder(&w, workspace_fd, errno);
    enum sp_code rc = list_all(&w);
    if (!rc)
        rc = take_all(&w);
    if (!rc)
        warn_of_the_rest(&w);
    return rc;
}
