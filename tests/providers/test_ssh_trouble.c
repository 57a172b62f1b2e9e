#include "tests/providers/ssh_stage.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static void set_up(void)
{
    start_server(NULL);
    use_proxy();
    options.keepalive_ms = 3000;
    open_pool();
}

TestSuite(ssh_trouble, .init = set_up, .fini = close_all);

struct later {
    pthread_t thread;
    int fd;
};

static void *cancel_later(void *arg)
{
    usleep(200000);
    eventfd_write(((struct later *)arg)->fd, 1);
    return NULL;
}

/* A wait that is cancelled in 200 ms. */
static struct sp_ssh_wait cancelled_soon(struct later *later)
{
    later->fd = eventfd(0, EFD_CLOEXEC);
    pthread_create(&later->thread, NULL, cancel_later, later);
    return (struct sp_ssh_wait){.deadline = sp_deadline_in(30000), .cancel_fd = later->fd};
}

static void end_later(struct later *later)
{
    pthread_join(later->thread, NULL);
    close(later->fd);
}

static enum sp_code try_take(const struct sp_ssh_wait *wait, struct sp_error *err)
{
    struct sp_ssh_link *link = NULL;
    enum sp_code rc = sp_ssh_take(pool, wait, &link, err);

    sp_ssh_give(link);
    return rc;
}

Test(ssh_trouble, a_port_that_never_answers_ends_at_the_deadline)
{
    const struct sp_ssh_wait wait = within(1000);
    struct sp_error err = {0};
    int64_t from = sp_mono_ms();

    sp_tcp_proxy_stall(&proxy, true);

    cr_expect(eq(int, try_take(&wait, &err), SP_E_TIMEOUT));
    cr_expect(sp_mono_ms() - from < 15000);
    cr_expect(strstr(err.msg, "handshake") != NULL, "%s", err.msg);
}

Test(ssh_trouble, a_port_that_never_answers_ends_at_a_cancel)
{
    struct later later;
    const struct sp_ssh_wait wait = cancelled_soon(&later);
    int64_t from = sp_mono_ms();

    sp_tcp_proxy_stall(&proxy, true);

    cr_expect(eq(int, try_take(&wait, NULL), SP_E_CANCELLED));
    cr_expect(sp_mono_ms() - from < 15000);
    end_later(&later);
}

Test(ssh_trouble, a_port_that_never_answers_is_unavailable_to_the_patient)
{
    const struct sp_ssh_wait wait = within(60000);
    struct sp_error err = {0};

    sp_tcp_proxy_stall(&proxy, true);

    cr_expect(eq(int, try_take(&wait, &err), SP_E_UNAVAILABLE), "%s", err.msg);
}

Test(ssh_trouble, a_handshake_that_is_cut_is_unavailable)
{
    const struct sp_ssh_wait wait = within(30000);
    struct sp_error err = {0};

    sp_tcp_proxy_cut_after(&proxy, 500, 0);

    cr_expect(eq(int, try_take(&wait, &err), SP_E_UNAVAILABLE));
    cr_expect(strstr(err.msg, "connection lost") != NULL, "%s", err.msg);
}

Test(ssh_trouble, a_cut_while_reading_is_seen_at_once)
{
    struct sp_ssh_link *link = take();
    const struct sp_ssh_wait wait = within(30000);
    struct sp_ssh_part part;
    struct sp_error err = {0};
    char bytes[64];

    start(link, "sleep 100");
    sp_tcp_proxy_cut(&proxy);
    int64_t from = sp_mono_ms();
    enum sp_code rc = sp_ssh_read(link, bytes, sizeof bytes, &wait, &part, &err);

    cr_expect(eq(int, rc, SP_E_UNAVAILABLE), "%s", err.msg);
    cr_expect(sp_mono_ms() - from < 8000); /* not by a keep-alive */
    cr_expect(sp_ssh_lost(link));
    sp_ssh_give(link);
    sp_ssh_give(take()); /* the next one connects anew */
    cr_expect(eq(int, sp_tcp_proxy_connections(&proxy), 2));
}

