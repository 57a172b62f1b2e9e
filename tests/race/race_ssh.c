/* Jobs on one SSH pool from several threads: cancelled, given up, and with the server killed under
 * them. */
#include <libssh2.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "providers/ssh/batch.h"
#include "tests/support/ssh_server.h"

enum { THREADS = 8, ROUNDS = 12, OUTPUT = 200000 };

static struct sp_ssh_server server;
static struct sp_ssh_pool *pool;
static atomic_int failures, finished, done;
static atomic_bool killing;

static enum sp_code read_to_end(struct sp_ssh_link *link, const struct sp_ssh_wait *wait,
                                size_t *len)
{
    struct sp_ssh_part part = {.stream = SP_SSH_STDOUT};
    enum sp_code rc = SP_OK;
    char bytes[8192];

    while (!rc && part.stream != SP_SSH_END) {
        rc = sp_ssh_read(link, bytes, sizeof bytes, wait, &part, NULL);
        *len += rc ? 0 : part.len;
    }
    return rc;
}

/* The file is replaced, read and removed together with others' operations on the connection. */
static enum sp_code batch_once(struct sp_ssh_link *link, const char *path,
                               const struct sp_ssh_wait *wait)
{
    struct sp_buf back = SP_BUF_INIT(1000);
    struct sp_ssh_task write[] = {{.verb = SP_SSH_PUT, .path = path, .data = {"new", 3}},
                                  {.verb = SP_SSH_REMOVE, .path = "/no/such/file"}};
    struct sp_ssh_task take[] = {{.verb = SP_SSH_GET, .path = path, .out = &back}};
    struct sp_ssh_task away[] = {{.verb = SP_SSH_REMOVE, .path = path}};
    enum sp_code rc = sp_ssh_batch(link, write, 2, wait, NULL);

    if (!rc)
        rc = sp_ssh_batch(link, take, 1, wait, NULL);
    if (!rc && (strcmp(sp_buf_str(&back), "new") != 0 || !write[1].no_such_file))
        failures++;
    if (!rc)
        rc = sp_ssh_batch(link, away, 1, wait, NULL);
    sp_buf_clear(&back);
    return rc;
}

static enum sp_code job(struct sp_ssh_link *link, int number, const struct sp_ssh_wait *wait)
{
    struct sp_buf back = SP_BUF_INIT(1 << 20);
    struct sp_ssh_exit end;
    enum sp_started started;
    size_t len = 0;
    char path[128];

    snprintf(path, sizeof path, "%s/job-%d", server.dir, number);
    enum sp_code rc = sp_ssh_put(link, path, path, strlen(path), 0600, wait, NULL);
    if (!rc)
        rc = sp_ssh_exec(link, "head -c 200000 /dev/zero", wait, &started, NULL);
    if (!rc)
        rc = read_to_end(link, wait, &len);
    if (!rc)
        rc = sp_ssh_wait_exit(link, wait, &end, NULL);
    if (!rc && (len != OUTPUT || end.status != 0))
        failures++;
    if (!rc)
        rc = sp_ssh_get(link, path, &back, wait, NULL);
    if (!rc && strcmp(sp_buf_str(&back), path) != 0)
        failures++;
    if (!rc)
        rc = batch_once(link, path, wait);
    sp_buf_clear(&back);
    return rc;
}

/* Every third one is given up at some moment or other. */
static void run_once(int number, int cancel_fd)
{
    bool hasty = number % 3 == 2;
    const struct sp_ssh_wait wait = {.deadline =
                                         sp_deadline_in(hasty ? 20 + number % 7 * 10 : 60000),
                                     .cancel_fd = number % 6 == 5 ? cancel_fd : -1};
    struct sp_ssh_link *link = NULL;
    struct sp_error err = {0};
    enum sp_code rc = sp_ssh_take(pool, &wait, &link, &err);

    if (!rc)
        rc = job(link, number, &wait);
    if (rc && !hasty && !killing) {
        fprintf(stderr, "job %d: %s %s\n", number, sp_code_name(rc), err.msg);
        failures++;
    }
    done += !rc;
    sp_ssh_give(link);
}

static void *run_many(void *arg)
{
    int cancel_fd = eventfd(0, EFD_CLOEXEC);

    for (int i = 0; i < ROUNDS; i++) {
        if (i == ROUNDS / 2)
            eventfd_write(cancel_fd, 1);
        run_once((int)(intptr_t)arg * ROUNDS + i, cancel_fd);
    }
    close(cancel_fd);
    finished++;
    return NULL;
}

int main(void)
{
    char key[128];
    pthread_t threads[THREADS];
    struct sp_error err = {0};

    if (libssh2_init(0) || !sp_ssh_server_start(&server, NULL) ||
        !sp_ssh_server_make_key(&server, "ed25519", "RFC4716", "", key))
        return 1;
    const struct sp_ssh_options options = {.host = "127.0.0.1",
                                           .port = server.port,
                                           .username = server.user,
                                           .private_key = key,
                                           .known_hosts = server.known_hosts,
                                           .max_sessions = 4,
                                           .idle_ms = 50};
    if (sp_ssh_pool_new(&options, &pool, &err)) {
        fprintf(stderr, "pool: %s\n", err.msg);
        return 1;
    }
    for (intptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, run_many, (void *)i);
    while (done < THREADS * ROUNDS / 4 && finished < THREADS)
        usleep(1000);
    killing = true;
    sp_ssh_server_kill(&server);
    if (!sp_ssh_server_start(&server, NULL))
        failures++;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    killing = false;
    run_once(THREADS * ROUNDS * 6, -1);
    sp_ssh_pool_free(pool);
    sp_ssh_server_stop(&server);
    fprintf(stderr, "%d jobs done, %d failures\n", done, failures);
    return failures == 0 && done > 0 ? 0 : 1;
}
