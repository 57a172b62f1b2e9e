#include "tests/providers/ssh_stage.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

static void set_up(void)
{
    start_server(NULL);
    open_pool();
}

TestSuite(ssh_exec, .init = set_up, .fini = close_all);

Test(ssh_exec, both_streams_and_the_exit_status_arrive)
{
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(4096), errors = SP_BUF_INIT(4096);
    sp_auto(sp_ssh_give) struct sp_ssh_link *link = take();

    start(link, "echo out; echo err >&2; exit 7");
    read_all(link, &out, &errors);
    struct sp_ssh_exit end = wait_exit(link);

    cr_expect(eq(str, (char *)sp_buf_str(&out), "out\n"));
    cr_expect(eq(str, (char *)sp_buf_str(&errors), "err\n"));
    cr_expect(eq(int, end.status, 7));
    cr_expect(eq(str, end.signal, ""));
}

/* In place of the C library's: bytes that come right after a look found none. */
static bool comes_late;

ssize_t recv(int fd, void *data, size_t len, int flags)
{
    ssize_t n = syscall(SYS_recvfrom, fd, data, len, flags, NULL, NULL);
    int failure = errno;
    struct pollfd pfd = {.fd = fd, .events = POLLIN};

    if (comes_late && n < 0 && failure == EAGAIN)
        poll(&pfd, 1, 500);
    errno = failure;
    return n;
}

Test(ssh_exec, what_comes_between_two_looks_is_not_overlooked)
{
    sp_auto(sp_ssh_give) struct sp_ssh_link *link = take();
    struct sp_ssh_part part = {0};
    struct sp_error err = {0};
    char bytes[16];

    start(link, "sleep 0.2; echo out; sleep 100");
    const struct sp_ssh_wait wait = within(9000); /* less than until a keep-alive is answered */
    comes_late = true;
    enum sp_code rc = sp_ssh_read(link, bytes, sizeof bytes, &wait, &part, &err);
    comes_late = false;

    cr_expect(eq(int, rc, SP_OK), "%s", err.msg);
    cr_expect(eq(int, part.stream, SP_SSH_STDOUT));
    cr_expect(eq(sz, part.len, 4));
}

Test(ssh_exec, a_signal_that_ended_the_command_is_named)
{
    sp_auto(sp_ssh_give) struct sp_ssh_link *link = take();

    start(link, "kill -KILL $$");
    struct sp_ssh_exit end = wait_exit(link);

    cr_expect(eq(int, end.status, -1));
    cr_expect(eq(str, end.signal, "KILL"));
}

Test(ssh_exec, commands_follow_each_other_on_one_link)
{
    sp_auto(sp_ssh_give) struct sp_ssh_link *link = take();

    for (int i = 0; i < 20; i++) {
        sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(4096), errors = SP_BUF_INIT(4096);
        char command[32], expected[16];

        snprintf(command, sizeof command, "echo %d", i);
        snprintf(expected, sizeof expected, "%d\n", i);
        start(link, command);
        read_all(link, &out, &errors);
        cr_expect(eq(str, (char *)sp_buf_str(&out), expected));
    }
    cr_expect(eq(int, sp_ssh_server_connections(&server), 1));
}

Test(ssh_exec, standard_input_arrives_whole)
{
    enum { BYTES = 3 << 20 };
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(4096), errors = SP_BUF_INIT(4096);
    sp_auto(sp_free_str) char *data = calloc(1, BYTES + 1);
    sp_auto(sp_ssh_give) struct sp_ssh_link *link = take();
    const struct sp_ssh_wait wait = within(60000);
    char expected[128];

    for (size_t i = 0; i < BYTES; i++)
        data[i] = (char)('a' + i % 23);
    sp_sha256_hex(data, BYTES, expected);
    strcat(expected, "  -\n");
    start(link, "sha256sum");
    cr_assert(eq(int, sp_ssh_write(link, data, BYTES, &wait, NULL), SP_OK));
    cr_assert(eq(int, sp_ssh_write_eof(link, &wait, NULL), SP_OK));
    read_all(link, &out, &errors);

    cr_expect(eq(str, (char *)sp_buf_str(&out), expected));
}

