#include "providers/ssh/read_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "providers/local/fd.h"

int sp_ssh_read_file(const char *path, struct sp_buf *out)
{
    sp_auto(sp_fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    ssize_t n = 1;

    if (fd < 0 || fstat(fd, &st))
        return errno;
    if (!S_ISREG(st.st_mode))
        return EINVAL;
    while (n > 0) {
        enum sp_code rc = sp_buf_reserve(out, BUFSIZ);

        if (rc)
            return rc == SP_E_LIMIT ? EFBIG : ENOMEM;
        n = read(fd, out->data + out->len, BUFSIZ);
        out->len += n > 0 ? (size_t)n : 0;
    }
    return n < 0 ? errno : 0;
}