Test(ssh_trouble, what_had_arrived_before_a_cut_can_still_be_read)
{
    sp_auto(sp_ssh_give) struct sp_ssh_link *reader = take(), *other = take();
    const struct sp_ssh_wait wait = within(30000);
    struct sp_ssh_part part;
    char bytes[64] = "", command[256];

    snprintf(command, sizeof command, "echo before; : >%s/said; sleep 100", server.dir);
    start(reader, command);
    snprintf(command, sizeof command,
             "until [ -e %s/said ]; do sleep 0.05; done; echo later; sleep 100", server.dir);
    start(other, command);
    /* This takes the reader's line off the wire, too. */
    cr_assert(eq(int, sp_ssh_read(other, bytes, sizeof bytes, &wait, &part, NULL), SP_OK));
    sp_tcp_proxy_cut(&proxy);
    cr_expect(
        eq(int, sp_ssh_read(other, bytes, sizeof bytes, &wait, &part, NULL), SP_E_UNAVAILABLE));
    enum sp_code first = sp_ssh_read(reader, bytes, sizeof bytes, &wait, &part, NULL);
    size_t len = part.len;
    enum sp_code second = sp_ssh_read(reader, bytes + len, sizeof bytes - len, &wait, &part, NULL);

    cr_expect(eq(int, first, SP_OK));
    cr_expect(eq(int, strncmp(bytes, "before\n", 7), 0));
    cr_expect(eq(int, second, SP_E_UNAVAILABLE));
}

Test(ssh_trouble, a_cut_while_uploading_is_seen)
{
    enum { BYTES = 5 << 20 };
    struct sp_ssh_link *link = take();
    sp_auto(sp_free_str) char *data = calloc(1, BYTES);
    const struct sp_ssh_wait wait = within(30000);
    struct sp_error err = {0};
    char path[128];

    snprintf(path, sizeof path, "%s/up", server.dir);
    sp_tcp_proxy_cut_after(&proxy, 1 << 20, 0);
    enum sp_code rc = sp_ssh_put(link, path, data, BYTES, 0600, &wait, &err);

    cr_expect(eq(int, rc, SP_E_UNAVAILABLE), "%s", err.msg);
    cr_expect(sp_ssh_lost(link));
    sp_ssh_give(link);
}

Test(ssh_trouble, a_cut_before_the_command_says_that_it_did_not_start)
{
    struct sp_ssh_link *link = take();
    const struct sp_ssh_wait wait = within(30000);
    enum sp_started started = SP_STARTED_YES;
    struct sp_ssh_part part;
    char bytes[8];

    start(link, "sleep 100");
    sp_tcp_proxy_cut(&proxy);
    cr_expect(
        eq(int, sp_ssh_read(link, bytes, sizeof bytes, &wait, &part, NULL), SP_E_UNAVAILABLE));
    enum sp_code rc = sp_ssh_exec(link, "true", &wait, &started, NULL);

    cr_expect(eq(int, rc, SP_E_UNAVAILABLE));
    cr_expect(eq(int, started, SP_STARTED_NO));
    sp_ssh_give(link);
}

Test(ssh_trouble, a_cut_while_the_command_starts_says_maybe)
{
    struct sp_ssh_link *link = take();
    const struct sp_ssh_wait wait = within(30000);
    enum sp_started started = SP_STARTED_NO;

    sp_tcp_proxy_cut_after(&proxy, 1, 0); /* with the request itself */
    enum sp_code rc = sp_ssh_exec(link, "true", &wait, &started, NULL);

    cr_expect(eq(int, rc, SP_E_UNAVAILABLE));
    cr_expect(eq(int, started, SP_STARTED_MAYBE));
    sp_ssh_give(link);
}

Test(ssh_trouble, a_killed_server_is_seen_by_every_reader)
{
    sp_auto(sp_ssh_give) struct sp_ssh_link *one = take(), *two = take();
    const struct sp_ssh_wait wait = within(30000);
    struct sp_ssh_part part;
    char bytes[64];

    start(one, "sleep 100");
    start(two, "sleep 100");
    sp_ssh_server_kill(&server);

    cr_expect(eq(int, sp_ssh_read(one, bytes, sizeof bytes, &wait, &part, NULL), SP_E_UNAVAILABLE));
    cr_expect(eq(int, sp_ssh_read(two, bytes, sizeof bytes, &wait, &part, NULL), SP_E_UNAVAILABLE));
}

Test(ssh_trouble, a_peer_that_falls_silent_is_lost_after_three_keepalive_times)
{
    sp_auto(sp_ssh_give) struct sp_ssh_link *link = take();
    const struct sp_ssh_wait wait = within(30000);
    struct sp_ssh_part part;
    struct sp_error err = {0};
    char bytes[64];

    start(link, "sleep 100");
    sp_tcp_proxy_stall(&proxy, true);
    int64_t from = sp_mono_ms();
    enum sp_code rc = sp_ssh_read(link, bytes, sizeof bytes, &wait, &part, &err);

    cr_expect(eq(int, rc, SP_E_UNAVAILABLE));
    cr_expect(strstr(err.msg, "the server does not answer") != NULL, "%s", err.msg);
    cr_expect(sp_mono_ms() - from < 20000);
}