Test(ssh_exec, a_command_that_does_not_read_ends_the_writing_at_the_deadline)
{
    sp_auto(sp_free_str) char *data = calloc(1, 8 << 20);
    sp_auto(sp_ssh_give) struct sp_ssh_link *link = take();
    const struct sp_ssh_wait wait = within(500);

    start(link, "sleep 100");

    cr_expect(eq(int, sp_ssh_write(link, data, 8 << 20, &wait, NULL), SP_E_TIMEOUT));
    cr_expect(not(sp_ssh_lost(link)));
}

Test(ssh_exec, output_that_was_partly_read_goes_on_after_a_deadline)
{
    sp_auto(sp_ssh_give) struct sp_ssh_link *link = take();
    const struct sp_ssh_wait soon = within(300), later = within(30000);
    struct sp_ssh_part part;
    char bytes[64] = "";

    start(link, "read line; echo \"got $line\"");
    cr_expect(eq(int, sp_ssh_read(link, bytes, sizeof bytes, &soon, &part, NULL), SP_E_TIMEOUT));
    cr_assert(eq(int, sp_ssh_write(link, "it\n", 3, &later, NULL), SP_OK));
    cr_assert(eq(int, sp_ssh_read(link, bytes, sizeof bytes - 1, &later, &part, NULL), SP_OK));

    cr_expect(eq(int, part.stream, SP_SSH_STDOUT));
    cr_expect(eq(str, bytes, "got it\n"));
}

static void *cancel_later(void *fd)
{
    usleep(200000);
    eventfd_write(*(int *)fd, 1);
    return NULL;
}

Test(ssh_exec, a_cancel_ends_a_wait_at_once)
{
    sp_auto(sp_ssh_give) struct sp_ssh_link *link = take();
    int fd = eventfd(0, EFD_CLOEXEC);
    struct sp_ssh_wait wait = within(30000);
    struct sp_ssh_part part;
    pthread_t thread;
    char bytes[64];

    wait.cancel_fd = fd;
    start(link, "sleep 100");
    pthread_create(&thread, NULL, cancel_later, &fd);
    int64_t from = sp_mono_ms();
    enum sp_code rc = sp_ssh_read(link, bytes, sizeof bytes, &wait, &part, NULL);
    int64_t took = sp_mono_ms() - from;
    pthread_join(thread, NULL);
    close(fd);

    cr_expect(eq(int, rc, SP_E_CANCELLED));
    cr_expect(lt(i64, took, 20000));
}

Test(ssh_exec, a_flood_does_not_hide_the_deadline)
{
    sp_auto(sp_ssh_give) struct sp_ssh_link *link = take();
    const struct sp_ssh_wait wait = within(500);
    enum sp_code rc = SP_OK;
    struct sp_ssh_part part;
    char bytes[4096];

    start(link, "yes");
    while (!rc)
        rc = sp_ssh_read(link, bytes, sizeof bytes, &wait, &part, NULL);

    cr_expect(eq(int, rc, SP_E_TIMEOUT));
}

Test(ssh_exec, an_idle_wait_costs_no_time)
{
    sp_auto(sp_ssh_give) struct sp_ssh_link *link = take();
    const struct sp_ssh_wait wait = within(2000);
    struct timespec before, after;
    struct sp_ssh_part part;
    char bytes[64];

    start(link, "sleep 100");
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    cr_expect(eq(int, sp_ssh_read(link, bytes, sizeof bytes, &wait, &part, NULL), SP_E_TIMEOUT));
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);

    int64_t used_ms =
        (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
    cr_expect(lt(i64, used_ms, 100));
}

/* Several readers on one connection. */

Test(ssh_exec, bulk_of_both_streams_on_eight_channels_of_one_connection, .timeout = 110)
{
    enum { LINKS = 8, EACH = 10 << 20 };
    struct reader readers[LINKS] = {0};

    for (int i = 0; i < LINKS; i++) {
        readers[i].link = take();
        start(readers[i].link, "head -c 10485760 /dev/zero >&2 & head -c 10485760 /dev/zero; wait");
    }
    for (int i = 0; i < LINKS; i++)
        pthread_create(&readers[i].thread, NULL, read_much, &readers[i]);
    for (int i = 0; i < LINKS; i++) {
        pthread_join(readers[i].thread, NULL);
        cr_expect(eq(int, readers[i].err.code, SP_OK));
        cr_expect(eq(sz, readers[i].out, EACH));
        cr_expect(eq(sz, readers[i].errors, EACH));
        sp_ssh_give(readers[i].link);
    }

    cr_expect(eq(int, sp_ssh_server_connections(&server), 1));
}
