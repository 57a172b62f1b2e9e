#include "providers/local/interpreter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "providers/local/fd.h"

static bool executable(const char *path)
{
    struct stat st;

    return !stat(path, &st) && S_ISREG(st.st_mode) && !access(path, X_OK);
}

static char *search(const char *name)
{
    const char *folder = SP_STANDARD_PATH;

    while (*folder) {
        size_t len = strcspn(folder, ":");
        char *path = NULL;

        if (asprintf(&path, "%.*s/%s", (int)len, folder, name) < 0)
            return NULL;
        if (executable(path))
            return path;
        free(path);
        folder += folder[len] ? len + 1 : len;
    }
    return NULL;
}

static bool is_script(const char *path)
{
    sp_auto(sp_fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    char head[2];

    return fd >= 0 && read(fd, head, sizeof head) == (ssize_t)sizeof head && head[0] == '#' &&
           head[1] == '!';
}

enum sp_code sp_interpreter_find(const char *key, const char *name, char **path, bool *script,
                                 struct sp_error *err)
{
    sp_auto(sp_free_str) char *found = NULL;

    if (!*name)
        return sp_error_set(err, SP_E_INVALID, "%s: empty; give a name or a full path", key);
    if (!strchr(name, '/')) {
        found = search(name);
    } else if (*name == '/' && executable(name)) {
        found = sp_strdup(name);
    }
    if (!found) {
        return sp_error_set(err, SP_E_INVALID,
                            "%s: no program %s; install it, or give its full path (a bare name is "
                            "looked for in " SP_STANDARD_PATH ")",
                            key, name);
    }
    *script = is_script(found);
    *path = SP_TAKE(found);
    return SP_OK;
}
