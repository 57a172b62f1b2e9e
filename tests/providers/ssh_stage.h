/* A private sshd, a user's key for it, and a pool that uses both: for the tests of providers/ssh.
 */
#pragma once

#include <libssh2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "providers/ssh/link.h"
#include "tests/support.h"
#include "tests/support/ssh_server.h"
#include "tests/support/tcp_proxy.h"

static struct sp_ssh_server server;
static struct sp_tcp_proxy proxy;
static char key_path[128];
static struct sp_ssh_options options;
static struct sp_ssh_pool *pool;

static inline struct sp_ssh_wait within(int64_t ms)
{
    return (struct sp_ssh_wait){.deadline = sp_deadline_in(ms), .cancel_fd = -1};
}

static inline void start_server(const char *config)
{
    const struct sp_ssh_server_options how = {.config = config};

    cr_assert(eq(int, libssh2_init(0), 0));
    cr_assert(sp_ssh_server_start(&server, &how));
    cr_assert(sp_ssh_server_make_key(&server, "ed25519", "RFC4716", "", key_path));
    options = (struct sp_ssh_options){
        .host = "127.0.0.1",
        .port = server.port,
        .username = server.user,
        .private_key = key_path,
        .known_hosts = server.known_hosts,
        .max_sessions = 10,
    };
}

/* The pool behind the proxy, whose port the host key is then known by, too. */
static inline void use_proxy(void)
{
    static char path[128], text[1024];
    sp_auto(sp_free_str) char *keys = sp_ssh_server_read(server.known_hosts);
    FILE *file;

    cr_assert(sp_tcp_proxy_start(&proxy, server.port));
    snprintf(path, sizeof path, "%s/proxy_hosts", server.dir);
    snprintf(text, sizeof text, "[127.0.0.1]:%d %s", proxy.port, strchr(keys, ' ') + 1);
    file = fopen(path, "w");
    cr_assert(file != NULL);
    fputs(text, file);
    fclose(file);
    options.port = proxy.port;
    options.known_hosts = path;
}

static inline void open_pool(void)
{
    struct sp_error err = {0};

    cr_assert(eq(int, sp_ssh_pool_new(&options, &pool, &err), SP_OK), "%s", err.msg);
}

static inline void close_all(void)
{
    sp_ssh_pool_free(pool);
    pool = NULL;
    sp_tcp_proxy_stop(&proxy);
    sp_ssh_server_stop(&server);
}

static inline struct sp_ssh_link *take(void)
{
    const struct sp_ssh_wait wait = within(30000);
    struct sp_ssh_link *link = NULL;
    struct sp_error err = {0};

    cr_assert(eq(int, sp_ssh_take(pool, &wait, &link, &err), SP_OK), "%s", err.msg);
    return link;
}

static inline void start(struct sp_ssh_link *link, const char *command)
{
    const struct sp_ssh_wait wait = within(30000);
    enum sp_started started;
    struct sp_error err = {0};

    cr_assert(eq(int, sp_ssh_exec(link, command, &wait, &started, &err), SP_OK), "%s", err.msg);
    cr_expect(eq(int, started, SP_STARTED_YES));
}

/* Both streams to their end. */
static inline void read_all(struct sp_ssh_link *link, struct sp_buf *out, struct sp_buf *errors)
{
    const struct sp_ssh_wait wait = within(60000);
    struct sp_ssh_part part = {.stream = SP_SSH_STDOUT};
    struct sp_error err = {0};
    char bytes[32768];

    while (part.stream != SP_SSH_END) {
        cr_assert(eq(int, sp_ssh_read(link, bytes, sizeof bytes, &wait, &part, &err), SP_OK), "%s",
                  err.msg);
        sp_buf_add(part.stream == SP_SSH_STDOUT ? out : errors, bytes, part.len);
    }
}

static inline struct sp_ssh_exit wait_exit(struct sp_ssh_link *link)
{
    const struct sp_ssh_wait wait = within(30000);
    struct sp_ssh_exit end = {0};
    struct sp_error err = {0};

    cr_assert(eq(int, sp_ssh_wait_exit(link, &wait, &end, &err), SP_OK), "%s", err.msg);
    return end;
}

/* A thread that reads a command's output to its end. */
struct reader {
    pthread_t thread;
    struct sp_ssh_link *link;
    size_t out, errors; /* bytes of the two streams */
    struct sp_error err;
};

static inline void *read_much(void *arg)
{
    struct reader *r = arg;
    const struct sp_ssh_wait wait = within(90000);
    struct sp_ssh_part part = {.stream = SP_SSH_STDOUT};
    enum sp_code rc = SP_OK;
    char bytes[32768];

    while (!rc && part.stream != SP_SSH_END) {
        rc = sp_ssh_read(r->link, bytes, sizeof bytes, &wait, &part, &r->err);
        *(part.stream == SP_SSH_STDERR ? &r->errors : &r->out) += rc ? 0 : part.len;
    }
    r->err.code = rc;
    return NULL;
}
