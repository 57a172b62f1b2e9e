/* Secrets that live in the environment or in a file (a mounted one, of an orchestrator's). */
#include "settings/secret.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

enum { MAX_SECRET = 64 * 1024 };

static const char *after(const char *value, const char *prefix)
{
    size_t len = strlen(prefix);

    return strncmp(value, prefix, len) == 0 ? value + len : NULL;
}

bool sp_secret_is_reference(const char *value)
{
    return after(value, "env:") || after(value, "file:");
}

static enum sp_code read_env(const char *name, char **out, struct sp_error *err)
{
    const char *text = secure_getenv(name);

    if (!text || !*text)
        return sp_error_set(err, SP_E_INVALID, "environment variable %s is not set", name);
    if (!sp_utf8_valid(text, strlen(text)))
        return sp_error_set(err, SP_E_INVALID, "environment variable %s is not UTF-8 text", name);
    *out = sp_strdup(text);
    return *out ? SP_OK : sp_error_set(err, SP_E_NOMEM, "out of memory");
}

/* Checks the bytes of a file and cuts the newline. */
static enum sp_code accept_text(const char *path, char *data, size_t len, struct sp_error *err)
{
    if (len && data[len - 1] == '\n')
        len -= len > 1 && data[len - 2] == '\r' ? 2 : 1;
    data[len] = '\0';
    if (!len)
        return sp_error_set(err, SP_E_INVALID, "file %s is empty", path);
    if (strlen(data) != len || !sp_utf8_valid(data, len))
        return sp_error_set(err, SP_E_INVALID, "file %s is not UTF-8 text", path);
    return SP_OK;
}

static enum sp_code read_fd(int fd, const char *path, char *data, size_t *len, struct sp_error *err)
{
    struct stat st;
    ssize_t n;

    /* A FIFO or a device would block the settings thread. */
    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        return sp_error_set(err, SP_E_INVALID, "%s is not a regular file", path);
    while ((n = read(fd, data + *len, MAX_SECRET + 1 - *len)) > 0 && *len <= MAX_SECRET)
        *len += (size_t)n;
    if (n < 0)
        return sp_error_errno(err, SP_E_INVALID, errno, "cannot read %s", path);
    if (*len > MAX_SECRET)
        return sp_error_set(err, SP_E_INVALID, "file %s is larger than 64 KiB", path);
    return SP_OK;
}

static enum sp_code read_file(const char *path, char **out, struct sp_error *err)
{
    char data[MAX_SECRET + 2];
    size_t len = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return sp_error_errno(err, SP_E_INVALID, errno, "cannot open %s", path);
    enum sp_code rc = read_fd(fd, path, data, &len, err);
    close(fd);
    if (!rc)
        rc = accept_text(path, data, len, err);
    if (!rc && !(*out = sp_strdup(data)))
        rc = sp_error_set(err, SP_E_NOMEM, "out of memory");
    explicit_bzero(data, len);
    return rc;
}

enum sp_code sp_secret_get(const char *value, char **out, struct sp_error *err)
{
    const char *name = after(value, "env:"), *path = after(value, "file:");

    if (name)
        return read_env(name, out, err);
    if (path)
        return read_file(path, out, err);
    *out = sp_strdup(value);
    return *out ? SP_OK : sp_error_set(err, SP_E_NOMEM, "out of memory");
}

static enum sp_code resolve_member(json_t *obj, const char *key, struct sp_error *err)
{
    const char *value = json_string_value(json_object_get(obj, key));
    char *text = NULL;

    if (!value || !sp_secret_is_reference(value))
        return SP_OK;
    enum sp_code rc = sp_secret_get(value, &text, err);
    if (rc)
        return sp_error_wrap(err, rc, "%s", key);
    assert(text);
    json_t *resolved = json_string(text);
    explicit_bzero(text, strlen(text));
    free(text);
    if (json_object_set_new(obj, key, resolved))
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    return SP_OK;
}

enum sp_code sp_secret_resolve(const struct sp_field *fields, size_t n, json_t *obj, json_t **out,
                               struct sp_error *err)
{
    json_auto_t *copy = json_copy(obj); /* shallow: members are replaced, never changed */

    /* Without memory jansson leaves members out, and their defaults would hold. */
    if (!copy || json_object_size(copy) != json_object_size(obj))
        return sp_error_set(err, SP_E_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        enum sp_code rc =
            fields[i].flags & SP_SECRET ? resolve_member(copy, fields[i].key, err) : SP_OK;
        if (rc)
            return rc;
    }
    *out = SP_TAKE(copy);
    return SP_OK;
}
