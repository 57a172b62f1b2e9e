#include "tests/support/port.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TRIES = 500, PORT_MIN = 20000, PORT_MAX = 32000 };

static bool can_bind(int port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    addr.sin_port = htons((uint16_t)port);
    bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof addr) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

int sp_free_port(void)
{
    for (int i = 0; i < TRIES; i++) {
        int port = PORT_MIN + (int)arc4random_uniform(PORT_MAX - PORT_MIN);
        if (can_bind(port))
            return port;
    }
    return 0;
}