/* In place of the C library's, which libssh2 calls: a wall clock that is set back all the time. */
time_t time(time_t *out)
{
    static atomic_long looks;
    time_t now = 1800000000 - 3600 * ++looks;

    if (out)
        *out = now;
    return now;
}

Test(ssh_trouble, a_quiet_command_on_a_live_connection_is_not_lost)
{
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(100), errors = SP_BUF_INIT(100);
    sp_auto(sp_ssh_give) struct sp_ssh_link *link = take();

    start(link, "sleep 14; echo done");
    read_all(link, &out, &errors);

    cr_expect(eq(str, (char *)sp_buf_str(&out), "done\n"));
}

Test(ssh_trouble, a_command_given_up_while_it_starts_does_not_disturb_the_next)
{
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(100), errors = SP_BUF_INIT(100);
    struct sp_ssh_link *given_up = take(), *next = take();
    enum sp_started started = SP_STARTED_NO;

    sp_tcp_proxy_delay(&proxy, 1000);
    const struct sp_ssh_wait soon = within(1000);
    cr_expect(eq(int, sp_ssh_exec(given_up, "echo late", &soon, &started, NULL), SP_E_TIMEOUT));
    cr_expect(eq(int, started, SP_STARTED_MAYBE));
    sp_tcp_proxy_delay(&proxy, 10);
    start(next, "echo fine");
    read_all(next, &out, &errors);
    start(given_up, "true");
    cr_expect(eq(int, wait_exit(given_up).status, 0));

    cr_expect(eq(str, (char *)sp_buf_str(&out), "fine\n"));
    cr_expect(eq(int, sp_tcp_proxy_connections(&proxy), 1));
    sp_ssh_give(given_up);
    sp_ssh_give(next);
}

Test(ssh_trouble, a_slow_network_only_slows)
{
    enum { BYTES = 1 << 20 };
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(BYTES), errors = SP_BUF_INIT(100);
    sp_auto(sp_ssh_give) struct sp_ssh_link *link = NULL;
    sp_auto(sp_free_str) char *data = calloc(1, BYTES);
    const struct sp_ssh_wait wait = within(60000);
    char path[128], command[160];

    snprintf(path, sizeof path, "%s/slow", server.dir);
    snprintf(command, sizeof command, "cat %s", path);
    sp_tcp_proxy_delay(&proxy, 20);
    link = take();
    cr_expect(eq(int, sp_ssh_put(link, path, data, BYTES, 0600, &wait, NULL), SP_OK));
    start(link, command);
    read_all(link, &out, &errors);
    cr_expect(eq(int, wait_exit(link).status, 0));
    cr_expect(eq(sz, out.len, BYTES));
    sp_buf_reset(&out);
    cr_expect(eq(int, sp_ssh_get(link, path, &out, &wait, NULL), SP_OK));
    cr_expect(eq(sz, out.len, BYTES));
}

enum { MUCH = 8 << 20 };

static void *write_much(void *arg)
{
    sp_auto(sp_free_str) char *data = calloc(1, MUCH);
    const struct sp_ssh_wait wait = within(60000);
    enum sp_code rc = sp_ssh_write(arg, data, MUCH, &wait, NULL);

    if (!rc)
        rc = sp_ssh_write_eof(arg, &wait, NULL);
    return rc ? arg : NULL;
}

static int64_t cpu_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

Test(ssh_trouble, a_jam_on_the_way_up_costs_no_time_and_holds_no_reader_back)
{
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(100), errors = SP_BUF_INIT(100);
    struct sp_ssh_link *writer = take(), *reader = take();
    pthread_t thread;
    void *failed;

    start(writer, "wc -c");
    start(reader, "for i in 0 1 2 3 4 5 6 7 8 9; do sleep 0.1; echo $i; done");
    sp_tcp_proxy_delay(&proxy, 300); /* it holds 1 MB at most */
    int64_t used = cpu_ms(), from = sp_mono_ms();
    pthread_create(&thread, NULL, write_much, writer);
    read_all(reader, &out, &errors);
    pthread_join(thread, &failed);
    used = cpu_ms() - used;
    int64_t took = sp_mono_ms() - from;

    cr_expect(eq(str, (char *)sp_buf_str(&out), "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n"));
    cr_expect(failed == NULL);
    cr_expect(lt(i64, used, took / 2), "%lld of %lld ms", (long long)used, (long long)took);
    sp_buf_reset(&out);
    read_all(writer, &out, &errors);
    cr_expect(eq(str, (char *)sp_buf_str(&out), "8388608\n"));
    sp_ssh_give(writer);
    sp_ssh_give(reader);
}
